//===- Passes.h - The fuse stage -------------------------------------------===//
#ifndef TXC_FUSE_PASSES_H
#define TXC_FUSE_PASSES_H

#include "txc/Dialect/Tx/Tx.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace txc::fuse {
#define GEN_PASS_DECL
#include "txc/Fuse/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "txc/Fuse/Passes.h.inc"

/// What trades memory for traffic; the defaults are those of the CPU.
struct Options {
  int64_t lossChunks = 0;     ///< tx-fuse-chunk-loss
  int64_t maxLogitsBytes = 0; ///< tx-fuse-chunk-loss
  bool rematerialize = false; ///< tx-fuse-rematerialize
  bool expandAttention = false; ///< tx-fuse-expand-attention
  bool rotateInAttention = false; ///< tx-fuse-form-kernels
  bool sumInProducts = false;     ///< tx-fuse-form-kernels
};

/// From a sharded step to one in which every computation is inside a tx.kernel.
void buildPipeline(mlir::OpPassManager &pm, const Options &options = {});
} // namespace txc::fuse

#endif // TXC_FUSE_PASSES_H
