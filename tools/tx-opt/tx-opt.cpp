//===- tx-opt.cpp - Runs passes on a module, for tests and for looking -----===//

#include "txc/Pipeline/Pipeline.h"

#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  txc::pipeline::registerDialects(registry);
  txc::pipeline::registerPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "txc's pass runner\n", registry));
}
