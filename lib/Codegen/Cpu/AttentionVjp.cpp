//===- AttentionVjp.cpp - tx.attention_vjp as blocked loops ----------------===//
//
// One block of the iteration space: one key/value head of one batch with the
// query heads that share it. All sums are in a fixed order, without atomics,
// and every block of scores is computed once (five products):
//
//   1. delta[t] = dot(grad[t], output[t]) per query head, into the workspace;
//      the gradient of q is zeroed.
//   2. Per key block: K^T (scaled by log2(e) / sqrt(D)) and V^T are packed. Per
//      query head, per query block from the diagonal on, lanes over keys:
//        S = Q K^T, p = 2^(S - lse log2 e);  dP = dO V^T
//        ds = p (drop(dP) - delta) / sqrt(D)
//        dV += drop(p)^T dO;  dK += ds^T Q;  dQ += ds K
//      dK and dV stay in scratch until the key block is done.
//
// Only the first query block crosses the diagonal: it alone has a mask, and its
// products leave out tiles that lie wholly beyond the diagonal.
//
// Scratch: 64 x D eight times and two 64 x 64 blocks, on the stack.
//
//===----------------------------------------------------------------------===//

#include "AttentionTiles.h"

#include <cmath>

using namespace mlir;

namespace txc::codegen {
namespace {

constexpr int64_t size = attentionBlock;

class Backward {
public:
  Backward(CpuBuilder &b, step::KernelOp kernel, tx::AttentionVjpOp op)
      : b(b), kernel(kernel), op(op),
        sizes(getAttentionSizes(op.getQkv(), op.getNHead(), op.getNKvHead(), b.target)), f32(b.getF32Type()) {
  }

  void emit() {
    qkv = b.argument(getInputArgument(op.getQkv()));
    grad = b.argument(getInputArgument(op.getGrad()));
    output = b.argument(getInputArgument(op.getOutput()));
    lse = b.argument(getInputArgument(op.getLse()));
    result = b.argument(*getResultArgument(kernel, op.getQkvGrad()));
    Block &body = kernel.getBody().front();
    delta = b.argument(body.getNumArguments() + body.back().getNumOperands());
    if (op.getHyper())
      generator = b.generator(b.argument(getInputArgument(op.getHyper())));
    for (Value *block : {&queries, &grads, &keys, &keysT, &valuesT, &queryGrads, &keyGrads, &valueGrads})
      *block = b.scratch(size * sizes.padded);
    probabilities = b.scratch(size * size);
    scoreGrads = b.scratch(size * size);
    rowLse = b.scratch(size);
    rowDelta = b.scratch(size);
    b.forLoop(b.begin(), b.end(), b.i64(1), [&](Value block) { emitBlock(block); });
  }

private:
  void emitBlock(Value block) {
    batch = b.divu(block, b.i64(sizes.kvHeads));
    Value kvHead = b.remu(block, b.i64(sizes.kvHeads));
    firstHead = b.mul(kvHead, b.i64(sizes.group()));
    batchStart = b.mul(batch, b.i64(sizes.length * sizes.rowSize));
    Value keyStart = b.add(batchStart, b.mul(b.add(kvHead, b.i64(sizes.heads)), b.i64(sizes.headDim)));
    b.forLoop(firstHead, b.add(firstHead, b.i64(sizes.group())), b.i64(1),
              [&](Value head) { emitDelta(head); });

    b.forLoop(b.i64(0), b.i64(sizes.length), b.i64(size), [&](Value firstKey) {
      Value valid = b.mins(b.i64(size), b.sub(b.i64(sizes.length), firstKey));
      Value keyIndex = b.add(keyStart, b.mul(firstKey, b.i64(sizes.rowSize)));
      Value valueIndex = b.add(keyIndex, b.i64(sizes.kvHeads * sizes.headDim));
      MemoryBlock keyBlock{qkv, keyIndex, sizes.rowSize, valid, sizes.headDim};
      MemoryBlock valueBlock{qkv, valueIndex, sizes.rowSize, valid, sizes.headDim};
      emitCopyIn(b, keyBlock, keys);
      emitTransposeIn(b, keyBlock, keysT, M_LOG2E / std::sqrt(static_cast<double>(sizes.headDim)));
      emitTransposeIn(b, valueBlock, valuesT);
      emitZero(b, keyGrads, size * sizes.padded);
      emitZero(b, valueGrads, size * sizes.padded);
      b.forLoop(firstHead, b.add(firstHead, b.i64(sizes.group())), b.i64(1), [&](Value head) {
        emitQueryBlock(head, firstKey, firstKey, /*diagonal=*/true);
        b.forLoop(b.add(firstKey, b.i64(size)), b.i64(sizes.length), b.i64(size),
                  [&](Value firstQuery) { emitQueryBlock(head, firstQuery, firstKey, /*diagonal=*/false); });
      });
      keyBlock.pointer = valueBlock.pointer = result;
      emitCopyOut(b, keyGrads, keyBlock, /*accumulate=*/false);
      emitCopyOut(b, valueGrads, valueBlock, /*accumulate=*/false);
    });
  }

