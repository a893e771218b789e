//===- X86.cpp - What kernels need to know of x86-64 CPUs ------------------===//
//
// Levels of the x86-64 psABI. v3 has AVX2 and FMA, v4 the AVX-512 foundation
// with byte, word, double and vector-length extensions.
//
//===----------------------------------------------------------------------===//

#include "txc/Codegen/Kernel.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/TargetParser/Host.h"

using namespace mlir;
using namespace txc::codegen;

/// The highest level whose features this machine has; "" below v3.
static llvm::StringRef hostLevel() {
  llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  auto has = [&](std::initializer_list<const char *> names) {
    return llvm::all_of(names, [&](const char *name) { return features.lookup(name); });
  };
  if (!has({"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"}))
    return "";
  return has({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}) ? "x86-64-v4" : "x86-64-v3";
}

FailureOr<CpuTarget> txc::codegen::getCpuTarget(llvm::StringRef level, std::string &error) {
  if (level.empty()) {
    level = hostLevel();
    if (level.empty()) {
      error = "this machine's CPU is below x86-64-v3 (AVX2 and FMA are needed); name the level of the "
              "machine that "
              "will run the step with --cpu=x86-64-v3 or --cpu=x86-64-v4";
      return failure();
    }
  }
  if (level == "x86-64-v4")
    return CpuTarget{"x86-64-v4", 64};
  if (level == "x86-64-v3")
    return CpuTarget{"x86-64-v3", 32};
  error = "unknown CPU level '" + level.str() + "', expected x86-64-v3 or x86-64-v4";
  return failure();
}
