//===- Attention.cpp - Derivatives of rotary positions and attention -------===//

#include "Rules.h"

using namespace mlir;

namespace txc::autodiff {
namespace {

LogicalResult rope(tx::RopeOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = b.create<tx::RopeOp>(op.getLoc(), op.getInput().getType(), dy[0], op.getCos(), op.getSin(),
                               op.getHeads(), op.getHeadDim(), op.getLayout(), !op.getInverse());
  return success();
}

LogicalResult attention(tx::AttentionOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  if (failed(onlyFirst(op, dy)))
    return failure();
  dx[0] = b.create<tx::AttentionVjpOp>(op.getLoc(), op.getQkv().getType(), dy[0], op.getQkv(), op.getResult(),
                                       op.getLse(), op.getHyper(), op.getNHead(), op.getNKvHead(),
                                       op.getDropout(), op.getSite());
  return success();
}

} // namespace

void attachAttentionRules(MLIRContext *context) {
  attach<tx::RopeOp, rope>(context);
  attach<tx::AttentionOp, attention>(context);
}
} // namespace txc::autodiff
