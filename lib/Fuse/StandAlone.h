//===- StandAlone.h - What is no kernel ------------------------------------===//
#ifndef TXC_LIB_FUSE_STANDALONE_H
#define TXC_LIB_FUSE_STANDALONE_H

#include "txc/Dialect/Tx/Tx.h"

namespace txc::fuse {

/// Whether `op` stays outside of kernels: state, updates, parts of tensors, and what
/// ranks exchange.
inline bool mayStandAlone(mlir::Operation *op) {
  return mlir::isa<tx::ReadOp, tx::AssignOp, tx::AccumulateShardsOp, tx::ClearGradientsOp, tx::InitOp,
                   tx::GlobalNormOp, tx::GradientSumsOp, tx::GradientStatsOp, tx::AdamwOp, tx::SliceRowsOp,
                   tx::ConcatRowsOp, tx::AllReduceOp, tx::ReduceScatterOp, tx::AllGatherOp>(op);
}

} // namespace txc::fuse

#endif // TXC_LIB_FUSE_STANDALONE_H
