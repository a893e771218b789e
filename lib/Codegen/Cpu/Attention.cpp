//===- Attention.cpp - tx.attention as blocked loops -----------------------===//
//
// One block of the iteration space: 64 queries of one head of one batch. Online
// softmax (Milakov and Gimelshein, arXiv 1805.02867) over key blocks up to the
// diagonal, as in FlashAttention (Dao et al., arXiv 2205.14135), lanes running
// over queries:
//
//   1. Q of the block, transposed and scaled by log2(e) / sqrt(D), once.
//   2. Per key block: S^T = K Q^T; m' = max(m, max of S); p = 2^(S - m');
//      l = l 2^(m - m') + sum of p; O = O 2^(m - m') + drop(p) V.
//   3. O / l and lse = ln 2 (m + log2 l) go out.
//
// Only the last key block crosses the diagonal: it alone has a mask, and its
// products leave out tiles that lie wholly beyond the diagonal.
//
// Scratch: 64 x D four times and one 64 x 64 block, on the stack.
//
//===----------------------------------------------------------------------===//

#include "AttentionTiles.h"

#include <cmath>

using namespace mlir;

namespace txc::codegen {
namespace {

constexpr int64_t size = attentionBlock;

class Forward {
public:
  Forward(CpuBuilder &b, step::KernelOp kernel, tx::AttentionOp op)
      : b(b), kernel(kernel), op(op),
        sizes(getAttentionSizes(op.getQkv(), op.getNHead(), op.getNKvHead(), b.target)), f32(b.getF32Type()) {
  }

  void emit() {
    qkv = b.argument(getInputArgument(op.getQkv()));
    if (auto index = getResultArgument(kernel, op.getResult()))
      output = b.argument(*index);
    if (auto index = getResultArgument(kernel, op.getLse()))
      lse = b.argument(*index);
    if (op.getHyper())
      generator = b.generator(b.argument(getInputArgument(op.getHyper())));
    queriesT = b.scratch(sizes.padded * size);
    keys = b.scratch(size * sizes.padded);
    values = b.scratch(size * sizes.padded);
    sums = b.scratch(size * sizes.padded);
    scores = b.scratch(size * size);
    maxima = b.scratch(size);
    totals = b.scratch(size);
    factors = b.scratch(size);
    b.forLoop(b.begin(), b.end(), b.i64(1), [&](Value block) { emitBlock(block); });
  }

private:
  void emitBlock(Value block) {
    Value perHead = b.i64(sizes.blocksPerHead());
    batchHead = b.divu(block, perHead);
    firstQuery = b.mul(b.remu(block, perHead), b.i64(size));
    Value batch = b.divu(batchHead, b.i64(sizes.heads)), head = b.remu(batchHead, b.i64(sizes.heads));
    Value kvHead = b.divu(head, b.i64(sizes.group()));
    Value batchStart = b.mul(batch, b.i64(sizes.length * sizes.rowSize));
    keyStart = b.add(batchStart, b.mul(b.add(kvHead, b.i64(sizes.heads)), b.i64(sizes.headDim)));
    Value queryStart = b.add(batchStart, b.mul(head, b.i64(sizes.headDim)));
    Value valid = b.mins(b.i64(size), b.sub(b.i64(sizes.length), firstQuery));

    emitTransposeIn(b,
                    {qkv, b.add(queryStart, b.mul(firstQuery, b.i64(sizes.rowSize))), sizes.rowSize, valid,
                     sizes.headDim},
                    queriesT, M_LOG2E / std::sqrt(static_cast<double>(sizes.headDim)));
    emitZero(b, sums, size * sizes.padded);
    emitZero(b, totals, size);
    Value least = b.splat(b.f32(-1e30), b.lanes);
    for (int64_t i = 0; i < size; i += b.lanes)
      b.storeVector(least, maxima, b.i64(i), f32);

    b.forLoop(b.i64(0), firstQuery, b.i64(size),
              [&](Value firstKey) { emitKeyBlock(firstKey, b.i64(size), /*diagonal=*/false); });
    emitKeyBlock(firstQuery, valid, /*diagonal=*/true);

    Value one = b.splat(b.f32(1), b.lanes), ln2 = b.splat(b.f32(M_LN2), b.lanes);
    for (int64_t i = 0; i < size; i += b.lanes) {
      Value total = b.loadVector(totals, b.i64(i), f32, b.lanes);
      b.storeVector(b.fdiv(one, total), factors, b.i64(i), f32);
      if (!lse)
        continue;
      Value maximum = b.loadVector(maxima, b.i64(i), f32, b.lanes);
      Value index = b.add(b.add(b.mul(batchHead, b.i64(sizes.length)), firstQuery), b.i64(i));
      b.storeVector(b.fma(maximum, ln2, b.log(total)), lse, index, f32,
                    b.tailMask(b.lanes, b.sub(valid, b.i64(i))));
    }
    if (!output)
      return;
    int64_t outputRow = sizes.heads * sizes.headDim;
    Value row = b.add(b.mul(batch, b.i64(sizes.length)), firstQuery);
    Value index = b.add(b.mul(row, b.i64(outputRow)), b.mul(head, b.i64(sizes.headDim)));
    emitCopyOut(b, sums, {output, index, outputRow, valid, sizes.headDim}, /*accumulate=*/false, factors);
  }

