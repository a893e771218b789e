//===- Attention.cpp - Rotary positions and attention, evaluated -----------===//

#include "Rules.h"

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace txc::interp {
namespace {

LogicalResult ropeTable(tx::RopeTableOp op, Frame &frame) {
  double theta = op.getTheta().convertToDouble();
  Tensor &cos = frame.create(op.getCos()), &sin = frame.create(op.getSin());
  int64_t half = cos.width();
  int64_t first = op.getPosition() ? frame.getInts(op.getPosition())[0] : 0;
  for (int64_t t = 0; t < cos.rows(); ++t)
    for (int64_t j = 0; j < half; ++j) {
      double angle = (first + t) * std::pow(theta, -double(j) / half);
      cos.row(t)[j] = std::cos(angle);
      sin.row(t)[j] = std::sin(angle);
    }
  return success();
}

LogicalResult rope(tx::RopeOp op, Frame &frame) {
  const Tensor &input = frame.get(op.getInput()), &cos = frame.get(op.getCos()),
               &sin = frame.get(op.getSin());
  Tensor &result = frame.create(op.getResult());
  result.data = input.data;
  int64_t dim = op.getHeadDim(), half = dim / 2, block = cos.rows();
  bool interleaved = op.getLayout() == tx::RopeLayout::Interleaved;
  double sign = op.getInverse() ? -1 : 1;
  for (int64_t r = 0; r < input.rows(); ++r)
    for (int64_t h = 0; h < static_cast<int64_t>(op.getHeads()); ++h)
      for (int64_t j = 0; j < half; ++j) {
        int64_t first = h * dim + (interleaved ? 2 * j : j);
        int64_t second = h * dim + (interleaved ? 2 * j + 1 : j + half);
        double a = input.row(r)[first], b = input.row(r)[second];
        double c = cos.row(r % block)[j], s = sign * sin.row(r % block)[j];
        result.row(r)[first] = a * c - b * s;
        result.row(r)[second] = a * s + b * c;
      }
  return success();
}

/// Where the heads of a packed qkv lie.
struct PackedHeads {
  template <typename Op>
  explicit PackedHeads(Op op)
      : heads(op.getNHead()), kvHeads(op.getNKvHead()), dim(op.getHeadDim()),
        block(cast<RankedTensorType>(op.getQkv().getType()).getDimSize(1)),
        batch(cast<RankedTensorType>(op.getQkv().getType()).getDimSize(0)) {}
  /// Columns of query head h and of the key and value heads that it reads.
  int64_t q(int64_t h) const { return h * dim; }
  int64_t k(int64_t h) const { return (heads + h / (heads / kvHeads)) * dim; }
  int64_t v(int64_t h) const { return (heads + kvHeads + h / (heads / kvHeads)) * dim; }
  /// Row t of the T x T matrix of head h.
  int64_t matrixRow(int64_t b, int64_t h, int64_t t) const { return (b * heads + h) * block + t; }
  void forEachRow(llvm::function_ref<void(int64_t b, int64_t h, int64_t t)> visit) const {
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t t = 0; t < block; ++t)
          visit(b, h, t);
  }
  double dot(const double *x, const double *y) const {
    double sum = 0;
    for (int64_t d = 0; d < dim; ++d)
      sum += x[d] * y[d];
    return sum;
  }

  int64_t heads, kvHeads, dim, block, batch;
};

/// And what is dropped.
template <typename Op> struct Heads : PackedHeads {
  Heads(Op op, Frame &frame)
      : PackedHeads(op), dropout(op.getDropout().convertToDouble()), site(op.getSite()) {
    if (op.getHyper())
      hyper = frame.getHyper(op.getHyper());
  }
  double drop(int64_t b, int64_t h, int64_t t, int64_t s) const {
    return dropout == 0 ? 1 : dropoutFactor(hyper, dropout, site, matrixRow(b, h, t) * block + s);
  }

  double dropout;
  uint32_t site;
  Hyper hyper;
};

LogicalResult attention(tx::AttentionOp op, Frame &frame) {
  Heads<tx::AttentionOp> at(op, frame);
  const Tensor &qkv = frame.get(op.getQkv());
  Tensor &result = frame.create(op.getResult()), &lse = frame.create(op.getLse());
  std::vector<double> score(at.block);
  for (int64_t b = 0; b < at.batch; ++b)
    for (int64_t h = 0; h < at.heads; ++h)
      for (int64_t t = 0; t < at.block; ++t) {
        const double *q = qkv.row(b * at.block + t) + at.q(h);
        double largest = -INFINITY, sum = 0;
        for (int64_t s = 0; s <= t; ++s) {
          score[s] = at.dot(q, qkv.row(b * at.block + s) + at.k(h)) / std::sqrt(at.dim);
          largest = std::max(largest, score[s]);
        }
        for (int64_t s = 0; s <= t; ++s)
          sum += std::exp(score[s] - largest);
        double &rowLse = lse[(b * at.heads + h) * at.block + t];
        rowLse = std::log(sum) + largest;
        double *out = result.row(b * at.block + t) + at.q(h);
        for (int64_t s = 0; s <= t; ++s) {
          double p = std::exp(score[s] - rowLse) * at.drop(b, h, t, s);
          for (int64_t d = 0; d < at.dim; ++d)
            out[d] += p * qkv.row(b * at.block + s)[at.v(h) + d];
        }
      }
  return success();
}

LogicalResult attentionVjp(tx::AttentionVjpOp op, Frame &frame) {
  Heads<tx::AttentionVjpOp> at(op, frame);
  const Tensor &grad = frame.get(op.getGrad()), &qkv = frame.get(op.getQkv());
  const Tensor &output = frame.get(op.getOutput()), &lse = frame.get(op.getLse());
  Tensor &qkvGrad = frame.create(op.getQkvGrad());
  double scale = 1 / std::sqrt(at.dim);
  for (int64_t b = 0; b < at.batch; ++b)
    for (int64_t h = 0; h < at.heads; ++h)
      for (int64_t t = 0; t < at.block; ++t) {
        int64_t row = b * at.block + t;
        const double *q = qkv.row(row) + at.q(h), *dy = grad.row(row) + at.q(h);
        double delta = at.dot(dy, output.row(row) + at.q(h));
        for (int64_t s = 0; s <= t; ++s) {
          const double *k = qkv.row(b * at.block + s) + at.k(h), *v = qkv.row(b * at.block + s) + at.v(h);
          double *dq = qkvGrad.row(row) + at.q(h);
          double *dk = qkvGrad.row(b * at.block + s) + at.k(h), *dv = qkvGrad.row(b * at.block + s) + at.v(h);
          double p = std::exp(at.dot(q, k) * scale - lse[(b * at.heads + h) * at.block + t]);
          double drop = at.drop(b, h, t, s);
          double ds = p * (drop * at.dot(dy, v) - delta);
          for (int64_t d = 0; d < at.dim; ++d) {
            dv[d] += p * drop * dy[d];
            dq[d] += ds * k[d] * scale;
            dk[d] += ds * q[d] * scale;
          }
        }
      }
  return success();
}

LogicalResult attentionScores(tx::AttentionScoresOp op, Frame &frame) {
  PackedHeads at(op);
  const Tensor &qkv = frame.get(op.getQkv());
  Tensor &result = frame.create(op.getResult());
  at.forEachRow([&](int64_t b, int64_t h, int64_t t) {
    for (int64_t s = 0; s < at.block; ++s)
      result.row(at.matrixRow(b, h, t))[s] =
          at.dot(qkv.row(b * at.block + t) + at.q(h), qkv.row(b * at.block + s) + at.k(h));
  });
  return success();
}

LogicalResult causalSoftmax(tx::CausalSoftmaxOp op, Frame &frame) {
  const Tensor &input = frame.get(op.getInput());
  Tensor &result = frame.create(op.getResult());
  double scale = op.getScale().convertToDouble();
  for (int64_t r = 0; r < input.rows(); ++r) {
    int64_t visible = r % input.width() + 1;
    const double *x = input.row(r);
    double largest = *std::max_element(x, x + visible), sum = 0;
    for (int64_t s = 0; s < visible; ++s)
      sum += result.row(r)[s] = std::exp(scale * (x[s] - largest));
    for (int64_t s = 0; s < visible; ++s)
      result.row(r)[s] /= sum;
  }
  return success();
}

LogicalResult causalSoftmaxVjp(tx::CausalSoftmaxVjpOp op, Frame &frame) {
  const Tensor &grad = frame.get(op.getGrad()), &output = frame.get(op.getOutput());
  Tensor &result = frame.create(op.getResult());
  double scale = op.getScale().convertToDouble();
  for (int64_t r = 0; r < grad.rows(); ++r) {
    int64_t visible = r % grad.width() + 1;
    double dot = 0;
    for (int64_t s = 0; s < visible; ++s)
      dot += output.row(r)[s] * grad.row(r)[s];
    for (int64_t s = 0; s < visible; ++s)
      result.row(r)[s] = scale * output.row(r)[s] * (grad.row(r)[s] - dot);
  }
  return success();
}

LogicalResult attentionMix(tx::AttentionMixOp op, Frame &frame) {
  PackedHeads at(op);
  const Tensor &p = frame.get(op.getProbabilities()), &qkv = frame.get(op.getQkv());
  Tensor &result = frame.create(op.getResult());
  at.forEachRow([&](int64_t b, int64_t h, int64_t t) {
    for (int64_t s = 0; s < at.block; ++s)
      for (int64_t d = 0; d < at.dim; ++d)
        result.row(b * at.block + t)[at.q(h) + d] +=
            p.row(at.matrixRow(b, h, t))[s] * qkv.row(b * at.block + s)[at.v(h) + d];
  });
  return success();
}

LogicalResult attentionMixVjp(tx::AttentionMixVjpOp op, Frame &frame) {
  PackedHeads at(op);
  const Tensor &grad = frame.get(op.getGrad()), &qkv = frame.get(op.getQkv());
  Tensor &result = frame.create(op.getResult());
  at.forEachRow([&](int64_t b, int64_t h, int64_t t) {
    for (int64_t s = 0; s < at.block; ++s)
      result.row(at.matrixRow(b, h, t))[s] =
          at.dot(grad.row(b * at.block + t) + at.q(h), qkv.row(b * at.block + s) + at.v(h));
  });
  return success();
}

LogicalResult attentionScoresVjp(tx::AttentionScoresVjpOp op, Frame &frame) {
  PackedHeads at(op);
  const Tensor &scoresGrad = frame.get(op.getScoresGrad()), &probabilities = frame.get(op.getProbabilities());
  const Tensor &grad = frame.get(op.getGrad()), &qkv = frame.get(op.getQkv());
  Tensor &qkvGrad = frame.create(op.getQkvGrad());
  at.forEachRow([&](int64_t b, int64_t h, int64_t t) {
    int64_t row = b * at.block + t;
    for (int64_t s = 0; s < at.block; ++s) {
      int64_t other = b * at.block + s;
      double ds = scoresGrad.row(at.matrixRow(b, h, t))[s], p = probabilities.row(at.matrixRow(b, h, t))[s];
      for (int64_t d = 0; d < at.dim; ++d) {
        qkvGrad.row(row)[at.q(h) + d] += ds * qkv.row(other)[at.k(h) + d];
        qkvGrad.row(other)[at.k(h) + d] += ds * qkv.row(row)[at.q(h) + d];
        qkvGrad.row(other)[at.v(h) + d] += p * grad.row(row)[at.q(h) + d];
      }
    }
  });
  return success();
}

LogicalResult decodeAttention(tx::DecodeAttentionOp op, Frame &frame) {
  const Tensor &qkv = frame.get(op.getQkv());
  Tensor &keys = frame.create(op.getNewKeys()), &values = frame.create(op.getNewValues());
  Tensor &result = frame.create(op.getResult());
  keys = frame.get(op.getKeys());
  values = frame.get(op.getValues());
  int64_t heads = op.getNHead(), kvHeads = op.getNKvHead(), dim = op.getHeadDim(), length = keys.shape[2];
  int64_t position = frame.getInts(op.getPosition())[0];
  if (position < 0 || position >= length)
    return op.emitOpError() << "position is " << position << ", but the cache holds " << length;
  for (int64_t s = 0; s < qkv.rows(); ++s)
    for (int64_t h = 0; h < heads; ++h) {
      int64_t kv = h / (heads / kvHeads), first = (s * kvHeads + kv) * length;
      std::copy_n(qkv.row(s) + (heads + kv) * dim, dim, keys.row(first + position));
      std::copy_n(qkv.row(s) + (heads + kvHeads + kv) * dim, dim, values.row(first + position));
      std::vector<double> score(position + 1);
      double largest = -INFINITY, sum = 0;
      for (int64_t i = 0; i <= position; ++i) {
        for (int64_t d = 0; d < dim; ++d)
          score[i] += qkv.row(s)[h * dim + d] * keys.row(first + i)[d];
        score[i] /= std::sqrt(dim);
        largest = std::max(largest, score[i]);
      }
      for (int64_t i = 0; i <= position; ++i)
        sum += std::exp(score[i] - largest);
      for (int64_t i = 0; i <= position; ++i)
        for (int64_t d = 0; d < dim; ++d)
          result.row(s)[h * dim + d] += std::exp(score[i] - largest) / sum * values.row(first + i)[d];
    }
  return success();
}

} // namespace

void attachAttentionRules(MLIRContext *context) {
  attach<tx::RopeTableOp, ropeTable>(context);
  attach<tx::RopeOp, rope>(context);
  attach<tx::AttentionOp, attention>(context);
  attach<tx::AttentionVjpOp, attentionVjp>(context);
  attach<tx::AttentionScoresOp, attentionScores>(context);
  attach<tx::CausalSoftmaxOp, causalSoftmax>(context);
  attach<tx::CausalSoftmaxVjpOp, causalSoftmaxVjp>(context);
  attach<tx::AttentionMixOp, attentionMix>(context);
  attach<tx::AttentionMixVjpOp, attentionMixVjp>(context);
  attach<tx::AttentionScoresVjpOp, attentionScoresVjp>(context);
  attach<tx::DecodeAttentionOp, decodeAttention>(context);
}

} // namespace txc::interp
