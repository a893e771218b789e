//===- Flat.cpp - Kernels over all parameters, on a GPU --------------------===//
//
// init, global_norm, gradient_sums and adamw: a block is one piece of one
// parameter's segment, which may be this rank's shard of it.
//
// global_norm
//   phase 0  sums (f64), minimum, maximum and number of non-finite elements of
//            each piece
//   phase 1  a warp per segment adds its pieces
//   phase 2  one warp adds the segments and writes the statistics
// gradient_sums: the same, but phase 2 writes what is to be added over ranks;
// gradient_stats, one warp, goes on from there.
// adamw reads and writes every tensor once and writes the bf16 copy with it.
//
//===----------------------------------------------------------------------===//

#include "../Segments.h"
#include "Emitters.h"

using namespace mlir;

namespace txc::codegen::gpu {

static constexpr int64_t threads = 256, lanes = 4, warpSize = GpuBuilder::warpSize;
static constexpr int64_t segmentWarps = 4; ///< of a block of phase 1
using Fold = GpuBuilder::Fold;

/// Elements of a block. An update goes through many arrays at once; small pieces
/// keep what all blocks touch at a time close together in each of them: a vector per
/// thread.
static int64_t pieceElements(step::KernelOp kernel) {
  return kernel.getKind() == "adamw" ? threads * lanes : 16384;
}
static const Fold sumsFolds[] = {Fold::Sum, Fold::Sum, Fold::Min, Fold::Max, Fold::Sum};
static constexpr int64_t numSums = std::size(sumsFolds); ///< of a piece or segment, f64
/// Sum, maximum and minimum of the norms of segments.
static const Fold normFolds[] = {Fold::Sum, Fold::Max, Fold::Min};

namespace {
class FlatKernel {
public:
  FlatKernel(GpuBuilder &builder, step::KernelOp kernel)
      : b(builder), kernel(kernel), segments(kernel, pieceElements(kernel)),
        hasCompute(kernel->hasAttr("compute")) {
    table = segments.emitTable(b, b.function, (b.function.getName() + "_segments").str(), tableSpace());
  }

  void emitInit();
  void emitPieceSums();
  void emitSegmentSums();
  void emitStatistics();
  void emitSums();
  void emitStatisticsOfSums();
  void emitUpdate();

private:
  Value field(Value segment, Segments::Column column, Type type = {}) {
    return Segments::field(b, table, segment, column, type);
  }
  /// A block looks for its piece before it can ask for anything else. Constant
  /// memory answers at once even if all others have device memory busy; it has
  /// 64 KiB for the three kernels.
  unsigned tableSpace() const {
    constexpr unsigned global = 1, constant = 4;
    constexpr size_t most = 20 << 10;
    return segments.rows.size() * Segments::NumColumns * 8 <= most ? constant : global;
  }
  Value piecesOf(Value segment) {
    return b.divu(b.add(field(segment, Segments::Count), b.i64(segments.pieceElements - 1)),
                  b.i64(segments.pieceElements));
  }

  /// The segment of this block's piece and its elements [from, to) of it, none of
  /// them padding; see Segments::own.
  void findPiece(bool sharesOut = false);
  /// Visits the piece: whole vectors, then the rest one by one.
  SmallVector<Value> forElements(ValueRange init,
                                 llvm::function_ref<SmallVector<Value>(Value, int64_t, ValueRange)> work);
  /// The sums over entries [from, to) of `sums`, which the lanes of the warp share
  /// out.
  SmallVector<Value> addSums(Value sums, Value from, Value to);
  /// Folds of the norms of all segments, which the lanes of the warp share out.
  SmallVector<Value> foldNorms(llvm::function_ref<Value(Value segment)> norm);
  /// By the first thread.
  void storeStatistics(Value stats, ArrayRef<Value> results);

