//===- Passes.h - The shard stage ------------------------------------------===//
#ifndef TXC_SHARD_PASSES_H
#define TXC_SHARD_PASSES_H

#include "txc/Dialect/Tx/Tx.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace txc::shard {
#define GEN_PASS_DECL
#include "txc/Shard/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "txc/Shard/Passes.h.inc"

/// The module's attribute that names the mesh it is a rank of.
inline constexpr llvm::StringLiteral meshAttrName = "tx.mesh";

/// From a whole step to what one rank of `mesh` does.
void buildPipeline(mlir::OpPassManager &pm, llvm::StringRef mesh);
} // namespace txc::shard

#endif // TXC_SHARD_PASSES_H
