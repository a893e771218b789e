//===- StateAccess.cpp - Which tensors of parameters an op touches ---------===//

#include "txc/Dialect/Tx/StateAccess.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace txc::tx {

State getReducedGradient(Operation *op, FlatSymbolRefAttr name) {
  auto param = SymbolTable::lookupNearestSymbolFrom<ParamOp>(op, name);
  return param && param.getShards() ? State::GradShard : State::Grad;
}

void visitStateAccesses(Operation *op, llvm::function_ref<void(FlatSymbolRefAttr, State, bool)> visit) {
  auto each = [&](ArrayAttr params, llvm::function_ref<void(FlatSymbolRefAttr)> work) {
    for (auto name : params.getAsRange<FlatSymbolRefAttr>())
      work(name);
  };
  auto all = [&](FlatSymbolRefAttr name) {
    for (int state = 0; state <= static_cast<int>(getMaxEnumValForState()); ++state)
      visit(name, static_cast<State>(state), true);
  };
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](ReadOp op) { visit(op.getParamAttr(), op.getState(), false); })
      .Case([&](AssignOp op) { visit(op.getParamAttr(), op.getState(), true); })
      .Case([&](AccumulateOp op) { visit(op.getParamAttr(), State::Grad, true); })
      .Case([&](AccumulateShardsOp op) {
        each(op.getParams(), [&](FlatSymbolRefAttr name) { visit(name, State::GradShard, true); });
      })
      .Case([&](ClearGradientsOp op) {
        each(op.getParams(), [&](FlatSymbolRefAttr name) { visit(name, State::Grad, true); });
      })
      .Case<GlobalNormOp, GradientSumsOp>([&](auto op) {
        each(op.getParams(),
             [&](FlatSymbolRefAttr name) { visit(name, getReducedGradient(op, name), false); });
      })
      .Case([&](InitOp op) { all(op.getParamAttr()); })
      .Case([&](AdamwOp op) {
        each(op.getParams(), [&](FlatSymbolRefAttr name) {
          bool isShared = getReducedGradient(op, name) == State::GradShard;
          for (State state : {State::Value, State::Moment1, State::Moment2})
            visit(name, state, true);
          visit(name, isShared ? State::GradShard : State::Grad, true);
          if (op.getCompute())
            visit(name, isShared ? State::ComputeShard : State::Compute, true);
        });
      });
}

} // namespace txc::tx
