//===- Embedding.cpp - Derivatives of tokens and positions -----------------===//

#include "Rules.h"

using namespace mlir;

namespace txc::autodiff {
namespace {

LogicalResult embedding(tx::EmbeddingOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[1] = b.create<tx::EmbeddingVjpOp>(op.getLoc(), getMasterType(op.getTable()), op.getTokens(), dy[0]);
  return success();
}

LogicalResult addPosition(tx::AddPositionOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = dy[0];
  dx[1] = b.create<tx::PositionVjpOp>(op.getLoc(), getMasterType(op.getTable()), dy[0]);
  return success();
}

} // namespace

void attachEmbeddingRules(MLIRContext *context) {
  attach<tx::EmbeddingOp, embedding>(context);
  attach<tx::AddPositionOp, addPosition>(context);
}
} // namespace txc::autodiff
