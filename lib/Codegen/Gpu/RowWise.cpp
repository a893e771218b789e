//===- RowWise.cpp - Row-wise kernels on a GPU -----------------------------===//
//
// A row belongs to one warp if it is narrow, else to one block. Each thread has
// the chunks thread, thread + T, thread + 2 T, ... of the row, `lanes` adjacent
// columns each: one 16-byte access for bf16. Chunks stay in registers from the
// first reduction to the last store, so every input is read once: as f32 if the
// row is narrow enough, else (logits) as the bf16 that they were, converted again
// where they are used: in shared memory if two rows fit, so that one is on its way
// while the other is computed, else in registers. Still wider rows are read again by
// each loop, from the L2 cache.
//
// - Reductions: lanes, then shuffles, then shared memory between warps, always in
//   the same order.
// - All values of a row are computed before the first is stored, so a result may
//   share an operand's buffer.
// - Sums over rows: a grid of fixed size, whatever the machine; each row's owner
//   adds up its rows in registers and writes one row of partial sums; a second
//   phase adds those in order. No atomics, so equal on every run.
//
//===----------------------------------------------------------------------===//

#include "../RowWise/RowKernel.h"
#include "Ampere.h"
#include "Emitters.h"

#include <map>

using namespace mlir;

namespace txc::codegen::gpu {

static constexpr int64_t warpSize = GpuBuilder::warpSize;
static constexpr int64_t warpsPerBlock = 4;       ///< where each has a row of its own
static constexpr int64_t chunksPerThread = 4;     ///< wished for
static constexpr int64_t mostChunksPerThread = 8; ///< that stay in registers
static constexpr int64_t mostThreads = 512;
static constexpr int64_t packedThreads = 1024; ///< of a row that is kept as bf16
static constexpr int64_t packedRegisters = 28; ///< per thread, of such a row

namespace {

/// A chunk of a row that may lie beyond its end.
struct GpuChunk : Chunk {
  GpuChunk(Value column, int64_t lanes, Value active, int64_t index)
      : Chunk(column, lanes), active(active), index(index) {}
  Value active;  ///< null: always
  int64_t index; ///< among this thread's chunks; -1: not a constant
};

/// How rows are spread over threads; depends on the kernel and the architecture.
struct RowPlan : RowLayout {
  RowPlan(const KernelBody &body, const GpuTarget &target);

