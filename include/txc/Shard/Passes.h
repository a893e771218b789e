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
/// Of a module of several ranks: what they share (0 to 3).
inline constexpr llvm::StringLiteral zeroAttrName = "tx.zero";

struct Options {
  std::string mesh = "dp:1";
  int64_t zero = 0;
  int64_t bucketMb = 25;
};

/// From a whole step to what one rank of the mesh does.
void buildPipeline(mlir::OpPassManager &pm, const Options &options);
} // namespace txc::shard

#endif // TXC_SHARD_PASSES_H