  /// Index of element 0 of `query` of `head` in qkv, in grad and output, in lse and delta.
  Value qkvIndex(Value head, Value query) {
    return b.add(b.add(batchStart, b.mul(query, b.i64(sizes.rowSize))), b.mul(head, b.i64(sizes.headDim)));
  }
  Value outputIndex(Value head, Value query) {
    Value row = b.add(b.mul(batch, b.i64(sizes.length)), query);
    return b.mul(b.add(b.mul(row, b.i64(sizes.heads)), head), b.i64(sizes.headDim));
  }
  Value rowIndex(Value head, Value query) {
    return b.add(b.mul(b.add(b.mul(batch, b.i64(sizes.heads)), head), b.i64(sizes.length)), query);
  }

  void emitDelta(Value head) {
    b.forLoop(b.i64(0), b.i64(sizes.length), b.i64(1), [&](Value query) {
      Value sum = b.splat(b.f32(0), b.lanes), zero = sum;
      Value from = outputIndex(head, query), to = qkvIndex(head, query);
      for (int64_t n = 0; n < sizes.headDim; n += b.lanes) {
        Value mask = sizes.headDim - n < b.lanes ? b.tailMask(b.lanes, sizes.headDim - n) : Value();
        Value index = b.add(from, b.i64(n));
        sum = b.fma(b.loadVector(grad, index, f32, b.lanes, mask),
                    b.loadVector(output, index, f32, b.lanes, mask), sum);
        b.storeVector(zero, result, b.add(to, b.i64(n)), f32, mask);
      }
      b.store(b.reduceAdd(sum), delta, rowIndex(head, query));
    });
  }

  void emitQueryBlock(Value head, Value firstQuery, Value firstKey, bool diagonal) {
    Value valid = b.mins(b.i64(size), b.sub(b.i64(sizes.length), firstQuery));
    int64_t outputRow = sizes.heads * sizes.headDim;
    MemoryBlock queryBlock{qkv, qkvIndex(head, firstQuery), sizes.rowSize, valid, sizes.headDim};
    emitCopyIn(b, queryBlock, queries);
    emitCopyIn(b, {grad, outputIndex(head, firstQuery), outputRow, valid, sizes.headDim}, grads);
    Value log2e = b.splat(b.f32(M_LOG2E), b.lanes);
    for (int64_t i = 0; i < size; i += b.lanes) {
      Value index = b.add(rowIndex(head, firstQuery), b.i64(i));
      Value mask = b.tailMask(b.lanes, b.sub(valid, b.i64(i)));
      b.storeVector(b.fmul(b.loadVector(lse, index, f32, b.lanes, mask), log2e), rowLse, b.i64(i), f32);
      b.storeVector(b.loadVector(delta, index, f32, b.lanes, mask), rowDelta, b.i64(i), f32);
    }

    // S and dP: a row per query, a column per key. Keys [column, column + tile)
    // are seen by queries from the first of them on.
    auto headDims = [&](Value) { return Range{b.i64(0), b.i64(sizes.headDim)}; };
    auto fromDiagonal = [&](int64_t column) { return Range{b.i64(diagonal ? column : 0), b.i64(size)}; };
    BlockProduct product;
    product.a = queries, product.aRow = sizes.padded, product.aColumn = 1;
    product.b = keysT, product.bRow = size;
    product.c = probabilities, product.cRow = size;
    product.width = size;
    product.rows = fromDiagonal;
    product.ks = headDims;
    emitBlockProduct(b, product);
    product.a = grads, product.b = valuesT, product.c = scoreGrads;
    emitBlockProduct(b, product);

    int64_t tile = getTileSize(b.target, size / b.lanes).vectors * b.lanes;
    for (int64_t column = 0; column < size; column += tile)
      b.forLoop(b.i64(diagonal ? column : 0), b.i64(size), b.i64(1), [&](Value query) {
        for (int64_t n = column; n < std::min(size, column + tile); n += b.lanes)
          emitScoreGrad(head, query, firstQuery, firstKey, n, diagonal);
      });

    // dV and dK: a row per key. Rows of the diagonal block start at their own query.
    int64_t rows = getTileSize(b.target, sizes.padded / b.lanes).rows;
    auto everyRow = [&](int64_t) { return Range{b.i64(0), b.i64(size)}; };
    auto laterQueries = [&](Value row) { return Range{diagonal ? row : b.i64(0), b.i64(size)}; };
    product.a = probabilities, product.aRow = 1, product.aColumn = size;
    product.b = grads, product.bRow = sizes.padded;
    product.c = valueGrads, product.cRow = sizes.padded;
    product.width = sizes.padded;
    product.rows = everyRow;
    product.ks = laterQueries;
    product.accumulate = true;
    emitBlockProduct(b, product);
    product.a = scoreGrads, product.b = queries, product.c = keyGrads;
    emitBlockProduct(b, product);

    // dQ: a row per query.
    auto earlierKeys = [&](Value row) {
      return Range{b.i64(0), diagonal ? b.add(row, b.i64(rows)) : b.i64(size)};
    };
    product.aRow = size, product.aColumn = 1;
    product.b = keys, product.c = queryGrads;
    product.ks = earlierKeys;
    product.accumulate = false;
    emitBlockProduct(b, product);
    queryBlock.pointer = result;
    emitCopyOut(b, queryGrads, queryBlock, /*accumulate=*/true);
  }

