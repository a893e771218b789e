//===- Batch.h - Arguments for the functions of a step ---------------------===//
#ifndef TXC_INTERP_BATCH_H
#define TXC_INTERP_BATCH_H

#include "txc/Interp/Frame.h"

namespace txc::interp {

/// Makes token batches that depend on a seed only, so that two forms of one
/// program see the same.
class Batches {
public:
  /// The vocabulary of `module` is that of its embeddings and cross-entropies.
  Batches(mlir::ModuleOp module, uint64_t seed, double ignored);

  /// The arguments of `function`: the first i32 tensor gets tokens, the second
  /// the tokens that follow (a share `ignored` of them the ignore_index), a
  /// !tx.hyper gets `hyper`. Anything else is an error.
  mlir::FailureOr<llvm::SmallVector<Datum>> arguments(mlir::func::FuncOp function, const Hyper &hyper,
                                                      uint32_t batch);

private:
  uint64_t seed;
  double ignored;
  int64_t vocabulary = 0, ignoreIndex = -1;
};

} // namespace txc::interp

#endif // TXC_INTERP_BATCH_H
