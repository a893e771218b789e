//===- VerifyImport.cpp - Check the promise of the import stage -----------===//
//
// 1. The module holds tx.param, @init(hyper) and @forward(tokens, targets,
//    hyper) -> (loss, count), and nothing else.
// 2. Both functions are one block of tx ops; @forward reads values of
//    parameters and is pure otherwise.
// 3. @init initialises each parameter once, and @forward reads each.
// 4. Every tx op has a path (a NameLoc): the name that diagnostics, buffers
//    and the ledger show.
//
// Types and symbols have been checked by the ops' own verifiers.
//
//===----------------------------------------------------------------------===//

#include "txc/Dialect/Tx/Tx.h"
#include "txc/Import/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace txc::import {
#define GEN_PASS_DEF_VERIFYIMPORT
#include "txc/Import/Passes.h.inc"

namespace {

LogicalResult verifySignatures(ModuleOp module, func::FuncOp init, func::FuncOp forward) {
  Type hyper = tx::HyperType::get(module.getContext());
  FunctionType type = init.getFunctionType();
  if (type.getInputs() != ArrayRef<Type>{hyper} || type.getNumResults() != 0)
    return init.emitError() << "@init has type " << type << "; expected (!tx.hyper) -> ()";
  type = forward.getFunctionType();
  auto isTokens = [](Type t) {
    auto tensor = dyn_cast<RankedTensorType>(t);
    return tensor && tensor.hasStaticShape() && tensor.getRank() == 2 &&
           tensor.getElementType().isInteger(32);
  };
  auto isScalar = [](Type t) {
    auto tensor = dyn_cast<RankedTensorType>(t);
    return tensor && tensor.getRank() == 0 && tensor.getElementType().isF32();
  };
  if (type.getNumInputs() != 3 || !isTokens(type.getInput(0)) || type.getInput(1) != type.getInput(0) ||
      type.getInput(2) != hyper || type.getNumResults() != 2 || !llvm::all_of(type.getResults(), isScalar))
    return forward.emitError()
           << "@forward has type " << type
           << "; expected (tokens, targets, !tx.hyper) -> (loss, count), tokens and targets "
              "i32 [B, T], loss and count f32 scalars";
  return success();
}

// What a function of the module may hold.
LogicalResult verifyBody(func::FuncOp function, bool isInit) {
  if (!llvm::hasSingleElement(function.getBody()))
    return function.emitError() << "@" << function.getSymName() << " must have one block";
  for (Operation &op : function.getBody().front().without_terminator()) {
    if (!isa<tx::TxDialect>(op.getDialect()) || isa<tx::KernelOp>(op))
      return op.emitError() << "'" << op.getName() << "' is not expected after import";
    if (tx::getPath(&op).empty())
      return op.emitError() << "'" << op.getName() << "' has no path: expected a location loc(\"...\")";
    if (isInit ? isa<tx::InitOp>(op) : isMemoryEffectFree(&op))
      continue;
    auto read = dyn_cast<tx::ReadOp>(op);
    if (isInit || !read)
      return op.emitError() << "'" << op.getName() << "' is not expected in @" << function.getSymName();
    if (read.getState() != tx::State::Value)
      return op.emitError() << "@forward reads " << stringifyState(read.getState()) << " of @"
                            << read.getParam() << "; expected value";
  }
  return success();
}

class VerifyImportPass : public impl::VerifyImportBase<VerifyImportPass> {
public:
  void runOnOperation() override {
    if (failed(verify(getOperation())))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }

private:
  LogicalResult verify(ModuleOp module) {
    func::FuncOp init, forward;
    for (Operation &op : *module.getBody()) {
      if (isa<tx::ParamOp>(op)) {
        if (tx::getPath(&op).empty())
          return op.emitError() << "'tx.param' has no path: expected a location loc(\"...\")";
        continue;
      }
      auto function = dyn_cast<func::FuncOp>(op);
      if (function && function.getSymName() == "init")
        init = function;
      else if (function && function.getSymName() == "forward")
        forward = function;
      else
        return op.emitError() << "expected only tx.param, @init and @forward after import";
    }
    if (!init || !forward)
      return module.emitError() << "has no @" << (init ? "forward" : "init")
                                << "; import makes @init and @forward";
    if (init.isExternal() || forward.isExternal())
      return (init.isExternal() ? init : forward).emitError() << "has no body";
    if (failed(verifySignatures(module, init, forward)) || failed(verifyBody(init, /*isInit=*/true)) ||
        failed(verifyBody(forward, /*isInit=*/false)))
      return failure();

    llvm::StringMap<unsigned> inits, reads;
    init.walk([&](tx::InitOp op) { ++inits[op.getParam()]; });
    forward.walk([&](tx::ReadOp op) { ++reads[op.getParam()]; });
    for (tx::ParamOp param : module.getOps<tx::ParamOp>()) {
      if (unsigned count = inits.lookup(param.getSymName()); count != 1)
        return param.emitError() << "@" << param.getSymName() << " is initialised " << count
                                 << " times in @init; expected once";
      if (!reads.count(param.getSymName()))
        return param.emitError() << "@" << param.getSymName() << " is never read in @forward";
    }
    return success();
  }
};

} // namespace

void buildPipeline(OpPassManager &pm) { pm.addPass(createVerifyImport()); }

} // namespace txc::import
