//===- VerifyAutodiff.cpp - Check the autodiff stage's guarantee -----------===//
//
// The module is a whole step, which is also what one rank does after shard:
// 1. It has the functions of a step (StepFunctions.h), and no other.
// 2. For every parameter, @init fills it and @update updates it exactly once, and
//    @micro accumulates its gradient at least once (after shard, the first time may
//    be an assignment).
// 3. @eval and @decode have no dropout. @eval only reads state; @decode writes
//    caches only, each of them.
//
//===----------------------------------------------------------------------===//

#include "txc/Autodiff/Passes.h"
#include "txc/Dialect/Tx/StepFunctions.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace txc::autodiff {
#define GEN_PASS_DEF_VERIFYAUTODIFF
#include "txc/Autodiff/Passes.h.inc"

namespace {

/// One error for each broken promise.
class Check {
public:
  Check(ModuleOp module, StringRef stage) : module(module), stage(stage) {}

  LogicalResult run() {
    if (failed(tx::verifyStepFunctions(module, stage)))
      return failure();
    checkParameters();
    checkInference(module.lookupSymbol<func::FuncOp>("eval"));
    if (auto decode = module.lookupSymbol<func::FuncOp>("decode"))
      checkInference(decode);
    checkCaches();
    return result;
  }

private:
  InFlightDiagnostic error(Operation *op) {
    result = failure();
    return op->emitError();
  }

  void checkParameters() {
    DenseMap<Attribute, SmallVector<Operation *>> fills, updates;
    DenseSet<Attribute> accumulated;
    module.lookupSymbol<func::FuncOp>("init").walk(
        [&](tx::InitOp op) { fills[op.getParamAttr().getAttr()].push_back(op); });
    module.lookupSymbol<func::FuncOp>("micro").walk(
        [&](tx::AccumulateOp op) { accumulated.insert(op.getParamAttr().getAttr()); });
    module.lookupSymbol<func::FuncOp>("micro").walk([&](tx::AssignOp op) {
      if (op.getState() == tx::State::Grad)
        accumulated.insert(op.getParamAttr().getAttr());
    });
    module.lookupSymbol<func::FuncOp>("update").walk([&](tx::AdamwOp op) {
      for (auto name : op.getParams().getAsRange<FlatSymbolRefAttr>())
        updates[name.getAttr()].push_back(op);
    });
    for (auto param : module.getOps<tx::ParamOp>()) {
      StringAttr name = param.getSymNameAttr();
      checkOnce(param, "parameter", "filled by @init", fills[name]);
      if (!accumulated.contains(name))
        error(param) << "parameter '" << name.getValue()
                     << "' gets no gradient: the loss does not depend on it";
      checkOnce(param, "parameter", "updated by @update", updates[name]);
    }
  }

  void checkOnce(SymbolOpInterface symbol, StringRef kind, StringRef what, ArrayRef<Operation *> ops) {
    if (ops.size() == 1)
      return;
    InFlightDiagnostic diag = error(symbol) << kind << " '" << symbol.getName() << "' must be " << what
                                            << " exactly once, found " << ops.size() << " times";
    for (Operation *op : ops)
      diag.attachNote(op->getLoc()) << "here";
  }

  void checkInference(func::FuncOp function) {
    StringRef name = function.getSymName();
    function.walk([&](Operation *op) {
      auto attention = dyn_cast<tx::AttentionOp>(op);
      if (isa<tx::DropoutOp>(op) || (attention && attention.getHyper()))
        error(op) << "'" << op->getName() << "' drops elements in @" << name;
      auto assign = dyn_cast<tx::AssignOp>(op);
      bool writesCache = name == "decode" && assign && module.lookupSymbol<tx::CacheOp>(assign.getParam());
      if (isa<tx::AccumulateOp, tx::AssignOp, tx::InitOp, tx::AdamwOp>(op) && !writesCache)
        error(op) << "'" << op->getName() << "' changes state in @" << name;
    });
  }

  void checkCaches() {
    DenseMap<Attribute, SmallVector<Operation *>> writes;
    if (auto decode = module.lookupSymbol<func::FuncOp>("decode"))
      decode.walk([&](tx::AssignOp op) { writes[op.getParamAttr().getAttr()].push_back(op); });
    for (auto cache : module.getOps<tx::CacheOp>())
      checkOnce(cache, "cache", "written by @decode", writes[cache.getSymNameAttr()]);
  }

  ModuleOp module;
  StringRef stage;
  LogicalResult result = success();
};

struct VerifyAutodiff : impl::VerifyAutodiffBase<VerifyAutodiff> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    if (failed(verifyWholeStep(getOperation(), "autodiff")))
      signalPassFailure();
  }
};
} // namespace

LogicalResult verifyWholeStep(ModuleOp module, StringRef stage) { return Check(module, stage).run(); }

void buildPipeline(OpPassManager &pm) {
  pm.addPass(createBuildEval());
  pm.addPass(createBuildDecode());
  pm.addPass(createDifferentiate());
  pm.addPass(createBuildUpdate());
  pm.addPass(createVerifyAutodiff());
}
} // namespace txc::autodiff
