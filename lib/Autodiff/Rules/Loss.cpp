//===- Loss.cpp - Derivatives of the cross-entropy -------------------------===//

#include "Rules.h"

using namespace mlir;

namespace txc::autodiff {
namespace {

LogicalResult crossEntropy(tx::CrossEntropyOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  if (failed(onlyFirst(op, dy)))
    return failure();
  dx[0] = b.create<tx::CrossEntropyVjpOp>(op.getLoc(), op.getLogits().getType(), dy[0], op.getLogits(),
                                          op.getTargets(), op.getLse(), op.getIgnoreIndex());
  return success();
}

LogicalResult meanLoss(tx::MeanLossOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = b.create<tx::MeanLossVjpOp>(op.getLoc(), op.getLosses().getType(), dy[0], op.getCount());
  return success();
}

} // namespace

void attachLossRules(MLIRContext *context) {
  attach<tx::CrossEntropyOp, crossEntropy>(context);
  attach<tx::MeanLossOp, meanLoss>(context);
}
} // namespace txc::autodiff
