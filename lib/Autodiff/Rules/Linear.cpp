//===- Linear.cpp - Derivatives of matrix products and biases --------------===//

#include "Rules.h"

using namespace mlir;

namespace txc::autodiff {
namespace {

/// The weight's gradient first: `input` often dies there, and the gradient of
/// `input`, of the same size, can take its place.
LogicalResult linear(tx::LinearOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[1] = b.create<tx::LinearWeightVjpOp>(op.getLoc(), getMasterType(op.getWeight()), dy[0], op.getInput());
  dx[0] = b.create<tx::LinearInputVjpOp>(op.getLoc(), op.getInput().getType(), dy[0], op.getWeight());
  return success();
}

LogicalResult addBias(tx::AddBiasOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = dy[0];
  dx[1] = b.create<tx::BiasVjpOp>(op.getLoc(), op.getBias().getType(), dy[0]);
  return success();
}

} // namespace

void attachLinearRules(MLIRContext *context) {
  attach<tx::LinearOp, linear>(context);
  attach<tx::AddBiasOp, addBias>(context);
}
} // namespace txc::autodiff
