//===- Pointwise.cpp - Sums, activations, dropout, casts, evaluated --------===//

#include "Rules.h"
#include "txc/Interp/Philox.h"

#include <cmath>

using namespace mlir;

namespace txc::interp {

double dropoutFactor(const Hyper &hyper, double p, uint32_t site, uint64_t e) {
  return uniform(hyper.seed, e, site, static_cast<uint32_t>(hyper.step)) >= p ? 1 / (1 - p) : 0;
}

namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// sqrt(2/pi) (x + 0.044715 x^3) and its derivative.
double geluArgument(double x) { return std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x); }
double geluArgumentSlope(double x) { return std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x); }

double activate(tx::ActivationKind kind, double x) {
  switch (kind) {
  case tx::ActivationKind::Gelu:
    return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  case tx::ActivationKind::GeluTanh:
    return 0.5 * x * (1 + std::tanh(geluArgument(x)));
  case tx::ActivationKind::Silu:
    return x * sigmoid(x);
  case tx::ActivationKind::Relu:
    return x > 0 ? x : 0;
  case tx::ActivationKind::LeakyRelu:
    return x > 0 ? x : 0.01 * x;
  }
  llvm_unreachable("all kinds handled");
}

double slope(tx::ActivationKind kind, double x) {
  switch (kind) {
  case tx::ActivationKind::Gelu:
    // Phi(x) + x phi(x)
    return 0.5 * (1 + std::erf(x / std::sqrt(2.0))) + x * std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
  case tx::ActivationKind::GeluTanh: {
    double tanh = std::tanh(geluArgument(x));
    return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * geluArgumentSlope(x);
  }
  case tx::ActivationKind::Silu:
    return sigmoid(x) * (1 + x * (1 - sigmoid(x)));
  case tx::ActivationKind::Relu:
    return x > 0 ? 1 : 0;
  case tx::ActivationKind::LeakyRelu:
    return x > 0 ? 1 : 0.01;
  }
  llvm_unreachable("all kinds handled");
}

LogicalResult add(tx::AddOp op, Frame &frame) {
  const Tensor &lhs = frame.get(op.getLhs()), &rhs = frame.get(op.getRhs());
  Tensor &result = frame.create(op.getResult());
  for (int64_t e = 0; e < result.size(); ++e)
    result[e] = lhs[e] + rhs[e];
  return success();
}

LogicalResult activation(tx::ActivationOp op, Frame &frame) {
  const Tensor &input = frame.get(op.getInput());
  Tensor &result = frame.create(op.getResult());
  for (int64_t e = 0; e < result.size(); ++e)
    result[e] = activate(op.getKind(), input[e]);
  return success();
}

LogicalResult activationVjp(tx::ActivationVjpOp op, Frame &frame) {
  const Tensor &grad = frame.get(op.getGrad()), &input = frame.get(op.getInput());
  Tensor &result = frame.create(op.getResult());
  for (int64_t e = 0; e < result.size(); ++e)
    result[e] = grad[e] * slope(op.getKind(), input[e]);
  return success();
}

LogicalResult swiglu(tx::SwigluOp op, Frame &frame) {
  const Tensor &input = frame.get(op.getInput());
  Tensor &result = frame.create(op.getResult());
  for (int64_t r = 0, n = result.width(); r < result.rows(); ++r)
    for (int64_t i = 0; i < n; ++i) {
      double gate = input.row(r)[i], up = input.row(r)[n + i];
      result.row(r)[i] = gate * sigmoid(gate) * up;
    }
  return success();
}

LogicalResult swigluVjp(tx::SwigluVjpOp op, Frame &frame) {
  const Tensor &grad = frame.get(op.getGrad()), &input = frame.get(op.getInput());
  Tensor &result = frame.create(op.getResult());
  for (int64_t r = 0, n = grad.width(); r < grad.rows(); ++r)
    for (int64_t i = 0; i < n; ++i) {
      double gate = input.row(r)[i], up = input.row(r)[n + i], dy = grad.row(r)[i], s = sigmoid(gate);
      result.row(r)[i] = dy * up * s * (1 + gate * (1 - s));
      result.row(r)[n + i] = dy * gate * s;
    }
  return success();
}

LogicalResult dropout(tx::DropoutOp op, Frame &frame) {
  const Tensor &input = frame.get(op.getInput());
  const Hyper hyper = frame.getHyper(op.getHyper());
  Tensor &result = frame.create(op.getResult());
  for (int64_t e = 0; e < result.size(); ++e)
    result[e] = input[e] * dropoutFactor(hyper, op.getP().convertToDouble(), op.getSite(), e);
  return success();
}

LogicalResult castOp(tx::CastOp op, Frame &frame) {
  if (!op.getType().getElementType().isBF16() || !frame.getState().getRounds()) {
    frame.set(op.getResult(), frame.getDatum(op.getInput()));
    return success();
  }
  const Tensor &input = frame.get(op.getInput());
  Tensor &result = frame.create(op.getResult());
  for (int64_t e = 0; e < result.size(); ++e)
    result[e] = roundToBFloat16(input[e]);
  return success();
}

} // namespace

void attachPointwiseRules(MLIRContext *context) {
  attach<tx::AddOp, add>(context);
  attach<tx::ActivationOp, activation>(context);
  attach<tx::ActivationVjpOp, activationVjp>(context);
  attach<tx::SwigluOp, swiglu>(context);
  attach<tx::SwigluVjpOp, swigluVjp>(context);
  attach<tx::DropoutOp, dropout>(context);
  attach<tx::CastOp, castOp>(context);
}

} // namespace txc::interp
