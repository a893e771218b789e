//===- Formulas.h - Parameters and FLOPs by hand ----------------*- C++ -*-===//
//
// What a spec costs, from its numbers alone. The ledger that is summed from the
// program must come to the same integers; neither is computed from the other.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_COST_FORMULAS_H
#define TXC_COST_FORMULAS_H

#include "txc/Import/Spec.h"

namespace txc::cost {

struct Parameters {
  int64_t total = 0;        // every weight once, tied ones too
  int64_t nonEmbedding = 0; // total less the position table, as nanoGPT counts
  int64_t matmul = 0;       // P_mm: weights of matrix products, the output layer included
};

// Per token of a training step (forward and backward), multiply-add as two.
struct Flops {
  int64_t full = 0;   // attention over the whole square, as PaLM counts
  int64_t causal = 0; // attention over the pairs that it sees
  // The parts of `full` and `causal`. A layer's attention is its four
  // projections and the attention itself.
  int64_t attentionPerLayerFull = 0, attentionPerLayerCausal = 0;
  int64_t ffnPerLayer = 0;
  int64_t logits = 0;
  double attentionToFfnFull() const { return double(attentionPerLayerFull) / double(ffnPerLayer); }
  double attentionToFfnCausal() const { return double(attentionPerLayerCausal) / double(ffnPerLayer); }
};

Parameters countParameters(const import::Spec &spec);
Flops countFlopsPerToken(const import::Spec &spec);

} // namespace txc::cost

#endif // TXC_COST_FORMULAS_H
