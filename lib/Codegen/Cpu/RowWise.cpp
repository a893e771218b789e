//===- RowWise.cpp - Row-wise kernels on the CPU ---------------------------===//
//
// The function loops over rows; within a row:
//
// - Reductions keep four independent accumulators, combined pairwise and then
//   across lanes, always in the same order. Rows that a reduction reads and that
//   are needed again after it are pinned: its loop also writes them to memory,
//   and the closure becomes a load.
// - At the end of the row one loop stores all row results. In each chunk all
//   loads come before all stores, so a result may share an operand's buffer.
// - That loop adds sums over rows to this block's row of a workspace, and the
//   second phase of the kernel adds the blocks in order.
//
//===----------------------------------------------------------------------===//

#include "../RowWise/RowKernel.h"
#include "Emitters.h"

using namespace mlir;

namespace txc::codegen {

//===-- The plan -----------------------------------------------------------===//

namespace {
/// How the rows are cut into blocks; depends on the body and the target only.
struct RowPlan : RowLayout {
  RowPlan(const KernelBody &body, const CpuTarget &target);

  int64_t rowsPerBlock = 0;
  int64_t blocks = 0;
  int64_t lanes = 0; ///< of a chunk
};
} // namespace

RowPlan::RowPlan(const KernelBody &body, const CpuTarget &target) : RowLayout(body) {
  lanes = target.floatLanes();
  int64_t bytesPerRow = 0;
  for (BlockArgument argument : body.block->getArguments())
    if (llvm::any_of(argument.getUses(), [](OpOperand &use) { return accessOf(use) == tx::RowAccess::Row; }))
      bytesPerRow += widthOf(argument) * 4;
  for (auto rope : body.block->getOps<tx::RopeOp>())
    if (int64_t n = ropeLanes(rope, lanes))
      lanes = n;
  for (Value value : body.yield->getOperands())
    if (auto result = dyn_cast<OpResult>(value);
        result && !isColumnValue(value) && accessOf(result) == tx::RowAccess::Row)
      bytesPerRow += widthOf(value) * 4;
  if (columnSums.empty()) {
    rowsPerBlock = std::clamp<int64_t>(32768 / std::max<int64_t>(bytesPerRow, 1), 1, 1024);
  } else {
    // Each block has a row of partial sums; their number bounds that memory and
    // the work of the second phase.
    rowsPerBlock = ceilDiv(rows, std::clamp<int64_t>(rows / 32, 1, 64));
  }
  rowsPerBlock = std::max<int64_t>(rowsPerBlock, 1);
  blocks = ceilDiv(rows, rowsPerBlock);
}

//===-- The second phase ---------------------------------------------------===//

static constexpr int64_t columnsPerBlock = 256;

KernelShape describeRowWise(const KernelBody &body, const CpuTarget &target) {
  RowPlan plan(body, target);
  KernelShape shape;
  shape.blocks.push_back(plan.blocks);
  if (plan.columnResults.empty())
    return shape;
  int64_t blocks = 0;
  for (unsigned result : plan.columnResults)
    blocks += ceilDiv(countOf(body.yield->getOperand(result)), columnsPerBlock);
  shape.blocks.push_back(blocks);
  for (OpResult sum : plan.columnSums)
    shape.workspaceBytes.push_back(plan.blocks * countOf(sum) * 4);
  return shape;
}

/// Columns on of a sum over rows, of an operand, or of a sum of such.
static Value columnValue(CpuBuilder &b, const KernelBody &body, const RowPlan &plan, Value value,
                         Value column, Value mask) {
  if (auto argument = dyn_cast<BlockArgument>(value))
    return b.loadVector(b.argument(argument.getArgNumber()), column, elementOf(value), b.lanes, mask);
  if (auto add = value.getDefiningOp<tx::AddOp>())
    return b.fadd(columnValue(b, body, plan, add.getLhs(), column, mask),
                  columnValue(b, body, plan, add.getRhs(), column, mask));
  unsigned number = llvm::find(plan.columnSums, value) - plan.columnSums.begin();
  Value partial = b.argument(body.workspaceArgument(number));
  int64_t n = countOf(value);
  Value zero = b.splat(b.f32(0), b.lanes);
  return b.forLoop(b.i64(0), b.i64(plan.blocks), b.i64(1), zero,
                   [&](Value block, ValueRange sum) -> SmallVector<Value> {
                     Value at = b.add(b.mul(block, b.i64(n)), column);
                     return {b.fadd(sum[0], b.loadVector(partial, at, b.getF32Type(), b.lanes, mask))};
                   })[0];
}

static void emitColumnResults(CpuBuilder &b, const KernelBody &body, const RowPlan &plan) {
  int64_t first = 0;
  for (unsigned number : plan.columnResults) {
    Value value = body.yield->getOperand(number);
    int64_t n = countOf(value), blocks = ceilDiv(n, columnsPerBlock);
    Value from = b.sub(b.maxs(b.begin(), b.i64(first)), b.i64(first));
    Value to = b.sub(b.mins(b.end(), b.i64(first + blocks)), b.i64(first));
    Value lower = b.mul(from, b.i64(columnsPerBlock));
    Value upper = b.mins(b.mul(to, b.i64(columnsPerBlock)), b.i64(n));
    b.forLoop(lower, upper, b.i64(b.lanes), [&](Value column) {
      Value mask = n % b.lanes ? b.tailMask(b.lanes, b.sub(b.i64(n), column)) : Value();
      Value sum = columnValue(b, body, plan, value, column, mask);
      b.storeVector(sum, b.argument(body.resultArgument(number)), column, elementOf(value), mask);
    });
    first += blocks;
  }
}

//===-- Rows ---------------------------------------------------------------===//

namespace {
class CpuRowKernel : public RowKernel {
public:
  CpuRowKernel(CpuBuilder &builder, const KernelBody &body, const RowPlan &plan)
      : RowKernel(builder, body, plan), b(builder), plan(plan) {}