  int64_t widest = 0; ///< columns that one loop visits
  int64_t lanes = 8;
  int64_t threads = warpSize; ///< that share a row
  int64_t rowsPerBlock = 1;
  int64_t blocks = 1;
  bool packed = false;       ///< rows are kept as bf16
  bool looped = false;       ///< rows do not fit into registers
  bool needsBarrier = false; ///< threads read what others will overwrite
  int64_t pinnedBytes = 0;   ///< of shared memory, for computed rows that are read out of order
  int64_t stagedBytes = 0;   ///< of shared memory, for a packed row that is not kept in registers
  int64_t blockThreads() const { return threads * rowsPerBlock; }
  int64_t groups() const { return blocks * rowsPerBlock; }
  int64_t chunksOf(int64_t base) const { return ceilDiv(base, lanes * threads); }
};

/// Whether a value has a row or column shape.
bool hasColumns(tx::RowAccess access) {
  return access != tx::RowAccess::RowScalar && access != tx::RowAccess::Scalar;
}

/// The rope whose result is written over its operand, null if there is none.
tx::RopeOp inPlaceRope(const KernelBody &body, unsigned result) {
  auto rope = body.yield->getOperand(result).getDefiningOp<tx::RopeOp>();
  auto input = rope ? dyn_cast<BlockArgument>(rope.getInput()) : BlockArgument();
  return input && input.hasOneUse() && body.inplace(result) == input.getArgNumber() ? rope : tx::RopeOp();
}

/// How many of a result's columns must be written: in place, only what is rotated.
int64_t columnsOf(const KernelBody &body, unsigned result) {
  if (tx::RopeOp rope = inPlaceRope(body, result))
    return rope.getHeads() * rope.getHeadDim();
  return widthOf(body.yield->getOperand(result));
}

/// Whether all rows that come in and all sums are `width` wide, and those bf16.
bool haveOneWidthOfBF16(const KernelBody &body, int64_t width) {
  for (BlockArgument argument : body.block->getArguments())
    for (OpOperand &use : argument.getUses())
      if (auto op = dyn_cast<tx::RowWiseOpInterface>(use.getOwner());
          op && accessOf(use) == tx::RowAccess::Row && !isColumnValue(op->getResult(0)))
        if (widthOf(argument) != width || !elementOf(argument).isBF16())
          return false;
  for (Operation &op : body.block->without_terminator())
    for (OpResult result : op.getResults())
      if (isa<tx::RowWiseOpInterface>(op) && hasColumns(accessOf(result)) && widthOf(result) != width)
        return false;
  return true;
}

/// Whether all that it does is to add rows of f32.
bool addsRowsOfF32(const KernelBody &body) {
  return llvm::all_of(body.block->without_terminator(), [](Operation &op) {
    return isa<tx::AddOp>(op) &&
           llvm::all_of(op.getOperands(), [](Value row) { return elementOf(row).isF32(); });
  });
}

/// Whether the rows that come in are one of bf16.
bool mayBePacked(const KernelBody &body) {
  int64_t rows = 0;
  for (BlockArgument argument : body.block->getArguments())
    if (llvm::any_of(argument.getUses(),
                     [](OpOperand &use) { return accessOf(use) == tx::RowAccess::Row; })) {
      ++rows;
      if (!elementOf(argument).isBF16())
        return false;
    }
  return rows == 1;
}

RowPlan::RowPlan(const KernelBody &body, const GpuTarget &target) : RowLayout(body) {
  // Neighbouring threads then touch neighbouring 16 bytes, not every other.
  if (addsRowsOfF32(body))
    lanes = 4;
  auto see = [&](int64_t width) {
    int64_t base = baseOf(width);
    widest = std::max(widest, base);
    while (base % lanes)
      lanes /= 2;
  };
  llvm::SmallPtrSet<Operation *, 2> inPlace;
  for (unsigned i = 0; i < body.numResults(); ++i)
    if (tx::RopeOp rope = inPlaceRope(body, i)) {
      inPlace.insert(rope);
      see(columnsOf(body, i));
    }
  for (Operation &op : body.block->without_terminator()) {
    if (!isa<tx::RowWiseOpInterface>(op))
      continue;
    if (!inPlace.contains(&op)) {
      for (OpOperand &operand : op.getOpOperands())
        if (accessOf(operand) == tx::RowAccess::Row)
          see(widthOf(operand.get()));
      for (OpResult result : op.getResults())
        if (hasColumns(accessOf(result)))
          see(widthOf(result));
    }
    if (auto rope = dyn_cast<tx::RopeOp>(op)) {
      needsBarrier = true;
      if (int64_t n = ropeLanes(rope, lanes))
        lanes = std::min(lanes, n);
      if (!isa<BlockArgument>(rope.getInput()))
        pinnedBytes += widthOf(rope.getInput()) * 4;
    }
    if (auto loss = dyn_cast<tx::CrossEntropyOp>(op)) {
      needsBarrier = true;
      if (!isa<BlockArgument>(loss.getLogits()))
        pinnedBytes += widthOf(loss.getLogits()) * 4;
    }
  }
  int64_t chunks = widest / lanes;
  if (chunks <= warpSize * chunksPerThread) {
    rowsPerBlock = warpsPerBlock;
  } else {
    threads = std::min(mostThreads, ceilDiv(chunks, warpSize * chunksPerThread) * warpSize);
    looped = columnSums.empty() && chunksOf(widest) > mostChunksPerThread;
    if (looped && lanes > 1 && mayBePacked(body)) {
      threads = packedThreads;
      packed = chunksOf(widest) * lanes / 2 <= packedRegisters;
      // Besides the row, sums between warps and what the hardware takes per block.
      if (segments.empty() && pinnedBytes == 0 && lanes == 8 &&
          2 * (widest * 2 + 2048) <= target.sharedBytes) {
        stagedBytes = widest * 2;
        packed = true;
      }
      threads = packed && !stagedBytes ? packedThreads : mostThreads;
      looped = !packed;
    }
  }
  if (!columnSums.empty() && !looped && !needsBarrier && haveOneWidthOfBF16(body, widest) && segments.empty())
    packed = lanes > 1;
  pinnedBytes *= rowsPerBlock;
  blocks = ceilDiv(std::max<int64_t>(rows, 1), rowsPerBlock);
  if (!columnSums.empty())
    blocks = std::min(blocks, std::max<int64_t>(4, 384 / blockThreads()) * target.multiprocessors);
}

class GpuRowKernel : public RowKernel {
public:
  GpuRowKernel(GpuBuilder &builder, const KernelBody &body, const RowPlan &plan)
      : RowKernel(builder, body, plan), b(builder), plan(plan) {}

