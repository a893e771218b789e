//===- State.cpp - Parameters, evaluated -----------------------------------===//

#include "Rules.h"

using namespace mlir;

namespace txc::interp {
namespace {

LogicalResult read(tx::ReadOp op, Frame &frame) {
  // A copy: a later write does not change what was read.
  frame.create(op.getResult()) = frame.getState().get(op.getParamAttr().getAttr(), op.getState());
  return success();
}

LogicalResult assign(tx::AssignOp op, Frame &frame) {
  frame.getState().get(op.getParamAttr().getAttr(), op.getState()) = frame.get(op.getValue());
  return success();
}

LogicalResult accumulate(tx::AccumulateOp op, Frame &frame) {
  const Tensor &value = frame.get(op.getValue());
  Tensor &grad = frame.getState().get(op.getParamAttr().getAttr(), tx::State::Grad);
  for (int64_t e = 0; e < grad.size(); ++e)
    grad[e] += value[e];
  return success();
}

LogicalResult accumulateShards(tx::AccumulateShardsOp op, Frame &frame) {
  for (auto [name, value] : llvm::zip_equal(op.getParams().getAsRange<FlatSymbolRefAttr>(), op.getValues())) {
    const Tensor &shard = frame.get(value);
    Tensor &grad = frame.getState().get(name.getAttr(), tx::State::GradShard);
    for (int64_t e = 0; e < grad.size(); ++e)
      grad[e] += shard[e];
  }
  return success();
}

LogicalResult clearGradients(tx::ClearGradientsOp op, Frame &frame) {
  for (auto name : op.getParams().getAsRange<FlatSymbolRefAttr>()) {
    Tensor &grad = frame.getState().get(name.getAttr(), tx::State::Grad);
    std::fill(grad.data.begin(), grad.data.end(), 0.0);
  }
  return success();
}

LogicalResult init(tx::InitOp op, Frame &frame) {
  frame.getState().initialise(op.getParamAttr().getAttr(), frame.getHyper(op.getHyper()).seed);
  if (op.getCompute())
    frame.getState().keepCompute(op.getParamAttr().getAttr());
  return success();
}

} // namespace

void attachStateRules(MLIRContext *context) {
  attach<tx::ReadOp, read>(context);
  attach<tx::AssignOp, assign>(context);
  attach<tx::AccumulateOp, accumulate>(context);
  attach<tx::AccumulateShardsOp, accumulateShards>(context);
  attach<tx::ClearGradientsOp, clearGradients>(context);
  attach<tx::InitOp, init>(context);
}

} // namespace txc::interp
