//===- decoder.h - One token after the other through `decode` --------------===//
#ifndef TXC_RUNTIME_SAMPLE_DECODER_H
#define TXC_RUNTIME_SAMPLE_DECODER_H

#include "device/device.h"
#include "loader/step_file.h"

#include <vector>

namespace txc {

// Sequences side by side, all at one position. The caches are in the arena:
// running any other entry destroys them, and position 0 starts anew.
class Decoder {
public:
  // The step must have an entry `decode`.
  Decoder(const StepFile &step, Device &device);

  int64_t sequences() const { return sequences_; }
  int64_t contextLength() const { return step_.step().block_size; }
  int64_t vocabulary() const { return step_.step().vocab_size; }

  // Runs the tokens at `position`, one per sequence. Positions come in order from
  // 0, below contextLength().
  Status step(const std::vector<uint32_t> &tokens, int64_t position);
  // What the last step() gave for a sequence: logits of the token after it. Waits
  // for the device.
  Result<const float *> logits(int64_t sequence);

private:
  const StepFile &step_;
  Device &device_;
  int64_t sequences_;
  std::vector<float> logits_;
  bool fetched_ = false;
};

} // namespace txc

#endif // TXC_RUNTIME_SAMPLE_DECODER_H
