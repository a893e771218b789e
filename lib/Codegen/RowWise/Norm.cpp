//===- Norm.cpp - Rules of the norms ---------------------------------------===//
//
// One loop over the row for each mean that depends on the one before, then the
// closures. xhat is never stored: it is one multiplication away.
//
//===----------------------------------------------------------------------===//

#include "RowKernel.h"

using namespace mlir;

namespace txc::codegen {

using Fold = RowKernel::Fold;

/// 1 / sqrt(sum / n + epsilon)
static Value inverseRoot(KernelBuilder &b, Value sum, int64_t n, const APFloat &epsilon) {
  Value mean = b.fdiv(sum, b.f32(n));
  return b.fdiv(b.f32(1.0), b.sqrt(b.fadd(mean, b.f32(epsilon.convertToDouble()))));
}

LogicalResult emit(RowKernel &k, tx::RmsNormOp op) {
  KernelBuilder &b = k.b;
  Value input = op.getInput();
  int64_t n = widthOf(input);
  Value sum =
      k.reduce(n, Fold::Sum, input, [&](Chunk &chunk, int64_t shift, ValueRange sums) -> SmallVector<Value> {
        Value x = k.at(input, chunk, shift);
        return {b.fma(x, x, sums[0])};
      })[0];
  Value rstd = inverseRoot(b, sum, n, op.getEpsilon());
  k.defineScalar(op.getRstd(), rstd);
  k.define(op.getResult(), [&k, op, rstd](Chunk &chunk, int64_t shift) mutable {
    Value scaled = k.b.fmul(k.at(op.getInput(), chunk, shift), k.spread(rstd, chunk));
    return k.b.fmul(scaled, k.columnAt(op.getGain(), chunk, shift));
  });
  return success();
}

LogicalResult emit(RowKernel &k, tx::RmsNormVjpOp op) {
  KernelBuilder &b = k.b;
  Value grad = op.getGrad(), input = op.getInput();
  int64_t n = widthOf(input);
  Value sum = k.reduce(n, Fold::Sum, {grad, input},
                       [&](Chunk &chunk, int64_t shift, ValueRange sums) -> SmallVector<Value> {
                         Value g = b.fmul(k.at(grad, chunk, shift), k.columnAt(op.getGain(), chunk, shift));
                         return {b.fma(g, k.at(input, chunk, shift), sums[0])};
                       })[0];
  // mean(g * xhat) * xhat = x * rstd^2 * sum / n
  Value rstd = k.scalar(op.getRstd());
  Value factor = b.fmul(b.fmul(rstd, rstd), b.fdiv(sum, b.f32(n)));
  k.define(op.getInputGrad(), [&k, op, rstd, factor](Chunk &chunk, int64_t shift) mutable {
    KernelBuilder &b = k.b;
    Value g = b.fmul(k.at(op.getGrad(), chunk, shift), k.columnAt(op.getGain(), chunk, shift));
    Value along = b.fmul(k.at(op.getInput(), chunk, shift), k.spread(factor, chunk));
    return b.fmul(k.spread(rstd, chunk), b.fsub(g, along));
  });
  k.defineColumnSum(op.getGainGrad(), [&k, op, rstd](Chunk &chunk, int64_t shift) mutable {
    Value xhat = k.b.fmul(k.at(op.getInput(), chunk, shift), k.spread(rstd, chunk));
    return k.b.fmul(k.at(op.getGrad(), chunk, shift), xhat);
  });
  return success();
}

LogicalResult emit(RowKernel &k, tx::LayerNormOp op) {
  KernelBuilder &b = k.b;
  Value input = op.getInput();
  int64_t n = widthOf(input);
  Value sum =
      k.reduce(n, Fold::Sum, input, [&](Chunk &chunk, int64_t shift, ValueRange sums) -> SmallVector<Value> {
        return {b.fadd(sums[0], k.at(input, chunk, shift))};
      })[0];
  Value mean = b.fdiv(sum, b.f32(n));
  Value squares =
      k.reduce(n, Fold::Sum, input, [&](Chunk &chunk, int64_t shift, ValueRange sums) -> SmallVector<Value> {
        Value centered = b.fsub(k.at(input, chunk, shift), k.spread(mean, chunk));
        return {b.fma(centered, centered, sums[0])};
      })[0];
  Value rstd = inverseRoot(b, squares, n, op.getEpsilon());
  k.defineScalar(op.getMean(), mean);
  k.defineScalar(op.getRstd(), rstd);
  k.define(op.getResult(), [&k, op, mean, rstd](Chunk &chunk, int64_t shift) mutable {
    Value centered = k.b.fsub(k.at(op.getInput(), chunk, shift), k.spread(mean, chunk));
    return k.b.fmul(k.b.fmul(centered, k.spread(rstd, chunk)), k.columnAt(op.getGain(), chunk, shift));
  });
  return success();
}

LogicalResult emit(RowKernel &k, tx::LayerNormVjpOp op) {
  KernelBuilder &b = k.b;
  Value grad = op.getGrad(), input = op.getInput();
  Value mean = k.scalar(op.getMean()), rstd = k.scalar(op.getRstd());
  int64_t n = widthOf(input);
  auto xhat = [&k, input, mean, rstd](Chunk &chunk, int64_t shift) {
    return k.b.fmul(k.b.fsub(k.at(input, chunk, shift), k.spread(mean, chunk)), k.spread(rstd, chunk));
  };
  SmallVector<Value> sums =
      k.reduce(n, {Fold::Sum, Fold::Sum}, {grad, input},
               [&](Chunk &chunk, int64_t shift, ValueRange sums) -> SmallVector<Value> {
                 Value g = b.fmul(k.at(grad, chunk, shift), k.columnAt(op.getGain(), chunk, shift));
                 return {b.fadd(sums[0], g), b.fma(g, xhat(chunk, shift), sums[1])};
               });
  Value meanG = b.fdiv(sums[0], b.f32(n)), meanGX = b.fdiv(sums[1], b.f32(n));
  k.define(op.getInputGrad(), [&k, op, xhat, rstd, meanG, meanGX](Chunk &chunk, int64_t shift) mutable {
    KernelBuilder &b = k.b;
    Value g = b.fmul(k.at(op.getGrad(), chunk, shift), k.columnAt(op.getGain(), chunk, shift));
    Value along = b.fmul(xhat(chunk, shift), k.spread(meanGX, chunk));
    return b.fmul(k.spread(rstd, chunk), b.fsub(b.fsub(g, k.spread(meanG, chunk)), along));
  });
  k.defineColumnSum(op.getGainGrad(), [&k, op, xhat](Chunk &chunk, int64_t shift) mutable {
    return k.b.fmul(k.at(op.getGrad(), chunk, shift), xhat(chunk, shift));
  });
  return success();
}

LogicalResult emit(RowKernel &k, tx::NormalizedOp op) {
  Value rstd = k.scalar(op.getRstd());
  Value mean = op.getMean() ? k.scalar(op.getMean()) : Value();
  k.define(op.getResult(), [&k, op, mean, rstd](Chunk &chunk, int64_t shift) mutable {
    Value x = k.at(op.getInput(), chunk, shift);
    if (mean)
      x = k.b.fsub(x, k.spread(mean, chunk));
    return k.b.fmul(k.b.fmul(x, k.spread(rstd, chunk)), k.columnAt(op.getGain(), chunk, shift));
  });
  return success();
}

} // namespace txc::codegen
