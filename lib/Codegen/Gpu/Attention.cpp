//===- Attention.cpp - What the attention kernels of a GPU share -----------===//

#include "Attention.h"

#include "Emitters.h"

#include <cmath>

using namespace mlir;

namespace txc::codegen::gpu {

//===-- Sizes and places ---------------------------------------------------===//

static unsigned argumentOf(Value operand) { return cast<BlockArgument>(operand).getArgNumber(); }

/// The launch argument of a result; none if the kernel does not yield it.
static std::optional<unsigned> argumentOf(const KernelBody &body, Value result) {
  for (auto [i, value] : llvm::enumerate(body.yield->getOperands()))
    if (value == result)
      return body.resultArgument(i);
  return std::nullopt;
}

Attention::Attention(Value qkv, Value hyper, int64_t heads, int64_t kvHeads, double dropout, int32_t site)
    : heads(heads), kvHeads(kvHeads), dropout(hyper ? dropout : 0), site(site), qkv(argumentOf(qkv)) {
  auto type = cast<RankedTensorType>(qkv.getType());
  batch = type.getDimSize(0);
  length = type.getDimSize(1);
  headDim = type.getDimSize(2) / rowHeads();
  element = type.getElementType();
  if (hyper)
    this->hyper = argumentOf(hyper);
}

Attention::Attention(tx::AttentionOp op, const KernelBody &body)
    : Attention(op.getQkv(), op.getHyper(), op.getNHead(), op.getNKvHead(), op.getDropout().convertToDouble(),
                op.getSite()) {
  std::optional<unsigned> result = argumentOf(body, op.getResult()), logSum = argumentOf(body, op.getLse());
  writesOutput = result.has_value();
  writesLse = logSum.has_value();
  output = result.value_or(0);
  lse = logSum.value_or(0);
  workspace = body.workspaceArgument(0);
}

Attention::Attention(tx::AttentionVjpOp op, const KernelBody &body)
    : Attention(op.getQkv(), op.getHyper(), op.getNHead(), op.getNKvHead(), op.getDropout().convertToDouble(),
                op.getSite()) {
  output = argumentOf(op.getOutput());
  lse = argumentOf(op.getLse());
  grad = argumentOf(op.getGrad());
  Value gradient = op.getQkvGrad();
  if (auto rope = body.only<tx::RopeOp>()) {
    gradient = rope.getResult();
    rotation = Rotation{argumentOf(rope.getCos()), argumentOf(rope.getSin()),
                        rope.getLayout() == tx::RopeLayout::Interleaved, rope.getInverse()};
  }
  qkvGrad = argumentOf(body, gradient).value_or(0);
  workspace = body.workspaceArgument(0);
}

AttentionPath choosePath(const Attention &attention, const GpuTarget &target) {
  // Copies want rows of whole 16 bytes.
  if (!attention.element.isBF16() || attention.headDim % 8)
    return AttentionPath::Plain;
  return target.hasWgmma && attention.headDim <= 128 ? AttentionPath::Hopper : AttentionPath::Ampere;
}

step::TensorMapAttr Attention::map(unsigned argument, int64_t mapHeads, int64_t rows) const {
  int64_t row = mapHeads * headDim * 2;
  return step::TensorMapAttr::get(element.getContext(), argument, element, /*offset=*/0, /*swizzle=*/128,
                                  {headDim, mapHeads, length, batch}, {2, headDim * 2, row, length * row},
                                  {64, 1, rows, 1});
}
step::TensorMapAttr Attention::qkvMap(unsigned argument, int64_t rows) const {
  return map(argument, rowHeads(), rows);
}
step::TensorMapAttr Attention::outputMap(unsigned argument, int64_t rows) const {
  return map(argument, heads, rows);
}

//===-- The order of tiles -------------------------------------------------===//

Schedule::Place Schedule::decode(Words &h, Int number) const {
  Int group = number / (groupSize * perHead), within = number % (groupSize * perHead);
  Int firstHead = group * groupSize;
  Int size = h.constant(groupSize);
  if (heads % groupSize) { // the last group is smaller
    Int left = h.constant(heads) - firstHead;
    size = h.select(left.ult(size), left, size);
  }
  return {within / size, firstHead + within % size};
}

//===-- Rows ---------------------------------------------------------------===//

Value dotAcross(Words &h, ArrayRef<Int> x, ArrayRef<Int> y, int64_t lanes) {
  Value sum = h.b.f32(0);
  for (auto [xPair, yPair] : llvm::zip_equal(x, y)) {
    auto [xLow, xHigh] = h.unpackBf16(xPair);
    auto [yLow, yHigh] = h.unpackBf16(yPair);
    sum = h.b.fma(xHigh, yHigh, h.b.fma(xLow, yLow, sum));
  }
  for (int64_t i = 1; i < lanes; i *= 2)
    sum = h.add(sum, h.shuffleXor(sum, i));
  return sum;
}

//===-- Scores in registers ------------------------------------------------===//

void Fragment::forEach(const Values &tile, llvm::function_ref<void(int64_t, int64_t, int64_t)> visit) {
  for (int64_t half = 0; half < 2; ++half)
    for (size_t j = 0; j < tile.size() / 4; ++j)
      for (int64_t e = 0; e < 2; ++e)
        visit(half, j, e);
}

SmallVector<Int> Fragment::pack(Words &h, const Values &tile) {
  SmallVector<Int> pairs;
  for (size_t j = 0; j < tile.size() / 4; ++j)
    for (int64_t half = 0; half < 2; ++half)
      pairs.push_back(h.packBf16(tile[index(half, j, 0)], tile[index(half, j, 1)]));
  return pairs;
}

void Fragment::hideColumnsAfter(Words &h, Values &scores, Int distance) {
  forEach(scores, [&](int64_t half, int64_t j, int64_t e) {
    Value &score = scores[index(half, j, e)];
    score = h.b.select((distance + 8 * half).slt(8 * j + e), h.negative(), score);
  });
}
void Fragment::hideColumnsBefore(Words &h, Values &scores, Int distance) {
  forEach(scores, [&](int64_t half, int64_t j, int64_t e) {
    Value &score = scores[index(half, j, e)];
    score = h.b.select((distance + 8 * half).sgt(h.constant(8 * j + e)), h.negative(), score);
  });
}

// Two chains for each reduction halve its latency.
Softmax Softmax::update(Words &h, Words::Values &scores, Value scale, const Softmax *before) {
  GpuBuilder &b = h.b;
  Softmax after;
  Value minusScale = b.fneg(scale);
  for (int64_t half = 0; half < 2; ++half) {
    SmallVector<int64_t> indices;
    for (size_t j = 0; j < scores.size() / 4; ++j)
      for (int64_t e = 0; e < 2; ++e)
        indices.push_back(Fragment::index(half, j, e));
    Value even = scores[indices[0]], odd = scores[indices[1]];
    for (size_t i = 2; i < indices.size(); i += 2) {
      even = h.max(even, scores[indices[i]]);
      odd = h.max(odd, scores[indices[i + 1]]);
    }
    Value maximum = h.max(even, odd);
    if (before)
      maximum = h.max(maximum, before->maximum[half]);
    for (int64_t lanes : {1, 2})
      maximum = h.max(maximum, h.shuffleXor(maximum, lanes));
    after.maximum[half] = maximum;
    Value negative = h.mul(maximum, minusScale);
    if (before)
      after.rescale[half] = h.exp2(b.fma(before->maximum[half], scale, negative));
    for (int64_t i : indices)
      scores[i] = h.exp2(b.fma(scores[i], scale, negative));
    even = scores[indices[0]], odd = scores[indices[1]];
    if (before)
      even = b.fma(before->total[half], after.rescale[half], even);
    for (size_t i = 2; i < indices.size(); i += 2) {
      even = h.add(even, scores[indices[i]]);
      odd = h.add(odd, scores[indices[i + 1]]);
    }
    after.total[half] = h.add(even, odd);
  }
  return after;
}

Softmax::Ends Softmax::finish(Words &h, Value scale, double dropoutScale) const {
  Ends ends;
  for (int64_t half = 0; half < 2; ++half) {
    Value sum = total[half];
    for (int64_t lanes : {1, 2})
      sum = h.add(sum, h.shuffleXor(sum, lanes));
    ends.factor[half] = h.reciprocal(sum);
    if (dropoutScale != 1)
      ends.factor[half] = h.mul(ends.factor[half], h.b.f32(dropoutScale));
    ends.logSum[half] = h.mul(h.b.fma(maximum[half], scale, h.log2(sum)), h.b.f32(M_LN2));
  }
  return ends;
}

//===-- Rotation -----------------------------------------------------------===//

Rotator::Rotator(Words &h, const Attention &attention, Int position, Int column)
    : h(h), attention(attention), column(column) {
  GpuBuilder &b = h.b;
  const Attention::Rotation &rotation = *attention.rotation;
  int64_t rowBytes = attention.headDim / 2 * 4;
  Int last = h.constant(attention.length - 1);
  for (int64_t half = 0; half < 2; ++half) {
    Int row = position + 8 * half;
    row = h.select(row.slt(attention.length), row, last); // rows beyond T go nowhere
    cos[half] = h.at(b.argument(rotation.cos), row, rowBytes);
    sin[half] = h.at(b.argument(rotation.sin), row, rowBytes);
  }
}

// Interleaved, a pair are the two columns that a thread has of every eight; else its
// second half lies half a head further on, and a thread has two pairs.
static int64_t anglesPerHalf(const Attention &attention) {
  return attention.headDim / (attention.rotation->interleaved ? 8 : 16);
}

Rotator::Angles Rotator::angles(int64_t half, int64_t j) {
  if (!loaded.empty())
    return loaded[half * anglesPerHalf(attention) + j];
  GpuBuilder &b = h.b;
  Angles result;
  for (auto [table, values] : {std::pair{cos[half], &result.cos}, std::pair{sin[half], &result.sin}}) {
    if (attention.rotation->interleaved) {
      values->push_back(b.load(h.at(table, (column >> 1) + 4 * j, 4), b.i64(0), b.getF32Type()));
      continue;
    }
    Value two = b.create<LLVM::LoadOp>(VectorType::get({2}, b.getF32Type()), h.at(table, column + 8 * j, 4), 8);
    for (int64_t e = 0; e < 2; ++e)
      values->push_back(b.create<vector::ExtractOp>(two, e));
  }
  return result;
}

void Rotator::load() {
  SmallVector<Angles> all;
  for (int64_t half = 0; half < 2; ++half)
    for (int64_t j = 0; j < anglesPerHalf(attention); ++j)
      all.push_back(angles(half, j));
  loaded = std::move(all);
}

void Rotator::rotate(Words::Values &tile) {
  GpuBuilder &b = h.b;
  const Attention::Rotation &rotation = *attention.rotation;
  auto turn = [&](int64_t first, int64_t second, Value cos, Value sin) {
    Value x = tile[first], y = tile[second];
    Value along = h.mul(y, sin), across = h.mul(x, sin);
    if (!rotation.inverse)
      along = b.fneg(along);
    else
      across = b.fneg(across);
    tile[first] = b.fma(x, cos, along);
    tile[second] = b.fma(y, cos, across);
  };
  int64_t count = anglesPerHalf(attention);
  for (int64_t half = 0; half < 2; ++half)
    for (int64_t j = 0; j < count; ++j) {
      Angles a = angles(half, j);
      if (rotation.interleaved)
        turn(Fragment::index(half, j, 0), Fragment::index(half, j, 1), a.cos[0], a.sin[0]);
      else
        for (int64_t e = 0; e < 2; ++e)
          turn(Fragment::index(half, j, e), Fragment::index(half, j + count, e), a.cos[e], a.sin[e]);
    }
}

//===-- Dropout ------------------------------------------------------------===//

DropoutMask::DropoutMask(Words &h, const Attention &attention)
    : h(h), attention(attention), active(attention.hyper.has_value()),
      wide(attention.elements() > (int64_t(1) << 32)) {
  if (!active)
    return;
  generator = h.b.generator(h.b.argument(*attention.hyper));
  siteWord = h.b.site(attention.site);
}

Value DropoutMask::element(Int batchHead, Int row, Int column) {
  if (!wide)
    return (batchHead * attention.length + row) * attention.length + column;
  GpuBuilder &b = h.b;
  auto extend = [&](Int x) { return b.extendTo(x, b.getI64Type()); };
  Value first = b.add(b.mul(extend(batchHead), b.i64(attention.length)), extend(row));
  return b.add(b.mul(first, b.i64(attention.length)), extend(column));
}

Value DropoutMask::keeps(Value element, int64_t offset) {
  GpuBuilder &b = h.b;
  Value low, high = b.i32(0);
  if (wide) {
    Value number = b.add(element, b.i64(offset));
    low = b.truncTo(number, b.getI32Type());
    high = b.truncTo(b.create<arith::ShRUIOp>(number, b.i64(32)), b.getI32Type());
  } else {
    low = b.add(element, b.i32(static_cast<int32_t>(offset)));
  }
  Value drawn = b.philox({low, high, siteWord, generator.stepLo}, generator.seedLo, generator.seedHi)[0];
  Value u = b.create<arith::ShRUIOp>(drawn, b.i32(8));
  int64_t bound = static_cast<int64_t>(std::ceil(std::ldexp(attention.dropout, 24)));
  return b.icmp(arith::CmpIPredicate::uge, u, b.i32(bound));
}

void DropoutMask::drop(Words::Values &probabilities, Int batchHead, Int row, Int column) {
  for (int64_t half = 0; half < 2; ++half) {
    Value first = element(batchHead, row + 8 * half, column);
    for (size_t j = 0; j < probabilities.size() / 4; ++j)
      for (int64_t e = 0; e < 2; ++e) {
        Value &p = probabilities[Fragment::index(half, j, e)];
        p = h.b.select(keeps(first, 8 * j + e), p, h.b.f32(0));
      }
  }
}

//===-- From kernels to emitters -------------------------------------------===//

static bool mayRotate(tx::AttentionVjpOp op, tx::RopeOp rope, const Attention &attention,
                      const GpuTarget &target) {
  return choosePath(attention, target) == AttentionPath::Hopper && rope.getInput() == op.getQkvGrad() &&
         static_cast<int64_t>(rope.getHeads()) == attention.heads + attention.kvHeads &&
         static_cast<int64_t>(rope.getHeadDim()) == attention.headDim && attention.headDim % 16 == 0;
}

FailureOr<GpuShape> describeAttention(const KernelBody &body, const GpuTarget &target) {
  auto check = [&](Operation *op, const Attention &attention) -> LogicalResult {
    if (attention.headDim > 256)
      return op->emitOpError() << "has heads of " << attention.headDim
                               << " elements; the GPU target takes at most 256";
    if (!attention.element.isF32() && !attention.element.isBF16())
      return op->emitOpError() << "has elements of type " << attention.element
                               << "; the GPU target takes f32 and bf16";
    return success();
  };
  if (auto op = body.only<tx::AttentionOp>()) {
    Attention attention(op, body);
    if (failed(check(op, attention)))
      return failure();
    switch (choosePath(attention, target)) {
    case AttentionPath::Hopper:
      return describeForward(attention, target);
    case AttentionPath::Ampere:
      return describeAmpereForward(attention, target);
    case AttentionPath::Plain:
      return describePlainForward(attention);
    }
  }
  auto op = body.only<tx::AttentionVjpOp>();
  if (!op)
    return step::KernelOp(body.kernel).emitOpError()
           << "of kind attention holds neither tx.attention nor tx.attention_vjp";
  auto rope = body.only<tx::RopeOp>();
  if (!llvm::is_contained(body.yield->getOperands(), rope ? rope.getResult() : op.getQkvGrad()))
    return op.emitOpError() << "is not yielded by its kernel";
  Attention attention(op, body);
  if (failed(check(op, attention)))
    return failure();
  if (rope && !mayRotate(op, rope, attention, target))
    return rope.emitOpError() << "cannot be part of this kernel: it takes the gradients of all queries and "
                                 "keys of Hopper's attention, of heads of a multiple of 16 elements";
  switch (choosePath(attention, target)) {
  case AttentionPath::Hopper:
    return describeBackward(attention, target);
  case AttentionPath::Ampere:
    return describeAmpereBackward(attention, target);
  case AttentionPath::Plain:
    return describePlainBackward(attention);
  }
  llvm_unreachable("all paths are above");
}

static void emitPhase(GpuBuilder &b, const Attention &attention, bool forward, int64_t phase) {
  switch (choosePath(attention, b.target)) {
  case AttentionPath::Hopper:
    return forward ? emitForward(b, attention) : emitBackward(b, attention, phase);
  case AttentionPath::Ampere:
    return forward ? emitAmpereForward(b, attention) : emitAmpereBackward(b, attention, phase);
  case AttentionPath::Plain:
    return forward ? emitPlainForward(b, attention) : emitPlainBackward(b, attention, phase);
  }
}

LogicalResult emitAttention(GpuBuilder &b, const KernelBody &body, int64_t phase) {
  if (auto op = body.only<tx::AttentionOp>())
    emitPhase(b, Attention(op, body), /*forward=*/true, phase);
  else
    emitPhase(b, Attention(body.only<tx::AttentionVjpOp>(), body), /*forward=*/false, phase);
  b.finish();
  return success();
}

} // namespace txc::codegen::gpu
