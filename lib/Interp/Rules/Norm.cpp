//===- Norm.cpp - Normalisation of rows, evaluated -------------------------===//

#include "Rules.h"

#include <cmath>

using namespace mlir;

namespace txc::interp {
namespace {

/// Mean over i of f(i), i < n.
template <typename F> double mean(int64_t n, F f) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i)
    sum += f(i);
  return sum / n;
}

LogicalResult rmsNorm(tx::RmsNormOp op, Frame &frame) {
  const Tensor &input = frame.get(op.getInput()), &gain = frame.get(op.getGain());
  double epsilon = op.getEpsilon().convertToDouble();
  Tensor &result = frame.create(op.getResult()), &rstd = frame.create(op.getRstd());
  for (int64_t r = 0, n = input.width(); r < input.rows(); ++r) {
    const double *x = input.row(r);
    rstd[r] = 1 / std::sqrt(mean(n, [&](int64_t i) { return x[i] * x[i]; }) + epsilon);
    for (int64_t i = 0; i < n; ++i)
      result.row(r)[i] = x[i] * rstd[r] * gain[i];
  }
  return success();
}

LogicalResult rmsNormVjp(tx::RmsNormVjpOp op, Frame &frame) {
  const Tensor &grad = frame.get(op.getGrad()), &input = frame.get(op.getInput());
  const Tensor &gain = frame.get(op.getGain()), &rstd = frame.get(op.getRstd());
  Tensor &inputGrad = frame.create(op.getInputGrad()), &gainGrad = frame.create(op.getGainGrad());
  for (int64_t r = 0, n = input.width(); r < input.rows(); ++r) {
    auto xhat = [&](int64_t i) { return input.row(r)[i] * rstd[r]; };
    auto g = [&](int64_t i) { return grad.row(r)[i] * gain[i]; };
    double meanGx = mean(n, [&](int64_t i) { return g(i) * xhat(i); });
    for (int64_t i = 0; i < n; ++i) {
      inputGrad.row(r)[i] = rstd[r] * (g(i) - xhat(i) * meanGx);
      gainGrad[i] += grad.row(r)[i] * xhat(i);
    }
  }
  return success();
}

LogicalResult layerNorm(tx::LayerNormOp op, Frame &frame) {
  const Tensor &input = frame.get(op.getInput()), &gain = frame.get(op.getGain());
  double epsilon = op.getEpsilon().convertToDouble();
  Tensor &result = frame.create(op.getResult()), &mu = frame.create(op.getMean()),
         &rstd = frame.create(op.getRstd());
  for (int64_t r = 0, n = input.width(); r < input.rows(); ++r) {
    const double *x = input.row(r);
    mu[r] = mean(n, [&](int64_t i) { return x[i]; });
    rstd[r] = 1 / std::sqrt(mean(n, [&](int64_t i) { return (x[i] - mu[r]) * (x[i] - mu[r]); }) + epsilon);
    for (int64_t i = 0; i < n; ++i)
      result.row(r)[i] = (x[i] - mu[r]) * rstd[r] * gain[i];
  }
  return success();
}

LogicalResult layerNormVjp(tx::LayerNormVjpOp op, Frame &frame) {
  const Tensor &grad = frame.get(op.getGrad()), &input = frame.get(op.getInput());
  const Tensor &gain = frame.get(op.getGain()), &mu = frame.get(op.getMean()),
               &rstd = frame.get(op.getRstd());
  Tensor &inputGrad = frame.create(op.getInputGrad()), &gainGrad = frame.create(op.getGainGrad());
  for (int64_t r = 0, n = input.width(); r < input.rows(); ++r) {
    auto xhat = [&](int64_t i) { return (input.row(r)[i] - mu[r]) * rstd[r]; };
    auto g = [&](int64_t i) { return grad.row(r)[i] * gain[i]; };
    double meanG = mean(n, g);
    double meanGx = mean(n, [&](int64_t i) { return g(i) * xhat(i); });
    for (int64_t i = 0; i < n; ++i) {
      inputGrad.row(r)[i] = rstd[r] * (g(i) - meanG - xhat(i) * meanGx);
      gainGrad[i] += grad.row(r)[i] * xhat(i);
    }
  }
  return success();
}

LogicalResult normalized(tx::NormalizedOp op, Frame &frame) {
  const Tensor &input = frame.get(op.getInput()), &gain = frame.get(op.getGain());
  const Tensor &rstd = frame.get(op.getRstd());
  Tensor &result = frame.create(op.getResult());
  for (int64_t r = 0, n = input.width(); r < input.rows(); ++r) {
    double mu = op.getMean() ? frame.get(op.getMean())[r] : 0;
    for (int64_t i = 0; i < n; ++i)
      result.row(r)[i] = (input.row(r)[i] - mu) * rstd[r] * gain[i];
  }
  return success();
}

} // namespace

void attachNormRules(MLIRContext *context) {
  attach<tx::RmsNormOp, rmsNorm>(context);
  attach<tx::RmsNormVjpOp, rmsNormVjp>(context);
  attach<tx::LayerNormOp, layerNorm>(context);
  attach<tx::LayerNormVjpOp, layerNormVjp>(context);
  attach<tx::NormalizedOp, normalized>(context);
}

} // namespace txc::interp