  LogicalResult emitRows();

  RowMemory inMemory(Value value) override;
  SmallVector<Value>
  reduce(int64_t width, ArrayRef<Fold> folds, ArrayRef<Value> again,
         llvm::function_ref<SmallVector<Value>(Chunk &, int64_t, ValueRange)> step) override;
  Value logSumExp(Value value) override;
  Value load(const RowMemory &memory, Chunk &chunk, int64_t shift) override;

private:
  using ChunkBody = llvm::function_ref<void(GpuChunk &, SmallVectorImpl<Value> &carried)>;

  GpuChunk makeChunk(int64_t base, Value first, bool mayEnd, int64_t index = -1);
  GpuChunk makeChunk(int64_t base, int64_t index);
  /// Visits this thread's chunks of columns [0, base).
  SmallVector<Value> forChunks(int64_t base, ValueRange init, ChunkBody body);
  void askForRow();
  Value stageRow(Value pointer);
  void whereActive(const GpuChunk &chunk, llvm::function_ref<void()> work);
  void waitForRow() { plan.rowsPerBlock > 1 ? b.warpBarrier() : b.barrier(); }
  void storeResults();
  SmallVector<Value> zeroSums();
  SmallVector<Value> addSums(ValueRange old);
  void storeSums(ValueRange sums);

