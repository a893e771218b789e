//===- SettleForTarget.cpp - Choose what `auto` means on a target ----------===//
//
// A GPU computes in bf16, has little memory and much arithmetic: it makes cheap
// values again instead of keeping them, and computes the logits in ranges of
// tokens. The CPU does neither, since both cost memory traffic.
//
// Ranges of tokens: the fewest whose logits take at most 2^29 bytes each, but no
// more than 4. Every range reads and writes the f32 gradient of the output layer
// once (gpt2 124M: 0.3 GB, of 80 that a micro batch moves), and a quarter of the
// logits is no longer what the peak of memory consists of.
//
//===----------------------------------------------------------------------===//

#include "txc/Import/Spec.h"

#include "llvm/Support/MathExtras.h"

namespace txc::import {

static constexpr uint64_t maxLogitsBytes = uint64_t(1) << 29, maxChunks = 4;

void settleForTarget(Spec &spec, bool isGpu) {
  if (spec.dtype == DType::Auto)
    spec.dtype = isGpu ? DType::BFloat16 : DType::Float32;
  if (spec.recompute == Recompute::Auto)
    spec.recompute = isGpu ? Recompute::Pointwise : Recompute::None;
  if (spec.loss_chunks == 0) {
    int64_t logits = spec.batch_size * spec.block_size * spec.vocab_size;
    uint64_t bytes = logits * (spec.dtype == DType::BFloat16 ? 2 : 4);
    spec.loss_chunks = isGpu ? std::min(llvm::divideCeil(bytes, maxLogitsBytes), maxChunks) : 1;
  }
}

} // namespace txc::import
