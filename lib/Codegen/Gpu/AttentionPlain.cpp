//===- AttentionPlain.cpp - Attention without tensor cores -----------------===//
//
// For f32, for heads that the tensor cores do not take, and for GPUs that the
// other kernels are not made for: correct and deterministic first. A warp works
// on one row; for the scores a lane has one of 32 columns, for the sums it has
// every 32nd element of the head, and gets each column's weight by a shuffle.
//
//   forward           a row is a query; online softmax over the keys before it
//   backward, 0       delta[t] = dot(grad[t], output[t])
//   backward, 1       a row is a query: dq
//   backward, 2       a row is a key: dk and dv over the queries after it, of the
//                     heads of its group one after the other
//
//===----------------------------------------------------------------------===//

#include "Attention.h"

#include <cmath>

using namespace mlir;

namespace txc::codegen::gpu {
namespace {

constexpr int64_t warpsPerBlock = 4, warpSize = GpuBuilder::warpSize;
using Values = SmallVector<Value>;
using Predicate = arith::CmpIPredicate;

class Plain {
public:
  Plain(GpuBuilder &b, const Attention &a)
      : h(b), b(b), a(a), mask(h, a), pieces((a.headDim + warpSize - 1) / warpSize) {}

  void forward() {
    forRows(a.batch * a.heads, [&](Value batchHead, Value query) {
      auto [batch, head] = split(batchHead, a.heads);
      Rows queries = queryRows(batch, head), keys = keyRows(batch, head), values = valueRows(batch, head);
      Values start = {b.f32(-1e30), b.f32(0)};
      start.append(pieces, b.f32(0));
      Values end = b.forLoop(
          b.i64(0), b.add(query, b.i64(1)), b.i64(warpSize), start, [&](Value first, ValueRange carried) {
            Value key = b.add(first, lane), visible = b.icmp(Predicate::sle, key, query);
            Value score =
                b.select(visible, b.fmul(dot(queries, query, keys, existing(key)), scale()), b.f32(-1e30));
            Value maximum = b.fmax(carried[0], b.warpFold(GpuBuilder::Fold::Max, score));
            Value rescale = b.exp(b.fsub(carried[0], maximum));
            Value p = b.select(visible, b.exp(b.fsub(score, maximum)), b.f32(0));
            Values next = {maximum, b.fma(carried[1], rescale, b.warpFold(GpuBuilder::Fold::Sum, p))};
            Values sums;
            for (Value sum : carried.drop_front(2))
              sums.push_back(b.fmul(sum, rescale));
            next.append(addWeighted(sums, b.fmul(p, keptScale(batchHead, query, key)), values, first));
            return next;
          });
      if (a.writesOutput)
        store(Values(llvm::drop_begin(end, 2)), b.fdiv(b.f32(1), end[1]),
              outputRows(b.argument(a.output), batch, head), query);
      if (a.writesLse)
        b.ifThen(b.icmp(Predicate::eq, lane, b.i64(0)), [&] {
          b.store(b.fadd(end[0], b.log(end[1])), b.argument(a.lse), rowIndex(batchHead, query));
        });
    });
  }

  void delta() {
    forRows(a.batch * a.heads, [&](Value batchHead, Value query) {
      auto [batch, head] = split(batchHead, a.heads);
      Rows output = outputRows(b.argument(a.output), batch, head),
           grad = outputRows(b.argument(a.grad), batch, head);
      Value sum = b.f32(0);
      for (int64_t i = 0; i < pieces; ++i) {
        Value product = b.fmul(load(output, query, column(i)), load(grad, query, column(i)));
        sum = b.fadd(sum, b.select(exists(i), product, b.f32(0)));
      }
      sum = b.warpFold(GpuBuilder::Fold::Sum, sum);
      b.ifThen(b.icmp(Predicate::eq, lane, b.i64(0)),
               [&] { b.store(sum, b.argument(a.workspace), rowIndex(batchHead, query)); });
    });
  }

  void queryGrads() {
    forRows(a.batch * a.heads, [&](Value batchHead, Value query) {
      auto [batch, head] = split(batchHead, a.heads);
      Rows keys = keyRows(batch, head);
      Values end = b.forLoop(b.i64(0), b.add(query, b.i64(1)), b.i64(warpSize), Values(pieces, b.f32(0)),
                             [&](Value first, ValueRange carried) {
                               Value key = b.add(first, lane);
                               auto [p, ds] = differentiate(batchHead, batch, head, query, existing(key),
                                                            b.icmp(Predicate::sle, key, query));
                               return addWeighted(carried, ds, keys, first);
                             });
      store(end, scale(), queryRows(b.argument(a.qkvGrad), batch, head), query);
    });
  }

