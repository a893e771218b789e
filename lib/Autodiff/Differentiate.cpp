//===- Differentiate.cpp - Reverse mode over the whole program -------------===//
//
// Requires: @forward returns the loss first; straight-line tx ops.
//
// @forward becomes @micro. From the last op to the first:
//   1. An op's result gradients are complete once all its users are done; ops
//      whose results nothing depends on are skipped.
//   2. Its rule (DifferentiableOpInterface) builds the operand gradients. A
//      value used several times gets their sum, added as they come.
//   3. A gradient that reaches a tx.read of a value is accumulated right where it
//      is computed, so a parameter that is used twice is accumulated twice and no
//      sum of its gradients is held.
//
// Order: what a rule builds comes in the reverse order of the forward pass, so
// that the last activation made is the first to die. Of a product, the gradient
// of the weight comes first: the activation that it reads often dies there, and
// the gradient of the input, of the same size, can take its place; `dy` dies at
// the second of the two, one launch later. The sum of a value's gradients is
// added as they come, so at most two of them live at once.
//
// What the backward pass does not name is not kept for it, and gradients that
// nobody needs (of tokens, of tables) are removed.
//
// Guarantees: @micro accumulates the gradient of every parameter that the loss
// depends on; @forward is gone.
//
// Rejects: an op without a rule between a parameter and the loss; branches.
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

/// Adds `grad` to the gradient of a parameter, right where it is computed.
void accumulate(OpBuilder &builder, Location loc, tx::ReadOp read, Value grad) {
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointAfterValue(grad);
  builder.create<tx::AccumulateOp>(loc, read.getParamAttr(), grad);
}

LogicalResult differentiate(func::FuncOp function) {
  if (!function.getBody().hasOneBlock())
    return function.emitOpError() << "must have a body without branches, found "
                                  << function.getBody().getBlocks().size() << " blocks";
  Block &block = function.getBody().front();
  Operation *terminator = block.getTerminator();
  auto lossType = terminator->getNumOperands()
                      ? dyn_cast<RankedTensorType>(terminator->getOperand(0).getType())
                      : RankedTensorType();
  if (!lossType || lossType.getRank() != 0 || !isa<FloatType>(lossType.getElementType()))
    return function.emitOpError() << "must return the loss, a 0-d tensor of floats, as its first result";

  DenseSet<Value> active = findActive(block);
  SmallVector<Operation *> forward =
      llvm::map_to_vector(block.without_terminator(), [](Operation &op) { return &op; });
  OpBuilder builder(terminator);
  DenseMap<Value, Value> gradients;
  Value loss = terminator->getOperand(0);
  gradients[loss] = builder.create<arith::ConstantOp>(
      loss.getLoc(), DenseElementsAttr::get(lossType, builder.getFloatAttr(lossType.getElementType(), 1.0)));

  for (Operation *op : llvm::reverse(forward)) {
    if (!llvm::any_of(op->getResults(), [&](Value v) { return active.contains(v); }))
      continue;
    SmallVector<Value> resultGrads =
        llvm::map_to_vector(op->getResults(), [&](Value v) { return gradients.lookup(v); });
    if (llvm::none_of(resultGrads, [](Value v) { return static_cast<bool>(v); }))
      continue;
    if (auto read = dyn_cast<tx::ReadOp>(op)) {
      // The loss itself is a parameter; all other reads are met as operands.
      accumulate(builder, op->getLoc(), read, resultGrads[0]);
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
      if (!grad || !active.contains(operand))
        continue;
      if (auto read = operand.getDefiningOp<tx::ReadOp>()) {
        accumulate(builder, op->getLoc(), read, grad);
        continue;
      }
      Value &sum = gradients[operand];
      sum = sum ? builder.create<tx::AddOp>(op->getLoc(), sum, grad).getResult() : grad;
    }
  }
  // What nobody needs is not computed; users come before what they use.
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (isOpTriviallyDead(&op))
      op.erase();
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
