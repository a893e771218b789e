//===- Ranks.h - All ranks of a step, side by side -------------------------===//
#ifndef TXC_INTERP_RANKS_H
#define TXC_INTERP_RANKS_H

#include "txc/Interp/Frame.h"

namespace txc::interp {

/// The ranks of a module, which its mesh counts (one, if it has none). They are
/// evaluated op by op: each runs an op before any runs the next, so where one meets a
/// collective all do, and they exchange values.
class Ranks {
public:
  /// Null after an error: the module's mesh is no mesh.
  static mlir::FailureOr<Ranks> create(mlir::ModuleOp module, bool rounds = true);

  int64_t size() const { return states.size(); }
  State &getState(int64_t rank) { return states[rank]; }
  llvm::ArrayRef<mlir::StringAttr> getNames() const { return states.front().getNames(); }

  /// Evaluates `function` on all ranks. `arguments[r]` and `results[r]` are rank r's.
  mlir::LogicalResult call(mlir::func::FuncOp function, llvm::ArrayRef<llvm::SmallVector<Datum>> arguments,
                           llvm::SmallVectorImpl<llvm::SmallVector<Datum>> &results);

  /// A whole tensor of a parameter: its value or a moment.
  Tensor getWhole(mlir::StringAttr param, tx::State state);
  /// The gradient of a parameter summed over ranks, once an iteration's micro batches
  /// are done.
  Tensor getGradient(mlir::StringAttr param);
  /// Checks that what all ranks have is equal on all, to the bit, and that padding is
  /// zero. Holds between two calls, but for gradients.
  mlir::LogicalResult checkEqual();

private:
  Ranks(mlir::ModuleOp module, int64_t zero) : module(module), zero(zero) {}
  Tensor join(mlir::StringAttr param, tx::State state);

  mlir::ModuleOp module;
  int64_t zero;
  std::vector<State> states;
};

} // namespace txc::interp

#endif // TXC_INTERP_RANKS_H
