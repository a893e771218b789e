//===- VerifyAutodiff.cpp - Check the autodiff stage's guarantee -----------===//
//
// @init, @micro, @update and @eval exist, @forward is gone, and every parameter's
// gradient is accumulated in @micro at least once.
//
//===----------------------------------------------------------------------===//

#include "txc/Autodiff/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace txc::autodiff {
#define GEN_PASS_DEF_VERIFYAUTODIFF
#include "txc/Autodiff/Passes.h.inc"

namespace {
struct VerifyAutodiff : impl::VerifyAutodiffBase<VerifyAutodiff> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    for (StringRef name : {"init", "micro", "update", "eval"})
      if (!module.lookupSymbol<func::FuncOp>(name)) {
        module.emitError() << "has no @" << name << " after autodiff";
        return signalPassFailure();
      }
    if (auto forward = module.lookupSymbol<func::FuncOp>("forward")) {
      forward.emitOpError() << "is left after autodiff";
      return signalPassFailure();
    }
    DenseSet<Attribute> accumulated;
    module.lookupSymbol<func::FuncOp>("micro").walk(
        [&](tx::AccumulateOp op) { accumulated.insert(op.getParamAttr().getAttr()); });
    for (auto param : module.getOps<tx::ParamOp>())
      if (!accumulated.contains(param.getSymNameAttr())) {
        param.emitOpError() << "gets no gradient: the loss does not depend on it";
        signalPassFailure();
      }
  }
};
} // namespace

void buildPipeline(OpPassManager &pm) {
  pm.addPass(createBuildEval());
  pm.addPass(createDifferentiate());
  pm.addPass(createBuildUpdate());
  pm.addPass(createVerifyAutodiff());
}
} // namespace txc::autodiff
