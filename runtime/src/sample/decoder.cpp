//===- decoder.cpp - One token after the other through `decode` ------------===//
#include "sample/decoder.h"

#include <algorithm>
#include <cstring>

namespace txc {

Decoder::Decoder(const StepFile &step, Device &device)
    : step_(step), device_(device),
      sequences_(static_cast<int64_t>(step.buffer(TXC_BUFFER_DECODE_TOKENS, "decode").bytes / 4)),
      logits_(static_cast<size_t>(sequences_ * step.step().vocab_size)) {}

Status Decoder::step(const std::vector<uint32_t> &tokens, int64_t position) {
  Result<char *> tokenMemory = device_.stage(step_.buffer(TXC_BUFFER_DECODE_TOKENS, "decode"));
  if (!tokenMemory.ok())
    return tokenMemory.status();
  std::copy(tokens.begin(), tokens.end(), reinterpret_cast<int32_t *>(*tokenMemory));
  Result<char *> stateMemory = device_.stage(step_.buffer(TXC_BUFFER_DECODE_STATE, "decode"));
  if (!stateMemory.ok())
    return stateMemory.status();
  txc_decode_state_t state = {};
  state.position = static_cast<int32_t>(position);
  std::memcpy(*stateMemory, &state, sizeof(state));
  fetched_ = false;
  return device_.run(step_.entry("decode"));
}

Result<const float *> Decoder::logits(int64_t sequence) {
  const txc_buffer_t &buffer = step_.buffer(TXC_BUFFER_LOGITS, "decode");
  if (!fetched_)
    if (Status status = device_.read(buffer.offset, logits_.data(), buffer.bytes); !status.ok())
      return status;
  fetched_ = true;
  return static_cast<const float *>(logits_.data()) + sequence * vocabulary();
}

} // namespace txc