  void emitKeyBlock(Value firstKey, Value valid, bool diagonal) {
    Value keyIndex = b.add(keyStart, b.mul(firstKey, b.i64(sizes.rowSize)));
    Value valueIndex = b.add(keyIndex, b.i64(sizes.kvHeads * sizes.headDim));
    emitCopyIn(b, {qkv, keyIndex, sizes.rowSize, valid, sizes.headDim}, keys);
    emitCopyIn(b, {qkv, valueIndex, sizes.rowSize, valid, sizes.headDim}, values);

    // S^T: a row per key, a column per query. Queries [column, column + tile)
    // see keys up to the last of them.
    int64_t tile = getTileSize(b.target, size / b.lanes).vectors * b.lanes;
    BlockProduct product;
    product.a = keys, product.aRow = sizes.padded, product.aColumn = 1;
    product.b = queriesT, product.bRow = size;
    product.c = scores, product.cRow = size;
    product.width = size;
    auto allRows = [&](int64_t column) {
      return Range{b.i64(0), b.i64(diagonal ? std::min(size, column + tile) : size)};
    };
    auto headDims = [&](Value) { return Range{b.i64(0), b.i64(sizes.headDim)}; };
    product.rows = allRows;
    product.ks = headDims;
    emitBlockProduct(b, product);
    for (int64_t column = 0; column < size; column += tile)
      emitSoftmax(column, std::min(tile, size - column), firstKey,
                  b.i64(diagonal ? std::min(size, column + tile) : size), diagonal);

    // O: a row per query.
    BlockProduct weighted;
    weighted.a = scores, weighted.aRow = 1, weighted.aColumn = size;
    weighted.b = values, weighted.bRow = sizes.padded;
    weighted.c = sums, weighted.cRow = sizes.padded;
    weighted.width = sizes.padded;
    weighted.accumulate = true;
    weighted.rowScale = factors;
    int64_t rows = getTileSize(b.target, sizes.padded / b.lanes).rows;
    auto everyRow = [&](int64_t) { return Range{b.i64(0), b.i64(size)}; };
    auto visible = [&](Value row) {
      return Range{b.i64(0), diagonal ? b.add(row, b.i64(rows)) : b.i64(size)};
    };
    weighted.rows = everyRow;
    weighted.ks = visible;
    emitBlockProduct(b, weighted);
  }