  void keyGrads() {
    forRows(a.batch * a.kvHeads, [&](Value batchKvHead, Value key) {
      auto [batch, kvHead] = split(batchKvHead, a.kvHeads);
      Value firstHead = b.mul(kvHead, b.i64(a.group()));
      Values start(2 * pieces, b.f32(0));
      Values end =
          b.forLoop(b.i64(0), b.i64(a.group()), b.i64(1), start, [&](Value inGroup, ValueRange carried) {
            Value head = b.add(firstHead, inGroup), batchHead = b.add(b.mul(batch, b.i64(a.heads)), head);
            Rows queries = queryRows(batch, head), grads = outputRows(b.argument(a.grad), batch, head);
            return b.forLoop(key, b.i64(a.length), b.i64(warpSize), carried,
                             [&](Value first, ValueRange carried) {
                               Value query = b.add(first, lane);
                               auto [p, ds] = differentiate(batchHead, batch, head, existing(query), key,
                                                            b.icmp(Predicate::slt, query, b.i64(a.length)));
                               Values next = addWeighted(carried.take_front(pieces), ds, queries, first);
                               next.append(addWeighted(carried.drop_front(pieces), p, grads, first));
                               return next;
                             });
          });
      Value pointer = b.argument(a.qkvGrad);
      store(Values(ValueRange(end).take_front(pieces)), scale(), keyRows(pointer, batch, firstHead), key);
      store(Values(ValueRange(end).drop_front(pieces)), b.f32(1), valueRows(pointer, batch, firstHead), key);
    });
  }

private:
  /// Rows of one head in a tensor: row t is pointer[start + t * stride, ...).
  struct Rows {
    Value pointer, start;
    int64_t stride;
  };
  Rows rows(Value pointer, Value batch, Value head, int64_t heads) {
    int64_t stride = heads * a.headDim;
    return {pointer, b.add(b.mul(batch, b.i64(a.length * stride)), b.mul(head, b.i64(a.headDim))), stride};
  }
  Value kvHead(Value head, int64_t first) { return b.add(b.divu(head, b.i64(a.group())), b.i64(first)); }
  Rows queryRows(Value pointer, Value batch, Value head) { return rows(pointer, batch, head, a.rowHeads()); }
  Rows keyRows(Value pointer, Value batch, Value head) {
    return rows(pointer, batch, kvHead(head, a.heads), a.rowHeads());
  }
  Rows valueRows(Value pointer, Value batch, Value head) {
    return rows(pointer, batch, kvHead(head, a.heads + a.kvHeads), a.rowHeads());
  }
  Rows queryRows(Value batch, Value head) { return queryRows(b.argument(a.qkv), batch, head); }
  Rows keyRows(Value batch, Value head) { return keyRows(b.argument(a.qkv), batch, head); }
  Rows valueRows(Value batch, Value head) { return valueRows(b.argument(a.qkv), batch, head); }
  Rows outputRows(Value pointer, Value batch, Value head) { return rows(pointer, batch, head, a.heads); }

  /// Gives every warp of the grid its row of `heads` heads of T rows.
  void forRows(int64_t heads, llvm::function_ref<void(Value head, Value row)> body) {
    lane = b.lane();
    Value number = b.add(b.mul(b.block(), b.i64(warpsPerBlock)), b.warp());
    b.ifThen(b.icmp(Predicate::slt, number, b.i64(heads * a.length)), [&] {
      auto [head, row] = split(number, a.length);
      body(head, row);
    });
  }
  std::pair<Value, Value> split(Value number, int64_t size) {
    return {b.divu(number, b.i64(size)), b.remu(number, b.i64(size))};
  }
  Value scale() { return b.f32(1 / std::sqrt(static_cast<double>(a.headDim))); }
  /// Rows beyond the last are read as the last, and not used.
  Value existing(Value row) { return b.mins(row, b.i64(a.length - 1)); }
  Value rowIndex(Value batchHead, Value row) { return b.add(b.mul(batchHead, b.i64(a.length)), row); }

  /// Element `i` of this lane.
  Value column(int64_t i) { return b.mins(b.add(lane, b.i64(i * warpSize)), b.i64(a.headDim - 1)); }
  Value exists(int64_t i) {
    return b.icmp(Predicate::slt, b.add(lane, b.i64(i * warpSize)), b.i64(a.headDim));
  }

