//===- Flops.cpp - FLOPs of matrix products and attention ------------------===//

#include "txc/Dialect/Tx/Tx.h"

using namespace mlir;
using namespace txc::tx;

/// 2 * rows * out * in, from the weight-shaped tensor and a row tensor.
static uint64_t linearFlops(Value weight, Value rowTensor) {
  auto rows = cast<RankedTensorType>(rowTensor.getType());
  return 2 * static_cast<uint64_t>(cast<RankedTensorType>(weight.getType()).getNumElements()) *
         (rows.getNumElements() / rows.getShape().back());
}

uint64_t LinearOp::getFlopsFull() { return linearFlops(getWeight(), getInput()); }
uint64_t LinearInputVjpOp::getFlopsFull() { return linearFlops(getWeight(), getGrad()); }
uint64_t LinearWeightVjpOp::getFlopsFull() { return linearFlops(getResult(), getInput()); }

/// `products` matrix products of `pairs` query-key pairs per batch and head.
template <typename Op> static uint64_t attentionFlops(Op op, uint64_t products, bool causal) {
  auto type = cast<RankedTensorType>(op.getQkv().getType());
  uint64_t b = type.getDimSize(0), t = type.getDimSize(1);
  uint64_t pairs = causal ? t * (t + 1) / 2 : t * t;
  return 2 * products * b * op.getNHead() * op.getHeadDim() * pairs;
}

#define ATTENTION_PRODUCTS(Op, products)                                                                     \
  uint64_t Op::getFlopsFull() { return attentionFlops(*this, products, false); }                             \
  uint64_t Op::getFlopsCausal() { return attentionFlops(*this, products, true); }
ATTENTION_PRODUCTS(AttentionOp, 2)
ATTENTION_PRODUCTS(AttentionVjpOp, 4)
ATTENTION_PRODUCTS(AttentionScoresOp, 1)
ATTENTION_PRODUCTS(AttentionMixOp, 1)
ATTENTION_PRODUCTS(AttentionMixVjpOp, 1)
ATTENTION_PRODUCTS(AttentionScoresVjpOp, 3)
#undef ATTENTION_PRODUCTS

/// Two products with one position of the cache.
static uint64_t decodeFlops(DecodeAttentionOp op) {
  return 4 * static_cast<uint64_t>(cast<RankedTensorType>(op.getQkv().getType()).getDimSize(0)) * op.getNHead() *
         op.getHeadDim();
}
static uint64_t cacheLength(DecodeAttentionOp op) {
  return cast<RankedTensorType>(op.getKeys().getType()).getDimSize(2);
}

uint64_t DecodeAttentionOp::getFlopsFull() { return decodeFlops(*this) * cacheLength(*this); }
uint64_t DecodeAttentionOp::getFlopsCausal() { return decodeFlops(*this) * (cacheLength(*this) + 1) / 2; }
