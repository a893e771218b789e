//===- VerifyAutodiff.cpp - Check the autodiff stage's guarantee -----------===//
//
// The module is a whole step, which is also what one rank does after shard:
// 1. @init, @micro, @update and @eval exist, of the types below, each one block
//    without branches; no other function does.
// 2. For every parameter, @init fills it and @update updates it exactly once, and
//    @micro accumulates its gradient at least once.
// 3. @eval has no dropout and only reads state.
//
//===----------------------------------------------------------------------===//

#include "txc/Autodiff/Passes.h"

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
    checkFunctions();
    if (failed(result))
      return result;
    checkParameters();
    checkEval();
    return result;
  }

private:
  InFlightDiagnostic error(Operation *op) {
    result = failure();
    return op->emitError();
  }

  void checkFunctions() {
    for (StringRef name : {"init", "micro", "update", "eval"})
      if (!module.lookupSymbol<func::FuncOp>(name))
        error(module) << "has no @" << name << " after " << stage
                      << "; expected @init, @micro, @update and @eval";
    for (auto function : module.getOps<func::FuncOp>())
      checkFunction(function);
  }

  void checkFunction(func::FuncOp function) {
    StringRef name = function.getSymName();
    FunctionType type = function.getFunctionType();
    bool overBatches = name == "micro" || name == "eval";
    if (!overBatches && name != "init" && name != "update") {
      error(function) << "@" << name << " is left after " << stage
                      << "; expected only @init, @micro, @update and @eval";
      return;
    }
    if (!function.getBody().hasOneBlock()) {
      error(function) << "@" << name << " must have a body without branches, found "
                      << function.getBody().getBlocks().size() << " blocks";
      return;
    }
    auto isTensor = [](Type t, auto isElement, ArrayRef<int64_t> shape, int64_t rank) {
      auto tensor = dyn_cast<RankedTensorType>(t);
      return tensor && tensor.hasStaticShape() && tensor.getRank() == rank &&
             isElement(tensor.getElementType()) && (shape.empty() || tensor.getShape() == shape);
    };
    auto isInt = [](Type t) { return t.isInteger(32); };
    auto isFloat = [](Type t) { return t.isF32(); };
    auto isScalar = [&](Type t) { return isTensor(t, isFloat, {}, 0); };
    Type hyper = tx::HyperType::get(module.getContext());
    if (overBatches) {
      if (type.getNumInputs() != 3 || !isTensor(type.getInput(0), isInt, {}, 2) ||
          type.getInput(1) != type.getInput(0) || type.getInput(2) != hyper || type.getNumResults() != 2 ||
          !llvm::all_of(type.getResults(), isScalar))
        error(function) << "@" << name << " has type " << type
                        << "; expected (tokens, targets, !tx.hyper) -> (loss, count), tokens and targets "
                           "i32 [B, T], loss and count f32 scalars";
      return;
    }
    bool returnsRight = name == "init"
                            ? type.getNumResults() == 0
                            : type.getNumResults() == 1 && isTensor(type.getResult(0), isFloat, {9}, 1);
    if (type.getInputs() != ArrayRef<Type>{hyper} || !returnsRight)
      error(function) << "@" << name << " has type " << type << "; expected (!tx.hyper) -> "
                      << (name == "init" ? "()" : "tensor<9xf32>");
  }

  void checkParameters() {
    DenseMap<Attribute, SmallVector<Operation *>> fills, updates;
    DenseSet<Attribute> accumulated;
    module.lookupSymbol<func::FuncOp>("init").walk(
        [&](tx::InitOp op) { fills[op.getParamAttr().getAttr()].push_back(op); });
    module.lookupSymbol<func::FuncOp>("micro").walk(
        [&](tx::AccumulateOp op) { accumulated.insert(op.getParamAttr().getAttr()); });
    module.lookupSymbol<func::FuncOp>("update").walk([&](tx::AdamwOp op) {
      for (auto name : op.getParams().getAsRange<FlatSymbolRefAttr>())
        updates[name.getAttr()].push_back(op);
    });
    for (auto param : module.getOps<tx::ParamOp>()) {
      StringAttr name = param.getSymNameAttr();
      checkOnce(param, "filled by @init", fills[name]);
      if (!accumulated.contains(name))
        error(param) << "parameter '" << name.getValue()
                     << "' gets no gradient: the loss does not depend on it";
      checkOnce(param, "updated by @update", updates[name]);
    }
  }

  void checkOnce(tx::ParamOp param, StringRef what, ArrayRef<Operation *> ops) {
    if (ops.size() == 1)
      return;
    InFlightDiagnostic diag = error(param) << "parameter '" << param.getSymName() << "' must be " << what
                                           << " exactly once, found " << ops.size() << " times";
    for (Operation *op : ops)
      diag.attachNote(op->getLoc()) << "here";
  }

  void checkEval() {
    module.lookupSymbol<func::FuncOp>("eval").walk([&](Operation *op) {
      auto attention = dyn_cast<tx::AttentionOp>(op);
      if (isa<tx::DropoutOp>(op) || (attention && attention.getHyper()))
        error(op) << "'" << op->getName() << "' drops elements in @eval";
      if (isa<tx::AccumulateOp, tx::AssignOp, tx::InitOp, tx::AdamwOp>(op))
        error(op) << "'" << op->getName() << "' changes state in @eval";
    });
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
  pm.addPass(createDifferentiate());
  pm.addPass(createBuildUpdate());
  pm.addPass(createVerifyAutodiff());
}
} // namespace txc::autodiff