  Value load(const Rows &rows, Value row, Value column) {
    Value index = b.add(b.add(rows.start, b.mul(row, b.i64(rows.stride))), column);
    if (!a.element.isBF16())
      return b.load(rows.pointer, index, a.element);
    Value bits = b.extendTo(b.load(rows.pointer, index, b.getI16Type()), b.getI32Type());
    return b.bitcast(b.create<arith::ShLIOp>(bits, b.i32(16)), b.getF32Type());
  }
  void store(ArrayRef<Value> values, Value factor, const Rows &rows, Value row) {
    for (auto [i, value] : llvm::enumerate(values)) {
      Value scaled = b.fmul(value, factor);
      if (a.element.isBF16()) {
        Value bits = b.bitcast(b.roundToBf16(scaled), b.getI32Type());
        scaled = b.truncTo(b.create<arith::ShRUIOp>(bits, b.i32(16)), b.getI16Type());
      }
      b.ifThen(exists(i), [&] {
        b.store(scaled, rows.pointer, b.add(b.add(rows.start, b.mul(row, b.i64(rows.stride))), column(i)));
      });
    }
  }

  Value dot(const Rows &x, Value xRow, const Rows &y, Value yRow) {
    return b.forLoop(b.i64(0), b.i64(a.headDim), b.i64(1), b.f32(0), [&](Value i, ValueRange sum) -> Values {
      return {b.fma(load(x, xRow, i), load(y, yRow, i), sum[0])};
    })[0];
  }

  /// sums[i] += sum over lanes l of weight of l * rows[first + l].
  Values addWeighted(ValueRange sums, Value weight, const Rows &rows, Value first) {
    return b.forLoop(b.i64(0), b.i64(warpSize), b.i64(1), sums, [&](Value i, ValueRange carried) {
      Value factor = h.shuffleFrom(weight, h.word(b.truncTo(i, b.getI32Type())));
      Value row = existing(b.add(first, i));
      Values next;
      for (auto [piece, sum] : llvm::enumerate(carried))
        next.push_back(b.fma(factor, load(rows, row, column(piece)), sum));
      return next;
    });
  }

  Value keptScale(Value batchHead, Value query, Value key) {
    if (!mask)
      return b.f32(1);
    auto narrow = [&](Value x) { return h.word(b.truncTo(x, b.getI32Type())); };
    Value element = mask.element(narrow(batchHead), narrow(query), narrow(key));
    return b.select(mask.keeps(element, 0), b.f32(mask.scale()), b.f32(0));
  }

  /// drop(p) and ds of one element, without the 1 / sqrt(D) of ds.
  std::pair<Value, Value> differentiate(Value batchHead, Value batch, Value head, Value query, Value key,
                                        Value visible) {
    Value score = b.fmul(dot(queryRows(batch, head), query, keyRows(batch, head), key), scale());
    Value index = rowIndex(batchHead, query);
    Value p = b.exp(b.fsub(score, b.load(b.argument(a.lse), index, b.getF32Type())));
    p = b.select(visible, p, b.f32(0));
    Value grad = dot(outputRows(b.argument(a.grad), batch, head), query, valueRows(batch, head), key);
    Value kept = keptScale(batchHead, query, key);
    Value centred = b.fma(grad, kept, b.fneg(b.load(b.argument(a.workspace), index, b.getF32Type())));
    return {b.fmul(p, kept), b.fmul(p, centred)};
  }

  Words h;
  GpuBuilder &b;
  const Attention &a;
  DropoutMask mask;
  int64_t pieces; ///< elements of the head per lane
  Value lane;
};

GpuPhase phaseOf(int64_t rows) {
  GpuPhase phase;
  phase.grid = {(rows + warpsPerBlock - 1) / warpsPerBlock, 1, 1};
  phase.block = {warpsPerBlock * warpSize, 1, 1};
  return phase;
}

} // namespace

GpuShape describePlainForward(const Attention &a) { return {{phaseOf(a.batch * a.heads * a.length)}, {}}; }
void emitPlainForward(GpuBuilder &b, const Attention &a) { Plain(b, a).forward(); }

GpuShape describePlainBackward(const Attention &a) {
  int64_t rows = a.batch * a.heads * a.length;
  return {{phaseOf(rows), phaseOf(rows), phaseOf(a.batch * a.kvHeads * a.length)}, {rows * 4}};
}
void emitPlainBackward(GpuBuilder &b, const Attention &a, int64_t phase) {
  Plain plain(b, a);
  if (phase == 0)
    plain.delta();
  else if (phase == 1)
    plain.queryGrads();
  else
    plain.keyGrads();
}

} // namespace txc::codegen::gpu