  /// Emits the work on all rows of blocks [begin, end).
  LogicalResult emitRows();

  RowMemory inMemory(Value value) override;
  RowMemory inStableMemory(Value value) override;
  SmallVector<Value>
  reduce(int64_t width, ArrayRef<Fold> folds, ArrayRef<Value> again,
         llvm::function_ref<SmallVector<Value>(Chunk &, int64_t, ValueRange)> step) override;

private:
  using ChunkBody = llvm::function_ref<void(Chunk &, unsigned unrolled, SmallVectorImpl<Value> &carried)>;
  /// Visits columns [0, base) in chunks.
  SmallVector<Value> forChunks(int64_t base, unsigned unroll, ValueRange init, ChunkBody body);
  void storeResults();
  /// Where a pinned row is kept; this row of a result, if that is safe.
  RowMemory pinTarget(Value value);

  CpuBuilder &b;
  const RowPlan &plan;
  Value block;
  DenseMap<Value, Value> buffers; ///< scratch rows, by pinned value
  SmallVector<bool> stored;       ///< by result of the current row: already written
};
} // namespace

LogicalResult CpuRowKernel::emitRows() {
  if (failed(readConstants()))
    return failure();
  LogicalResult result = success();
  auto rowsOfBlocks = [&](Value from, Value to) {
    Value lower = b.mul(from, b.i64(plan.rowsPerBlock));
    Value upper = b.mins(b.mul(to, b.i64(plan.rowsPerBlock)), b.i64(plan.rows));
    b.forLoop(lower, upper, b.i64(1), [&](Value r) {
      row = r;
      stored.assign(body.numResults(), false);
      result = visitRow();
      if (succeeded(result))
        storeResults();
    });
  };
  if (plan.columnSums.empty()) {
    rowsOfBlocks(b.begin(), b.end());
    return result;
  }
  b.forLoop(b.begin(), b.end(), b.i64(1), [&](Value blockIndex) {
    block = blockIndex;
    for (auto [i, sum] : llvm::enumerate(plan.columnSums)) {
      Value partial = rowAddress(arguments[body.workspaceArgument(i)], block, sum);
      forChunks(countOf(sum), 1, {}, [&](Chunk &chunk, unsigned, SmallVectorImpl<Value> &) {
        b.storeVector(b.splat(b.f32(0), chunk.lanes), partial, chunk.column, b.getF32Type(), chunk.mask);
      });
    }
    rowsOfBlocks(block, b.add(block, b.i64(1)));
  });
  return result;
}

void CpuRowKernel::storeResults() {
  // By the columns that one loop visits, in order of first appearance.
  struct Group {
    int64_t base;
    SmallVector<unsigned> results, sums;
  };
  SmallVector<Group> groups;
  auto groupOf = [&](int64_t width) -> Group & {
    int64_t base = plan.baseOf(width);
    for (Group &group : groups)
      if (group.base == base)
        return group;
    groups.push_back({base, {}, {}});
    return groups.back();
  };
  for (auto [i, value] : llvm::enumerate(body.yield->getOperands())) {
    if (isColumnValue(value))
      continue;
    if (scalars.count(value)) {
      b.store(scalars.lookup(value), arguments[body.resultArgument(i)], row);
      continue;
    }
    if (!stored[i])
      groupOf(widthOf(value)).results.push_back(i);
  }
  for (auto [i, sum] : llvm::enumerate(columnSums))
    if (!sum.first.use_empty())
      groupOf(countOf(sum.first)).sums.push_back(i);

  struct Store {
    Value value, pointer, column;
    Type element;
  };
  for (Group &group : groups) {
    SmallVector<Value> resultRows, partialRows;
    for (unsigned i : group.results)
      resultRows.push_back(rowAddress(arguments[body.resultArgument(i)], row, body.yield->getOperand(i)));
    for (unsigned i : group.sums) {
      unsigned number = llvm::find(plan.columnSums, columnSums[i].first) - plan.columnSums.begin();
      partialRows.push_back(
          rowAddress(arguments[body.workspaceArgument(number)], block, columnSums[i].first));
    }
    forChunks(group.base, 2, {}, [&](Chunk &chunk, unsigned, SmallVectorImpl<Value> &) {
      SmallVector<Store> stores;
      auto column = [&](int64_t shift) { return b.add(chunk.column, b.i64(shift)); };
      for (auto [i, pointer] : llvm::zip(group.results, resultRows)) {
        Value value = body.yield->getOperand(i);
        for (int64_t shift = 0; shift < widthOf(value); shift += group.base)
          stores.push_back({at(value, chunk, shift), pointer, column(shift), elementOf(value)});
      }
      for (auto [i, pointer] : llvm::zip(group.sums, partialRows)) {
        auto &[value, closure] = columnSums[i];
        for (int64_t shift = 0; shift < countOf(value); shift += group.base) {
          Value old = b.loadVector(pointer, column(shift), b.getF32Type(), chunk.lanes, chunk.mask);
          stores.push_back({b.fadd(old, closure(chunk, shift)), pointer, column(shift), b.getF32Type()});
        }
      }
      for (Store &s : stores)
        b.storeVector(s.value, s.pointer, s.column, s.element, chunk.mask);
    });
  }
}

//===-- Values -------------------------------------------------------------===//

RowKernel::RowMemory CpuRowKernel::inMemory(Value value) {
  if (!memories.count(value))
    reduce(widthOf(value), {}, value, [](Chunk &, int64_t, ValueRange) -> SmallVector<Value> { return {}; });
  return memories.lookup(value);
}

// Results are stored chunk by chunk, so a row that one of them is written over is
// copied.
RowKernel::RowMemory CpuRowKernel::inStableMemory(Value value) {
  RowMemory memory = inMemory(value);
  auto argument = dyn_cast<BlockArgument>(value);
  if (!argument || !llvm::is_contained(body.shared, static_cast<int64_t>(argument.getArgNumber())))
    return memory;
  Value &copy = buffers[value];
  if (!copy)
    copy = b.scratch(widthOf(value));
  forChunks(plan.baseOf(widthOf(value)), 1, {}, [&](Chunk &chunk, unsigned, SmallVectorImpl<Value> &) {
    for (int64_t shift = 0; shift < widthOf(value); shift += plan.baseOf(widthOf(value)))
      b.storeVector(load(memory, chunk, shift), copy, b.add(chunk.column, b.i64(shift)), b.getF32Type(),
                    chunk.mask);
  });
  return {copy, b.getF32Type()};
}

/// True if `argument` feeds nothing but `value`, through ops with one use each.
static bool feedsOnly(BlockArgument argument, Value value) {
  for (Value v = argument; v.hasOneUse();) {
    Operation *user = *v.user_begin();
    if (user->getNumResults() != 1)
      return false;
    v = user->getResult(0);
    if (v == value)
      return true;
  }
  return false;
}

RowKernel::RowMemory CpuRowKernel::pinTarget(Value value) {
  for (auto [i, yielded] : llvm::enumerate(body.yield->getOperands())) {
    if (yielded != value || !elementOf(value).isF32())
      continue;
    int64_t shared = body.inplace(i);
    if (shared >= 0 && !feedsOnly(body.block->getArgument(shared), value))
      continue;
    stored[i] = true;
    return {rowAddress(arguments[body.resultArgument(i)], row, value), b.getF32Type()};
  }
  Value &buffer = buffers[value];
  if (!buffer)
    buffer = b.scratch(widthOf(value));
  return {buffer, b.getF32Type()};
}

//===-- Loops over columns -------------------------------------------------===//

SmallVector<Value> CpuRowKernel::forChunks(int64_t base, unsigned unroll, ValueRange init,
                                           ChunkBody chunkBody) {
  SmallVector<Value> carried(init.begin(), init.end());
  int64_t lanes = plan.lanes, full = base / lanes, step = lanes * unroll;
  int64_t looped = full / unroll > 1 ? full / unroll * step : 0;
  if (looped) {
    carried = b.forLoop(b.i64(0), b.i64(looped), b.i64(step), carried, [&](Value first, ValueRange values) {
      SmallVector<Value> next(values.begin(), values.end());
      for (unsigned u = 0; u < unroll; ++u) {
        Chunk chunk(b.add(first, b.i64(u * lanes)), lanes);
        chunkBody(chunk, u, next);
      }
      return next;
    });
  }
  for (int64_t column = looped; column < base; column += lanes) {
    Value mask = column + lanes > base ? b.tailMask(lanes, base - column) : Value();
    Chunk chunk(b.i64(column), lanes, mask);
    chunkBody(chunk, (column / lanes) % unroll, carried);
  }
  return carried;
}

SmallVector<Value>
CpuRowKernel::reduce(int64_t width, ArrayRef<Fold> folds, ArrayRef<Value> again,
                     llvm::function_ref<SmallVector<Value>(Chunk &, int64_t, ValueRange)> step) {
  SmallVector<std::pair<Value, RowMemory>> pins;
  for (Value value : again)
    if (!memories.count(value) && llvm::none_of(pins, [&](auto &pin) { return pin.first == value; }))
      pins.push_back({value, pinTarget(value)});

  int64_t base = plan.baseOf(width);
  unsigned n = folds.size();
  unsigned unroll = folds.empty() ? 1 : std::clamp<int64_t>(base / plan.lanes, 1, 4);
  SmallVector<Value> init;
  for (unsigned u = 0; u < unroll; ++u)
    for (Fold fold : folds)
      init.push_back(
          b.splat(b.f32(fold == Fold::Sum ? 0.0 : -std::numeric_limits<float>::infinity()), plan.lanes));
  SmallVector<Value> folded =
      forChunks(base, unroll, init, [&](Chunk &chunk, unsigned u, SmallVectorImpl<Value> &carried) {
        for (int64_t shift = 0; shift < width; shift += base) {
          auto accumulators = MutableArrayRef<Value>(carried).slice(u * n, n);
          SmallVector<Value> old(accumulators.begin(), accumulators.end());
          for (auto [accumulator, next, before] : llvm::zip(accumulators, step(chunk, shift, old), old))
            accumulator = chunk.mask ? b.select(chunk.mask, next, before) : next;
        }
        // Pinned rows are stored after all loads of the chunk.
        SmallVector<std::tuple<Value, Value, Value, Type>> stores;
        for (auto &[value, memory] : pins)
          for (int64_t shift = 0; shift < widthOf(value); shift += base)
            stores.push_back(
                {at(value, chunk, shift), memory.pointer, b.add(chunk.column, b.i64(shift)), memory.element});
        for (auto &[value, pointer, column, element] : stores)
          b.storeVector(value, pointer, column, element, chunk.mask);
      });
  for (auto &[value, memory] : pins)
    memories[value] = memory;

  SmallVector<Value> results;
  for (auto [i, fold] : llvm::enumerate(folds)) {
    auto combine = [&, fold = fold](Value x, Value y) {
      return fold == Fold::Sum ? b.fadd(x, y) : b.fmax(x, y);
    };
    SmallVector<Value> parts;
    for (unsigned u = 0; u < unroll; ++u)
      parts.push_back(folded[u * n + i]);
    while (parts.size() > 1) {
      SmallVector<Value> next;
      for (unsigned p = 0; p + 1 < parts.size(); p += 2)
        next.push_back(combine(parts[p], parts[p + 1]));
      if (parts.size() % 2)
        next.push_back(parts.back());
      parts = std::move(next);
    }
    results.push_back(fold == Fold::Sum ? b.reduceAdd(parts[0]) : b.reduceMax(parts[0]));
  }
  return results;
}

LogicalResult emitRowWise(func::FuncOp function, const KernelBody &body, int64_t phase,
                          const CpuTarget &target) {
  RowPlan plan(body, target);
  CpuBuilder b(function, target);
  if (phase == 1) {
    emitColumnResults(b, body, plan);
  } else {
    CpuRowKernel kernel(b, body, plan);
    if (failed(kernel.emitRows()))
      return failure();
  }
  b.create<func::ReturnOp>();
  return success();
}

} // namespace txc::codegen
