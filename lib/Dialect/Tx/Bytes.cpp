//===- Bytes.cpp - Bytes that kernels move ---------------------------------===//
//
// The BytesOpInterface of what becomes a command: each input read once, each
// output written once.
//
//===----------------------------------------------------------------------===//

#include "txc/Dialect/Tx/Tx.h"

using namespace mlir;
using namespace txc::tx;

static uint64_t bytesOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? tensor.getNumElements() * ((tensor.getElementTypeBitWidth() + 7) / 8) : 0;
}

/// The bytes that the body reads of the tensor behind `argument`: of a table
/// that is only looked up, one row per token, or the row of one position.
static uint64_t bytesRead(BlockArgument argument) {
  uint64_t lookedUp = 0;
  for (OpOperand &use : argument.getUses()) {
    auto embedding = dyn_cast<EmbeddingOp>(use.getOwner());
    auto position = dyn_cast<AddPositionOp>(use.getOwner());
    if (embedding && embedding.getTable() == argument)
      lookedUp += bytesOf(embedding.getResult().getType());
    else if (position && position.getPosition() && position.getTable() == argument)
      lookedUp += bytesOf(argument.getType()) / cast<RankedTensorType>(argument.getType()).getDimSize(0);
    else
      return bytesOf(argument.getType());
  }
  return lookedUp;
}

/// The bytes written to `yielded`: of a cache, one position of each head.
static uint64_t bytesWritten(Value yielded) {
  auto attention = yielded.getDefiningOp<DecodeAttentionOp>();
  uint64_t bytes = bytesOf(yielded.getType());
  if (attention && yielded != attention.getResult())
    bytes /= cast<RankedTensorType>(yielded.getType()).getDimSize(2);
  return bytes;
}

uint64_t KernelOp::getBytesRead() {
  uint64_t bytes = 0;
  for (BlockArgument argument : getBody().front().getArguments())
    bytes += bytesRead(argument);
  return bytes;
}

uint64_t KernelOp::getBytesWritten() {
  uint64_t bytes = 0;
  for (Value yielded : getBody().front().getTerminator()->getOperands())
    bytes += bytesWritten(yielded);
  return bytes;
}

/// Bytes of one f32 tensor of each named parameter, on one rank.
static uint64_t bytesOfParams(Operation *op, ArrayAttr params) {
  uint64_t bytes = 0;
  for (auto name : params.getAsRange<FlatSymbolRefAttr>())
    if (auto param = SymbolTable::lookupNearestSymbolFrom<ParamOp>(op, name))
      bytes += bytesOf(param.getStateType(State::Value));
  return bytes;
}

uint64_t GlobalNormOp::getBytesRead() { return bytesOfParams(*this, getParams()); }
uint64_t GlobalNormOp::getBytesWritten() { return bytesOf(getStats().getType()); }

uint64_t GradientSumsOp::getBytesRead() { return bytesOfParams(*this, getParams()); }
uint64_t GradientSumsOp::getBytesWritten() {
  return bytesOf(getSums().getType()) + bytesOf(getExtrema().getType());
}

// Value, gradient and both moments are read and written; the gradient as zero.
// The bf16 copy is written.
uint64_t AdamwOp::getBytesRead() { return 4 * bytesOfParams(*this, getParams()); }
uint64_t AdamwOp::getBytesWritten() {
  uint64_t bytes = bytesOfParams(*this, getParams());
  return 4 * bytes + (getCompute() ? bytes / 2 : 0);
}
