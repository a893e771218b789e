//===- Loss.cpp - Rules of cross-entropy -----------------------------------===//
//
// The maximum, then the sum of exponentials, each one loop over the row. The
// target's logit is read before anything is written, so that the gradient may
// be written over the logits.
//
//===----------------------------------------------------------------------===//

#include "RowKernel.h"

using namespace mlir;

namespace txc::codegen {

/// True if the target of the row is ignored.
static Value isIgnored(KernelBuilder &b, Value target, int64_t ignoreIndex) {
  return b.icmp(arith::CmpIPredicate::eq, target, b.i32(ignoreIndex));
}

Value RowKernel::logSumExp(Value value) {
  int64_t n = widthOf(value);
  Value max =
      reduce(n, Fold::Max, value, [&](Chunk &chunk, int64_t shift, ValueRange old) -> SmallVector<Value> {
        return {b.fmax(old[0], at(value, chunk, shift))};
      })[0];
  Value sum =
      reduce(n, Fold::Sum, value, [&](Chunk &chunk, int64_t shift, ValueRange old) -> SmallVector<Value> {
        return {b.fadd(old[0], b.exp(b.fsub(at(value, chunk, shift), spread(max, chunk))))};
      })[0];
  return b.fadd(b.log(sum), max);
}

LogicalResult emit(RowKernel &k, tx::CrossEntropyOp op) {
  KernelBuilder &b = k.b;
  Value logits = op.getLogits();
  Value lse = k.logSumExp(logits);
  Value target = k.scalar(op.getTargets());
  Value ignored = isIgnored(b, target, op.getIgnoreIndex());
  Value index = b.create<arith::ExtSIOp>(b.getI64Type(), b.select(ignored, b.i32(0), target));
  RowKernel::RowMemory row = k.inMemory(logits);
  Value hit = b.loadVector(row.pointer, index, row.element, 1);
  hit = b.create<vector::ExtractOp>(hit, 0);
  k.defineScalar(op.getLse(), lse);
  k.defineScalar(op.getLoss(), b.select(ignored, b.f32(0), b.fsub(lse, hit)));
  return success();
}

LogicalResult emit(RowKernel &k, tx::CrossEntropyVjpOp op) {
  KernelBuilder &b = k.b;
  Value target = k.scalar(op.getTargets()), lse = k.scalar(op.getLse());
  Value grad = b.select(isIgnored(b, target, op.getIgnoreIndex()), b.f32(0), k.scalar(op.getGrad()));
  k.define(op.getResult(), [&k, op, target, lse, grad](Chunk &chunk, int64_t shift) mutable {
    KernelBuilder &b = k.b;
    Value p = b.exp(b.fsub(k.at(op.getLogits(), chunk, shift), k.spread(lse, chunk)));
    Value column = b.truncTo(b.add(chunk.column, b.i64(shift)), b.getI32Type());
    Value isTarget =
        b.icmp(arith::CmpIPredicate::eq, b.iota(chunk.lanes), k.spread(b.sub(target, column), chunk));
    Value difference = b.select(isTarget, b.fsub(p, b.constant(p, 1.0)), p);
    return b.fmul(k.spread(grad, chunk), difference);
  });
  return success();
}

LogicalResult emit(RowKernel &k, tx::MeanLossVjpOp op) {
  k.defineScalar(op.getResult(), k.b.fdiv(k.scalar(op.getGrad()), k.scalar(op.getCount())));
  return success();
}

} // namespace txc::codegen