  /// Keys [column, column + lanes) of row `query`: S becomes drop(p), dP becomes ds.
  void emitScoreGrad(Value head, Value query, Value firstQuery, Value firstKey, int64_t column,
                     bool diagonal) {
    Value index = b.add(b.mul(query, b.i64(size)), b.i64(column));
    Value score = b.loadVector(probabilities, index, f32, b.lanes);
    Value p = emitExp2(b, b.fsub(score, b.splat(b.load(rowLse, query, f32), b.lanes)));
    if (diagonal) {
      Value distance = b.truncTo(b.sub(query, b.i64(column)), b.getI32Type());
      Value visible = b.icmp(arith::CmpIPredicate::sle, b.iota(b.lanes), b.splat(distance, b.lanes));
      p = b.select(visible, p, b.splat(b.f32(0), b.lanes));
    }
    Value pGrad = b.loadVector(scoreGrads, index, f32, b.lanes), dropped = p;
    if (op.getHyper()) {
      Value element = b.add(b.mul(rowIndex(head, b.add(firstQuery, query)), b.i64(sizes.length)),
                            b.add(firstKey, b.i64(column)));
      // Lanes beyond the last key are of no use; `bound` leaves room for them.
      int64_t bound = sizes.batch * sizes.heads * sizes.length * sizes.length + size * (sizes.length + 1);
      Value scale =
          b.dropoutScale(generator, element, b.lanes, op.getSite(), op.getDropout().convertToDouble(), bound);
      dropped = b.fmul(p, scale);
      pGrad = b.fmul(pGrad, scale);
    }
    b.storeVector(dropped, probabilities, index, f32);
    Value centred = b.fsub(pGrad, b.splat(b.load(rowDelta, query, f32), b.lanes));
    Value factor = b.splat(b.f32(1 / std::sqrt(static_cast<double>(sizes.headDim))), b.lanes);
    b.storeVector(b.fmul(b.fmul(p, factor), centred), scoreGrads, index, f32);
  }

  CpuBuilder &b;
  step::KernelOp kernel;
  tx::AttentionVjpOp op;
  AttentionSizes sizes;
  Type f32;
  CpuBuilder::Generator generator;
  Value qkv, grad, output, lse, result, delta;
  Value queries, grads, keys, keysT, valuesT; ///< blocks read, padded
  Value queryGrads, keyGrads, valueGrads;     ///< blocks written, padded
  Value probabilities, scoreGrads;            ///< a row per query, a column per key
  Value rowLse, rowDelta;                     ///< one element per query
  Value batch, firstHead, batchStart;
};

} // namespace

LogicalResult emitAttentionVjp(func::FuncOp function, step::KernelOp kernel, tx::AttentionVjpOp op,
                               int64_t phase, const CpuTarget &target) {
  Type element = cast<RankedTensorType>(op.getQkv().getType()).getElementType();
  if (!element.isF32())
    return op.emitOpError() << "has elements of type " << element
                            << "; the CPU target computes attention in f32";
  if (!getResultArgument(kernel, op.getQkvGrad()))
    return op.emitOpError() << "is not yielded by its kernel";
  CpuBuilder b(function, target);
  Backward(b, kernel, op).emit();
  b.create<func::ReturnOp>();
  return success();
}

KernelShape describeAttentionVjp(tx::AttentionVjpOp op, const CpuTarget &target) {
  AttentionSizes sizes = getAttentionSizes(op.getQkv(), op.getNHead(), op.getNKvHead(), target);
  return {{sizes.batch * sizes.kvHeads}, {sizes.batch * sizes.heads * sizes.length * 4}};
}

} // namespace txc::codegen
