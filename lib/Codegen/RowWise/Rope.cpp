//===- Rope.cpp - Rule of the rotary position embedding --------------------===//
//
// A chunk needs its own columns and their partners, so the input row must lie
// in memory. If the number of lanes divides D/2 (half) or D (interleaved), a
// chunk never leaves its half of a head and its partners are adjacent too;
// otherwise partners and angles are gathered.
//
//===----------------------------------------------------------------------===//

#include "RowKernel.h"

using namespace mlir;

namespace txc::codegen {

int64_t ropeLanes(tx::RopeOp op, int64_t most) {
  int64_t unit = op.getLayout() == tx::RopeLayout::Half ? op.getHeadDim() / 2 : op.getHeadDim();
  for (int64_t n = most; n >= 4; n /= 2)
    if (unit % n == 0)
      return n;
  return 0;
}

namespace {
/// What one rope op needs in every chunk of a row.
struct Rotation {
  RowKernel &k;
  tx::RopeOp op;
  RowKernel::RowMemory input, cos, sin;

  /// x cos + partner * (sign sin), where the column lies in a rotated head.
  Value rotate(Value x, Value partner, Value c, Value s, Value isFirst, Value isRotated) {
    KernelBuilder &b = k.b;
    Value signedSin = op.getInverse() ? b.select(isFirst, s, b.fneg(s)) : b.select(isFirst, b.fneg(s), s);
    Value rotated = b.fma(partner, signedSin, b.fmul(x, c));
    return isRotated ? b.select(isRotated, rotated, x) : rotated;
  }

  bool rotatesAll() {
    return static_cast<int64_t>(op.getHeads() * op.getHeadDim()) == widthOf(op.getInput());
  }
  int64_t rotatedColumns() { return op.getHeads() * op.getHeadDim(); }

  Value half(Chunk &chunk, int64_t shift) {
    KernelBuilder &b = k.b;
    int64_t dim = op.getHeadDim();
    Value column = b.add(chunk.column, b.i64(shift));
    Value inHead = b.remu(column, b.i64(dim));
    Value isFirst = b.icmp(arith::CmpIPredicate::ult, inHead, b.i64(dim / 2));
    Value pair = b.select(isFirst, inHead, b.sub(inHead, b.i64(dim / 2)));
    Value partner = b.add(column, b.select(isFirst, b.i64(dim / 2), b.i64(-dim / 2)));
    auto load = [&](const RowKernel::RowMemory &memory, Value index) {
      return b.loadVector(memory.pointer, index, memory.element, chunk.lanes, chunk.mask);
    };
    Value isRotated =
        rotatesAll() ? Value() : b.icmp(arith::CmpIPredicate::ult, column, b.i64(rotatedColumns()));
    return rotate(load(input, column), load(input, partner), load(cos, pair), load(sin, pair), isFirst,
                  isRotated);
  }

  Value interleaved(Chunk &chunk, int64_t shift) {
    KernelBuilder &b = k.b;
    Value column = b.add(chunk.column, b.i64(shift));
    Value pair = b.divu(b.remu(column, b.i64(op.getHeadDim())), b.i64(2));
    SmallVector<int32_t> swap, twice;
    SmallVector<bool> even;
    for (int32_t i = 0; i < chunk.lanes; ++i) {
      swap.push_back(i ^ 1);
      twice.push_back(i / 2);
      even.push_back(i % 2 == 0);
    }
    Value x = k.load(input, chunk, shift);
    auto angle = [&](const RowKernel::RowMemory &memory) {
      Value values = b.loadVector(memory.pointer, pair, memory.element, chunk.lanes / 2);
      return b.shuffle(values, values, twice);
    };
    Value isFirst = b.create<arith::ConstantOp>(
        DenseElementsAttr::get(VectorType::get({chunk.lanes}, b.getI1Type()), ArrayRef<bool>(even)));
    Value isRotated =
        rotatesAll() ? Value() : b.icmp(arith::CmpIPredicate::ult, column, b.i64(rotatedColumns()));
    return rotate(x, b.shuffle(x, x, swap), angle(cos), angle(sin), isFirst, isRotated);
  }

  Value gathered(Chunk &chunk, int64_t shift) {
    KernelBuilder &b = k.b;
    int64_t dim = op.getHeadDim();
    Value first = b.truncTo(b.add(chunk.column, b.i64(shift)), b.getI32Type());
    Value column = b.add(b.splat(first, chunk.lanes), b.iota(chunk.lanes));
    auto c = [&](int64_t value) { return b.intConstant(column, value); };
    Value inHead = b.remu(column, c(dim)), isFirst, pair, partner;
    if (op.getLayout() == tx::RopeLayout::Half) {
      isFirst = b.icmp(arith::CmpIPredicate::ult, inHead, c(dim / 2));
      pair = b.select(isFirst, inHead, b.sub(inHead, c(dim / 2)));
      partner = b.select(isFirst, b.add(column, c(dim / 2)), b.sub(column, c(dim / 2)));
    } else {
      Value odd = b.create<arith::AndIOp>(inHead, c(1));
      isFirst = b.icmp(arith::CmpIPredicate::eq, odd, c(0));
      pair = b.divu(inHead, c(2));
      partner = b.create<arith::XOrIOp>(column, c(1));
      // A head starts at an even column only if D is even, which it is.
    }
    Value isRotated = b.icmp(arith::CmpIPredicate::ult, column, c(rotatedColumns()));
    auto gather = [&](const RowKernel::RowMemory &memory, Value indices) {
      return b.gather(memory.pointer, indices, memory.element, chunk.mask);
    };
    return rotate(k.load(input, chunk, shift), gather(input, partner), gather(cos, pair), gather(sin, pair),
                  isFirst, isRotated);
  }
};
} // namespace

LogicalResult emit(RowKernel &k, tx::RopeOp op) {
  bool aligned = ropeLanes(op, k.b.lanes) != 0;
  if (!aligned && !elementOf(op.getInput()).isF32())
    return op.emitOpError() << "with head_dim " << op.getHeadDim() << " takes f32 only, found "
                            << op.getInput().getType();
  Rotation rotation{k, op, k.inStableMemory(op.getInput()), k.periodic(op.getCos()), k.periodic(op.getSin())};
  k.define(op.getResult(), [rotation, aligned](Chunk &chunk, int64_t shift) mutable {
    if (!aligned)
      return rotation.gathered(chunk, shift);
    return rotation.op.getLayout() == tx::RopeLayout::Half ? rotation.half(chunk, shift)
                                                           : rotation.interleaved(chunk, shift);
  });
  return success();
}

} // namespace txc::codegen
