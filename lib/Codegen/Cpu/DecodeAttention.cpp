//===- DecodeAttention.cpp - One token's attention to a cache --------------===//
//
// One block of the iteration space: one key/value head of one sequence, with the
// H / K query heads that read it.
//
//   1. The token's key and value go into the cache at its position.
//   2. Per 64 positions up to the token's: scores = q K^T, lanes running over D;
//      online softmax as in Attention.cpp; O = O 2^(m - m') + p V.
//   3. O / l goes out.
//
// Keys and values are read once per block from memory: the 64 rows of each stay
// in the nearest cache while all query heads use them. Nothing is as long as the
// sequence, so scratch does not grow with it.
//
//===----------------------------------------------------------------------===//

#include "AttentionTiles.h"

#include <cmath>

using namespace mlir;

namespace txc::codegen {
namespace {

constexpr int64_t size = attentionBlock;
/// Vectors of a row of O that are summed at a time; they stay in registers.
constexpr int64_t sumsAtOnce = 8;

class Decode {
public:
  Decode(CpuBuilder &b, step::KernelOp kernel, tx::DecodeAttentionOp op)
      : b(b), kernel(kernel), op(op), heads(op.getNHead()), kvHeads(op.getNKvHead()), group(heads / kvHeads),
        headDim(op.getHeadDim()), padded(llvm::alignTo(headDim, b.lanes)),
        length(cast<RankedTensorType>(op.getKeys().getType()).getDimSize(2)), f32(b.getF32Type()),
        element(cast<RankedTensorType>(op.getQkv().getType()).getElementType()) {}

  void emit() {
    qkv = b.argument(getInputArgument(op.getQkv()));
    oldKeys = b.argument(getInputArgument(op.getKeys()));
    oldValues = b.argument(getInputArgument(op.getValues()));
    Value place = b.argument(getInputArgument(op.getPosition()));
    position = b.create<arith::ExtSIOp>(b.getI64Type(), b.load(place, b.i64(0), b.getI32Type()));
    if (auto index = getResultArgument(kernel, op.getResult()))
      output = b.argument(*index);
    queries = b.scratch(group * padded);
    sums = b.scratch(group * padded);
    scores = b.scratch(size);
    maxima = b.scratch(group);
    totals = b.scratch(group);
    b.forLoop(b.begin(), b.end(), b.i64(1), [&](Value block) { emitBlock(block); });
  }

private:
  /// Calls `work` with the columns and the mask of each vector of a head.
  void forVectors(llvm::function_ref<void(int64_t column, Value mask)> work) {
    for (int64_t column = 0; column < headDim; column += b.lanes)
      work(column, column + b.lanes > headDim ? b.tailMask(b.lanes, headDim - column) : Value());
  }
  Value columnOf(Value row, int64_t column) { return b.add(row, b.i64(column)); }

  void emitBlock(Value block) {
    Value sequence = b.divu(block, b.i64(kvHeads)), kvHead = b.remu(block, b.i64(kvHeads));
    Value row = b.mul(sequence, b.i64((heads + 2 * kvHeads) * headDim));
    Value head = b.mul(kvHead, b.i64(group)); // the first query head
    cacheStart = b.mul(block, b.i64(length * headDim));

    Value key = b.add(row, b.mul(b.add(kvHead, b.i64(heads)), b.i64(headDim)));
    Value value = b.add(key, b.i64(kvHeads * headDim));
    Value place = b.add(cacheStart, b.mul(position, b.i64(headDim)));
    forVectors([&](int64_t column, Value mask) {
      for (auto [from, to] : {std::pair(key, oldKeys), std::pair(value, oldValues)}) {
        Value x = b.loadVector(qkv, columnOf(from, column), element, b.lanes, mask);
        b.storeVector(x, to, columnOf(place, column), element, mask);
      }
    });

    Value query = b.add(row, b.mul(head, b.i64(headDim)));
    Value scale = b.splat(b.f32(M_LOG2E / std::sqrt(static_cast<double>(headDim))), b.lanes);
    forGroup([&](Value g) {
      Value from = b.add(query, b.mul(g, b.i64(headDim))), to = b.mul(g, b.i64(padded));
      forVectors([&](int64_t column, Value mask) {
        Value x = b.loadVector(qkv, columnOf(from, column), element, b.lanes, mask);
        b.storeVector(b.fmul(x, scale), queries, columnOf(to, column), f32);
      });
      b.store(b.f32(-1e30), maxima, g);
      b.store(b.f32(0), totals, g);
    });
    emitZero(b, sums, group * padded);

    Value end = b.add(position, b.i64(1));
    b.forLoop(b.i64(0), end, b.i64(size), [&](Value first) {
      Value count = b.mins(b.i64(size), b.sub(end, first));
      Value rows = b.add(cacheStart, b.mul(first, b.i64(headDim)));
      forGroup([&](Value g) {
        emitScores(g, rows, count);
        emitSums(g, rows, count, emitSoftmax(g, count));
      });
    });

    if (!output)
      return;
    Value result = b.add(b.mul(sequence, b.i64(heads * headDim)), b.mul(head, b.i64(headDim)));
    forGroup([&](Value g) {
      Value factor = b.splat(b.fdiv(b.f32(1), b.load(totals, g, f32)), b.lanes);
      Value from = b.mul(g, b.i64(padded)), to = b.add(result, b.mul(g, b.i64(headDim)));
      forVectors([&](int64_t column, Value mask) {
        Value sum = b.loadVector(sums, columnOf(from, column), f32, b.lanes);
        b.storeVector(b.fmul(sum, factor), output, columnOf(to, column), element, mask);
      });
    });
  }

