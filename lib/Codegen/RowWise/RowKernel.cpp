//===- RowKernel.cpp - Builds one row of a row-wise kernel -----------------===//
//
// See RowKernel.h for the idea.
//
// Rejected: tensors of f64 (only the oracle has them).
//
//===----------------------------------------------------------------------===//

#include "RowKernel.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace txc::codegen {

tx::RowAccess accessOf(OpOperand &use) {
  auto op = dyn_cast<tx::RowWiseOpInterface>(use.getOwner());
  return op ? op.getOperandAccess(use.getOperandNumber()) : tx::RowAccess::Row;
}
tx::RowAccess accessOf(OpResult result) {
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

RowLayout::RowLayout(const KernelBody &body) {
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
  }
  for (auto [i, value] : llvm::enumerate(body.yield->getOperands()))
    if (isColumnValue(value))
      columnResults.push_back(i);
}

int64_t RowLayout::baseOf(int64_t width) const {
  auto it = segments.find(width);
  return it == segments.end() ? width : baseOf(it->second);
}

//===-- Rows ---------------------------------------------------------------===//

RowKernel::RowKernel(KernelBuilder &builder, const KernelBody &body, const RowLayout &layout)
    : b(builder), body(body), layout(layout) {}

LogicalResult RowKernel::readConstants() {
  for (Operation &op : *body.block)
    for (Value value :
         llvm::concat<Value>(llvm::to_vector(op.getOperands()), llvm::to_vector(op.getResults())))
      if (auto type = dyn_cast<RankedTensorType>(value.getType()); type && type.getElementType().isF64())
        return op.emitOpError() << "has an operand or result of type " << type
                                << "; kernels compute in f32 (f64 is for the oracle)";
  unsigned count = body.numInputs() + body.numResults() + layout.columnSums.size();
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
  return success();
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

LogicalResult RowKernel::visitRow() {
  closures.clear();
  memories.clear();
  scalars = constants;
  columnSums.clear();
  readArguments();
  for (Operation &op : body.block->without_terminator()) {
    if (isa<arith::ConstantOp>(op) || (isa<tx::AddOp>(op) && isColumnValue(op.getResult(0))))
      continue;
    LogicalResult result =
        llvm::TypeSwitch<Operation *, LogicalResult>(&op)
            .Case<tx::AddOp, tx::AddBiasOp, tx::BiasVjpOp, tx::ActivationOp, tx::ActivationVjpOp,
                  tx::SwigluOp, tx::SwigluVjpOp, tx::DropoutOp, tx::CastOp, tx::RmsNormOp, tx::RmsNormVjpOp,
                  tx::LayerNormOp, tx::LayerNormVjpOp, tx::NormalizedOp, tx::EmbeddingOp, tx::AddPositionOp, tx::RopeOp,
                  tx::CrossEntropyOp, tx::CrossEntropyVjpOp, tx::MeanLossVjpOp,
                  tx::CausalSoftmaxOp, tx::CausalSoftmaxVjpOp>(
                [&](auto typed) { return emit(*this, typed); })
            .Default(
                [](Operation *other) { return other->emitOpError() << "has no rule in a row-wise kernel"; });
    if (failed(result))
      return failure();
  }
  return success();
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

} // namespace txc::codegen
