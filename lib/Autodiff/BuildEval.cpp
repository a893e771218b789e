//===- BuildEval.cpp - The forward pass as evaluation runs it --------------===//
//
// Requires: @forward.
//
// @eval is a copy of @forward in which dropout does nothing: a tx.dropout is its
// operand, attention has dropout 0.
//
// Guarantees: @eval exists; @forward is unchanged.
//
//===----------------------------------------------------------------------===//

#include "txc/Autodiff/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace txc::autodiff {
#define GEN_PASS_DEF_BUILDEVAL
#include "txc/Autodiff/Passes.h.inc"

namespace {
struct BuildEval : impl::BuildEvalBase<BuildEval> {
  void runOnOperation() override {
    auto forward = getOperation().lookupSymbol<func::FuncOp>("forward");
    if (!forward) {
      getOperation().emitError() << "has no @forward to evaluate";
      return signalPassFailure();
    }
    OpBuilder builder(forward);
    builder.setInsertionPointAfter(forward);
    auto eval = cast<func::FuncOp>(builder.clone(*forward));
    eval.setSymName("eval");
    eval.walk([](tx::DropoutOp op) {
      op.getResult().replaceAllUsesWith(op.getInput());
      op.erase();
    });
    eval.walk([](tx::AttentionOp op) {
      op.getHyperMutable().clear();
      op.setDropout(APFloat(0.0));
      op.setSite(0);
    });
  }
};
} // namespace
} // namespace txc::autodiff
