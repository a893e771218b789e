//===- Flat.cpp - Kernels over all parameters ------------------------------===//
//
// init, global_norm, gradient_sums and adamw work on the flat arenas of values,
// gradients and moments. A segment is one parameter, or this rank's shard of it; a
// block is one piece of a segment, so the number of blocks and every partial sum
// depend on the parameters only.
//
// global_norm: phase 0 leaves per piece sum and sum of squares (f64), minimum,
// maximum and the number of elements that are not finite; phase 1 is one block
// that adds them in order. gradient_sums: the same, but phase 1 leaves what is to
// be added over ranks; gradient_stats goes on from there.
// adamw: one pass, every tensor read and written once.
//
//===----------------------------------------------------------------------===//

#include "../Segments.h"
#include "Emitters.h"

using namespace mlir;

namespace txc::codegen {

static constexpr int64_t pieceElements = 16384;

namespace {
class FlatKernel {
public:
  FlatKernel(func::FuncOp function, step::KernelOp kernel, const CpuTarget &target)
      : b(function, target), kernel(kernel), segments(kernel, pieceElements), lanes(b.lanes) {
    table = segments.emitTable(b, function, (function.getName() + ".segments").str());
  }

  void emitInit();
  void emitPartials();
  void emitStatistics();
  void emitSums();
  void emitStatisticsOfSums();
  void emitUpdate();

private:
  Value field(Value segment, Segments::Column column, Type type = {}) {
    return Segments::field(b, table, segment, column, type);
  }
  Value piecesOf(Value segment) {
    return b.divu(b.add(field(segment, Segments::Count), b.i64(pieceElements - 1)), b.i64(pieceElements));
  }
  /// Calls `work` for blocks [begin, end): the segment, the number of the piece
  /// and its elements [from, to) of the segment, none of them padding.
  void forPieces(llvm::function_ref<void(Value segment)> enter,
                 llvm::function_ref<void(Value segment, Value piece, Value from, Value to)> work) {
    b.forLoop(b.i64(0), b.i64(segments.rows.size()), b.i64(1), [&](Value segment) {
      Value first = field(segment, Segments::FirstPiece);
      Value lower = b.maxs(b.begin(), first), upper = b.mins(b.end(), b.add(first, piecesOf(segment)));
      b.ifThen(b.icmp(arith::CmpIPredicate::slt, lower, upper), [&] {
        enter(segment);
        Segments::Own own = segments.own(b, table, segment, b.argument(0), sharesOut);
        offset = own.offset;
        b.forLoop(lower, upper, b.i64(1), [&](Value piece) {
          Value from = b.mul(b.sub(piece, first), b.i64(pieceElements));
          work(segment, piece, from, b.maxs(from, b.mins(b.add(from, b.i64(pieceElements)), own.count)));
        });
      });
    });
  }
  /// Whole vectors of elements [from, to), then a masked one.
  SmallVector<Value> forVectors(Value from, Value to, unsigned unroll, ValueRange init,
                                llvm::function_ref<SmallVector<Value>(Value, Value mask, ValueRange)> work) {
    Value step = b.i64(unroll * lanes);
    Value whole = b.sub(b.sub(to, from), b.remu(b.sub(to, from), step));
    Value middle = b.add(from, whole);
    SmallVector<Value> carried = b.forLoop(from, middle, step, init, [&](Value first, ValueRange values) {
      SmallVector<Value> next(values.begin(), values.end());
      for (unsigned u = 0; u < unroll; ++u)
        next = work(b.add(first, b.i64(u * lanes)), Value(), next);
      return next;
    });
    return b.forLoop(middle, to, b.i64(lanes), carried, [&](Value first, ValueRange values) {
      return work(first, b.tailMask(lanes, b.sub(to, first)), values);
    });
  }

  CpuBuilder b;
  step::KernelOp kernel;
  Segments segments;
  /// Adds the pieces of each segment in order. Carries sum, minimum, maximum and
  /// number of non-finite elements over all segments, then what `work` carries,
  /// which gets each segment's sum of squares.
  SmallVector<Value>
  forSegmentSums(Value partials, ValueRange init,
                 llvm::function_ref<SmallVector<Value>(Value segment, Value squares, ValueRange)> work);
  void storeStatistics(Value stats, ArrayRef<Value> results);

