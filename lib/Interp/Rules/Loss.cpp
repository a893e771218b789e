//===- Loss.cpp - Cross-entropy, evaluated ---------------------------------===//

#include "Rules.h"

#include <cmath>

using namespace mlir;

namespace txc::interp {
namespace {

/// A target that counts must name a column of the logits.
LogicalResult checkTarget(Operation *op, int32_t target, int64_t r, int64_t vocabulary) {
  if (target >= 0 && target < vocabulary)
    return success();
  return op->emitOpError() << "target number " << r << " is " << target << ", but the vocabulary has "
                           << vocabulary << " tokens";
}

LogicalResult targetCount(tx::TargetCountOp op, Frame &frame) {
  const IntTensor &targets = frame.getInts(op.getTargets());
  int64_t ignore = op.getIgnoreIndex();
  double count = llvm::count_if(targets.data, [&](int32_t y) { return y != ignore; });
  frame.create(op.getResult())[0] = std::max(1.0, count);
  return success();
}

LogicalResult crossEntropy(tx::CrossEntropyOp op, Frame &frame) {
  const Tensor &logits = frame.get(op.getLogits());
  const IntTensor &targets = frame.getInts(op.getTargets());
  int64_t ignore = op.getIgnoreIndex();
  Tensor &loss = frame.create(op.getLoss()), &lse = frame.create(op.getLse());
  for (int64_t r = 0, n = logits.width(); r < logits.rows(); ++r) {
    const double *x = logits.row(r);
    double largest = *std::max_element(x, x + n), sum = 0;
    for (int64_t i = 0; i < n; ++i)
      sum += std::exp(x[i] - largest);
    lse[r] = std::log(sum) + largest;
    if (targets[r] == ignore)
      continue;
    if (failed(checkTarget(op, targets[r], r, n)))
      return failure();
    loss[r] = lse[r] - x[targets[r]];
  }
  return success();
}

LogicalResult crossEntropyVjp(tx::CrossEntropyVjpOp op, Frame &frame) {
  const Tensor &grad = frame.get(op.getGrad()), &logits = frame.get(op.getLogits());
  const Tensor &lse = frame.get(op.getLse());
  const IntTensor &targets = frame.getInts(op.getTargets());
  int64_t ignore = op.getIgnoreIndex();
  Tensor &result = frame.create(op.getResult());
  for (int64_t r = 0, n = logits.width(); r < logits.rows(); ++r) {
    if (targets[r] == ignore)
      continue;
    if (failed(checkTarget(op, targets[r], r, n)))
      return failure();
    for (int64_t i = 0; i < n; ++i)
      result.row(r)[i] = grad[r] * (std::exp(logits.row(r)[i] - lse[r]) - (i == targets[r]));
  }
  return success();
}

LogicalResult meanLoss(tx::MeanLossOp op, Frame &frame) {
  double sum = 0;
  for (double loss : frame.get(op.getLosses()).data)
    sum += loss;
  frame.create(op.getResult())[0] = sum / frame.getScalar(op.getCount());
  return success();
}

LogicalResult meanLossVjp(tx::MeanLossVjpOp op, Frame &frame) {
  Tensor &result = frame.create(op.getResult());
  std::fill(result.data.begin(), result.data.end(),
            frame.getScalar(op.getGrad()) / frame.getScalar(op.getCount()));
  return success();
}

} // namespace

void attachLossRules(MLIRContext *context) {
  attach<tx::TargetCountOp, targetCount>(context);
  attach<tx::CrossEntropyOp, crossEntropy>(context);
  attach<tx::CrossEntropyVjpOp, crossEntropyVjp>(context);
  attach<tx::MeanLossOp, meanLoss>(context);
  attach<tx::MeanLossVjpOp, meanLossVjp>(context);
}

} // namespace txc::interp
