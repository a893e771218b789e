//===- Passes.h - The autodiff stage ---------------------------------------===//
#ifndef TXC_AUTODIFF_PASSES_H
#define TXC_AUTODIFF_PASSES_H

#include "txc/Dialect/Tx/Tx.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace txc::autodiff {
#define GEN_PASS_DECL
#include "txc/Autodiff/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "txc/Autodiff/Passes.h.inc"

/// From @forward to @micro, @update, @eval and @decode.
void buildPipeline(mlir::OpPassManager &pm);

/// Checks that `module` is a whole step: what tx-autodiff-verify checks, and what
/// one rank does after shard. `stage` stands in the errors.
mlir::LogicalResult verifyWholeStep(mlir::ModuleOp module, llvm::StringRef stage);

/// Attaches the derivative rules (lib/Autodiff/Rules) to the tx ops.
void registerExternalModels(mlir::DialectRegistry &registry);
} // namespace txc::autodiff

#endif // TXC_AUTODIFF_PASSES_H
