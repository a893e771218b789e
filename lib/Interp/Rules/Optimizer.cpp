//===- Optimizer.cpp - Gradient statistics and AdamW, evaluated ------------===//

#include "Rules.h"

#include <cmath>

using namespace mlir;

namespace txc::interp {
namespace {

LogicalResult globalNorm(tx::GlobalNormOp op, Frame &frame) {
  const Hyper hyper = frame.getHyper(op.getHyper());
  double sum = 0, squares = 0, smallest = INFINITY, largest = -INFINITY;
  double normSum = 0, normMax = 0, normMin = INFINITY;
  int64_t count = 0, tensors = 0, nonfinite = 0;
  auto gradients = [&](llvm::function_ref<void(const Tensor &)> visit) {
    for (auto name : op.getParams().getAsRange<FlatSymbolRefAttr>())
      visit(frame.getState().get(name.getAttr(), tx::State::Grad));
  };
  gradients([&](const Tensor &tensor) {
    double tensorSquares = 0;
    for (double raw : tensor.data) {
      double g = raw * hyper.gradScale;
      sum += g;
      nonfinite += !std::isfinite(g);
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
  frame.create(op.getStats()).data = {norm,
                                      clipScale,
                                      mean,
                                      std::sqrt(deviation / count),
                                      smallest,
                                      largest,
                                      normSum / tensors,
                                      normMax,
                                      normMin,
                                      static_cast<double>(nonfinite),
                                      nonfinite && hyper.skipNonfinite ? 1.0 : 0.0};
  return success();
}

LogicalResult gradientSums(tx::GradientSumsOp op, Frame &frame) {
  const Hyper hyper = frame.getHyper(op.getHyper());
  State &state = frame.getState();
  Tensor &sums = frame.create(op.getSums()), &extrema = frame.create(op.getExtrema());
  extrema.data = {INFINITY, INFINITY};
  for (auto [i, name] : llvm::enumerate(op.getParams().getAsRange<FlatSymbolRefAttr>())) {
    bool isShared = state.getParam(name.getAttr()).getShards().has_value();
    // What all ranks have counts once.
    if (!isShared && state.getRank() != 0)
      continue;
    const Tensor &grad = state.get(name.getAttr(), isShared ? tx::State::GradShard : tx::State::Grad);
    for (int64_t e = 0, count = state.getOwned(name.getAttr()).second; e < count; ++e) {
      double g = grad[e] * hyper.gradScale;
      sums[0] += g;
      sums[1 + i] += g * g;
      sums[sums.size() - 1] += !std::isfinite(g);
      extrema[0] = std::min(extrema[0], g);
      extrema[1] = std::min(extrema[1], -g);
    }
  }
  return success();
}

LogicalResult gradientStats(tx::GradientStatsOp op, Frame &frame) {
  const Hyper hyper = frame.getHyper(op.getHyper());
  const Tensor &sums = frame.get(op.getSums()), &extrema = frame.get(op.getExtrema());
  int64_t count = 0;
  for (auto name : op.getParams().getAsRange<FlatSymbolRefAttr>())
    count += cast<RankedTensorType>(frame.getState().getParam(name.getAttr()).getType()).getNumElements();
  double squares = 0, normSum = 0, normMax = 0, normMin = INFINITY;
  for (double tensorSquares : ArrayRef(sums.data).drop_front().drop_back()) {
    squares += tensorSquares;
    double norm = std::sqrt(tensorSquares);
    normSum += norm;
    normMax = std::max(normMax, norm);
    normMin = std::min(normMin, norm);
  }
  double norm = std::sqrt(squares), mean = sums[0] / count;
  double clipScale = hyper.gradClip > 0 ? std::min(1.0, hyper.gradClip / norm) : 1;
  double deviation = std::sqrt(std::max(0.0, squares / count - mean * mean));
  double nonfinite = sums[sums.size() - 1];
  frame.create(op.getStats()).data = {norm,
                                      clipScale,
                                      mean,
                                      deviation,
                                      extrema[0],
                                      -extrema[1],
                                      normSum / (sums.size() - 2),
                                      normMax,
                                      normMin,
                                      nonfinite,
                                      nonfinite && hyper.skipNonfinite ? 1.0 : 0.0};
  return success();
}

LogicalResult adamw(tx::AdamwOp op, Frame &frame) {
  const Hyper hyper = frame.getHyper(op.getHyper());
  double clipScale = frame.get(op.getStats())[1];
  bool isSkipped = frame.get(op.getStats())[10] != 0;
  for (auto name : op.getParams().getAsRange<FlatSymbolRefAttr>()) {
    State &state = frame.getState();
    bool isShared = state.getParam(name.getAttr()).getShards().has_value();
    Tensor &value = state.get(name.getAttr(), tx::State::Value);
    Tensor &grad = state.get(name.getAttr(), isShared ? tx::State::GradShard : tx::State::Grad);
    Tensor &moment1 = state.get(name.getAttr(), tx::State::Moment1);
    Tensor &moment2 = state.get(name.getAttr(), tx::State::Moment2);
    bool decay = state.getParam(name.getAttr()).getDecay();
    for (int64_t e = 0; e < value.size(); ++e) {
      double g = grad[e] * hyper.gradScale * clipScale;
      grad[e] = 0;
      if (isSkipped)
        continue;
      double &w = value[e], &m = moment1[e], &v = moment2[e];
      m = hyper.beta1 * m + (1 - hyper.beta1) * g;
      v = hyper.beta2 * v + (1 - hyper.beta2) * g * g;
      if (decay)
        w = w - hyper.learningRate * hyper.weightDecay * w;
      w = w - hyper.learningRate * (m / hyper.biasCorrection1) /
                  (std::sqrt(v / hyper.biasCorrection2) + hyper.epsilon);
    }
    if (op.getCompute())
      state.keepCompute(name.getAttr());
  }
  return success();
}

} // namespace

void attachOptimizerRules(MLIRContext *context) {
  attach<tx::GlobalNormOp, globalNorm>(context);
  attach<tx::GradientSumsOp, gradientSums>(context);
  attach<tx::GradientStatsOp, gradientStats>(context);
  attach<tx::AdamwOp, adamw>(context);
}

} // namespace txc::interp
