//===- Softmax.cpp - Rules of the softmax of attention in parts -------------===//
//
// Row r of [B, H, T, T] sees columns 0 to r mod T; the rest count as minus
// infinity, or as 0.
//
//===----------------------------------------------------------------------===//

#include "RowKernel.h"

using namespace mlir;

namespace txc::codegen {

namespace {
/// Which columns a row sees.
class Visible {
public:
  Visible(RowKernel &k, Value rows) : k(k) {
    last = k.b.truncTo(k.b.create<arith::RemSIOp>(k.rowIndex(), k.b.i64(widthOf(rows))), k.b.getI32Type());
  }
  /// `value` at the columns that are seen, `hidden` at the others.
  Value only(Value value, Value hidden, const Chunk &chunk, int64_t shift) const {
    KernelBuilder &b = k.b;
    Value column = b.truncTo(b.add(chunk.column, b.i64(shift)), b.getI32Type());
    Value seen = b.icmp(arith::CmpIPredicate::sle, b.iota(chunk.lanes), k.spread(b.sub(last, column), chunk));
    return b.select(seen, value, hidden);
  }

private:
  RowKernel &k;
  Value last; // i32
};
} // namespace

LogicalResult emit(RowKernel &k, tx::CausalSoftmaxOp op) {
  Visible visible(k, op.getInput());
  double scale = op.getScale().convertToDouble();
  Value input = op.getInput();
  // Finite, so that no row meets infinity minus infinity.
  auto scaled = [&k, input, visible, scale](Chunk &chunk, int64_t shift) {
    Value x = k.at(input, chunk, shift);
    return visible.only(k.b.fmul(x, k.b.constant(x, scale)), k.b.constant(x, -1e30), chunk, shift);
  };
  int64_t n = widthOf(input);
  Value max = k.reduce(n, RowKernel::Fold::Max, input,
                       [&](Chunk &chunk, int64_t shift, ValueRange old) -> SmallVector<Value> {
                         return {k.b.fmax(old[0], scaled(chunk, shift))};
                       })[0];
  Value sum = k.reduce(n, RowKernel::Fold::Sum, input,
                       [&](Chunk &chunk, int64_t shift, ValueRange old) -> SmallVector<Value> {
                         Value e = k.b.exp(k.b.fsub(scaled(chunk, shift), k.spread(max, chunk)));
                         return {k.b.fadd(old[0], e)};
                       })[0];
  Value lse = k.b.fadd(k.b.log(sum), max);
  k.define(op.getResult(), [&k, scaled, visible, lse](Chunk &chunk, int64_t shift) {
    Value p = k.b.exp(k.b.fsub(scaled(chunk, shift), k.spread(lse, chunk)));
    return visible.only(p, k.b.constant(p, 0.0), chunk, shift);
  });
  return success();
}

LogicalResult emit(RowKernel &k, tx::CausalSoftmaxVjpOp op) {
  Visible visible(k, op.getGrad());
  double scale = op.getScale().convertToDouble();
  Value grad = op.getGrad(), output = op.getOutput();
  // What the gradient is at columns that are not seen does not matter: there p is 0.
  auto seenGrad = [&k, grad, visible](Chunk &chunk, int64_t shift) {
    Value dy = k.at(grad, chunk, shift);
    return visible.only(dy, k.b.constant(dy, 0.0), chunk, shift);
  };
  Value dot = k.reduce(widthOf(grad), RowKernel::Fold::Sum, {grad, output},
                       [&](Chunk &chunk, int64_t shift, ValueRange old) -> SmallVector<Value> {
                         return {k.b.fma(k.at(output, chunk, shift), seenGrad(chunk, shift), old[0])};
                       })[0];
  k.define(op.getResult(), [&k, seenGrad, output, dot, scale](Chunk &chunk, int64_t shift) {
    Value p = k.at(output, chunk, shift);
    Value difference = k.b.fsub(seenGrad(chunk, shift), k.spread(dot, chunk));
    return k.b.fmul(k.b.fmul(p, k.b.constant(p, scale)), difference);
  });
  return success();
}

} // namespace txc::codegen