  GpuBuilder &b;
  step::KernelOp kernel;
  Segments segments;
  bool hasCompute;
  Value table, segment, from, to, offset;
};
} // namespace

void FlatKernel::findPiece(bool sharesOut) {
  // The last segment whose first piece is not beyond this one.
  Value low = b.i64(0), piece = b.block();
  int64_t step = 1;
  while (step * 2 <= static_cast<int64_t>(segments.rows.size()))
    step *= 2;
  for (; step; step /= 2) {
    Value next = b.add(low, b.i64(step));
    Value exists = b.icmp(arith::CmpIPredicate::ult, next, b.i64(segments.rows.size()));
    Value first = field(b.select(exists, next, b.i64(0)), Segments::FirstPiece);
    Value after = b.create<arith::AndIOp>(exists, b.icmp(arith::CmpIPredicate::ule, first, piece));
    low = b.select(after, next, low);
  }
  segment = low;
  from = b.mul(b.sub(piece, field(segment, Segments::FirstPiece)), b.i64(segments.pieceElements));
  Segments::Own own = segments.own(b, table, segment, b.argument(0), sharesOut);
  offset = own.offset;
  to = b.maxs(from, b.mins(b.add(from, b.i64(segments.pieceElements)), own.count));
}

SmallVector<Value>
FlatKernel::forElements(ValueRange init,
                        llvm::function_ref<SmallVector<Value>(Value, int64_t, ValueRange)> work) {
  Value count = b.sub(to, from), whole = b.add(from, b.sub(count, b.remu(count, b.i64(lanes))));
  Value mine = b.add(from, b.mul(b.thread(), b.i64(lanes)));
  SmallVector<Value> carried =
      b.forLoop(mine, whole, b.i64(threads * lanes), init,
                [&](Value element, ValueRange values) { return work(element, lanes, values); });
  return b.forLoop(b.add(whole, b.thread()), to, b.i64(threads), carried,
                   [&](Value element, ValueRange values) { return work(element, 1, values); });
}

//===-- init ---------------------------------------------------------------===//

void FlatKernel::emitInit() {
  findPiece();
  KernelBuilder::Generator generator = b.generator(b.argument(0));
  generator.stepLo = b.i32(-1);
  Value values = b.argument(1), copies = hasCompute ? b.argument(2) : Value();
  Type f32 = b.getF32Type();
  Value kind = field(segment, Segments::Init), base = field(segment, Segments::First);
  Value deviation = field(segment, Segments::Stddev, f32);
  Value site = field(segment, Segments::Site, b.getI32Type());
  auto isKind = [&](tx::Init init) {
    return b.icmp(arith::CmpIPredicate::eq, kind, b.i64(static_cast<int64_t>(init)));
  };
  Value isNormal = isKind(tx::Init::Normal);
  Value constant = b.select(isKind(tx::Init::Ones), b.f32(1), b.f32(0));
  forElements({}, [&](Value element, int64_t n, ValueRange) -> SmallVector<Value> {
    Value z =
        normalValues(b, generator, b.add(offset, element), n, site, segments.bound, b.splat(deviation, n));
    Value value = b.select(isNormal, z, b.splat(constant, n));
    b.storeVector(value, values, b.add(base, element), f32);
    if (copies)
      b.storeVector(value, copies, b.add(base, element), b.getBF16Type());
    return {};
  });
}

//===-- global_norm, gradient_sums, gradient_stats -------------------------===//

void FlatKernel::emitPieceSums() {
  bool overRanks = kernel.getKind() == "gradient_sums";
  findPiece(overRanks);
  Value grad = b.argument(1), sums = b.argument(overRanks ? 4 : 3), base = field(segment, Segments::First);
  Value infinity = b.f32(std::numeric_limits<float>::infinity());
  SmallVector<Value> init = {b.f64(0), b.f64(0), infinity, b.fneg(infinity), b.f32(0)};
  SmallVector<Value> own = forElements(init, [&](Value element, int64_t n, ValueRange old) {
    Value g = b.loadVector(grad, b.add(base, element), b.getF32Type(), n);
    SmallVector<Value> next(old.begin(), old.end());
    // A few products in f32, all sums beyond a vector in f64.
    Value sum, squares;
    for (int64_t i = 0; i < n; ++i) {
      Value x = b.create<vector::ExtractOp>(g, i);
      sum = sum ? b.fadd(sum, x) : x;
      squares = squares ? b.fma(x, x, squares) : b.fmul(x, x);
      next[2] = b.fmin(next[2], x);
      next[3] = b.fmax(next[3], x);
      next[4] = b.fadd(next[4], b.select(isFinite(b, x), b.f32(0), b.f32(1)));
    }
    next[0] = b.fadd(next[0], b.extendTo(sum, b.getF64Type()));
    next[1] = b.fadd(next[1], b.extendTo(squares, b.getF64Type()));
    return next;
  });
  SmallVector<Value> all = b.blockFold(sumsFolds, own, threads);
  b.ifThen(b.icmp(arith::CmpIPredicate::eq, b.thread(), b.i64(0)), [&] {
    for (auto [i, value] : llvm::enumerate(all))
      b.store(i < 2 ? value : b.extendTo(value, b.getF64Type()), sums,
              b.add(b.mul(b.block(), b.i64(numSums)), b.i64(i)));
  });
}

SmallVector<Value> FlatKernel::addSums(Value sums, Value from, Value to) {
  Type f64 = b.getF64Type();
  Value infinity = b.f64(std::numeric_limits<double>::infinity());
  SmallVector<Value> init = {b.f64(0), b.f64(0), infinity, b.fneg(infinity), b.f64(0)};
  SmallVector<Value> own =
      b.forLoop(b.add(from, b.lane()), to, b.i64(warpSize), init, [&](Value entry, ValueRange old) {
        SmallVector<Value> next;
        for (auto [i, kind] : llvm::enumerate(sumsFolds))
          next.push_back(
              b.fold(kind, old[i], b.load(sums, b.add(b.mul(entry, b.i64(numSums)), b.i64(i)), f64)));
        return next;
      });
  for (auto [value, kind] : llvm::zip(own, sumsFolds))
    value = b.warpFold(kind, value);
  return own;
}

void FlatKernel::emitSegmentSums() {
  unsigned first = kernel.getKind() == "gradient_sums" ? 4 : 3;
  Value pieceSums = b.argument(first), segmentSums = b.argument(first + 1);
  Value mine = b.add(b.mul(b.block(), b.i64(segmentWarps)), b.warp());
  b.ifThen(b.icmp(arith::CmpIPredicate::ult, mine, b.i64(segments.rows.size())), [&] {
    Value first = field(mine, Segments::FirstPiece);
    SmallVector<Value> all = addSums(pieceSums, first, b.add(first, piecesOf(mine)));
    b.ifThen(b.icmp(arith::CmpIPredicate::eq, b.lane(), b.i64(0)), [&] {
      for (auto [i, value] : llvm::enumerate(all))
        b.store(value, segmentSums, b.add(b.mul(mine, b.i64(numSums)), b.i64(i)));
    });
  });
}

SmallVector<Value> FlatKernel::foldNorms(llvm::function_ref<Value(Value segment)> norm) {
  Value infinity = b.f64(std::numeric_limits<double>::infinity());
  SmallVector<Value> init = {b.f64(0), b.fneg(infinity), infinity};
  SmallVector<Value> norms = b.forLoop(b.lane(), b.i64(segments.rows.size()), b.i64(warpSize), init,
                                       [&](Value segment, ValueRange old) {
                                         Value own = norm(segment);
                                         SmallVector<Value> next;
                                         for (auto [i, kind] : llvm::enumerate(normFolds))
                                           next.push_back(b.fold(kind, old[i], own));
                                         return next;
                                       });
  for (auto [value, kind] : llvm::zip(norms, normFolds))
    value = b.warpFold(kind, value);
  return norms;
}

void FlatKernel::storeStatistics(Value stats, ArrayRef<Value> results) {
  b.ifThen(b.icmp(arith::CmpIPredicate::eq, b.thread(), b.i64(0)), [&] {
    for (auto [i, value] : llvm::enumerate(results))
      b.store(b.truncTo(value, b.getF32Type()), stats, b.i64(i));
  });
}

void FlatKernel::emitStatistics() {
  Value hyper = b.argument(0), segmentSums = b.argument(4);
  Type f64 = b.getF64Type();
  SmallVector<Value> all = addSums(segmentSums, b.i64(0), b.i64(segments.rows.size()));
  Value scale = b.extendTo(b.hyper(hyper, HyperField::GradScale), f64);
  SmallVector<Value> norms = foldNorms([&](Value segment) {
    Value squares = b.load(segmentSums, b.add(b.mul(segment, b.i64(numSums)), b.i64(1)), f64);
    return b.fmul(b.sqrt(squares), scale);
  });
  storeStatistics(b.argument(2),
                  gradientStatistics(b, segments, hyper, scale,
                                     {all[0], all[1], all[2], all[3], norms[0], norms[1], norms[2], all[4]}));
}

void FlatKernel::emitSums() {
  Value sums = b.argument(2), extrema = b.argument(3), segmentSums = b.argument(5);
  Type f64 = b.getF64Type(), f32 = b.getF32Type();
  Value count = b.i64(segments.rows.size());
  SmallVector<Value> all = addSums(segmentSums, b.i64(0), count);
  Value scale = b.extendTo(b.hyper(b.argument(0), HyperField::GradScale), f64), square = b.fmul(scale, scale);
  b.forLoop(b.lane(), count, b.i64(warpSize), [&](Value segment) {
    Value squares = b.load(segmentSums, b.add(b.mul(segment, b.i64(numSums)), b.i64(1)), f64);
    b.store(b.fmul(squares, square), sums, b.add(segment, b.i64(1)));
  });
  b.ifThen(b.icmp(arith::CmpIPredicate::eq, b.thread(), b.i64(0)), [&] {
    b.store(b.fmul(all[0], scale), sums, b.i64(0));
    b.store(all[4], sums, b.add(count, b.i64(1)));
    b.store(b.truncTo(b.fmul(all[2], scale), f32), extrema, b.i64(0));
    b.store(b.truncTo(b.fneg(b.fmul(all[3], scale)), f32), extrema, b.i64(1));
  });
}

void FlatKernel::emitStatisticsOfSums() {
  Value hyper = b.argument(0), sums = b.argument(1), extrema = b.argument(2);
  Type f64 = b.getF64Type(), f32 = b.getF32Type();
  auto squaresOf = [&](Value segment) { return b.load(sums, b.add(segment, b.i64(1)), f64); };
  SmallVector<Value> norms = foldNorms([&](Value segment) { return b.sqrt(squaresOf(segment)); });
  Value count = b.i64(segments.rows.size());
  SmallVector<Value> squares = b.forLoop(b.lane(), count, b.i64(warpSize), ValueRange{b.f64(0)},
                                         [&](Value segment, ValueRange old) -> SmallVector<Value> {
                                           return {b.fadd(old[0], squaresOf(segment))};
                                         });
  Value all = b.warpFold(Fold::Sum, squares[0]);
  Value smallest = b.extendTo(b.load(extrema, b.i64(0), f32), f64);
  Value largest = b.fneg(b.extendTo(b.load(extrema, b.i64(1), f32), f64));
  storeStatistics(b.argument(3),
                  gradientStatistics(b, segments, hyper, b.f64(1),
                                     {b.load(sums, b.i64(0), f64), all, smallest, largest, norms[0], norms[1],
                                      norms[2], b.load(sums, b.add(count, b.i64(1)), f64)}));
}

//===-- adamw --------------------------------------------------------------===//

void FlatKernel::emitUpdate() {
  findPiece();
  Value base = field(segment, Segments::First);
  AdamwRule rule(b, b.argument(0), b.argument(1));
  Value flags = field(segment, Segments::Flags), shrink = rule.shrink(flags), zeroes = rule.zeroes(flags);
  Type f32 = b.getF32Type();
  forElements({}, [&](Value element, int64_t n, ValueRange) -> SmallVector<Value> {
    Value at = b.add(base, element);
    SmallVector<Value> old;
    for (unsigned argument : {2, 3, 4, 5})
      old.push_back(b.loadVector(b.argument(argument), at, f32, n));
    AdamwRule::Element next = rule.update({old[0], old[1], old[2], old[3]}, shrink);
    b.storeVector(next.value, b.argument(2), at, f32);
    b.ifThen(zeroes, [&] { b.storeVector(next.grad, b.argument(3), at, f32); });
    b.storeVector(next.moment1, b.argument(4), at, f32);
    b.storeVector(next.moment2, b.argument(5), at, f32);
    if (hasCompute)
      b.storeVector(next.value, b.argument(6), at, b.getBF16Type());
    return {};
  });
}

//===-- Entry points -------------------------------------------------------===//

GpuShape describeFlat(step::KernelOp kernel) {
  Segments segments(kernel, pieceElements(kernel));
  int64_t count = segments.rows.size();
  GpuShape shape;
  if (kernel.getKind() == "gradient_stats") {
    GpuPhase statistics;
    statistics.block[0] = warpSize;
    shape.phases.push_back(statistics);
    return shape;
  }
  GpuPhase pieces;
  pieces.grid[0] = segments.pieces;
  pieces.block[0] = threads;
  shape.phases.push_back(pieces);
  if (kernel.getKind() == "global_norm" || kernel.getKind() == "gradient_sums") {
    GpuPhase sums, statistics;
    sums.grid[0] = ceilDiv(count, segmentWarps);
    sums.block[0] = segmentWarps * warpSize;
    statistics.block[0] = warpSize;
    shape.phases.append({sums, statistics});
    shape.workspaceBytes = {segments.pieces * numSums * 8, count * numSums * 8};
  }
  return shape;
}

LogicalResult emitFlat(GpuBuilder &b, step::KernelOp kernel, int64_t phase) {
  FlatKernel flat(b, kernel);
  if (kernel.getKind() == "init")
    flat.emitInit();
  else if (kernel.getKind() == "adamw")
    flat.emitUpdate();
  else if (kernel.getKind() == "gradient_stats")
    flat.emitStatisticsOfSums();
  else if (phase == 0)
    flat.emitPieceSums();
  else if (phase == 1)
    flat.emitSegmentSums();
  else if (kernel.getKind() == "gradient_sums")
    flat.emitSums();
  else
    flat.emitStatistics();
  b.finish();
  return success();
}

} // namespace txc::codegen::gpu
