//===- Formulas.cpp - Parameters and FLOPs by hand ------------------------===//
//
// A weight of a matrix product costs 6 FLOPs per token: 2 forward, 2 for the
// data gradient, 2 for the weight gradient. Attention multiplies twice forward
// (scores, values) and four times backward, over S keys (full) or (S + 1) / 2
// of them on average (causal).
//
//===----------------------------------------------------------------------===//

#include "txc/Cost/Formulas.h"

namespace txc::cost {

using import::FfnType;
using import::Normalization;
using import::PositionEncoding;
using import::Spec;

// Weights of one layer's products.
static int64_t attentionMatmul(const Spec &spec) {
  return spec.n_embd * (spec.queryWidth() + 2 * spec.kvWidth()) + spec.queryWidth() * spec.n_embd;
}
static int64_t ffnMatmul(const Spec &spec) {
  return (spec.ffn_type == FfnType::SwiGlu ? 3 : 2) * spec.n_embd * spec.d_ff;
}

Parameters countParameters(const Spec &spec) {
  int64_t norm = spec.normalization == Normalization::LayerNorm ? 2 * spec.n_embd : spec.n_embd;
  int64_t table = spec.vocab_size * spec.n_embd;
  int64_t positions =
      spec.position_encoding == PositionEncoding::LearnedAbsolute ? spec.block_size * spec.n_embd : 0;
  int64_t biases = 0;
  if (spec.bias) {
    int64_t up = spec.ffn_type == FfnType::SwiGlu ? 2 * spec.d_ff : spec.d_ff;
    biases = spec.queryWidth() + 2 * spec.kvWidth() + spec.n_embd + up + spec.n_embd;
  }
  Parameters count;
  count.matmul = spec.n_layer * (attentionMatmul(spec) + ffnMatmul(spec)) + table;
  count.total =
      count.matmul + spec.n_layer * (biases + 2 * norm) + norm + positions + (spec.weight_tying ? 0 : table);
  count.nonEmbedding = count.total - positions;
  return count;
}

Flops countFlopsPerToken(const Spec &spec) {
  int64_t width = spec.queryWidth(), length = spec.block_size;
  Flops flops;
  flops.attentionPerLayerFull = 6 * attentionMatmul(spec) + 12 * width * length;
  flops.attentionPerLayerCausal = 6 * attentionMatmul(spec) + 6 * width * (length + 1);
  flops.ffnPerLayer = 6 * ffnMatmul(spec);
  flops.logits = 6 * spec.vocab_size * spec.n_embd;
  flops.full = spec.n_layer * (flops.attentionPerLayerFull + flops.ffnPerLayer) + flops.logits;
  flops.causal = spec.n_layer * (flops.attentionPerLayerCausal + flops.ffnPerLayer) + flops.logits;
  return flops;
}

} // namespace txc::cost