  /// Columns [column, column + width) of S^T become drop(p), keys [0, keyCount).
  void emitSoftmax(int64_t column, int64_t width, Value firstKey, Value keyCount, bool diagonal) {
    int64_t vectors = width / b.lanes;
    Value hidden = b.splat(b.f32(-1e30), b.lanes), zero = b.splat(b.f32(0), b.lanes);
    auto load = [&](Value pointer, int64_t v) {
      return b.loadVector(pointer, b.i64(column + v * b.lanes), f32, b.lanes);
    };
    auto store = [&](Value value, Value pointer, int64_t v) {
      b.storeVector(value, pointer, b.i64(column + v * b.lanes), f32);
    };
    auto scoreIndex = [&](Value key, int64_t v) {
      return b.add(b.mul(key, b.i64(size)), b.i64(column + v * b.lanes));
    };
    // Query number of each lane, to compare with the key's.
    Value lanes = b.iota(b.lanes);
    auto visible = [&](Value key, int64_t v) {
      Value distance = b.truncTo(b.sub(key, b.i64(column + v * b.lanes)), b.getI32Type());
      return b.icmp(arith::CmpIPredicate::sge, lanes, b.splat(distance, b.lanes));
    };

    SmallVector<Value> carried;
    for (int64_t v = 0; v < vectors; ++v)
      carried.push_back(load(maxima, v));
    SmallVector<Value> highest =
        b.forLoop(b.i64(0), keyCount, b.i64(1), carried, [&](Value key, ValueRange current) {
          SmallVector<Value> next;
          for (int64_t v = 0; v < vectors; ++v) {
            Value score = b.loadVector(scores, scoreIndex(key, v), f32, b.lanes);
            if (diagonal)
              score = b.select(visible(key, v), score, hidden);
            next.push_back(b.fmax(score, current[v]));
          }
          return next;
        });
    SmallVector<Value> start;
    for (int64_t v = 0; v < vectors; ++v) {
      Value factor = emitExp2(b, b.fsub(carried[v], highest[v]));
      store(highest[v], maxima, v);
      store(factor, factors, v);
      start.push_back(b.fmul(load(totals, v), factor));
    }
    SmallVector<Value> totalsNow =
        b.forLoop(b.i64(0), keyCount, b.i64(1), start, [&](Value key, ValueRange current) {
          SmallVector<Value> next;
          for (int64_t v = 0; v < vectors; ++v) {
            Value index = scoreIndex(key, v);
            Value score = b.loadVector(scores, index, f32, b.lanes);
            Value p = emitExp2(b, b.fsub(score, highest[v]));
            if (diagonal)
              p = b.select(visible(key, v), p, zero);
            next.push_back(b.fadd(current[v], p));
            if (op.getHyper())
              p = b.fmul(p, dropScale(b.add(firstKey, key), column + v * b.lanes));
            b.storeVector(p, scores, index, f32);
          }
          return next;
        });
    for (int64_t v = 0; v < vectors; ++v)
      store(totalsNow[v], totals, v);
  }

  /// 1 / (1 - dropout) for the queries (one per lane) that keep `key`, else 0.
  Value dropScale(Value key, int64_t column) {
    // Element ((b H + h) T + t) T + s: one query further is T elements further.
    Value row = b.add(b.mul(batchHead, b.i64(sizes.length)), b.add(firstQuery, b.i64(column)));
    Value first = b.add(b.mul(row, b.i64(sizes.length)), key);
    Value steps = b.mul(b.extendTo(b.iota(b.lanes), b.getI64Type()), b.splat(b.i64(sizes.length), b.lanes));
    Value element = b.add(b.splat(first, b.lanes), steps);
    Value low = b.truncTo(element, b.getI32Type());
    Value high = b.truncTo(b.create<arith::ShRUIOp>(element, b.splat(b.i64(32), b.lanes)), b.getI32Type());
    Value word =
        b.philox({low, high, b.splat(b.site(op.getSite()), b.lanes), b.splat(generator.stepLo, b.lanes)},
                 generator.seedLo, generator.seedHi)[0];
    double p = op.getDropout().convertToDouble();
    Value drawn = b.create<arith::ShRUIOp>(word, b.intConstant(word, 8));
    Value kept = b.icmp(arith::CmpIPredicate::uge, drawn,
                        b.intConstant(word, static_cast<int64_t>(std::ceil(std::ldexp(p, 24)))));
    return b.select(kept, b.splat(b.f32(1 / (1 - p)), b.lanes), b.splat(b.f32(0), b.lanes));
  }

  CpuBuilder &b;
  step::KernelOp kernel;
  tx::AttentionOp op;
  AttentionSizes sizes;
  Type f32;
  CpuBuilder::Generator generator;
  Value qkv, output, lse;
  Value queriesT, keys, values, sums, scores; ///< blocks, padded
  Value maxima, totals, factors;              ///< one element per query
  Value batchHead, firstQuery, keyStart;
};

} // namespace

LogicalResult emitAttention(func::FuncOp function, step::KernelOp kernel, tx::AttentionOp op, int64_t phase,
                            const CpuTarget &target) {
  Type element = cast<RankedTensorType>(op.getQkv().getType()).getElementType();
  if (!element.isF32())
    return op.emitOpError() << "has elements of type " << element
                            << "; the CPU target computes attention in f32";
  CpuBuilder b(function, target);
  Forward(b, kernel, op).emit();
  b.create<func::ReturnOp>();
  return success();
}

KernelShape describeAttention(tx::AttentionOp op, const CpuTarget &target) {
  AttentionSizes sizes = getAttentionSizes(op.getQkv(), op.getNHead(), op.getNKvHead(), target);
  return {{sizes.batch * sizes.heads * sizes.blocksPerHead()}, {}};
}

} // namespace txc::codegen
