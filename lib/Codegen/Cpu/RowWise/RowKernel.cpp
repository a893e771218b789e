//===- RowKernel.cpp - Builds a row-wise kernel ----------------------------===//
//
// See RowKernel.h for the idea. Reductions keep four independent accumulators,
// combined pairwise and then across lanes, always in the same order.
//
// Rejected: tensors of f64 (only the oracle has them).
//
//===----------------------------------------------------------------------===//

#include "RowKernel.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace txc::codegen {

//===-- The plan -----------------------------------------------------------===//

static tx::RowAccess accessOf(OpOperand &use) {
  auto op = dyn_cast<tx::RowWiseOpInterface>(use.getOwner());
  return op ? op.getOperandAccess(use.getOperandNumber()) : tx::RowAccess::Row;
}
static tx::RowAccess accessOf(OpResult result) {
  auto op = dyn_cast<tx::RowWiseOpInterface>(result.getOwner());
  return op ? op.getResultAccess(result.getResultNumber()) : tx::RowAccess::Scalar;
}

bool isColumnValue(Value value) {
  auto result = dyn_cast<OpResult>(value);
  if (!result)
    return false;
  if (accessOf(result) == tx::RowAccess::ColumnSum)
    return true;
  auto add = dyn_cast<tx::AddOp>(result.getOwner());
  return add && (isColumnValue(add.getLhs()) || isColumnValue(add.getRhs()));
}

