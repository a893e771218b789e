//===- Segments.cpp - The flat arena of all parameters ---------------------===//

#include "Segments.h"

#include "KernelBody.h"
#include "txc/Dialect/Step/Gradients.h"

using namespace mlir;

namespace txc::codegen {

Segments::Segments(step::KernelOp kernel, int64_t pieceElements) : pieceElements(pieceElements) {
  ArrayRef<int64_t> numbers = kernel.getSegments();
  SmallVector<double> deviations;
  for (auto deviation : kernel.getStddevs().getAsRange<FloatAttr>())
    deviations.push_back(deviation.getValueAsDouble());
  for (size_t s = 0; s * 5 + 4 < numbers.size(); ++s) {
    ArrayRef<int64_t> n = numbers.slice(s * 5, 5);
    float deviation = s < deviations.size() ? deviations[s] : 0;
    int64_t whole = s < kernel.getWholes().size() ? kernel.getWholes()[s] : 0;
    rows.push_back({n[0], n[1], pieces, n[2], n[3], n[4], llvm::bit_cast<int32_t>(deviation), whole});
    pieces += ceilDiv(n[1], pieceElements);
    hasShards |= whole != 0;
    elements += whole ? whole : n[1];
    bound = std::max(bound, whole ? whole : n[1]);
  }
}

Value Segments::emitTable(KernelBuilder &b, Operation *function, StringRef name, unsigned space) const {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(function);
  SmallVector<int64_t> flat;
  for (auto &row : rows)
    llvm::append_range(flat, row);
  int64_t size = flat.size();
  auto type = LLVM::LLVMArrayType::get(b.getI64Type(), size);
  auto data = DenseElementsAttr::get(RankedTensorType::get({size}, b.getI64Type()), ArrayRef<int64_t>(flat));
  b.create<LLVM::GlobalOp>(type, /*isConstant=*/true, LLVM::Linkage::Internal, name, data, /*alignment=*/64,
                           space);
  b.setInsertionPointToStart(&function->getRegion(0).front());
  return b.create<LLVM::AddressOfOp>(LLVM::LLVMPointerType::get(b.getContext(), space), name);
}

Value Segments::field(KernelBuilder &b, Value table, Value segment, Column column, Type type) {
  Value index = b.add(b.mul(segment, b.i64(NumColumns)), b.i64(column));
  Value address = b.address(table, index, b.getI64Type());
  return b.load(address, b.i64(0), type ? type : Type(b.getI64Type()));
}

Segments::Own Segments::own(KernelBuilder &b, Value table, Value segment, Value hyper, bool sharesOut) const {
  Value count = field(b, table, segment, Count), zero = b.i64(0);
  if (!hasShards && !sharesOut)
    return {zero, count};
  Value rank = b.extendTo(b.hyper(hyper, HyperField::Rank), b.getI64Type());
  Value whole = field(b, table, segment, Whole), offset = b.mul(rank, count);
  Value isShard = b.icmp(arith::CmpIPredicate::ne, whole, zero);
  Value inside = b.maxs(zero, b.mins(count, b.sub(whole, offset)));
  Value otherwise = count;
  if (sharesOut)
    otherwise = b.select(b.icmp(arith::CmpIPredicate::eq, rank, zero), count, zero);
  return {b.select(isShard, offset, zero), b.select(isShard, inside, otherwise)};
}

Value normalValues(KernelBuilder &b, const KernelBuilder::Generator &generator, Value element, int64_t lanes,
                   Value site, int64_t bound, Value deviation) {
  std::array<Value, 4> words = b.random(generator, element, lanes, site, bound);
  auto uniform = [&](Value word, int64_t plus) {
    Value bits = b.create<arith::ShRUIOp>(word, b.intConstant(word, 8));
    Value integer = b.add(bits, b.intConstant(word, plus));
    Value u = b.create<arith::SIToFPOp>(b.shapedLike(word, b.getF32Type()), integer);
    return b.fmul(u, b.constant(u, 0x1p-24));
  };
  Value u1 = uniform(words[0], 1), u2 = uniform(words[1], 0);
  Value radius = b.sqrt(b.fmul(b.log(u1), b.constant(u1, -2.0)));
  return b.fmul(b.fmul(radius, b.sinCosTurns(u2).second), deviation);
}

Value isFinite(KernelBuilder &b, Value x) {
  // x - x is NaN otherwise, and NaN is not ordered.
  Value zero = b.fsub(x, x);
  return b.fcmp(arith::CmpFPredicate::ORD, zero, zero);
}

SmallVector<Value> gradientStatistics(KernelBuilder &b, const Segments &segments, Value hyper, Value scale,
                                      const GradientSums &sums) {
  Type f64 = b.getF64Type();
  Value zero = b.f64(0), one = b.f64(1), count = b.f64(segments.elements);
  Value norm = b.fmul(b.sqrt(sums.squares), scale);
  Value limit = b.extendTo(b.hyper(hyper, HyperField::GradClip), f64);
  Value clip = b.fdiv(limit, norm);
  Value isClipped =
      b.create<arith::AndIOp>(b.fcmp(arith::CmpFPredicate::OGT, limit, zero),
                              b.create<arith::XOrIOp>(b.fcmp(arith::CmpFPredicate::OGE, clip, one),
                                                      b.create<arith::ConstantOp>(b.getBoolAttr(true))));
  Value skip = b.hyper(hyper, HyperField::SkipNonfinite);
  Value skips = b.create<arith::AndIOp>(b.icmp(arith::CmpIPredicate::ne, skip, b.i32(0)),
                                        b.fcmp(arith::CmpFPredicate::OGT, sums.nonfinite, zero));
  Value mean = b.fmul(b.fdiv(sums.sum, count), scale);
  Value meanSquare = b.fmul(b.fdiv(sums.squares, count), b.fmul(scale, scale));
  Value deviation = b.sqrt(b.fmax(zero, b.fsub(meanSquare, b.fmul(mean, mean))));
  return {norm,
          b.select(isClipped, clip, one),
          mean,
          deviation,
          b.fmul(sums.min, scale),
          b.fmul(sums.max, scale),
          b.fdiv(sums.normSum, b.f64(segments.rows.size())),
          sums.normMax,
          sums.normMin,
          sums.nonfinite,
          b.select(skips, one, zero)};
}

AdamwRule::AdamwRule(KernelBuilder &b, Value hyper, Value stats) : b(b) {
  one = b.f32(1);
  skips = b.fcmp(arith::CmpFPredicate::OGT, b.load(stats, b.i64(10), b.getF32Type()), b.f32(0));
  Value rate = b.hyper(hyper, HyperField::LearningRate);
  Value beta1 = b.hyper(hyper, HyperField::Beta1), beta2 = b.hyper(hyper, HyperField::Beta2);
  decayed = b.fsub(one, b.fmul(rate, b.hyper(hyper, HyperField::WeightDecay)));
  Value clip = b.load(stats, b.i64(1), b.getF32Type());
  gradScale = b.fmul(b.hyper(hyper, HyperField::GradScale), clip);
  keep1 = beta1;
  take1 = b.fsub(one, beta1);
  keep2 = beta2;
  take2 = b.fsub(one, beta2);
  stepSize = b.fneg(b.fdiv(rate, b.hyper(hyper, HyperField::BiasCorrection1)));
  correction2 = b.fdiv(one, b.hyper(hyper, HyperField::BiasCorrection2));
  epsilon = b.hyper(hyper, HyperField::Epsilon);
}

Value AdamwRule::shrink(Value flags) {
  Value decays = b.create<arith::AndIOp>(flags, b.i64(step::decays));
  Value isDecayed = b.icmp(arith::CmpIPredicate::ne, decays, b.i64(0));
  return b.select(isDecayed, decayed, one);
}

Value AdamwRule::zeroes(Value flags) {
  Value leaves = b.create<arith::AndIOp>(flags, b.i64(step::leavesGradient));
  return b.icmp(arith::CmpIPredicate::eq, leaves, b.i64(0));
}

AdamwRule::Element AdamwRule::update(const Element &old, Value shrink) {
  auto spread = [&](Value scalar) { return b.splat(scalar, KernelBuilder::lanesOf(old.grad.getType())); };
  Value g = b.fmul(old.grad, spread(gradScale));
  Value m = b.fma(old.moment1, spread(keep1), b.fmul(g, spread(take1)));
  Value v = b.fma(old.moment2, spread(keep2), b.fmul(b.fmul(g, g), spread(take2)));
  Value denominator = b.fadd(b.sqrt(b.fmul(v, spread(correction2))), spread(epsilon));
  Value w = b.fma(b.fdiv(m, denominator), spread(stepSize), b.fmul(old.value, spread(shrink)));
  return {b.select(skips, old.value, w), b.constant(g, 0.0), b.select(skips, old.moment1, m),
          b.select(skips, old.moment2, v)};
}

} // namespace txc::codegen