  GpuBuilder &b;
  const RowPlan &plan;
  Value threadInRow; ///< i64
  Value group;       ///< number of this row's owner, i64
  Value pinned;      ///< shared memory
  int64_t pinnedSoFar = 0;
  std::map<int64_t, SmallVector<GpuChunk>> kept; ///< chunks of the current row, by base
  /// Words of all chunks of the current row, by pointer and shift, if it is packed.
  DenseMap<std::pair<Value, int64_t>, SmallVector<Value>> words;
};
} // namespace

//===-- Chunks -------------------------------------------------------------===//

GpuChunk GpuRowKernel::makeChunk(int64_t base, Value first, bool mayEnd, int64_t index) {
  Value column = b.mul(b.add(first, threadInRow), b.i64(plan.lanes));
  if (!mayEnd)
    return GpuChunk(column, plan.lanes, {}, index);
  Value active = b.icmp(arith::CmpIPredicate::ult, column, b.i64(base));
  // A chunk beyond the end reads the first columns and writes nothing.
  return GpuChunk(b.select(active, column, b.i64(0)), plan.lanes, active, index);
}

GpuChunk GpuRowKernel::makeChunk(int64_t base, int64_t index) {
  bool mayEnd = (index + 1) * plan.lanes * plan.threads > base;
  return makeChunk(base, b.i64(index * plan.threads), mayEnd, index);
}

Value GpuRowKernel::load(const RowMemory &memory, Chunk &chunk, int64_t shift) {
  auto &own = static_cast<GpuChunk &>(chunk);
  if (!plan.packed || own.index < 0 || !memory.element.isBF16())
    return RowKernel::load(memory, chunk, shift);
  // The first access loads all chunks, so that they are on their way together.
  SmallVector<Value> &row = words[{memory.pointer, shift}];
  if (plan.stagedBytes) {
    if (row.empty())
      row.push_back(stageRow(memory.pointer));
    // A chunk beyond the end reads this thread's first, which nobody else writes.
    Value column = chunk.column;
    if (own.active)
      column = b.select(own.active, column, makeChunk(plan.widest, 0).column);
    return b.unpackPairs(b.loadPairs(row[0], column, plan.lanes));
  }
  if (row.empty())
    for (int64_t c = 0, base = plan.widest; c < plan.chunksOf(base); ++c)
      row.push_back(b.loadPairs(memory.pointer, b.add(makeChunk(base, c).column, b.i64(shift)), plan.lanes));
  return b.unpackPairs(b.opaque(row[own.index]));
}

SmallVector<Value> GpuRowKernel::forChunks(int64_t base, ValueRange init, ChunkBody chunkBody) {
  SmallVector<Value> carried(init.begin(), init.end());
  int64_t count = plan.chunksOf(base), perStep = plan.lanes * plan.threads;
  if (plan.looped)
    return b.forLoop(b.i64(0), b.i64(count * plan.threads), b.i64(plan.threads), carried,
                     [&](Value first, ValueRange values) {
                       SmallVector<Value> next(values.begin(), values.end());
                       GpuChunk chunk = makeChunk(base, first, base % perStep != 0);
                       chunkBody(chunk, next);
                       return next;
                     });
  if (plan.packed) {
    // New chunks each time: nothing that was computed before is kept.
    for (int64_t c = 0; c < count; ++c) {
      GpuChunk chunk = makeChunk(base, c);
      chunkBody(chunk, carried);
    }
    return carried;
  }
  SmallVector<GpuChunk> &chunks = kept[base];
  if (chunks.empty())
    for (int64_t c = 0; c < count; ++c)
      chunks.push_back(makeChunk(base, c));
  for (GpuChunk &chunk : chunks)
    chunkBody(chunk, carried);
  return carried;
}

void GpuRowKernel::whereActive(const GpuChunk &chunk, llvm::function_ref<void()> work) {
  if (chunk.active)
    b.ifThen(chunk.active, work);
  else
    work();
}

SmallVector<Value>
GpuRowKernel::reduce(int64_t width, ArrayRef<Fold> folds, ArrayRef<Value>,
                     llvm::function_ref<SmallVector<Value>(Chunk &, int64_t, ValueRange)> step) {
  if (plan.packed && !plan.columnSums.empty())
    askForRow();
  int64_t base = plan.baseOf(width);
  SmallVector<Value> init;
  SmallVector<GpuBuilder::Fold> kinds;
  for (Fold fold : folds) {
    bool isSum = fold == Fold::Sum;
    init.push_back(b.splat(b.f32(isSum ? 0.0 : -std::numeric_limits<float>::infinity()), plan.lanes));
    kinds.push_back(isSum ? GpuBuilder::Fold::Sum : GpuBuilder::Fold::Max);
  }
  SmallVector<Value> folded = forChunks(base, init, [&](GpuChunk &chunk, SmallVectorImpl<Value> &carried) {
    for (int64_t shift = 0; shift < width; shift += base) {
      SmallVector<Value> old(carried.begin(), carried.end());
      for (auto [accumulator, next, before] : llvm::zip(carried, step(chunk, shift, old), old))
        accumulator = chunk.active ? b.select(chunk.active, next, before) : next;
    }
  });
  SmallVector<Value> scalars;
  for (auto [kind, vector] : llvm::zip(kinds, folded))
    scalars.push_back(plan.lanes == 1                 ? b.create<vector::ExtractOp>(vector, 0).getResult()
                      : kind == GpuBuilder::Fold::Sum ? b.reduceAdd(vector)
                                                      : b.reduceMax(vector));
  if (plan.rowsPerBlock == 1)
    return b.blockFold(kinds, scalars, plan.threads);
  for (auto [kind, scalar] : llvm::zip(kinds, scalars))
    scalar = b.warpFold(kind, scalar);
  return scalars;
}

// One pass over the row: each thread keeps the largest value so far and the sum of
// exponentials relative to it, which it rescales once per chunk.
Value GpuRowKernel::logSumExp(Value value) {
  Value infinity = b.f32(std::numeric_limits<float>::infinity());
  SmallVector<Value> init = {b.fneg(infinity), b.f32(0)};
  int64_t width = widthOf(value);
  SmallVector<Value> own =
      forChunks(plan.baseOf(width), init, [&](GpuChunk &chunk, SmallVectorImpl<Value> &carried) {
        for (int64_t shift = 0; shift < width; shift += plan.baseOf(width)) {
          Value x = at(value, chunk, shift), oldMax = carried[0], oldSum = carried[1];
          Value largest = plan.lanes == 1 ? b.create<vector::ExtractOp>(x, 0).getResult() : b.reduceMax(x);
          Value max = b.fmax(oldMax, largest);
          Value terms = b.exp(b.fsub(x, b.splat(max, plan.lanes)));
          Value added =
              plan.lanes == 1 ? b.create<vector::ExtractOp>(terms, 0).getResult() : b.reduceAdd(terms);
          Value sum = b.fma(oldSum, b.exp(b.fsub(oldMax, max)), added);
          carried[0] = chunk.active ? b.select(chunk.active, max, oldMax) : max;
          carried[1] = chunk.active ? b.select(chunk.active, sum, oldSum) : sum;
        }
      });
  auto foldRow = [&](GpuBuilder::Fold kind, Value scalar) {
    return plan.rowsPerBlock == 1 ? b.blockFold(kind, scalar, plan.threads)[0] : b.warpFold(kind, scalar);
  };
  Value max = foldRow(GpuBuilder::Fold::Max, own[0]);
  // A thread without a chunk has the sum 0 relative to minus infinity.
  Value scaled = b.fmul(own[1], b.exp(b.fsub(own[0], max)));
  Value sum = foldRow(GpuBuilder::Fold::Sum, scaled);
  return b.fadd(b.log(sum), max);
}

RowKernel::RowMemory GpuRowKernel::inMemory(Value value) {
  if (memories.count(value))
    return memories.lookup(value);
  int64_t width = widthOf(value);
  if (!pinned)
    pinned = b.dynamicShared();
  Value offset = b.mul(b.warp(), b.i64(plan.rowsPerBlock > 1 ? width : 0));
  Value row = b.address(pinned, b.add(b.i64(pinnedSoFar / 4), offset), b.getF32Type());
  pinnedSoFar += width * 4 * plan.rowsPerBlock;
  int64_t base = plan.baseOf(width);
  forChunks(base, {}, [&](GpuChunk &chunk, SmallVectorImpl<Value> &) {
    for (int64_t shift = 0; shift < width; shift += base) {
      Value v = at(value, chunk, shift);
      whereActive(chunk, [&] { b.storeVector(v, row, b.add(chunk.column, b.i64(shift)), b.getF32Type()); });
    }
  });
  waitForRow();
  return memories[value] = {row, b.getF32Type()};
}

/// Copies this thread's chunks of a row to shared memory; where that row begins.
Value GpuRowKernel::stageRow(Value pointer) {
  Ampere h(b);
  Int memory = h.dynamicShared();
  for (int64_t c = 0; c < plan.chunksOf(plan.widest); ++c) {
    GpuChunk chunk = makeChunk(plan.widest, c);
    Int to = memory + (h.word(b.create<arith::TruncIOp>(b.getI32Type(), chunk.column)) << 1);
    Value from = b.address(pointer, chunk.column, b.getBF16Type());
    if (chunk.active)
      h.copyChunkIf(h.asWord(chunk.active), to, 0, from, 0, h.constant(16));
    else
      h.copyChunk(to, 0, from, 0, h.constant(16));
  }
  h.commitCopies();
  h.waitCopies(0);
  return b.dynamicShared();
}

/// With sums over rows few rows are in flight, so all of a row is asked for before
/// the first reduction waits for some of it.
void GpuRowKernel::askForRow() {
  for (BlockArgument argument : body.block->getArguments()) {
    if (!memories.count(argument))
      continue;
    GpuChunk chunk = makeChunk(plan.widest, 0);
    at(argument, chunk, 0); // asks for all chunks
  }
}

//===-- Rows ---------------------------------------------------------------===//

LogicalResult GpuRowKernel::emitRows() {
  if (failed(readConstants()))
    return failure();
  bool isWarp = plan.rowsPerBlock > 1;
  threadInRow = isWarp ? b.lane() : b.thread();
  group = isWarp ? b.add(b.mul(b.block(), b.i64(plan.rowsPerBlock)), b.warp()) : b.block();
  LogicalResult result = success();
  auto emitRow = [&](Value r) {
    row = r;
    kept.clear();
    words.clear();
    pinnedSoFar = 0;
    result = visitRow();
    if (succeeded(result))
      storeResults();
  };
  if (plan.columnSums.empty()) {
    if (plan.rows % plan.rowsPerBlock)
      b.ifThen(b.icmp(arith::CmpIPredicate::ult, group, b.i64(plan.rows)), [&] { emitRow(group); });
    else
      emitRow(group);
    return result;
  }
  // Every thread's chunks of all sums, in registers over all its rows.
  SmallVector<Value> sums =
      b.forLoop(group, b.i64(plan.rows), b.i64(plan.groups()), zeroSums(), [&](Value r, ValueRange old) {
        waitForRow(); // shared memory of the row before is free
        emitRow(r);
        return failed(result) ? SmallVector<Value>(old.begin(), old.end()) : addSums(old);
      });
  kept.clear();
  storeSums(sums);
  return result;
}

/// Calls `work` for every column sum, chunk of its columns and shift.
template <typename Work> static void forSums(const RowPlan &plan, Work work) {
  for (auto [number, sum] : llvm::enumerate(plan.columnSums)) {
    int64_t width = countOf(sum), base = plan.baseOf(width);
    for (int64_t c = 0; c < plan.chunksOf(base); ++c)
      for (int64_t shift = 0; shift < width; shift += base)
        work(number, base, c, shift);
  }
}

SmallVector<Value> GpuRowKernel::zeroSums() {
  SmallVector<Value> zeros;
  forSums(plan, [&](size_t, int64_t, int64_t, int64_t) { zeros.push_back(b.splat(b.f32(0), plan.lanes)); });
  return zeros;
}

SmallVector<Value> GpuRowKernel::addSums(ValueRange old) {
  SmallVector<Value> next;
  forSums(plan, [&](size_t number, int64_t base, int64_t c, int64_t shift) {
    auto *sum = llvm::find_if(columnSums, [&](auto &s) { return s.first == plan.columnSums[number]; });
    if (plan.packed) {
      GpuChunk chunk = makeChunk(base, c);
      next.push_back(b.fadd(old[next.size()], sum->second(chunk, shift)));
      return;
    }
    forChunks(base, {}, [](GpuChunk &, SmallVectorImpl<Value> &) {}); // makes them, if need be
    next.push_back(b.fadd(old[next.size()], sum->second(kept[base][c], shift)));
  });
  return next;
}

void GpuRowKernel::storeSums(ValueRange sums) {
  unsigned next = 0;
  forSums(plan, [&](size_t number, int64_t base, int64_t c, int64_t shift) {
    GpuChunk chunk = makeChunk(base, c);
    Value to = rowAddress(arguments[body.workspaceArgument(number)], group, plan.columnSums[number]);
    Value value = sums[next++];
    whereActive(chunk, [&] { b.storeVector(value, to, b.add(chunk.column, b.i64(shift)), b.getF32Type()); });
  });
}

void GpuRowKernel::storeResults() {
  SmallVector<unsigned> rowResults;
  SmallVector<int64_t> bases;
  for (auto [i, value] : llvm::enumerate(body.yield->getOperands())) {
    if (isColumnValue(value))
      continue;
    if (!scalars.count(value)) {
      rowResults.push_back(i);
      if (int64_t base = plan.baseOf(columnsOf(body, i)); !llvm::is_contained(bases, base))
        bases.push_back(base);
    }
  }
  struct Store {
    Value value, pointer, column;
    Type element;
  };
  auto evaluate = [&](GpuChunk &chunk, int64_t base, SmallVectorImpl<Store> &stores) {
    for (unsigned i : rowResults) {
      Value value = body.yield->getOperand(i);
      if (plan.baseOf(columnsOf(body, i)) != base)
        continue;
      Value pointer = rowAddress(arguments[body.resultArgument(i)], row, value);
      for (int64_t shift = 0; shift < columnsOf(body, i); shift += base)
        stores.push_back(
            {at(value, chunk, shift), pointer, b.add(chunk.column, b.i64(shift)), elementOf(value)});
    }
  };
  auto write = [&](GpuChunk &chunk, ArrayRef<Store> stores) {
    whereActive(chunk, [&] {
      for (const Store &s : stores)
        b.storeVector(s.value, s.pointer, s.column, s.element);
    });
  };
  auto writeScalars = [&] {
    SmallVector<unsigned> results;
    for (auto [i, value] : llvm::enumerate(body.yield->getOperands()))
      if (!isColumnValue(value) && scalars.count(value))
        results.push_back(i);
    if (!results.empty())
      b.ifThen(b.icmp(arith::CmpIPredicate::eq, threadInRow, b.i64(0)), [&] {
        for (unsigned i : results)
          b.store(scalars.lookup(body.yield->getOperand(i)), arguments[body.resultArgument(i)], row);
      });
  };
  if (plan.looped || plan.packed) {
    if (plan.needsBarrier)
      waitForRow();
    for (int64_t base : bases)
      forChunks(base, {}, [&](GpuChunk &chunk, SmallVectorImpl<Value> &) {
        SmallVector<Store> stores;
        evaluate(chunk, base, stores);
        write(chunk, stores);
      });
    return writeScalars();
  }
  // Everything is computed before the first store.
  SmallVector<std::pair<GpuChunk *, SmallVector<Store>>> work;
  for (int64_t base : bases)
    forChunks(base, {}, [&](GpuChunk &chunk, SmallVectorImpl<Value> &) {
      work.push_back({&chunk, {}});
      evaluate(chunk, base, work.back().second);
    });
  // Sums over rows read operands too.
  if (!plan.columnSums.empty())
    forSums(plan, [&](size_t number, int64_t base, int64_t c, int64_t shift) {
      forChunks(base, {}, [](GpuChunk &, SmallVectorImpl<Value> &) {});
      auto *sum = llvm::find_if(columnSums, [&](auto &s) { return s.first == plan.columnSums[number]; });
      sum->second(kept[base][c], shift); // caches what it loads
    });
  if (plan.needsBarrier)
    waitForRow();
  for (auto &[chunk, stores] : work)
    write(*chunk, stores);
  writeScalars();
}

//===-- The second phase ---------------------------------------------------===//

static constexpr int64_t columnsPerBlock = warpSize, slices = 16;

/// Adds up this block's columns of one result: a thread sums every 16th row of
/// one column, then the first warp adds the 16 sums.
static void emitColumnResult(GpuBuilder &b, const KernelBody &body, const RowPlan &plan, unsigned number,
                             Value blockInResult) {
  Value value = body.yield->getOperand(number);
  int64_t n = countOf(value);
  Value column = b.add(b.mul(blockInResult, b.i64(columnsPerBlock)), b.lane());
  Value active = b.icmp(arith::CmpIPredicate::ult, column, b.i64(n));
  Value safe = b.select(active, column, b.i64(0));
  DenseMap<Value, Value> totals;
  Type f32 = b.getF32Type();
  for (auto [i, sum] : llvm::enumerate(plan.columnSums)) {
    if (countOf(sum) != n)
      continue;
    Value partial = b.argument(body.workspaceArgument(i));
    // Four chains of additions, so that loads overlap.
    constexpr int64_t unroll = 4;
    SmallVector<Value> zeros(unroll, b.f32(0));
    SmallVector<Value> sums = b.forLoop(
        b.warp(), b.i64(plan.groups()), b.i64(slices * unroll), zeros, [&](Value g, ValueRange old) {
          SmallVector<Value> next;
          for (int64_t u = 0; u < unroll; ++u) {
            Value at = b.add(g, b.i64(u * slices));
            Value inside = b.icmp(arith::CmpIPredicate::ult, at, b.i64(plan.groups()));
            Value index = b.add(b.mul(b.select(inside, at, g), b.i64(n)), safe);
            next.push_back(b.fadd(old[u], b.select(inside, b.load(partial, index, f32), b.f32(0))));
          }
          return next;
        });
    Value own = b.fadd(b.fadd(sums[0], sums[1]), b.fadd(sums[2], sums[3]));
    Value memory = b.shared(slices * columnsPerBlock * 4);
    b.store(own, memory, b.thread());
    b.barrier();
    Value total = b.load(memory, b.lane(), f32);
    for (int64_t s = 1; s < slices; ++s)
      total = b.fadd(total, b.load(memory, b.add(b.lane(), b.i64(s * columnsPerBlock)), f32));
    totals[sum] = total;
  }
  std::function<Value(Value)> evaluate = [&](Value v) -> Value {
    if (Value total = totals.lookup(v))
      return total;
    if (auto argument = dyn_cast<BlockArgument>(v))
      return b.load(b.argument(argument.getArgNumber()), safe, f32);
    auto add = v.getDefiningOp<tx::AddOp>();
    return b.fadd(evaluate(add.getLhs()), evaluate(add.getRhs()));
  };
  Value first = b.icmp(arith::CmpIPredicate::eq, b.warp(), b.i64(0));
  b.ifThen(b.create<arith::AndIOp>(first, active),
           [&] { b.store(evaluate(value), b.argument(body.resultArgument(number)), column); });
}

static void emitColumnResults(GpuBuilder &b, const KernelBody &body, const RowPlan &plan) {
  int64_t first = 0;
  for (unsigned number : plan.columnResults) {
    int64_t blocks = ceilDiv(countOf(body.yield->getOperand(number)), columnsPerBlock);
    Value from = b.sub(b.block(), b.i64(first));
    b.ifThen(b.icmp(arith::CmpIPredicate::ult, from, b.i64(blocks)),
             [&] { emitColumnResult(b, body, plan, number, from); });
    first += blocks;
  }
}

//===-- Entry points -------------------------------------------------------===//

GpuShape describeRowWise(const KernelBody &body, const GpuTarget &target) {
  RowPlan plan(body, target);
  GpuShape shape;
  GpuPhase rows;
  rows.grid[0] = plan.blocks;
  rows.block[0] = plan.blockThreads();
  rows.shared = plan.pinnedBytes + plan.stagedBytes;
  shape.phases.push_back(rows);
  if (plan.columnResults.empty())
    return shape;
  GpuPhase columns;
  columns.grid[0] = 0;
  for (unsigned result : plan.columnResults)
    columns.grid[0] += ceilDiv(countOf(body.yield->getOperand(result)), columnsPerBlock);
  columns.block[0] = slices * columnsPerBlock;
  shape.phases.push_back(columns);
  for (OpResult sum : plan.columnSums)
    shape.workspaceBytes.push_back(plan.groups() * countOf(sum) * 4);
  return shape;
}

LogicalResult emitRowWise(GpuBuilder &b, const KernelBody &body, int64_t phase) {
  RowPlan plan(body, b.target);
  if (plan.looped && !body.block->getOps<tx::RopeOp>().empty())
    return body.kernel->emitOpError() << "rotates rows that are too wide for a block's registers";
  if (phase == 1) {
    emitColumnResults(b, body, plan);
  } else if (failed(GpuRowKernel(b, body, plan).emitRows())) {
    return failure();
  }
  b.finish();
  return success();
}

} // namespace txc::codegen::gpu
