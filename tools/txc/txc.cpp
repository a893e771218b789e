//===- txc.cpp - The compiler ---------------------------------------------===//

#include "txc/Driver/Driver.h"

#include "llvm/Support/InitLLVM.h"

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  return txc::driver::run(argc, argv);
}
