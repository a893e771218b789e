//===- Linear.cpp - Matrix products and biases, evaluated ------------------===//

#include "Rules.h"

using namespace mlir;

namespace txc::interp {
namespace {

LogicalResult linear(tx::LinearOp op, Frame &frame) {
  const Tensor &input = frame.get(op.getInput()), &weight = frame.get(op.getWeight());
  Tensor &result = frame.create(op.getResult());
  for (int64_t r = 0; r < input.rows(); ++r)
    for (int64_t o = 0; o < weight.rows(); ++o)
      for (int64_t i = 0; i < weight.width(); ++i)
        result.row(r)[o] += input.row(r)[i] * weight.row(o)[i];
  return success();
}

LogicalResult linearInputVjp(tx::LinearInputVjpOp op, Frame &frame) {
  const Tensor &grad = frame.get(op.getGrad()), &weight = frame.get(op.getWeight());
  Tensor &result = frame.create(op.getResult());
  for (int64_t r = 0; r < grad.rows(); ++r)
    for (int64_t o = 0; o < weight.rows(); ++o)
      for (int64_t i = 0; i < weight.width(); ++i)
        result.row(r)[i] += grad.row(r)[o] * weight.row(o)[i];
  return success();
}

LogicalResult linearWeightVjp(tx::LinearWeightVjpOp op, Frame &frame) {
  const Tensor &grad = frame.get(op.getGrad()), &input = frame.get(op.getInput());
  Tensor &result = frame.create(op.getResult());
  for (int64_t r = 0; r < grad.rows(); ++r)
    for (int64_t o = 0; o < grad.width(); ++o)
      for (int64_t i = 0; i < input.width(); ++i)
        result.row(o)[i] += grad.row(r)[o] * input.row(r)[i];
  return success();
}

LogicalResult addBias(tx::AddBiasOp op, Frame &frame) {
  const Tensor &input = frame.get(op.getInput()), &bias = frame.get(op.getBias());
  Tensor &result = frame.create(op.getResult());
  for (int64_t r = 0; r < input.rows(); ++r)
    for (int64_t i = 0; i < input.width(); ++i)
      result.row(r)[i] = input.row(r)[i] + bias[i];
  return success();
}

LogicalResult biasVjp(tx::BiasVjpOp op, Frame &frame) {
  const Tensor &grad = frame.get(op.getGrad());
  Tensor &result = frame.create(op.getResult());
  for (int64_t r = 0; r < grad.rows(); ++r)
    for (int64_t i = 0; i < grad.width(); ++i)
      result[i] += grad.row(r)[i];
  return success();
}

} // namespace

void attachLinearRules(MLIRContext *context) {
  attach<tx::LinearOp, linear>(context);
  attach<tx::LinearInputVjpOp, linearInputVjp>(context);
  attach<tx::LinearWeightVjpOp, linearWeightVjp>(context);
  attach<tx::AddBiasOp, addBias>(context);
  attach<tx::BiasVjpOp, biasVjp>(context);
}

} // namespace txc::interp
