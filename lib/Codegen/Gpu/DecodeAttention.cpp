//===- DecodeAttention.cpp - One token's attention to a cache, on a GPU ----===//
//
// A block is one query head of one sequence. Its warps share out the positions
// before the token's; the lanes of a warp share out the columns of the head:
//
//   1. Per position: score = q k^T (shuffles), online softmax, O += p v.
//   2. The first warp adds the token's own key and value, which it has from qkv.
//   3. The warps' results are put together in shared memory.
//
// The block of a key/value head's first query head also writes the token's key
// and value into the cache; nobody reads them there in this launch.
//
//===----------------------------------------------------------------------===//

#include "Emitters.h"

#include <cmath>

using namespace mlir;

namespace txc::codegen::gpu {

static constexpr int64_t warps = 8, warpSize = GpuBuilder::warpSize;

GpuShape describeDecodeAttention(tx::DecodeAttentionOp op) {
  GpuPhase phase;
  phase.grid[0] = cast<RankedTensorType>(op.getQkv().getType()).getDimSize(0) * op.getNHead();
  phase.block[0] = warps * warpSize;
  GpuShape shape;
  shape.phases.push_back(phase);
  return shape;
}

LogicalResult emitDecodeAttention(GpuBuilder &b, const KernelBody &body, tx::DecodeAttentionOp op) {
  int64_t heads = op.getNHead(), kvHeads = op.getNKvHead(), group = heads / kvHeads, dim = op.getHeadDim();
  int64_t length = cast<RankedTensorType>(op.getKeys().getType()).getDimSize(2);
  int64_t parts = ceilDiv(dim, warpSize); // columns of a lane: lane, lane + 32, ...
  Type element = elementOf(op.getQkv());
  auto argument = [&](Value value) { return b.argument(cast<BlockArgument>(value).getArgNumber()); };
  Value qkv = argument(op.getQkv()), keys = argument(op.getKeys()), values = argument(op.getValues());
  Value position = b.extendTo(b.load(argument(op.getPosition()), b.i64(0), b.getI32Type()), b.getI64Type());
  Value output;
  for (auto [i, yielded] : llvm::enumerate(body.yield->getOperands()))
    if (yielded == op.getResult())
      output = b.argument(body.resultArgument(i));

  Value sequence = b.divu(b.block(), b.i64(heads)), head = b.remu(b.block(), b.i64(heads));
  Value kvHead = b.divu(head, b.i64(group));
  Value row = b.mul(sequence, b.i64((heads + 2 * kvHeads) * dim));
  Value query = b.add(row, b.mul(head, b.i64(dim)));
  Value key = b.add(row, b.mul(b.add(kvHead, b.i64(heads)), b.i64(dim)));
  Value value = b.add(key, b.i64(kvHeads * dim));
  Value cache = b.mul(b.add(b.mul(sequence, b.i64(kvHeads)), kvHead), b.i64(length * dim));

  // Lanes beyond the head have zeros.
  SmallVector<Value> columns, inside;
  for (int64_t e = 0; e < parts; ++e) {
    Value column = b.add(b.lane(), b.i64(e * warpSize));
    Value isInside = b.icmp(arith::CmpIPredicate::ult, column, b.i64(dim));
    inside.push_back(isInside);
    columns.push_back(b.select(isInside, column, b.i64(0)));
  }
  auto loadRow = [&](Value pointer, Value first) {
    SmallVector<Value> loaded;
    for (auto [column, isInside] : llvm::zip(columns, inside)) {
      Value x = b.create<vector::ExtractOp>(b.loadVector(pointer, b.add(first, column), element, 1), 0);
      loaded.push_back(b.select(isInside, x, b.f32(0)));
    }
    return loaded;
  };
  SmallVector<Value> q = loadRow(qkv, query);
  for (Value &x : q)
    x = b.fmul(x, b.f32(1 / std::sqrt(static_cast<double>(dim))));

  // State of a warp: largest score, sum of exponentials, columns of O.
  auto attend = [&](ValueRange old, ArrayRef<Value> k, ArrayRef<Value> v) {
    Value score = b.f32(0);
    for (auto [x, y] : llvm::zip(q, k))
      score = b.fma(x, y, score);
    score = b.warpFold(GpuBuilder::Fold::Sum, score);
    Value max = b.fmax(old[0], score);
    Value factor = b.exp(b.fsub(old[0], max)), p = b.exp(b.fsub(score, max));
    SmallVector<Value> next = {max, b.fma(old[1], factor, p)};
    for (auto [sum, x] : llvm::zip(old.drop_front(2), v))
      next.push_back(b.fma(p, x, b.fmul(sum, factor)));
    return next;
  };
  SmallVector<Value> state(parts + 2, b.f32(0));
  state[0] = b.f32(-1e30);
  state = b.forLoop(b.warp(), position, b.i64(warps), state, [&](Value at, ValueRange old) {
    Value first = b.add(cache, b.mul(at, b.i64(dim)));
    return attend(old, loadRow(keys, first), loadRow(values, first));
  });
  SmallVector<Value> ownKey = loadRow(qkv, key), ownValue = loadRow(qkv, value);
  SmallVector<Value> withOwn = attend(state, ownKey, ownValue);
  Value isFirstWarp = b.icmp(arith::CmpIPredicate::eq, b.warp(), b.i64(0));
  for (auto [old, next] : llvm::zip(state, withOwn))
    old = b.select(isFirstWarp, next, old);

  Value writes = b.create<arith::AndIOp>(
      isFirstWarp, b.icmp(arith::CmpIPredicate::eq, b.remu(head, b.i64(group)), b.i64(0)));
  b.ifThen(writes, [&] {
    Value place = b.add(cache, b.mul(position, b.i64(dim)));
    for (auto [e, column] : llvm::enumerate(columns))
      b.ifThen(inside[e], [&] {
        b.storeVector(b.splat(ownKey[e], 1), keys, b.add(place, column), element);
        b.storeVector(b.splat(ownValue[e], 1), values, b.add(place, column), element);
      });
  });
  if (output) {
    Type f32 = b.getF32Type();
    int64_t width = parts * warpSize + 2; // of a warp's state in shared memory
    Value memory = b.shared(warps * width * 4);
    Value mine = b.mul(b.warp(), b.i64(width));
    b.store(state[0], memory, mine);
    b.store(state[1], memory, b.add(mine, b.i64(1)));
    for (int64_t e = 0; e < parts; ++e)
      b.store(state[2 + e], memory, b.add(mine, b.add(b.lane(), b.i64(2 + e * warpSize))));
    b.barrier();
    Value max = b.load(memory, b.i64(0), f32);
    for (int64_t w = 1; w < warps; ++w)
      max = b.fmax(max, b.load(memory, b.i64(w * width), f32));
    Value result = b.add(b.mul(sequence, b.i64(heads * dim)), b.mul(head, b.i64(dim)));
    b.forLoop(b.thread(), b.i64(dim), b.i64(warps * warpSize), [&](Value column) {
      Value total = b.f32(0), sum = b.f32(0);
      for (int64_t w = 0; w < warps; ++w) {
        Value factor = b.exp(b.fsub(b.load(memory, b.i64(w * width), f32), max));
        total = b.fma(b.load(memory, b.i64(w * width + 1), f32), factor, total);
        sum = b.fma(b.load(memory, b.add(column, b.i64(w * width + 2)), f32), factor, sum);
      }
      b.storeVector(b.splat(b.fdiv(sum, total), 1), output, b.add(result, column), element);
    });
  }
  b.finish();
  return success();
}

} // namespace txc::codegen::gpu
