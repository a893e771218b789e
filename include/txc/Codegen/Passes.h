//===- Passes.h - The codegen stage ----------------------------------------===//
#ifndef TXC_CODEGEN_PASSES_H
#define TXC_CODEGEN_PASSES_H

#include "txc/Codegen/Kernel.h"

#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace txc::codegen {
#define GEN_PASS_DECL
#include "txc/Codegen/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "txc/Codegen/Passes.h.inc"

struct Options {
  std::string target; ///< as getTarget takes it
};

/// From a planned step.program to one with machine code for every kernel.
/// `pm` works on a builtin.module.
void buildPipeline(mlir::OpPassManager &pm, const Options &options);
} // namespace txc::codegen

#endif // TXC_CODEGEN_PASSES_H