RowPlan::RowPlan(const KernelBody &body, const CpuTarget &target) {
  lanes = target.floatLanes();
  int64_t bytesPerRow = 0;
  for (BlockArgument argument : body.block->getArguments())
    if (llvm::any_of(argument.getUses(), [](OpOperand &use) { return accessOf(use) == tx::RowAccess::Row; }))
      bytesPerRow += widthOf(argument) * 4;
  for (Operation &op : body.block->without_terminator()) {
    if (isa<arith::ConstantOp>(op))
      continue;
    for (OpResult result : op.getResults())
      if (accessOf(result) == tx::RowAccess::ColumnSum && !result.use_empty())
        columnSums.push_back(result);
    if (op.getNumResults() && !isColumnValue(op.getResult(0)))
      rows = std::max(rows, cast<tx::RowWiseOpInterface>(op).getNumRows());
    if (auto bias = dyn_cast<tx::BiasVjpOp>(op))
      rows = bias.getNumRows();
    if (auto swiglu = dyn_cast<tx::SwigluOp>(op))
      segments[widthOf(swiglu.getInput())] = widthOf(swiglu.getResult());
    if (auto swiglu = dyn_cast<tx::SwigluVjpOp>(op))
      segments[widthOf(swiglu.getInput())] = widthOf(swiglu.getGrad());
    if (auto rope = dyn_cast<tx::RopeOp>(op))
      if (int64_t n = ropeLanes(rope, lanes))
        lanes = n;
  }
  for (auto [i, value] : llvm::enumerate(body.yield->getOperands())) {
    if (isColumnValue(value))
      columnResults.push_back(i);
    else if (auto result = dyn_cast<OpResult>(value); result && accessOf(result) == tx::RowAccess::Row)
      bytesPerRow += widthOf(value) * 4;
  }
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

int64_t RowPlan::baseOf(int64_t width) const {
  auto it = segments.find(width);
  return it == segments.end() ? width : baseOf(it->second);
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

LogicalResult emitRowWise(func::FuncOp function, const KernelBody &body, int64_t phase,
                          const CpuTarget &target) {
  for (Operation &op : *body.block)
    for (Value value :
         llvm::concat<Value>(llvm::to_vector(op.getOperands()), llvm::to_vector(op.getResults())))
      if (auto type = dyn_cast<RankedTensorType>(value.getType()); type && type.getElementType().isF64())
        return op.emitOpError() << "has an operand or result of type " << type
                                << "; kernels compute in f32 (f64 is for the oracle)";
  RowPlan plan(body, target);
  CpuBuilder b(function, target);
  if (phase == 1) {
    emitColumnResults(b, body, plan);
  } else {
    RowKernel kernel(b, body, plan);
    if (failed(kernel.emitRows()))
      return failure();
  }
  b.create<func::ReturnOp>();
  return success();
}

//===-- Rows ---------------------------------------------------------------===//

RowKernel::RowKernel(CpuBuilder &builder, const KernelBody &body, const RowPlan &plan)
    : b(builder), body(body), plan(plan) {}

LogicalResult RowKernel::emitRows() {
  unsigned count = body.numInputs() + body.numResults() + plan.columnSums.size();
  for (unsigned i = 0; i < count; ++i)
    arguments.push_back(b.argument(i));
  for (BlockArgument argument : body.block->getArguments()) {
    if (argument.use_empty())
      continue;
    if (isa<tx::HyperType>(argument.getType()))
      generators[argument] = b.generator(arguments[argument.getArgNumber()]);
    else if (accessOf(*argument.getUses().begin()) == tx::RowAccess::Scalar)
      constants[argument] = b.load(arguments[argument.getArgNumber()], b.i64(0), elementOf(argument));
  }
  for (auto constant : body.block->getOps<arith::ConstantOp>()) {
    auto value = dyn_cast<DenseElementsAttr>(constant.getValue());
    if (!value || !value.isSplat() || !isa<FloatType>(value.getElementType()))
      return constant.emitOpError() << "must be a splat of floats inside a kernel";
    constants[constant] = b.f32(value.getSplatValue<APFloat>().convertToDouble());
  }

  LogicalResult result = success();
  auto rowsOfBlocks = [&](Value from, Value to) {
    Value lower = b.mul(from, b.i64(plan.rowsPerBlock));
    Value upper = b.mins(b.mul(to, b.i64(plan.rowsPerBlock)), b.i64(plan.rows));
    b.forLoop(lower, upper, b.i64(1), [&](Value r) {
      row = r;
      result = emitRow();
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

Value RowKernel::rowAddress(Value pointer, Value index, Value value) {
  return b.address(pointer, b.mul(index, b.i64(widthOf(value))), elementOf(value));
}

void RowKernel::readArguments() {
  for (BlockArgument argument : body.block->getArguments()) {
    if (argument.use_empty() || isa<tx::HyperType>(argument.getType()))
      continue;
    Value pointer = arguments[argument.getArgNumber()];
    for (OpOperand &use : argument.getUses()) {
      if (use.getOwner()->getNumResults() && isColumnValue(use.getOwner()->getResult(0)) &&
          isa<tx::AddOp>(use.getOwner()))
        continue;
      if (accessOf(use) == tx::RowAccess::Row && !memories.count(argument))
        memories[argument] = {rowAddress(pointer, row, argument), elementOf(argument)};
      if (accessOf(use) == tx::RowAccess::RowScalar && !scalars.count(argument))
        scalars[argument] = b.load(pointer, row, elementOf(argument));
    }
  }
}

LogicalResult RowKernel::emitRow() {
  closures.clear();
  memories.clear();
  scalars = constants;
  columnSums.clear();
  stored.assign(body.numResults(), false);
  readArguments();
  for (Operation &op : body.block->without_terminator()) {
    if (isa<arith::ConstantOp>(op) || (isa<tx::AddOp>(op) && isColumnValue(op.getResult(0))))
      continue;
    LogicalResult result =
        llvm::TypeSwitch<Operation *, LogicalResult>(&op)
            .Case<tx::AddOp, tx::AddBiasOp, tx::BiasVjpOp, tx::ActivationOp, tx::ActivationVjpOp,
                  tx::SwigluOp, tx::SwigluVjpOp, tx::DropoutOp, tx::CastOp, tx::RmsNormOp, tx::RmsNormVjpOp,
                  tx::LayerNormOp, tx::LayerNormVjpOp, tx::EmbeddingOp, tx::AddPositionOp, tx::RopeOp,
                  tx::CrossEntropyOp, tx::CrossEntropyVjpOp, tx::MeanLossVjpOp>(
                [&](auto typed) { return emit(*this, typed); })
            .Default([](Operation *other) {
              return other->emitOpError() << "has no rule in a row-wise CPU kernel";
            });
    if (failed(result))
      return failure();
  }
  storeResults();
  return success();
}

void RowKernel::storeResults() {
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

Value RowKernel::load(const RowMemory &memory, Chunk &chunk, int64_t shift) {
  return b.loadVector(memory.pointer, b.add(chunk.column, b.i64(shift)), memory.element, chunk.lanes,
                      chunk.mask);
}

Value RowKernel::at(Value value, Chunk &chunk, int64_t shift) {
  std::pair<Value, int64_t> key(value, shift);
  if (Value cached = chunk.cache.lookup(key))
    return cached;
  Value result;
  if (auto it = memories.find(value); it != memories.end()) {
    result = load(it->second, chunk, shift);
  } else {
    assert(closures.count(value) && "visited in program order");
    result = closures[value](chunk, shift);
  }
  chunk.cache[key] = result;
  return result;
}

Value RowKernel::columnAt(Value value, Chunk &chunk, int64_t shift) {
  std::pair<Value, int64_t> key(value, shift);
  Value &cached = chunk.cache[key];
  if (!cached)
    cached = load({arguments[cast<BlockArgument>(value).getArgNumber()], elementOf(value)}, chunk, shift);
  return cached;
}

Value RowKernel::scalar(Value value) {
  assert(scalars.count(value) && "a value per row");
  return scalars.lookup(value);
}

RowKernel::RowMemory RowKernel::periodic(Value value) {
  Value pointer = arguments[cast<BlockArgument>(value).getArgNumber()];
  int64_t period = countOf(value) / widthOf(value);
  return {rowAddress(pointer, b.remu(row, b.i64(period)), value), elementOf(value)};
}

RowKernel::RowMemory RowKernel::tableRow(Value value, Value index) {
  return {rowAddress(arguments[cast<BlockArgument>(value).getArgNumber()], index, value), elementOf(value)};
}

RowKernel::RowMemory RowKernel::inMemory(Value value) {
  if (!memories.count(value))
    reduce(widthOf(value), {}, value, [](Chunk &, int64_t, ValueRange) -> SmallVector<Value> { return {}; });
  return memories.lookup(value);
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

RowKernel::RowMemory RowKernel::pinTarget(Value value) {
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

SmallVector<Value> RowKernel::forChunks(int64_t base, unsigned unroll, ValueRange init, ChunkBody chunkBody) {
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
RowKernel::reduce(int64_t width, ArrayRef<Fold> folds, ArrayRef<Value> again,
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

} // namespace txc::codegen
