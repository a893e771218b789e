//===- Optimizer.cpp - Gradient statistics and AdamW, evaluated ------------===//

#include "Rules.h"

#include <cmath>

using namespace mlir;

namespace txc::interp {
namespace {

LogicalResult globalNorm(tx::GlobalNormOp op, Frame &frame) {
  const Hyper &hyper = frame.getHyper(op.getHyper());
  double sum = 0, squares = 0, smallest = INFINITY, largest = -INFINITY;
  double normSum = 0, normMax = 0, normMin = INFINITY;
  int64_t count = 0, tensors = 0;
  auto gradients = [&](llvm::function_ref<void(const Tensor &)> visit) {
    for (auto name : op.getParams().getAsRange<FlatSymbolRefAttr>())
      visit(frame.getState().get(name.getAttr(), tx::State::Grad));
  };
  gradients([&](const Tensor &tensor) {
    double tensorSquares = 0;
    for (double raw : tensor.data) {
      double g = raw * hyper.gradScale;
      sum += g;
      tensorSquares += g * g;
      smallest = std::min(smallest, g);
      largest = std::max(largest, g);
    }
    squares += tensorSquares;
    count += tensor.size();
    double norm = std::sqrt(tensorSquares);
    normSum += norm;
    normMax = std::max(normMax, norm);
    normMin = std::min(normMin, norm);
    ++tensors;
  });
  double mean = sum / count, deviation = 0;
  gradients([&](const Tensor &tensor) {
    for (double raw : tensor.data)
      deviation += (raw * hyper.gradScale - mean) * (raw * hyper.gradScale - mean);
  });
  double norm = std::sqrt(squares);
  double clipScale = hyper.gradClip > 0 ? std::min(1.0, hyper.gradClip / norm) : 1;
  frame.create(op.getStats()).data = {
      norm,    clipScale, mean, std::sqrt(deviation / count), smallest, largest, normSum / tensors,
      normMax, normMin};
  return success();
}

LogicalResult adamw(tx::AdamwOp op, Frame &frame) {
  const Hyper &hyper = frame.getHyper(op.getHyper());
  double clipScale = frame.get(op.getStats())[1];
  for (auto name : op.getParams().getAsRange<FlatSymbolRefAttr>()) {
    State &state = frame.getState();
    Tensor &value = state.get(name.getAttr(), tx::State::Value),
           &grad = state.get(name.getAttr(), tx::State::Grad);
    Tensor &moment1 = state.get(name.getAttr(), tx::State::Moment1);
    Tensor &moment2 = state.get(name.getAttr(), tx::State::Moment2);
    bool decay = state.getParam(name.getAttr()).getDecay();
    for (int64_t e = 0; e < value.size(); ++e) {
      double g = grad[e] * hyper.gradScale * clipScale;
      double &w = value[e], &m = moment1[e], &v = moment2[e];
      m = hyper.beta1 * m + (1 - hyper.beta1) * g;
      v = hyper.beta2 * v + (1 - hyper.beta2) * g * g;
      if (decay)
        w = w - hyper.learningRate * hyper.weightDecay * w;
      w = w - hyper.learningRate * (m / hyper.biasCorrection1) /
                  (std::sqrt(v / hyper.biasCorrection2) + hyper.epsilon);
      grad[e] = 0;
    }
    if (op.getCompute())
      state.keepCompute(name.getAttr());
  }
  return success();
}

} // namespace

void attachOptimizerRules(MLIRContext *context) {
  attach<tx::GlobalNormOp, globalNorm>(context);
  attach<tx::AdamwOp, adamw>(context);
}

} // namespace txc::interp
