//===- Reference.cpp - The ops of a kernel in plain double arithmetic ------===//

#include "Reference.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cmath>

using namespace mlir;

namespace txc::test {

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = uint64_t(0xD2511F53) * c[0], p1 = uint64_t(0xCD9E8D57) * c[2];
    c = {uint32_t(p1 >> 32) ^ c[1] ^ k0, uint32_t(p1), uint32_t(p0 >> 32) ^ c[3] ^ k1, uint32_t(p0)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

namespace {
int64_t count(Value v) { return cast<RankedTensorType>(v.getType()).getNumElements(); }
int64_t width(Value v) {
  auto type = cast<RankedTensorType>(v.getType());
  return type.getRank() ? type.getShape().back() : 1;
}
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
const double pi = std::acos(-1.0);

double activation(tx::ActivationKind kind, double x) {
  switch (kind) {
  case tx::ActivationKind::Gelu:
    return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  case tx::ActivationKind::GeluTanh:
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / pi) * (x + 0.044715 * x * x * x)));
  case tx::ActivationKind::Silu:
    return x * sigmoid(x);
  case tx::ActivationKind::Relu:
    return std::max(x, 0.0);
  case tx::ActivationKind::LeakyRelu:
    return x > 0 ? x : 0.01 * x;
  }
  return 0;
}
double derivative(tx::ActivationKind kind, double x) {
  switch (kind) {
  case tx::ActivationKind::Gelu:
    return 0.5 * std::erfc(-x / std::sqrt(2.0)) + x * std::exp(-x * x / 2) / std::sqrt(2 * pi);
  case tx::ActivationKind::GeluTanh: {
    double t = std::tanh(std::sqrt(2 / pi) * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * std::sqrt(2 / pi) * (1 + 3 * 0.044715 * x * x);
  }
  case tx::ActivationKind::Silu:
    return sigmoid(x) * (1 + x * (1 - sigmoid(x)));
  case tx::ActivationKind::Relu:
    return x > 0 ? 1 : 0;
  case tx::ActivationKind::LeakyRelu:
    return x > 0 ? 1 : 0.01;
  }
  return 0;
}

struct Evaluator {
  explicit Evaluator(const txc_hyper &hyper) : hyper(hyper) {}
  const txc_hyper &hyper;
  llvm::DenseMap<Value, Doubles> values;

  Doubles &out(Value v) {
    Doubles &d = values[v];
    d.assign(count(v), 0.0);
    return d;
  }
  Doubles in(Value v) { return values.lookup(v); }
  template <typename F> void rows(Value like, F work) {
    for (int64_t r = 0, n = width(like); r < count(like) / n; ++r)
      work(r, r * n, n);
  }

  void visit(arith::ConstantOp op) {
    auto data = cast<DenseElementsAttr>(op.getValue());
    Doubles d;
    for (APFloat f : data.getValues<APFloat>())
      d.push_back(f.convertToDouble());
    values[op.getResult()] = d;
  }
  void visit(tx::AddOp op) {
    Doubles a = in(op.getLhs()), b = in(op.getRhs()), &c = out(op.getResult());
    for (size_t i = 0; i < c.size(); ++i)
      c[i] = a[i] + b[i];
  }
  void visit(tx::AddBiasOp op) {
    Doubles a = in(op.getInput()), b = in(op.getBias()), &c = out(op.getResult());
    for (size_t i = 0; i < c.size(); ++i)
      c[i] = a[i] + b[i % b.size()];
  }
  void visit(tx::BiasVjpOp op) {
    Doubles g = in(op.getGrad()), &c = out(op.getResult());
    for (size_t i = 0; i < g.size(); ++i)
      c[i % c.size()] += g[i];
  }
  void visit(tx::ActivationOp op) {
    Doubles x = in(op.getInput()), &c = out(op.getResult());
    for (size_t i = 0; i < c.size(); ++i)
      c[i] = activation(op.getKind(), x[i]);
  }
  void visit(tx::ActivationVjpOp op) {
    Doubles g = in(op.getGrad()), x = in(op.getInput()), &c = out(op.getResult());
    for (size_t i = 0; i < c.size(); ++i)
      c[i] = g[i] * derivative(op.getKind(), x[i]);
  }
  void visit(tx::SwigluOp op) {
    Doubles x = in(op.getInput()), &c = out(op.getResult());
    rows(op.getResult(), [&](int64_t r, int64_t at, int64_t n) {
      for (int64_t i = 0; i < n; ++i)
        c[at + i] = x[2 * at + i] * sigmoid(x[2 * at + i]) * x[2 * at + n + i];
    });
  }
  void visit(tx::SwigluVjpOp op) {
    Doubles g = in(op.getGrad()), x = in(op.getInput()), &c = out(op.getResult());
    rows(op.getGrad(), [&](int64_t r, int64_t at, int64_t n) {
      for (int64_t i = 0; i < n; ++i) {
        double gate = x[2 * at + i], up = x[2 * at + n + i], s = sigmoid(gate);
        c[2 * at + i] = g[at + i] * up * s * (1 + gate * (1 - s));
        c[2 * at + n + i] = g[at + i] * gate * s;
      }
    });
  }
  void visit(tx::DropoutOp op) {
    Doubles x = in(op.getInput()), &c = out(op.getResult());
    double p = op.getP().convertToDouble();
    for (uint64_t e = 0; e < c.size(); ++e) {
      auto words =
          philox({uint32_t(e), uint32_t(e >> 32), op.getSite(), hyper.step_lo}, hyper.seed_lo, hyper.seed_hi);
      c[e] = (words[0] >> 8) * 0x1p-24 >= p ? x[e] / (1 - p) : 0;
    }
  }
  void visit(tx::CastOp op) {
    Doubles x = in(op.getInput()), &c = out(op.getResult());
    bool narrow = cast<RankedTensorType>(op.getType()).getElementType().isBF16();
    for (size_t i = 0; i < c.size(); ++i) {
      APFloat f(static_cast<float>(x[i]));
      bool lost;
      if (narrow)
        f.convert(APFloat::BFloat(), APFloat::rmNearestTiesToEven, &lost);
      c[i] = f.convertToDouble();
    }
  }
  void visit(tx::RmsNormOp op) {
    Doubles x = in(op.getInput()), gain = in(op.getGain());
    Doubles c(x.size()), rs(count(op.getRstd()));
    rows(op.getInput(), [&](int64_t r, int64_t at, int64_t n) {
      double sum = 0;
      for (int64_t i = 0; i < n; ++i)
        sum += x[at + i] * x[at + i];
      rs[r] = 1 / std::sqrt(sum / n + op.getEpsilon().convertToDouble());
      for (int64_t i = 0; i < n; ++i)
        c[at + i] = x[at + i] * rs[r] * gain[i];
    });
    values[op.getResult()] = c;
    values[op.getRstd()] = rs;
  }
  void visit(tx::RmsNormVjpOp op) {
    Doubles g = in(op.getGrad()), x = in(op.getInput()), gain = in(op.getGain()), rstd = in(op.getRstd());
    Doubles dx(x.size()), dgain(gain.size(), 0.0);
    rows(op.getInput(), [&](int64_t r, int64_t at, int64_t n) {
      double mean = 0;
      for (int64_t i = 0; i < n; ++i)
        mean += g[at + i] * gain[i] * x[at + i] * rstd[r] / n;
      for (int64_t i = 0; i < n; ++i) {
        double xhat = x[at + i] * rstd[r];
        dx[at + i] = rstd[r] * (g[at + i] * gain[i] - xhat * mean);
        dgain[i] += g[at + i] * xhat;
      }
    });
    values[op.getInputGrad()] = dx;
    values[op.getGainGrad()] = dgain;
  }
  void visit(tx::LayerNormOp op) {
    Doubles x = in(op.getInput()), gain = in(op.getGain());
    Doubles c(x.size()), means(count(op.getMean())), rstds(count(op.getRstd()));
    rows(op.getInput(), [&](int64_t r, int64_t at, int64_t n) {
      double mean = 0, square = 0;
      for (int64_t i = 0; i < n; ++i)
        mean += x[at + i] / n;
      for (int64_t i = 0; i < n; ++i)
        square += (x[at + i] - mean) * (x[at + i] - mean) / n;
      means[r] = mean;
      rstds[r] = 1 / std::sqrt(square + op.getEpsilon().convertToDouble());
      for (int64_t i = 0; i < n; ++i)
        c[at + i] = (x[at + i] - mean) * rstds[r] * gain[i];
    });
    values[op.getResult()] = c;
    values[op.getMean()] = means;
    values[op.getRstd()] = rstds;
  }
  void visit(tx::LayerNormVjpOp op) {
    Doubles g = in(op.getGrad()), x = in(op.getInput()), gain = in(op.getGain());
    Doubles mean = in(op.getMean()), rstd = in(op.getRstd());
    Doubles dx(x.size()), dgain(gain.size(), 0.0);
    rows(op.getInput(), [&](int64_t r, int64_t at, int64_t n) {
      double meanG = 0, meanGX = 0;
      for (int64_t i = 0; i < n; ++i) {
        meanG += g[at + i] * gain[i] / n;
        meanGX += g[at + i] * gain[i] * (x[at + i] - mean[r]) * rstd[r] / n;
      }
      for (int64_t i = 0; i < n; ++i) {
        double xhat = (x[at + i] - mean[r]) * rstd[r];
        dx[at + i] = rstd[r] * (g[at + i] * gain[i] - meanG - xhat * meanGX);
        dgain[i] += g[at + i] * xhat;
      }
    });
    values[op.getInputGrad()] = dx;
    values[op.getGainGrad()] = dgain;
  }
  void visit(tx::NormalizedOp op) {
    Doubles x = in(op.getInput()), gain = in(op.getGain()), rstd = in(op.getRstd()), &c = out(op.getResult());
    Doubles mean = op.getMean() ? in(op.getMean()) : Doubles(rstd.size(), 0.0);
    rows(op.getInput(), [&](int64_t r, int64_t at, int64_t n) {
      for (int64_t i = 0; i < n; ++i)
        c[at + i] = (x[at + i] - mean[r]) * rstd[r] * gain[i];
    });
  }
  void visit(tx::EmbeddingOp op) {
    Doubles tokens = in(op.getTokens()), table = in(op.getTable()), &c = out(op.getResult());
    rows(op.getResult(), [&](int64_t r, int64_t at, int64_t n) {
      for (int64_t i = 0; i < n; ++i)
        c[at + i] = table[int64_t(tokens[r]) * n + i];
    });
  }
  void visit(tx::EmbeddingVjpOp op) {
    Doubles tokens = in(op.getTokens()), g = in(op.getGrad()), &c = out(op.getResult());
    rows(op.getGrad(), [&](int64_t r, int64_t at, int64_t n) {
      for (int64_t i = 0; i < n; ++i)
        c[int64_t(tokens[r]) * n + i] += g[at + i];
    });
  }
  void visit(tx::AddPositionOp op) {
    Doubles x = in(op.getInput()), table = in(op.getTable()), &c = out(op.getResult());
    size_t first = op.getPosition() ? in(op.getPosition())[0] * width(op.getTable()) : 0;
    size_t period = op.getPosition() ? width(op.getTable()) : table.size();
    for (size_t i = 0; i < c.size(); ++i)
      c[i] = x[i] + table[first + i % period];
  }
  void visit(tx::PositionVjpOp op) {
    Doubles g = in(op.getGrad()), &c = out(op.getResult());
    for (size_t i = 0; i < g.size(); ++i)
      c[i % c.size()] += g[i];
  }
  void visit(tx::RopeTableOp op) {
    Doubles cosines(count(op.getCos())), sines(count(op.getCos()));
    double first = op.getPosition() ? in(op.getPosition())[0] : 0;
    rows(op.getCos(), [&](int64_t t, int64_t at, int64_t half) {
      for (int64_t j = 0; j < half; ++j) {
        double angle = (first + t) * std::pow(op.getTheta().convertToDouble(), -double(j) / half);
        cosines[at + j] = std::cos(angle);
        sines[at + j] = std::sin(angle);
      }
    });
    values[op.getCos()] = cosines;
    values[op.getSin()] = sines;
  }
  /// Where the heads of a packed row are, and what dropout keeps.
  template <typename Op> struct Heads {
    Heads(Op op, const txc_hyper &hyper) : op(op), hyper(hyper) {
      auto type = cast<RankedTensorType>(op.getQkv().getType());
      batch = type.getDimSize(0), length = type.getDimSize(1), packed = type.getDimSize(2);
      heads = op.getNHead(), kvHeads = op.getNKvHead(), dim = packed / (heads + 2 * kvHeads);
      scale = 1 / std::sqrt(double(dim));
    }
    int64_t q(int64_t b, int64_t h, int64_t t) const { return (b * length + t) * packed + h * dim; }
    int64_t k(int64_t b, int64_t h, int64_t t) const { return q(b, heads + h / (heads / kvHeads), t); }
    int64_t v(int64_t b, int64_t h, int64_t t) const { return k(b, h, t) + kvHeads * dim; }
    int64_t o(int64_t b, int64_t h, int64_t t) const { return ((b * length + t) * heads + h) * dim; }
    double dot(const Doubles &x, int64_t i, const Doubles &y, int64_t j) const {
      double sum = 0;
      for (int64_t d = 0; d < dim; ++d)
        sum += x[i + d] * y[j + d];
      return sum;
    }
    double keep(int64_t b, int64_t h, int64_t t, int64_t s) {
      double p = op.getDropout().convertToDouble();
      if (p == 0)
        return 1;
      uint64_t e = ((b * heads + h) * length + t) * length + s;
      auto words = philox({uint32_t(e), uint32_t(e >> 32), uint32_t(op.getSite()), hyper.step_lo}, hyper.seed_lo,
                          hyper.seed_hi);
      return (words[0] >> 8) * 0x1p-24 >= p ? 1 / (1 - p) : 0;
    }
    template <typename F> void forRows(F work) {
      for (int64_t b = 0; b < batch; ++b)
        for (int64_t h = 0; h < heads; ++h)
          for (int64_t t = 0; t < length; ++t)
            work(b, h, t);
    }
    Op op;
    const txc_hyper &hyper;
    int64_t batch, length, packed, heads, kvHeads, dim;
    double scale;
  };
  void visit(tx::AttentionOp op) {
    Doubles qkv = in(op.getQkv()), y(count(op.getResult())), lse(count(op.getLse()));
    Heads<tx::AttentionOp> a(op, hyper);
    a.forRows([&](int64_t b, int64_t h, int64_t t) {
      Doubles p(t + 1);
      double most = -INFINITY, total = 0;
      for (int64_t s = 0; s <= t; ++s)
        most = std::max(most, p[s] = a.dot(qkv, a.q(b, h, t), qkv, a.k(b, h, s)) * a.scale);
      for (double score : p)
        total += std::exp(score - most);
      double row = lse[(b * a.heads + h) * a.length + t] = most + std::log(total);
      for (int64_t s = 0; s <= t; ++s) {
        double weight = std::exp(p[s] - row) * a.keep(b, h, t, s);
        for (int64_t d = 0; d < a.dim; ++d)
          y[a.o(b, h, t) + d] += weight * qkv[a.v(b, h, s) + d];
      }
    });
    values[op.getResult()] = y;
    values[op.getLse()] = lse;
  }
  void visit(tx::AttentionVjpOp op) {
    Doubles qkv = in(op.getQkv()), grad = in(op.getGrad()), y = in(op.getOutput()), lse = in(op.getLse());
    Doubles &out = this->out(op.getQkvGrad());
    Heads<tx::AttentionVjpOp> a(op, hyper);
    a.forRows([&](int64_t b, int64_t h, int64_t t) {
      int64_t q = a.q(b, h, t), o = a.o(b, h, t);
      double delta = a.dot(grad, o, y, o), row = lse[(b * a.heads + h) * a.length + t];
      for (int64_t s = 0; s <= t; ++s) {
        int64_t k = a.k(b, h, s), v = a.v(b, h, s);
        double keep = a.keep(b, h, t, s), p = std::exp(a.dot(qkv, q, qkv, k) * a.scale - row);
        double ds = p * (a.dot(grad, o, qkv, v) * keep - delta) * a.scale;
        for (int64_t d = 0; d < a.dim; ++d) {
          out[v + d] += p * keep * grad[o + d];
          out[q + d] += ds * qkv[k + d];
          out[k + d] += ds * qkv[q + d];
        }
      }
    });
  }
  void visit(tx::DecodeAttentionOp op) {
    Doubles qkv = in(op.getQkv()), keys = in(op.getKeys()), values = in(op.getValues());
    Doubles &y = out(op.getResult());
    int64_t heads = op.getNHead(), kvHeads = op.getNKvHead(), dim = op.getHeadDim();
    int64_t length = cast<RankedTensorType>(op.getKeys().getType()).getDimSize(2);
    int64_t position = in(op.getPosition())[0], packed = (heads + 2 * kvHeads) * dim;
    for (int64_t s = 0; s < count(op.getQkv()) / packed; ++s)
      for (int64_t h = 0; h < heads; ++h) {
        int64_t kv = h / (heads / kvHeads), cache = (s * kvHeads + kv) * length * dim;
        for (int64_t d = 0; d < dim; ++d) {
          keys[cache + position * dim + d] = qkv[s * packed + (heads + kv) * dim + d];
          values[cache + position * dim + d] = qkv[s * packed + (heads + kvHeads + kv) * dim + d];
        }
        Doubles p(position + 1);
        double total = 0;
        for (int64_t i = 0; i <= position; ++i) {
          for (int64_t d = 0; d < dim; ++d)
            p[i] += qkv[s * packed + h * dim + d] * keys[cache + i * dim + d];
          total += p[i] = std::exp(p[i] / std::sqrt(dim));
        }
        for (int64_t i = 0; i <= position; ++i)
          for (int64_t d = 0; d < dim; ++d)
            y[(s * heads + h) * dim + d] += p[i] / total * values[cache + i * dim + d];
      }
    this->values[op.getNewKeys()] = keys;
    this->values[op.getNewValues()] = values;
  }
  void visit(tx::RopeOp op) {
    Doubles x = in(op.getInput()), cosines = in(op.getCos()), sines = in(op.getSin()),
            &c = out(op.getResult());
    int64_t dim = op.getHeadDim(), half = dim / 2, period = count(op.getCos()) / half;
    c = x;
    rows(op.getInput(), [&](int64_t r, int64_t at, int64_t n) {
      for (int64_t h = 0; h < int64_t(op.getHeads()); ++h)
        for (int64_t j = 0; j < half; ++j) {
          bool interleaved = op.getLayout() == tx::RopeLayout::Interleaved;
          int64_t a = at + h * dim + (interleaved ? 2 * j : j), b = interleaved ? a + 1 : a + half;
          double co = cosines[(r % period) * half + j], si = sines[(r % period) * half + j];
          if (op.getInverse())
            si = -si;
          c[a] = x[a] * co - x[b] * si;
          c[b] = x[a] * si + x[b] * co;
        }
    });
  }
  void visit(tx::TargetCountOp op) {
    double n = 0;
    for (double t : in(op.getTargets()))
      n += t != double(int64_t(op.getIgnoreIndex()));
    out(op.getResult())[0] = std::max(1.0, n);
  }
  void visit(tx::CrossEntropyOp op) {
    Doubles x = in(op.getLogits()), y = in(op.getTargets());
    Doubles loss(y.size()), lse(y.size());
    rows(op.getLogits(), [&](int64_t r, int64_t at, int64_t n) {
      double most = *std::max_element(x.begin() + at, x.begin() + at + n), sum = 0;
      for (int64_t i = 0; i < n; ++i)
        sum += std::exp(x[at + i] - most);
      lse[r] = std::log(sum) + most;
      loss[r] = y[r] == double(int64_t(op.getIgnoreIndex())) ? 0 : lse[r] - x[at + int64_t(y[r])];
    });
    values[op.getLoss()] = loss;
    values[op.getLse()] = lse;
  }
  void visit(tx::CrossEntropyVjpOp op) {
    Doubles g = in(op.getGrad()), x = in(op.getLogits()), y = in(op.getTargets()), lse = in(op.getLse());
    Doubles &c = out(op.getResult());
    rows(op.getLogits(), [&](int64_t r, int64_t at, int64_t n) {
      for (int64_t i = 0; i < n; ++i)
        c[at + i] = y[r] == double(int64_t(op.getIgnoreIndex()))
                        ? 0
                        : g[r] * (std::exp(x[at + i] - lse[r]) - (i == y[r]));
    });
  }
  void visit(tx::MeanLossOp op) {
    double sum = 0;
    for (double loss : in(op.getLosses()))
      sum += loss;
    out(op.getResult())[0] = sum / in(op.getCount())[0];
  }
  void visit(tx::MeanLossVjpOp op) {
    double each = in(op.getGrad())[0] / in(op.getCount())[0];
    for (double &d : out(op.getResult()))
      d = each;
  }
};
} // namespace

