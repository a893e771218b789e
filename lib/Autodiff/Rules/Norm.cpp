//===- Norm.cpp - Derivatives of the norms ---------------------------------===//

#include "Rules.h"

using namespace mlir;

namespace txc::autodiff {
namespace {

LogicalResult rmsNorm(tx::RmsNormOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  if (failed(onlyFirst(op, dy)))
    return failure();
  auto vjp = b.create<tx::RmsNormVjpOp>(op.getLoc(), op.getInput().getType(), op.getGain().getType(), dy[0],
                                        op.getInput(), op.getGain(), op.getRstd());
  dx[0] = vjp.getInputGrad();
  dx[1] = vjp.getGainGrad();
  return success();
}

LogicalResult layerNorm(tx::LayerNormOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  if (failed(onlyFirst(op, dy)))
    return failure();
  auto vjp = b.create<tx::LayerNormVjpOp>(op.getLoc(), op.getInput().getType(), op.getGain().getType(), dy[0],
                                          op.getInput(), op.getGain(), op.getMean(), op.getRstd());
  dx[0] = vjp.getInputGrad();
  dx[1] = vjp.getGainGrad();
  return success();
}

} // namespace

void attachNormRules(MLIRContext *context) {
  attach<tx::RmsNormOp, rmsNorm>(context);
  attach<tx::LayerNormOp, layerNorm>(context);
}
} // namespace txc::autodiff
