//===- json.cpp - The figures of a run as JSON -----------------------------===//
//
// docs/run-log.md says what each field means. What is not known is null.
//
//===----------------------------------------------------------------------===//
#include "report/report.h"

#include <array>
#include <cmath>

namespace txc {

using Json = nlohmann::ordered_json;

static Json textOrNull(const std::string &text) { return text.empty() ? Json() : Json(text); }

static Json positiveOrNull(double value) { return value > 0 ? Json(value) : Json(); }

static double gigabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e9; }

static Json modelJson(const RunFacts &facts, const Json &config, const Json &run) {
  const txc_step_t &step = facts.step->step();
  Json model = config;
  for (const auto &[key, value] : run.items())
    model.erase(key);
  model["architecture_name"] = textOrNull(facts.architectureName());
  model["total_parameters"] = step.num_parameters;
  model["trainable_parameters"] = facts.known("/parameters/trainable");
  model["non_embedding_parameters"] = facts.known("/parameters/non_embedding");
  model["flops_per_token"] = facts.flops.perTokenFull;
  model["flops_per_token_causal"] = facts.flops.perTokenCausal;
  model["arena_bytes"] = step.arena_bytes;
  model["arena_lower_bound"] = step.arena_lower_bound;
  return model;
}

static Json optimizerJson(const RunFacts &facts, const Json &run) {
  const int64_t batch = facts.step->step().batch_size, steps = facts.options.gradient_accumulation_steps;
  Json optimizer = {{"name", "AdamW"}};
  for (const char *key :
       {"learning_rate", "min_lr", "schedule", "warmup_iters", "lr_decay_iters", "weight_decay", "beta1",
        "beta2", "eps", "grad_clip", "gradient_accumulation_steps", "max_iters"})
    optimizer[key] = run.contains(key) ? run[key] : Json();
  optimizer["micro_batch_size"] = batch;
  optimizer["gradient_accumulation_steps_per_rank"] = steps / facts.ranks;
  optimizer["effective_batch_size"] = batch * steps;
  optimizer["tokens_per_iteration"] = facts.tokensPerIteration();
  return optimizer;
}

static Json hardwareJson(const RunFacts &facts) {
  const DeviceInfo &device = facts.device;
  return {{"gpu_name", device.gpu ? Json(device.name) : Json()},
          {"num_gpus", device.gpu ? facts.ranks : 0},
          {"gpu_memory_gb", device.gpu ? Json(gigabytes(device.memoryBytes)) : Json()},
          {"gpu_architecture", textOrNull(device.architecture)},
          {"gpu_driver", textOrNull(device.driver)},
          {"precision", facts.precision()},
          {"parallelism", facts.parallelism()},
          {"cpu_name", facts.hardware.cpu},
          {"cpu_threads", device.threads},
          {"memory_gb", gigabytes(facts.hardware.memoryBytes)},
          {"peak_tflops", positiveOrNull(facts.peak.flops / 1e12)},
          {"peak_source", facts.peak.source},
          {"matrix_products", device.library},
          {"communication", textOrNull(device.communication)}};
}

static Json theoryJson(const RunFacts &facts) {
  const txc_step_t &step = facts.step->step();
  Json groups = Json::array(), memory = Json::array();
  for (const FlopGroup &group : flopGroups(step))
    groups.push_back({{"group", group.name}, {"full", group.full}, {"causal", group.causal}});
  for (const MemoryPart &part : memoryParts(step))
    memory.push_back({{"part", part.name}, {"bytes", part.bytes}});
  return {{"peak_tflops", positiveOrNull(facts.peak.flops * static_cast<double>(facts.ranks) / 1e12)},
          {"flops_per_token", facts.flops.perTokenFull},
          {"flops_per_token_causal", facts.flops.perTokenCausal},
          {"flops_by_group", std::move(groups)},
          {"attention_to_ffn_ratio", facts.known("/flops_per_token/attention_to_ffn_full")},
          {"attention_to_ffn_ratio_causal", facts.known("/flops_per_token/attention_to_ffn_causal")},
          {"tokens_per_sec_at_half_peak", positiveOrNull(facts.tokensPerSecondAtHalf())},
          {"memory_by_part", std::move(memory)}};
}

const char *bufferKindName(uint32_t kind) {
  constexpr std::array<const char *, 19> names = {
      "param",        "grad",   "moment1",    "moment2",       "tokens",       "targets", "hyper",
      "loss",         "stats",  "activation", "workspace",     "compute",      "cache",   "decode_tokens",
      "decode_state", "logits", "grad_shard", "compute_shard", "communication"};
  return kind < names.size() ? names[kind] : "unknown";
}