std::vector<Doubles> evaluate(Block &block, const std::vector<Doubles> &arguments, const txc_hyper &hyper) {
  Evaluator evaluator(hyper);
  for (auto [argument, value] : llvm::zip(block.getArguments(), arguments))
    evaluator.values[argument] = value;
  for (Operation &op : block.without_terminator())
    llvm::TypeSwitch<Operation *>(&op)
        .Case<arith::ConstantOp, tx::AddOp, tx::AddBiasOp, tx::BiasVjpOp, tx::ActivationOp,
              tx::ActivationVjpOp, tx::SwigluOp, tx::SwigluVjpOp, tx::DropoutOp, tx::CastOp, tx::RmsNormOp,
              tx::RmsNormVjpOp, tx::LayerNormOp, tx::LayerNormVjpOp, tx::NormalizedOp, tx::EmbeddingOp, tx::EmbeddingVjpOp,
              tx::AddPositionOp, tx::PositionVjpOp, tx::RopeTableOp, tx::RopeOp, tx::AttentionOp, tx::AttentionVjpOp,
              tx::DecodeAttentionOp,
              tx::TargetCountOp, tx::CrossEntropyOp, tx::CrossEntropyVjpOp, tx::MeanLossOp,
              tx::MeanLossVjpOp>([&](auto typed) { evaluator.visit(typed); });
  std::vector<Doubles> results;
  for (Value yielded : block.getTerminator()->getOperands())
    results.push_back(evaluator.values.lookup(yielded));
  return results;
}

} // namespace txc::test
