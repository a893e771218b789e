//===- Pointwise.cpp - Rules of sums, activations, dropout, casts ----------===//
//
// With s = 1 / (1 + exp(-u)), tanh(u/2) is 2 s - 1, so gelu_tanh(x) is x s(2 w)
// with w = sqrt(2/pi) (x + 0.044715 x^3): no tanh, and no cancellation for
// negative x.
//
//===----------------------------------------------------------------------===//

#include "RowKernel.h"

using namespace mlir;

namespace txc::codegen {

static constexpr double sqrt2OverPi = 0.79788456080286536;
static constexpr double geluCubic = 0.044715;

LogicalResult emit(RowKernel &k, tx::AddOp op) {
  k.define(op.getResult(), [&k, op](Chunk &chunk, int64_t shift) mutable {
    return k.b.fadd(k.at(op.getLhs(), chunk, shift), k.at(op.getRhs(), chunk, shift));
  });
  return success();
}

LogicalResult emit(RowKernel &k, tx::AddBiasOp op) {
  k.define(op.getResult(), [&k, op](Chunk &chunk, int64_t shift) mutable {
    return k.b.fadd(k.at(op.getInput(), chunk, shift), k.columnAt(op.getBias(), chunk, shift));
  });
  return success();
}

LogicalResult emit(RowKernel &k, tx::BiasVjpOp op) {
  k.defineColumnSum(op.getResult(), [&k, op](Chunk &chunk, int64_t shift) mutable {
    return k.at(op.getGrad(), chunk, shift);
  });
  return success();
}

/// The argument 2 w of the sigmoid in gelu_tanh.
static Value geluTanhArgument(KernelBuilder &b, Value x) {
  Value cubic =
      b.fma(b.fmul(x, x), b.constant(x, 2 * sqrt2OverPi * geluCubic), b.constant(x, 2 * sqrt2OverPi));
  return b.fmul(x, cubic);
}

static Value activation(KernelBuilder &b, tx::ActivationKind kind, Value x) {
  Value zero = b.constant(x, 0.0);
  switch (kind) {
  case tx::ActivationKind::Gelu:
    return b.fmul(x, b.normalCdf(x).first);
  case tx::ActivationKind::GeluTanh:
    return b.fmul(x, b.sigmoid(geluTanhArgument(b, x)));
  case tx::ActivationKind::Silu:
    return b.fmul(x, b.sigmoid(x));
  case tx::ActivationKind::Relu:
    return b.fmax(zero, x);
  case tx::ActivationKind::LeakyRelu:
    return b.select(b.fcmp(arith::CmpFPredicate::OGT, x, zero), x, b.fmul(x, b.constant(x, 0.01)));
  }
  llvm_unreachable("all kinds handled");
}

static Value activationDerivative(KernelBuilder &b, tx::ActivationKind kind, Value x) {
  Value zero = b.constant(x, 0.0), one = b.constant(x, 1.0);
  switch (kind) {
  case tx::ActivationKind::Gelu: {
    auto [cdf, gaussian] = b.normalCdf(x);
    return b.fma(b.fmul(x, gaussian), b.constant(x, 0.39894228040143268), cdf);
  }
  case tx::ActivationKind::GeluTanh: {
    auto [s, complement] = b.sigmoidPair(geluTanhArgument(b, x));
    Value slope =
        b.fma(b.fmul(x, x), b.constant(x, 6 * sqrt2OverPi * geluCubic), b.constant(x, 2 * sqrt2OverPi));
    // s + x s (1 - s) slope; s (1 - s) is 0 long before x * slope overflows.
    return b.fma(b.fmul(s, complement), b.fmul(x, slope), s);
  }
  case tx::ActivationKind::Silu: {
    auto [s, complement] = b.sigmoidPair(x);
    return b.fmul(s, b.fma(x, complement, one));
  }
  case tx::ActivationKind::Relu:
    return b.select(b.fcmp(arith::CmpFPredicate::OGT, x, zero), one, zero);
  case tx::ActivationKind::LeakyRelu:
    return b.select(b.fcmp(arith::CmpFPredicate::OGT, x, zero), one, b.constant(x, 0.01));
  }
  llvm_unreachable("all kinds handled");
}

LogicalResult emit(RowKernel &k, tx::ActivationOp op) {
  k.define(op.getResult(), [&k, op](Chunk &chunk, int64_t shift) mutable {
    return activation(k.b, op.getKind(), k.at(op.getInput(), chunk, shift));
  });
  return success();
}

LogicalResult emit(RowKernel &k, tx::ActivationVjpOp op) {
  k.define(op.getResult(), [&k, op](Chunk &chunk, int64_t shift) mutable {
    Value slope = activationDerivative(k.b, op.getKind(), k.at(op.getInput(), chunk, shift));
    return k.b.fmul(k.at(op.getGrad(), chunk, shift), slope);
  });
  return success();
}

LogicalResult emit(RowKernel &k, tx::SwigluOp op) {
  int64_t half = widthOf(op.getResult());
  k.define(op.getResult(), [&k, op, half](Chunk &chunk, int64_t shift) mutable {
    Value gate = k.at(op.getInput(), chunk, shift), up = k.at(op.getInput(), chunk, shift + half);
    return k.b.fmul(k.b.fmul(gate, up), k.b.sigmoid(gate));
  });
  return success();
}

LogicalResult emit(RowKernel &k, tx::SwigluVjpOp op) {
  int64_t half = widthOf(op.getGrad());
  k.define(op.getResult(), [&k, op, half](Chunk &chunk, int64_t shift) mutable {
    int64_t column = shift % half;
    Value grad = k.at(op.getGrad(), chunk, column), gate = k.at(op.getInput(), chunk, column);
    auto [s, complement] = k.b.sigmoidPair(gate);
    if (shift >= half)
      return k.b.fmul(grad, k.b.fmul(gate, s));
    Value one = k.b.constant(gate, 1.0);
    Value slope = k.b.fmul(s, k.b.fma(gate, complement, one));
    return k.b.fmul(k.b.fmul(grad, k.at(op.getInput(), chunk, column + half)), slope);
  });
  return success();
}

LogicalResult emit(RowKernel &k, tx::DropoutOp op) {
  int64_t width = widthOf(op.getInput());
  Value first = k.b.mul(k.rowIndex(), k.b.i64(width));
  k.define(op.getResult(), [&k, op, first](Chunk &chunk, int64_t shift) mutable {
    Value element = k.b.add(first, k.b.add(chunk.column, k.b.i64(shift)));
    Value scale = k.b.dropoutScale(k.generator(op.getHyper()), element, chunk.lanes, op.getSite(),
                                   op.getP().convertToDouble(), countOf(op.getInput()));
    return k.b.fmul(k.at(op.getInput(), chunk, shift), scale);
  });
  return success();
}

LogicalResult emit(RowKernel &k, tx::CastOp op) {
  bool narrow = elementOf(op.getResult()).isBF16();
  k.define(op.getResult(), [&k, op, narrow](Chunk &chunk, int64_t shift) mutable {
    Value x = k.at(op.getInput(), chunk, shift);
    return narrow ? k.b.roundToBf16(x) : x;
  });
  return success();
}

} // namespace txc::codegen
