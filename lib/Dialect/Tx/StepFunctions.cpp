//===- StepFunctions.cpp - Check the functions that make a step ------------===//

#include "txc/Dialect/Tx/StepFunctions.h"

#include "txc/Dialect/Tx/Tx.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace txc::tx {

static bool isTensor(Type type, unsigned rank, llvm::function_ref<bool(Type)> isElement) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.hasStaticShape() && tensor.getRank() == rank && isElement(tensor.getElementType());
}

static bool isTokens(Type type) {
  return isTensor(type, 2, [](Type element) { return element.isInteger(32); });
}
static bool isScalar(Type type) {
  return isTensor(type, 0, [](Type element) { return element.isF32(); });
}
static bool isPosition(Type type) {
  return isTensor(type, 0, [](Type element) { return element.isInteger(32); });
}
/// f32 [S, 1, V] for tokens [S, 1].
static bool isLogits(Type type, Type tokens) {
  return isTensor(type, 3, [](Type element) { return element.isF32(); }) &&
         cast<RankedTensorType>(type).getShape().drop_back() == cast<RankedTensorType>(tokens).getShape();
}
static bool isStatistics(Type type) {
  return isTensor(type, 1, [](Type element) { return element.isF32(); }) &&
         cast<RankedTensorType>(type).getDimSize(0) == 11;
}

static LogicalResult verifyFunction(func::FuncOp function, StringRef stage) {
  StringRef name = function.getSymName();
  FunctionType type = function.getFunctionType();
  ArrayRef<Type> inputs = type.getInputs(), results = type.getResults();
  bool isRight;
  StringRef expected;
  if (name == "micro" || name == "micro_last" || name == "eval") {
    isRight = inputs.size() == 3 && isTokens(inputs[0]) && inputs[1] == inputs[0] &&
              isa<HyperType>(inputs[2]) && results.size() == 2 && llvm::all_of(results, isScalar);
    expected =
        "(tokens, targets, !tx.hyper) -> (loss, count), tokens and targets i32 [B, T], loss and count f32 "
        "scalars";
  } else if (name == "init") {
    isRight = inputs.size() == 1 && isa<HyperType>(inputs[0]) && results.empty();
    expected = "(!tx.hyper) -> ()";
  } else if (name == "update") {
    isRight =
        inputs.size() == 1 && isa<HyperType>(inputs[0]) && results.size() == 1 && isStatistics(results[0]);
    expected = "(!tx.hyper) -> tensor<11xf32>";
  } else if (name == "decode") {
    isRight = inputs.size() == 2 && isTokens(inputs[0]) &&
              cast<RankedTensorType>(inputs[0]).getDimSize(1) == 1 && isPosition(inputs[1]) &&
              results.size() == 1 && isLogits(results[0], inputs[0]);
    expected =
        "(tokens, position) -> logits, tokens i32 [S, 1], position an i32 scalar, logits f32 [S, 1, V]";
  } else {
    return function.emitError() << "@" << name << " is left after " << stage
                                << "; expected only @init, @micro, @micro_last, @update, @eval and @decode";
  }
  if (!isRight)
    return function.emitError() << "@" << name << " has type " << type << "; expected " << expected;
  if (!function.getBody().hasOneBlock())
    return function.emitError() << "@" << name << " must have a body without branches, found "
                                << function.getBody().getBlocks().size() << " blocks";
  return success();
}

LogicalResult verifyStepFunctions(ModuleOp module, StringRef stage) {
  bool ok = true;
  for (StringRef name : {"init", "micro", "update", "eval"})
    if (!module.lookupSymbol<func::FuncOp>(name)) {
      module.emitError() << "has no @" << name << " after " << stage
                         << "; expected @init, @micro, @update and @eval";
      ok = false;
    }
  for (auto function : module.getOps<func::FuncOp>())
    ok &= succeeded(verifyFunction(function, stage));
  return success(ok);
}

} // namespace txc::tx
