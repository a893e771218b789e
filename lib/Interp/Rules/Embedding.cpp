//===- Embedding.cpp - Tokens and positions, evaluated ---------------------===//

#include "Rules.h"

using namespace mlir;

namespace txc::interp {
namespace {

/// `token` must name a row of a table of `size`.
LogicalResult checkToken(Operation *op, int32_t token, int64_t i, int64_t size) {
  if (token >= 0 && token < size)
    return success();
  return op->emitOpError() << "token number " << i << " is " << token << ", but the table has " << size
                           << " rows";
}

LogicalResult embedding(tx::EmbeddingOp op, Frame &frame) {
  const IntTensor &tokens = frame.getInts(op.getTokens());
  const Tensor &table = frame.get(op.getTable());
  Tensor &result = frame.create(op.getResult());
  for (int64_t i = 0; i < tokens.size(); ++i) {
    if (failed(checkToken(op, tokens[i], i, table.rows())))
      return failure();
    for (int64_t c = 0; c < table.width(); ++c)
      result.row(i)[c] = table.row(tokens[i])[c];
  }
  return success();
}

LogicalResult embeddingVjp(tx::EmbeddingVjpOp op, Frame &frame) {
  const IntTensor &tokens = frame.getInts(op.getTokens());
  const Tensor &grad = frame.get(op.getGrad());
  Tensor &result = frame.create(op.getResult());
  for (int64_t i = 0; i < tokens.size(); ++i) {
    if (failed(checkToken(op, tokens[i], i, result.rows())))
      return failure();
    for (int64_t c = 0; c < grad.width(); ++c)
      result.row(tokens[i])[c] += grad.row(i)[c];
  }
  return success();
}

LogicalResult addPosition(tx::AddPositionOp op, Frame &frame) {
  const Tensor &input = frame.get(op.getInput()), &table = frame.get(op.getTable());
  Tensor &result = frame.create(op.getResult());
  if (!op.getPosition()) {
    for (int64_t i = 0; i < input.size(); ++i)
      result[i] = input[i] + table[i % table.size()];
    return success();
  }
  int32_t position = frame.getInts(op.getPosition())[0];
  if (position < 0 || position >= table.rows())
    return op.emitOpError() << "position is " << position << ", but the table has " << table.rows() << " rows";
  for (int64_t i = 0; i < input.size(); ++i)
    result[i] = input[i] + table.row(position)[i % table.width()];
  return success();
}

LogicalResult positionVjp(tx::PositionVjpOp op, Frame &frame) {
  const Tensor &grad = frame.get(op.getGrad());
  Tensor &result = frame.create(op.getResult());
  for (int64_t i = 0; i < grad.size(); ++i)
    result[i % result.size()] += grad[i];
  return success();
}

} // namespace

void attachEmbeddingRules(MLIRContext *context) {
  attach<tx::EmbeddingOp, embedding>(context);
  attach<tx::EmbeddingVjpOp, embeddingVjp>(context);
  attach<tx::AddPositionOp, addPosition>(context);
  attach<tx::PositionVjpOp, positionVjp>(context);
}

} // namespace txc::interp