  void forGroup(llvm::function_ref<void(Value g)> work) { b.forLoop(b.i64(0), b.i64(group), b.i64(1), work); }

  /// scores[i] = q K[i] / sqrt(D), in units of log 2, for i < count.
  void emitScores(Value g, Value rows, Value count) {
    SmallVector<Value> query;
    Value from = b.mul(g, b.i64(padded));
    forVectors([&](int64_t column, Value) {
      query.push_back(b.loadVector(queries, columnOf(from, column), f32, b.lanes));
    });
    b.forLoop(b.i64(0), count, b.i64(1), [&](Value i) {
      Value row = b.add(rows, b.mul(i, b.i64(headDim)));
      Value sum = b.splat(b.f32(0), b.lanes);
      forVectors([&](int64_t column, Value mask) {
        Value key = b.loadVector(oldKeys, columnOf(row, column), element, b.lanes, mask);
        sum = b.fma(query[column / b.lanes], key, sum);
      });
      b.store(b.reduceAdd(sum), scores, i);
    });
  }

  /// scores[i] = 2^(scores[i] - m'); updates m and l, returns 2^(m - m').
  Value emitSoftmax(Value g, Value count) {
    Value hidden = b.splat(b.f32(-1e30), b.lanes);
    SmallVector<Value> parts;
    for (int64_t i = 0; i < size; i += b.lanes)
      parts.push_back(b.select(b.tailMask(b.lanes, b.sub(count, b.i64(i))),
                               b.loadVector(scores, b.i64(i), f32, b.lanes), hidden));
    Value highest = parts.front();
    for (Value part : ArrayRef(parts).drop_front())
      highest = b.fmax(part, highest);
    Value before = b.load(maxima, g, f32);
    Value now = b.fmax(b.reduceMax(highest), before);
    b.store(now, maxima, g);
    Value factor = emitExp2(b, b.fsub(before, now));
    Value total = b.splat(b.f32(0), b.lanes);
    for (auto [i, part] : llvm::enumerate(parts)) {
      Value p = emitExp2(b, b.fsub(part, b.splat(now, b.lanes)));
      b.storeVector(p, scores, b.i64(i * b.lanes), f32);
      total = b.fadd(total, p);
    }
    b.store(b.fma(b.load(totals, g, f32), factor, b.reduceAdd(total)), totals, g);
    return factor;
  }

  /// O = O * factor + sum over i < count of scores[i] V[i].
  void emitSums(Value g, Value rows, Value count, Value factor) {
    Value to = b.mul(g, b.i64(padded));
    for (int64_t first = 0; first < headDim; first += sumsAtOnce * b.lanes) {
      SmallVector<std::pair<int64_t, Value>> vectors;
      forVectors([&](int64_t column, Value mask) {
        if (column >= first && column < first + sumsAtOnce * b.lanes)
          vectors.push_back({column, mask});
      });
      SmallVector<Value> start;
      for (auto [column, mask] : vectors)
        start.push_back(
            b.fmul(b.loadVector(sums, columnOf(to, column), f32, b.lanes), b.splat(factor, b.lanes)));
      SmallVector<Value> result =
          b.forLoop(b.i64(0), count, b.i64(1), start, [&](Value i, ValueRange current) {
            Value row = b.add(rows, b.mul(i, b.i64(headDim)));
            Value p = b.splat(b.load(scores, i, f32), b.lanes);
            SmallVector<Value> next;
            for (auto [vector, sum] : llvm::zip_equal(vectors, current)) {
              Value value =
                  b.loadVector(oldValues, columnOf(row, vector.first), element, b.lanes, vector.second);
              next.push_back(b.fma(p, value, sum));
            }
            return next;
          });
      for (auto [vector, sum] : llvm::zip_equal(vectors, result))
        b.storeVector(sum, sums, columnOf(to, vector.first), f32);
    }
  }

  CpuBuilder &b;
  step::KernelOp kernel;
  tx::DecodeAttentionOp op;
  int64_t heads, kvHeads, group, headDim, padded, length;
  Type f32, element;
  Value qkv, oldKeys, oldValues, output, position;
  Value queries, sums;          ///< a padded row per query head
  Value scores, maxima, totals; ///< of one head's positions; one element per query head
  Value cacheStart;
};

} // namespace

LogicalResult emitDecodeAttention(func::FuncOp function, step::KernelOp kernel, tx::DecodeAttentionOp op,
                                  const CpuTarget &target) {
  Type element = cast<RankedTensorType>(op.getQkv().getType()).getElementType();
  if (!element.isF32() && !element.isBF16())
    return op.emitOpError() << "has elements of type " << element << "; the CPU target takes f32 or bf16";
  // Only the token's own rows are written: the rest must lie there already.
  for (auto [result, operand] :
       {std::pair(op.getNewKeys(), op.getKeys()), std::pair(op.getNewValues(), op.getValues())}) {
    Operation *yield = kernel.getBody().front().getTerminator();
    for (auto [i, yielded] : llvm::enumerate(yield->getOperands()))
      if (yielded == result && (i >= kernel.getInplace().size() ||
                                kernel.getInplace()[i] != static_cast<int64_t>(getInputArgument(operand))))
        return op.emitOpError() << "must write its caches over those that it reads";
  }
  CpuBuilder b(function, target);
  Decode(b, kernel, op).emit();
  b.create<func::ReturnOp>();
  return success();
}

KernelShape describeDecodeAttention(tx::DecodeAttentionOp op) {
  return {
      {cast<RankedTensorType>(op.getQkv().getType()).getDimSize(0) * static_cast<int64_t>(op.getNKvHead())},
      {}};
}

} // namespace txc::codegen