  int64_t lanes;
  Value table;
  Value offset;           ///< of the segment in the whole tensor, within forPieces
  bool sharesOut = false; ///< see Segments::own
};
} // namespace

static constexpr int64_t numSums = 5; ///< of a piece, f64

KernelShape describeFlat(step::KernelOp kernel, const CpuTarget &target) {
  if (kernel.getKind() == "gradient_stats")
    return {{1}, {}};
  Segments segments(kernel, pieceElements);
  KernelShape shape;
  shape.blocks.push_back(segments.pieces);
  if (kernel.getKind() == "global_norm" || kernel.getKind() == "gradient_sums") {
    shape.blocks.push_back(1);
    shape.workspaceBytes.push_back(segments.pieces * numSums * 8);
  }
  return shape;
}

//===-- init ---------------------------------------------------------------===//

void FlatKernel::emitInit() {
  CpuBuilder::Generator generator = b.generator(b.argument(0));
  generator.stepLo = b.i32(-1);
  Value values = b.argument(1);
  Type f32 = b.getF32Type();
  Value kind, base, deviation, site;
  auto enter = [&](Value segment) {
    kind = field(segment, Segments::Init);
    base = field(segment, Segments::First);
    deviation = b.splat(field(segment, Segments::Stddev, f32), lanes);
    site = field(segment, Segments::Site, b.getI32Type());
  };
  auto isKind = [&](tx::Init init) {
    return b.icmp(arith::CmpIPredicate::eq, kind, b.i64(static_cast<int64_t>(init)));
  };
  forPieces(enter, [&](Value, Value, Value from, Value to) {
    Value constant = b.splat(b.select(isKind(tx::Init::Ones), b.f32(1), b.f32(0)), lanes);
    b.ifThen(b.icmp(arith::CmpIPredicate::ne, kind, b.i64(static_cast<int64_t>(tx::Init::Normal))), [&] {
      forVectors(from, to, 1, {}, [&](Value element, Value mask, ValueRange) -> SmallVector<Value> {
        b.storeVector(constant, values, b.add(base, element), f32, mask);
        return {};
      });
    });
    b.ifThen(isKind(tx::Init::Normal), [&] {
      forVectors(from, to, 1, {}, [&](Value element, Value mask, ValueRange) -> SmallVector<Value> {
        Value z = normalValues(b, generator, b.add(offset, element), lanes, site, segments.bound, deviation);
        b.storeVector(z, values, b.add(base, element), f32, mask);
        return {};
      });
    });
  });
}

//===-- global_norm, gradient_sums, gradient_stats -------------------------===//

void FlatKernel::emitPartials() {
  sharesOut = kernel.getKind() == "gradient_sums";
  Value grad = b.argument(1), partials = b.argument(sharesOut ? 4 : 3);
  Type f64 = b.getF64Type();
  Value base;
  int64_t half = lanes / 2;
  SmallVector<int32_t> low, high;
  for (int64_t i = 0; i < half; ++i) {
    low.push_back(i);
    high.push_back(i + half);
  }
  Value zero = b.splat(b.f64(0), half);
  Value most = b.splat(b.f32(std::numeric_limits<float>::infinity()), lanes);
  Value least = b.splat(b.f32(-std::numeric_limits<float>::infinity()), lanes);
  Value none = b.splat(b.f32(0), lanes), one = b.splat(b.f32(1), lanes);
  SmallVector<Value> init = {zero, zero, zero, zero, most, least, none};
  forPieces([&](Value segment) { base = field(segment, Segments::First); },
            [&](Value, Value piece, Value from, Value to) {
              SmallVector<Value> s = forVectors(
                  from, to, 2, init, [&](Value element, Value mask, ValueRange old) -> SmallVector<Value> {
                    Value g = b.loadVector(grad, b.add(base, element), b.getF32Type(), lanes, mask);
                    Value x = b.extendTo(b.shuffle(g, g, low), f64),
                          y = b.extendTo(b.shuffle(g, g, high), f64);
                    Value smallest = b.fmin(old[4], g), largest = b.fmax(old[5], g);
                    if (mask) {
                      smallest = b.select(mask, smallest, old[4]);
                      largest = b.select(mask, largest, old[5]);
                    }
                    return {b.fadd(old[0], x),
                            b.fadd(old[1], y),
                            b.fma(x, x, old[2]),
                            b.fma(y, y, old[3]),
                            smallest,
                            largest,
                            b.fadd(old[6], b.select(isFinite(b, g), none, one))};
                  });
              Value place = b.mul(piece, b.i64(numSums));
              Value results[] = {b.reduceAdd(b.fadd(s[0], s[1])), b.reduceAdd(b.fadd(s[2], s[3])),
                                 b.extendTo(b.reduceMin(s[4]), f64), b.extendTo(b.reduceMax(s[5]), f64),
                                 b.extendTo(b.reduceAdd(s[6]), f64)};
              for (auto [i, value] : llvm::enumerate(results))
                b.store(value, partials, b.add(place, b.i64(i)));
            });
}

SmallVector<Value> FlatKernel::forSegmentSums(
    Value partials, ValueRange init,
    llvm::function_ref<SmallVector<Value>(Value segment, Value squares, ValueRange)> work) {
  Type f64 = b.getF64Type();
  Value zero = b.f64(0), infinity = b.f64(std::numeric_limits<double>::infinity());
  SmallVector<Value> start = {zero, infinity, b.fneg(infinity), zero};
  llvm::append_range(start, init);
  return b.forLoop(b.i64(0), b.i64(segments.rows.size()), b.i64(1), start,
                   [&](Value segment, ValueRange old) -> SmallVector<Value> {
                     Value first = field(segment, Segments::FirstPiece);
                     SmallVector<Value> inside = {old[0], zero, old[1], old[2], old[3]};
                     inside = b.forLoop(
                         first, b.add(first, piecesOf(segment)), b.i64(1), inside,
                         [&](Value piece, ValueRange s) -> SmallVector<Value> {
                           auto load = [&](int64_t i) {
                             return b.load(partials, b.add(b.mul(piece, b.i64(numSums)), b.i64(i)), f64);
                           };
                           return {b.fadd(s[0], load(0)), b.fadd(s[1], load(1)), b.fmin(s[2], load(2)),
                                   b.fmax(s[3], load(3)), b.fadd(s[4], load(4))};
                         });
                     SmallVector<Value> next = {inside[0], inside[2], inside[3], inside[4]};
                     llvm::append_range(next, work(segment, inside[1], old.drop_front(4)));
                     return next;
                   });
}

void FlatKernel::storeStatistics(Value stats, ArrayRef<Value> results) {
  b.ifThen(b.icmp(arith::CmpIPredicate::slt, b.begin(), b.end()), [&] {
    for (auto [i, value] : llvm::enumerate(results))
      b.store(b.truncTo(value, b.getF32Type()), stats, b.i64(i));
  });
}

void FlatKernel::emitStatistics() {
  Value hyper = b.argument(0);
  Value zero = b.f64(0), infinity = b.f64(std::numeric_limits<double>::infinity()), minus = b.fneg(infinity);
  Value scale = b.extendTo(b.hyper(hyper, HyperField::GradScale), b.getF64Type());
  // Sum of squares; sum, maximum and minimum of the norms of segments.
  SmallVector<Value> all = forSegmentSums(b.argument(3), {zero, zero, minus, infinity},
                                          [&](Value, Value squares, ValueRange old) -> SmallVector<Value> {
                                            Value norm = b.fmul(b.sqrt(squares), scale);
                                            return {b.fadd(old[0], squares), b.fadd(old[1], norm),
                                                    b.fmax(old[2], norm), b.fmin(old[3], norm)};
                                          });
  storeStatistics(b.argument(2),
                  gradientStatistics(b, segments, hyper, scale,
                                     {all[0], all[4], all[1], all[2], all[5], all[6], all[7], all[3]}));
}

void FlatKernel::emitSums() {
  Value sums = b.argument(2), extrema = b.argument(3);
  Value scale = b.extendTo(b.hyper(b.argument(0), HyperField::GradScale), b.getF64Type());
  Value square = b.fmul(scale, scale);
  b.ifThen(b.icmp(arith::CmpIPredicate::slt, b.begin(), b.end()), [&] {
    SmallVector<Value> all = forSegmentSums(
        b.argument(4), {}, [&](Value segment, Value squares, ValueRange) -> SmallVector<Value> {
          b.store(b.fmul(squares, square), sums, b.add(segment, b.i64(1)));
          return {};
        });
    b.store(b.fmul(all[0], scale), sums, b.i64(0));
    b.store(all[3], sums, b.i64(segments.rows.size() + 1));
    b.store(b.truncTo(b.fmul(all[1], scale), b.getF32Type()), extrema, b.i64(0));
    b.store(b.truncTo(b.fneg(b.fmul(all[2], scale)), b.getF32Type()), extrema, b.i64(1));
  });
}

void FlatKernel::emitStatisticsOfSums() {
  Value hyper = b.argument(0), sums = b.argument(1), extrema = b.argument(2);
  Type f64 = b.getF64Type();
  Value zero = b.f64(0), infinity = b.f64(std::numeric_limits<double>::infinity()), minus = b.fneg(infinity);
  SmallVector<Value> norms = b.forLoop(
      b.i64(0), b.i64(segments.rows.size()), b.i64(1), {zero, zero, minus, infinity},
      [&](Value segment, ValueRange old) -> SmallVector<Value> {
        Value squares = b.load(sums, b.add(segment, b.i64(1)), f64), norm = b.sqrt(squares);
        return {b.fadd(old[0], squares), b.fadd(old[1], norm), b.fmax(old[2], norm), b.fmin(old[3], norm)};
      });
  Value smallest = b.extendTo(b.load(extrema, b.i64(0), b.getF32Type()), f64);
  Value largest = b.fneg(b.extendTo(b.load(extrema, b.i64(1), b.getF32Type()), f64));
  storeStatistics(b.argument(3), gradientStatistics(b, segments, hyper, b.f64(1),
                                                    {b.load(sums, b.i64(0), f64), norms[0], smallest, largest,
                                                     norms[1], norms[2], norms[3],
                                                     b.load(sums, b.i64(segments.rows.size() + 1), f64)}));
}

//===-- adamw --------------------------------------------------------------===//

void FlatKernel::emitUpdate() {
  Value hyper = b.argument(0), stats = b.argument(1);
  Value value = b.argument(2), grad = b.argument(3), moment1 = b.argument(4), moment2 = b.argument(5);
  Type f32 = b.getF32Type();
  AdamwRule rule(b, hyper, stats);
  Value base, shrink, zeroes;
  auto enter = [&](Value segment) {
    base = field(segment, Segments::First);
    Value flags = field(segment, Segments::Flags);
    shrink = rule.shrink(flags);
    zeroes = rule.zeroes(flags);
  };
  forPieces(enter, [&](Value, Value, Value from, Value to) {
    forVectors(from, to, 2, {}, [&](Value element, Value mask, ValueRange) -> SmallVector<Value> {
      Value at = b.add(base, element);
      auto load = [&](Value pointer) { return b.loadVector(pointer, at, f32, lanes, mask); };
      AdamwRule::Element next = rule.update({load(value), load(grad), load(moment1), load(moment2)}, shrink);
      b.storeVector(next.value, value, at, f32, mask);
      b.storeVector(next.moment1, moment1, at, f32, mask);
      b.storeVector(next.moment2, moment2, at, f32, mask);
      b.ifThen(zeroes, [&] { b.storeVector(next.grad, grad, at, f32, mask); });
      return {};
    });
  });
}

LogicalResult emitFlat(func::FuncOp function, step::KernelOp kernel, int64_t phase, const CpuTarget &target) {
  FlatKernel flat(function, kernel, target);
  if (kernel.getKind() == "init")
    flat.emitInit();
  else if (kernel.getKind() == "adamw")
    flat.emitUpdate();
  else if (kernel.getKind() == "gradient_stats")
    flat.emitStatisticsOfSums();
  else if (phase == 0)
    flat.emitPartials();
  else if (kernel.getKind() == "gradient_sums")
    flat.emitSums();
  else
    flat.emitStatistics();
  OpBuilder::atBlockEnd(&function.getBody().front()).create<func::ReturnOp>(function.getLoc());
  return success();
}

} // namespace txc::codegen
