//===- Pointwise.cpp - Derivatives of sums, activations, dropout, casts ----===//

#include "Rules.h"

using namespace mlir;

namespace txc::autodiff {
namespace {

LogicalResult add(tx::AddOp, OpBuilder &, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = dx[1] = dy[0];
  return success();
}

LogicalResult activation(tx::ActivationOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[0] =
      b.create<tx::ActivationVjpOp>(op.getLoc(), op.getInput().getType(), dy[0], op.getInput(), op.getKind());
  return success();
}

LogicalResult swiglu(tx::SwigluOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = b.create<tx::SwigluVjpOp>(op.getLoc(), op.getInput().getType(), dy[0], op.getInput());
  return success();
}

LogicalResult dropout(tx::DropoutOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = b.create<tx::DropoutOp>(op.getLoc(), op.getInput().getType(), dy[0], op.getHyper(), op.getP(),
                                  op.getSite());
  return success();
}

/// The gradient of a cast weight comes in f32 already: nothing to do then.
LogicalResult castBack(tx::CastOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  if (dy[0].getType() == op.getInput().getType())
    dx[0] = dy[0];
  else
    dx[0] = b.create<tx::CastOp>(op.getLoc(), op.getInput().getType(), dy[0]);
  return success();
}

} // namespace

void attachPointwiseRules(MLIRContext *context) {
  attach<tx::AddOp, add>(context);
  attach<tx::ActivationOp, activation>(context);
  attach<tx::SwigluOp, swiglu>(context);
  attach<tx::DropoutOp, dropout>(context);
  attach<tx::CastOp, castBack>(context);
}
} // namespace txc::autodiff
