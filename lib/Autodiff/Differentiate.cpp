//===- Differentiate.cpp - Reverse mode over the whole program -------------===//
//
// Requires: @forward returns the loss first; straight-line tx ops.
//
// @forward becomes @micro. From the last op to the first:
//   1. An op's result gradients are complete once all its users are done; ops
//      whose results nothing depends on are skipped.
//   2. Its rule (DifferentiableOpInterface) builds the operand gradients. A
//      value used several times gets their sum, added as they come.
//   3. A gradient that reaches a tx.read of a value is accumulated at once, so a
//      parameter that is used twice is accumulated twice and no sum of its
//      gradients is held.
//
// Order: the weight's gradient of a product comes before its input's, so that
// the gradient that both read dies at the second. What only the forward pass
// needed is not kept: the backward ops read exactly what their rules name.
//
// Guarantees: @micro accumulates the gradient of every parameter that the loss
// depends on; @forward is gone.
//
// Rejects: an op without a rule between a parameter and the loss.
//
//===----------------------------------------------------------------------===//

#include "txc/Autodiff/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace txc::autodiff {
#define GEN_PASS_DEF_DIFFERENTIATE
#include "txc/Autodiff/Passes.h.inc"

namespace {

/// Values on a path from a parameter.
DenseSet<Value> findActive(Block &block) {
  DenseSet<Value> active;
  for (Operation &op : block.without_terminator()) {
    auto read = dyn_cast<tx::ReadOp>(op);
    bool isActive = read ? read.getState() == tx::State::Value
                         : llvm::any_of(op.getOperands(), [&](Value v) { return active.contains(v); });
    if (isActive)
      active.insert(op.getResults().begin(), op.getResults().end());
  }
  return active;
}

LogicalResult differentiate(func::FuncOp function) {
  Block &block = function.getBody().front();
  Operation *terminator = block.getTerminator();
  auto lossType = terminator->getNumOperands() ? dyn_cast<RankedTensorType>(terminator->getOperand(0).getType())
                                               : RankedTensorType();
  if (!lossType || lossType.getRank() != 0)
    return function.emitOpError() << "must return the loss, a 0-d tensor, as its first result";

  DenseSet<Value> active = findActive(block);
  SmallVector<Operation *> forward =
      llvm::map_to_vector(block.without_terminator(), [](Operation &op) { return &op; });
  OpBuilder builder(terminator);
  DenseMap<Value, Value> gradients;
  Value loss = terminator->getOperand(0);
  gradients[loss] =
      builder.create<arith::ConstantOp>(loss.getLoc(), DenseElementsAttr::get(lossType, builder.getFloatAttr(lossType.getElementType(), 1.0)));

  for (Operation *op : llvm::reverse(forward)) {
    if (!llvm::any_of(op->getResults(), [&](Value v) { return active.contains(v); }))
      continue;
    SmallVector<Value> resultGrads =
        llvm::map_to_vector(op->getResults(), [&](Value v) { return gradients.lookup(v); });
    if (llvm::none_of(resultGrads, [](Value v) { return static_cast<bool>(v); }))
      continue;
    if (auto read = dyn_cast<tx::ReadOp>(op)) {
      builder.create<tx::AccumulateOp>(op->getLoc(), read.getParamAttr(), resultGrads[0]);
      continue;
    }
    auto differentiable = dyn_cast<tx::DifferentiableOpInterface>(op);
    if (!differentiable) {
      InFlightDiagnostic diag = op->emitOpError() << "has no derivative, but the loss depends on it";
      for (Value operand : op->getOperands())
        if (active.contains(operand))
          diag.attachNote(operand.getLoc()) << "a parameter reaches it here";
      return diag;
    }
    SmallVector<Value> operandGrads;
    if (failed(differentiable.buildVjp(builder, resultGrads, operandGrads)))
      return failure();
    for (auto [operand, grad] : llvm::zip_equal(op->getOperands(), operandGrads)) {
      if (!grad || !active.contains(operand)) {
        // What nobody needs is not computed.
        if (grad && grad.use_empty() && !llvm::is_contained(resultGrads, grad) && isPure(grad.getDefiningOp()) &&
            grad.getDefiningOp()->use_empty())
          grad.getDefiningOp()->erase();
        continue;
      }
      if (auto read = operand.getDefiningOp<tx::ReadOp>(); read && grad) {
        builder.create<tx::AccumulateOp>(op->getLoc(), read.getParamAttr(), grad);
        continue;
      }
      Value &sum = gradients[operand];
      sum = sum ? builder.create<tx::AddOp>(op->getLoc(), sum, grad).getResult() : grad;
    }
  }
  function.setSymName("micro");
  return success();
}

struct Differentiate : impl::DifferentiateBase<Differentiate> {
  void runOnOperation() override {
    auto forward = getOperation().lookupSymbol<func::FuncOp>("forward");
    if (!forward) {
      getOperation().emitError() << "has no @forward to differentiate";
      return signalPassFailure();
    }
    if (failed(differentiate(forward)))
      signalPassFailure();
  }
};
} // namespace
} // namespace txc::autodiff
