//===- Segments.h - The flat arena of all parameters -----------------------===//
//
// A segment is one parameter. Kernels over all parameters work on pieces of
// segments, so the number of blocks and every partial sum depend on the
// parameters only. The segments are a constant table of the code.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_SEGMENTS_H
#define TXC_CODEGEN_SEGMENTS_H

#include "txc/Codegen/KernelBuilder.h"
#include "txc/Dialect/Step/Step.h"

namespace txc::codegen {

struct Segments {
  /// Columns of the table, i64 each.
  enum Column { First, Count, FirstPiece, Flags, Init, Site, Stddev, Whole, NumColumns };

  Segments(step::KernelOp kernel, int64_t pieceElements);

  int64_t pieceElements;
  llvm::SmallVector<std::array<int64_t, NumColumns>> rows;
  int64_t pieces = 0;
  int64_t elements = 0; ///< of whole tensors
  int64_t bound = 0;    ///< elements of the largest
  bool hasShards = false;

  /// Adds the table beside `function`, in address space `space`; its address.
  mlir::Value emitTable(KernelBuilder &b, mlir::Operation *function, llvm::StringRef name,
                        unsigned space = 0) const;
  static mlir::Value field(KernelBuilder &b, mlir::Value table, mlir::Value segment, Column column,
                           mlir::Type type = {});

  /// The elements of a segment that this rank has, in a kernel over shards: the
  /// first's number in the whole tensor, and how many there are, without padding.
  struct Own {
    mlir::Value offset, count;
  };
  /// `hyper` is the address of txc_hyper. `sharesOut`: of a tensor that every rank
  /// has as a whole, rank 0 has all elements and the others none.
  Own own(KernelBuilder &b, mlir::Value table, mlir::Value segment, mlir::Value hyper, bool sharesOut) const;
};

/// Elements from `element` on of a parameter that starts as N(0, deviation).
mlir::Value normalValues(KernelBuilder &b, const KernelBuilder::Generator &generator, mlir::Value element,
                         int64_t lanes, mlir::Value site, int64_t bound, mlir::Value deviation);

/// Whether x is neither infinite nor NaN.
mlir::Value isFinite(KernelBuilder &b, mlir::Value x);

/// Gradient statistics from sums over all elements (f64): `sum` and `squares` of
/// gradients that are yet to be multiplied by `scale`, their extremes, sum, maximum
/// and minimum of the norms of the parameters, which are scaled already, and the
/// number of elements that are not finite. The results in the order of
/// txc_update_result, f64.
struct GradientSums {
  mlir::Value sum, squares, min, max, normSum, normMax, normMin, nonfinite;
};
llvm::SmallVector<mlir::Value> gradientStatistics(KernelBuilder &b, const Segments &segments,
                                                  mlir::Value hyper, mlir::Value scale,
                                                  const GradientSums &sums);

/// The update rule of AdamW.
class AdamwRule {
public:
  /// Reads what is the same for all elements.
  AdamwRule(KernelBuilder &b, mlir::Value hyper, mlir::Value stats);
  /// What a weight of a segment is multiplied by, a scalar.
  mlir::Value shrink(mlir::Value flags);
  /// Whether the gradients of a segment with these flags become zero.
  mlir::Value zeroes(mlir::Value flags);
  struct Element { ///< vectors of one length
    mlir::Value value, grad, moment1, moment2;
  };
  /// The next value and moments, or the old ones if `stats` says that the update is
  /// skipped; the gradient is zero.
  Element update(const Element &old, mlir::Value shrink);

private:
  KernelBuilder &b;
  mlir::Value skips, one, decayed, gradScale, keep1, take1, keep2, take2, stepSize, correction2, epsilon;
};

} // namespace txc::codegen

#endif // TXC_CODEGEN_SEGMENTS_H
