//===- Passes.h - The plan stage -------------------------------------------===//
#ifndef TXC_PLAN_PASSES_H
#define TXC_PLAN_PASSES_H

#include "txc/Dialect/Step/Step.h"
#include "txc/Dialect/Tx/Tx.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace txc::plan {
#define GEN_PASS_DECL
#include "txc/Plan/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "txc/Plan/Passes.h.inc"

/// From kernels on tensors to a step.program in which every byte has its place.
void buildPipeline(mlir::OpPassManager &pm, llvm::StringRef target);
} // namespace txc::plan

#endif // TXC_PLAN_PASSES_H
