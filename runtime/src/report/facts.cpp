//===- facts.cpp - What follows from a step and its run --------------------===//
#include "report/report.h"

#include "support/text.h"

#include <algorithm>
#include <string_view>

namespace txc {

using Json = nlohmann::ordered_json;

Json RunFacts::known(const char *path) const {
  nlohmann::json_pointer<std::string> pointer(path);
  return metadata.contains(pointer) ? metadata[pointer] : Json();
}

std::string RunFacts::architectureName() const {
  Json name = known("/architecture_name");
  return name.is_string() ? name.get<std::string>() : "";
}

int64_t RunFacts::tokensPerIteration() const {
  return step->step().batch_size * step->step().block_size * options.gradient_accumulation_steps;
}

std::string RunFacts::precision() const {
  const txc_step_t &table = step->step();
  for (uint32_t i = 0; i < table.num_buffers; ++i)
    if (table.buffers[i].dtype == TXC_DTYPE_BF16)
      return "bfloat16";
  return "float32";
}

std::string RunFacts::parallelism() const {
  const txc_step_t &table = step->step();
  if (table.num_ranks == 1)
    return "none";
  return "dp:" + std::to_string(table.num_ranks) +
         (table.zero_level ? ", ZeRO-" + std::to_string(table.zero_level) : "");
}

double RunFacts::tokensPerSecondAtHalf() const {
  return flops.perTokenFull
             ? 0.5 * peak.flops * static_cast<double>(ranks) / static_cast<double>(flops.perTokenFull)
             : 0;
}

void completeIteration(IterationFacts &it, const RunFacts &facts) {
  it.tokensPerSecond = static_cast<double>(facts.tokensPerIteration()) / it.seconds;
  it.achievedTflops = static_cast<double>(facts.flops.perTokenFull) * it.tokensPerSecond / 1e12;
  it.peakTflops = facts.peak.flops * static_cast<double>(facts.ranks) / 1e12;
}

std::string raisePeak(RunFacts &facts, const IterationFacts &it, const PeakRate &again) {
  const double reached = it.achievedTflops * 1e12 / static_cast<double>(facts.ranks);
  if (!facts.peak.measured || reached <= facts.peak.flops)
    return "";
  const std::string before = withPrefix(facts.peak.flops, 1) + "FLOP/s";
  const bool isMore = again.flops > reached;
  facts.peak.flops = isMore ? again.flops : reached;
  const std::string how =
      isMore ? "measured again" : format("reached by iteration %lld", static_cast<long long>(it.iteration));
  return format("Note   the peak of %s was measured too low:\n       now %sFLOP/s, %s\n", before.c_str(),
                withPrefix(facts.peak.flops, 1).c_str(), how.c_str());
}

double mfuPercent(const IterationFacts &it) {
  return it.peakTflops > 0 ? 100 * it.achievedTflops / it.peakTflops : 0;
}

// Which group a line of the ledger belongs to, by its YAML path.
static size_t groupOf(const txc_flops_t &line) {
  std::string_view name = line.name, op = line.op;
  if (name == "lm_head")
    return 3;
  if (name.substr(0, 7) != "blocks.")
    return 4;
  size_t dot = name.find('.', 7);
  std::string_view part = dot == std::string_view::npos ? "" : name.substr(dot + 1);
  if (part.substr(0, 4) == "ffn.")
    return 2;
  if (part == "attn" || part.substr(0, 5) == "attn.")
    return op.substr(0, 9) == "attention" ? 1 : 0;
  return 4;
}

std::vector<FlopGroup> flopGroups(const txc_step_t &step) {
  std::vector<FlopGroup> groups = {
      {"attention products"}, {"attention"}, {"feed-forward"}, {"logits"}, {"other"}};
  for (uint32_t i = 0; i < step.num_flops; ++i) {
    FlopGroup &group = groups[groupOf(step.flops[i])];
    group.full += step.flops[i].full;
    group.causal += step.flops[i].causal;
  }
  // Per token by differences of running sums, so that nothing is lost even where
  // a program edited by hand does not divide.
  const uint64_t tokens = static_cast<uint64_t>(std::max<int64_t>(step.batch_size * step.block_size, 1));
  uint64_t full = 0, causal = 0;
  for (FlopGroup &group : groups) {
    const uint64_t fullBefore = full / tokens, causalBefore = causal / tokens;
    full += group.full;
    causal += group.causal;
    group.full = full / tokens - fullBefore;
    group.causal = causal / tokens - causalBefore;
  }
  std::erase_if(groups, [](const FlopGroup &group) { return group.full == 0 && group.causal == 0; });
  return groups;
}

std::vector<MemoryPart> memoryParts(const txc_step_t &step) {
  std::vector<MemoryPart> parts = {{"weights"},      {"gradients"},          {"optimizer moments"},
                                   {"bf16 weights"}, {"inputs and results"}, {"activations, scratch"}};
  uint64_t always = 0;
  for (uint32_t i = 0; i < step.num_buffers; ++i) {
    const txc_buffer_t &buffer = step.buffers[i];
    if (buffer.entry != UINT32_MAX)
      continue;
    size_t part = 4;
    switch (buffer.kind) {
    case TXC_BUFFER_PARAM:
      part = 0;
      break;
    case TXC_BUFFER_GRAD:
    case TXC_BUFFER_GRAD_SHARD:
      part = 1;
      break;
    case TXC_BUFFER_MOMENT1:
    case TXC_BUFFER_MOMENT2:
      part = 2;
      break;
    case TXC_BUFFER_COMPUTE:
    case TXC_BUFFER_COMPUTE_SHARD:
      part = 3;
      // Whole weights of several ranks, gathered in the type that kernels read.
      if (step.num_ranks > 1 && buffer.dtype == TXC_DTYPE_F32)
        parts[part].name = "gathered weights";
      break;
    default:
      break;
    }
    const uint64_t slot =
        (buffer.bytes + TXC_BUFFER_ALIGNMENT - 1) / TXC_BUFFER_ALIGNMENT * TXC_BUFFER_ALIGNMENT;
    parts[part].bytes += slot;
    always += slot;
  }
  // The rest of the arena is the region that the entries use in turns.
  parts[5].bytes = step.arena_bytes - std::min(step.arena_bytes, always);
  std::erase_if(parts, [](const MemoryPart &part) { return part.bytes == 0; });
  return parts;
}

} // namespace txc