static Json memoryPlanJson(const txc_step_t &step) {
  Json entries = Json::array(), buffers = Json::array();
  for (uint32_t i = 0; i < step.num_entries; ++i)
    entries.push_back({{"name", step.entries[i].name}, {"num_commands", step.entries[i].num_commands}});
  for (uint32_t i = 0; i < step.num_buffers; ++i) {
    const txc_buffer_t &buffer = step.buffers[i];
    const bool always = buffer.entry == UINT32_MAX;
    buffers.push_back({{"name", buffer.name},
                       {"kind", bufferKindName(buffer.kind)},
                       {"offset", buffer.offset},
                       {"bytes", buffer.bytes},
                       {"entry", always ? Json() : Json(step.entries[buffer.entry].name)},
                       {"begin", always ? Json() : Json(buffer.begin)},
                       {"end", always ? Json() : Json(buffer.end)}});
  }
  return {{"arena_bytes", step.arena_bytes},
          {"arena_lower_bound", step.arena_lower_bound},
          {"entries", std::move(entries)},
          {"buffers", std::move(buffers)}};
}

static Json ledgerJson(const txc_step_t &step) {
  Json lines = Json::array();
  for (uint32_t i = 0; i < step.num_flops; ++i)
    lines.push_back({{"name", step.flops[i].name},
                     {"op", step.flops[i].op},
                     {"full", step.flops[i].full},
                     {"causal", step.flops[i].causal}});
  return lines;
}

Json headerJson(const RunFacts &facts, const std::string &time) {
  const txc_step_t &step = facts.step->step();
  const Json run = toJson(facts.options);
  Json config = flattened(facts.metadata.value("config", Json::object()));
  config.update(run);

  Json info = {{"timestamp", time}};
  info["model"] = modelJson(facts, config, run);
  info["optimizer"] = optimizerJson(facts, run);
  info["hardware"] = hardwareJson(facts);
  info["theory"] = theoryJson(facts);
  info["dataset"] = {{"name", facts.datasetName},         {"directory", facts.datasetDirectory},
                     {"tokenizer", facts.tokenizer},      {"vocab_size", facts.datasetVocab},
                     {"train_tokens", facts.trainTokens}, {"val_tokens", facts.valTokens}};
  info["step"] = {{"path", facts.step->path()},
                  {"sha256", facts.step->contentHash()},
                  {"compiler", step.compiler},
                  {"target", step.target}};
  Json header = Json::object();
  header["config"] = std::move(config);
  header["startup_info"] = std::move(info);
  header["metadata"] = {{"runtime", "txrun " TXC_VERSION},
                        {"exit_code", nullptr},
                        {"error", nullptr},
                        {"signal", nullptr},
                        {"memory_plan", memoryPlanJson(step)},
                        {"flops", ledgerJson(step)}};
  return header;
}

Json iterationJson(const IterationFacts &it, const RunFacts &facts) {
  const bool known = it.peakTflops > 0;
  Json out = {
      {"iter", it.iteration}, {"loss", it.loss}, {"time_ms", it.seconds * 1e3}, {"lr", it.learningRate}};
  out["skipped"] = textOrNull(it.skipped);
  out["mfu"] = {{"mfu_percent", known ? Json(mfuPercent(it)) : Json()},
                {"achieved_tflops", it.achievedTflops},
                {"tokens_per_sec", it.tokensPerSecond},
                {"tokens_per_sec_per_gpu",
                 facts.device.gpu ? Json(it.tokensPerSecond / static_cast<double>(facts.ranks)) : Json()},
                {"flops_per_token", facts.flops.perTokenFull},
                {"flops_per_token_causal", facts.flops.perTokenCausal},
                {"hardware_peak_tflops", known ? Json(it.peakTflops) : Json()},
                {"attention_flops_per_layer", facts.known("/flops_per_token/attention_per_layer_full")},
                {"ffn_flops_per_layer", facts.known("/flops_per_token/ffn_per_layer")},
                {"logit_flops", facts.known("/flops_per_token/logits")},
                {"attention_to_ffn_ratio", facts.known("/flops_per_token/attention_to_ffn_full")},
                {"architecture", textOrNull(facts.architectureName())}};
  const double peak = gigabytes(it.memory.peakBytes), reserved = gigabytes(it.memory.reservedBytes);
  out["memory"] = {{"allocated_gb", gigabytes(it.memory.inUseBytes)},
                   {"peak_gb", peak},
                   {"reserved_gb", reserved},
                   {"max_allocated_gb", peak},
                   {"max_reserved_gb", reserved}};
  if (const auto &g = it.gradients)
    out["gradients"] = {{"global_norm", g->grad_norm},
                        {"mean_layer_norm", g->tensor_norm_mean},
                        {"max_layer_norm", g->tensor_norm_max},
                        {"min_layer_norm", g->tensor_norm_min},
                        {"grad_mean", g->grad_mean},
                        {"grad_std", g->grad_std},
                        {"grad_min", g->grad_min},
                        {"grad_max", g->grad_max}};
  else
    out["gradients"] = nullptr;
  return out;
}

Json evaluationJson(const EvaluationFacts &e, const std::string &time) {
  return {{"iter", e.iteration},
          {"train_loss", e.trainLoss},
          {"val_loss", e.valLoss},
          {"perplexity", std::exp(e.valLoss)},
          {"best_val_loss", e.bestValLoss},
          {"best_val_iter", e.bestIteration},
          {"lr", e.learningRate},
          {"timestamp", time},
          {"time_ms", e.seconds * 1e3}};
}

} // namespace txc
