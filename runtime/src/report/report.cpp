//===- report.cpp - What a run tells its user ------------------------------===//
#include "report/report.h"

#include "support/text.h"

#include <cmath>

namespace txc {

using Json = nlohmann::ordered_json;

static unsigned long long ull(uint64_t value) { return value; }

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

void completeIteration(IterationFacts &it, const RunFacts &facts) {
  it.tokensPerSecond = static_cast<double>(facts.tokensPerIteration()) / it.seconds;
  it.achievedTflops = static_cast<double>(facts.flops.perTokenFull) * it.tokensPerSecond / 1e12;
  it.peakTflops = facts.peakFlops / 1e12;
}

static double mfuPercent(const IterationFacts &it) {
  return it.peakTflops > 0 ? 100 * it.achievedTflops / it.peakTflops : 0;
}

// A value of the compile-time config as text; "" if the step does not have it.
static std::string configText(const Json &config, const char *key) {
  auto found = config.find(key);
  if (found == config.end() || found->is_null())
    return "";
  if (found->is_boolean())
    return found->get<bool>() ? "yes" : "no";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

//===-- Text ----------------------------------------------------------------===//

namespace {

// Sections of aligned lines.
class Sheet {
public:
  void section(const std::string &title) { text_ += title + "\n"; }
  void line(const std::string &label, const std::string &value) {
    if (!value.empty())
      text_ += format("  %-22s ", label.c_str()) + value + "\n";
  }
  const std::string &text() const { return text_; }

private:
  std::string text_;
};

} // namespace

std::string startupText(const RunFacts &facts) {
  const txc_step_t &step = facts.step->step();
  const RunOptions &o = facts.options;
  const Json config = flattened(facts.metadata.value("config", Json::object()));
  auto of = [&](const char *key) { return configText(config, key); };
  Sheet sheet;
  sheet.section("Model  " +
                (facts.architectureName().empty() ? facts.step->path() : facts.architectureName()));
  std::string parameters = withCommas(step.num_parameters);
  if (Json count = facts.known("/parameters/trainable"); count.is_number_unsigned())
    parameters += ", " + withCommas(count) + " trainable";
  if (Json count = facts.known("/parameters/non_embedding"); count.is_number_unsigned())
    parameters += ", " + withCommas(count) + " without position table";
  sheet.line("parameters", parameters);
  std::string heads = of("n_head");
  if (std::string kv = of("n_kv_head"); !kv.empty() && kv != heads)
    heads += " (" + kv + " key/value)";
  sheet.line("layers, width, heads",
             of("n_layer").empty() ? "" : of("n_layer") + ", " + of("n_embd") + ", " + heads);
  sheet.line("sequence, vocabulary", withCommas(static_cast<uint64_t>(step.block_size)) + ", " +
                                         withCommas(static_cast<uint64_t>(step.vocab_size)));
  sheet.line("normalization",
             of("normalization").empty() ? "" : of("normalization") + ", " + of("norm_position"));
  std::string position = of("position_encoding");
  sheet.line("positions", position == "rope" ? "rope, theta " + of("rope_theta") : position);
  std::string ffn = of("ffn_type");
  if (ffn == "standard")
    ffn += ", " + of("activation");
  sheet.line("feed-forward", ffn.empty() ? "" : ffn + ", d_ff " + of("d_ff"));
  sheet.line("bias, tying, dropout",
             of("bias").empty() ? "" : of("bias") + ", " + of("weight_tying") + ", " + of("dropout"));
  sheet.line("FLOPs per token", withCommas(facts.flops.perTokenFull) + " (attention in full), " +
                                    withCommas(facts.flops.perTokenCausal) + " (causal)");
  if (Json ratio = facts.known("/flops_per_token/attention_to_ffn_full"); ratio.is_number())
    sheet.line("attention/FFN ratio", format("%.3f", ratio.get<double>()));

  const Json options = toJson(o);
  sheet.section("Training");
  sheet.line("dataset", facts.datasetName + " (" + facts.tokenizer + ", vocabulary " +
                            withCommas(facts.datasetVocab) + "): " + withCommas(facts.trainTokens) +
                            " train, " + withCommas(facts.valTokens) + " val tokens");
  sheet.line("batch", format("%lld x %lld micro batches = %lld sequences, %s tokens",
                             static_cast<long long>(step.batch_size),
                             static_cast<long long>(o.gradient_accumulation_steps),
                             static_cast<long long>(step.batch_size * o.gradient_accumulation_steps),
                             withCommas(static_cast<uint64_t>(facts.tokensPerIteration())).c_str()));
  sheet.line("iterations", withCommas(static_cast<uint64_t>(o.max_iters)));
  sheet.line("learning rate",
             format("%g to %g, %s, warm-up %lld, decay until %lld", o.learning_rate, o.min_lr,
                    options["schedule"].get<std::string>().c_str(), static_cast<long long>(o.warmup_iters),
                    static_cast<long long>(o.lr_decay_iters)));
  sheet.line("AdamW", format("beta %g, %g, epsilon %g, weight decay %g, clip %g", o.beta1, o.beta2, o.eps,
                             o.weight_decay, o.grad_clip));
  sheet.line("seed", std::to_string(o.seed));

  sheet.section("Machine");
  sheet.line("CPU", facts.hardware.cpu);
  sheet.line("threads, memory", format("%d of %d cores, ", facts.threads, facts.hardware.cores) +
                                    bytesText(facts.hardware.memoryBytes));
  sheet.line("step", std::string(step.target) + ", " + step.compiler);
  sheet.line("matrix products", facts.library);
  sheet.line("peak", withPrefix(facts.peakFlops, 1) + "FLOP/s (" + facts.peakSource + ")");
  if (facts.peakFlops > 0 && facts.flops.perTokenFull > 0)
    sheet.line("tokens/s at 50% MFU",
               withCommas(static_cast<uint64_t>(0.5 * facts.peakFlops /
                                                static_cast<double>(facts.flops.perTokenFull))));
  sheet.line("arena",
             bytesText(step.arena_bytes) +
                 format(" (%llu bytes; lower bound %llu, %.2f%% above)", ull(step.arena_bytes),
                        ull(step.arena_lower_bound),
                        step.arena_lower_bound ? 100.0 * (static_cast<double>(step.arena_bytes) /
                                                              static_cast<double>(step.arena_lower_bound) -
                                                          1)
                                               : 0.0));
  return sheet.text();
}

static std::string tera(double tflops) { return format(tflops < 10 ? "%.3f TF" : "%.1f TF", tflops); }

std::string iterationText(const IterationFacts &it, const RunFacts &facts) {
  std::string out =
      format("Iter %lld │ Loss %.4f │ Time %.*f ms │ LR %.2e\n", static_cast<long long>(it.iteration),
             it.loss, it.seconds < 0.1 ? 2 : 0, it.seconds * 1e3, it.learningRate);
  out += format("MFU %.2f%% │ Achieved %s │ Peak %s │ Tokens/s %s │ FLOPs/token %sF\n", mfuPercent(it),
                tera(it.achievedTflops).c_str(), tera(it.peakTflops).c_str(),
                withCommas(static_cast<uint64_t>(it.tokensPerSecond)).c_str(),
                withPrefix(static_cast<double>(facts.flops.perTokenFull), 1).c_str());
  out += format("Memory %.2f GB in use │ %.2f GB peak │ %.2f GB reserved\n",
                static_cast<double>(it.memory.residentBytes) / 1e9,
                static_cast<double>(it.memory.peakBytes) / 1e9, static_cast<double>(it.reservedBytes) / 1e9);
  if (const auto &g = it.gradients; g && it.showGradients)
    out += format("Gradients norm %.4f │ mean %.2e │ std %.2e\n", g->grad_norm, g->grad_mean, g->grad_std);
  return out;
}

std::string evaluationText(const EvaluationFacts &e) {
  return format("Eval at %lld │ train loss %.4f │ val loss %.4f │ perplexity %.2f │ %.1f s\n",
                static_cast<long long>(e.iteration), e.trainLoss, e.valLoss, std::exp(e.valLoss), e.seconds);
}

//===-- JSON ----------------------------------------------------------------===//

Json headerJson(const RunFacts &facts, const std::string &time) {
  const txc_step_t &step = facts.step->step();
  const RunOptions &o = facts.options;
  Json config = flattened(facts.metadata.value("config", Json::object()));
  config.update(toJson(o));

  Json model = config;
  Json run = toJson(o);
  for (const auto &[key, value] : run.items())
    model.erase(key);
  model["architecture_name"] = facts.architectureName().empty() ? Json() : Json(facts.architectureName());
  model["total_parameters"] = step.num_parameters;
  model["trainable_parameters"] = facts.known("/parameters/trainable");
  model["non_embedding_parameters"] = facts.known("/parameters/non_embedding");
  model["flops_per_token"] = facts.flops.perTokenFull;
  model["flops_per_token_causal"] = facts.flops.perTokenCausal;
  model["arena_bytes"] = step.arena_bytes;
  model["arena_lower_bound"] = step.arena_lower_bound;

  Json optimizer = {{"name", "AdamW"}};
  for (const char *key :
       {"learning_rate", "min_lr", "schedule", "warmup_iters", "lr_decay_iters", "weight_decay", "beta1",
        "beta2", "eps", "grad_clip", "gradient_accumulation_steps", "max_iters"})
    optimizer[key] = run[key];
  optimizer["tokens_per_iteration"] = facts.tokensPerIteration();

  Json hardware = {{"gpu_name", nullptr},
                   {"num_gpus", 0},
                   {"gpu_memory_gb", nullptr},
                   {"precision", "float32"},
                   {"parallelism", config.contains("mesh") ? config["mesh"] : Json("single process")},
                   {"cpu_name", facts.hardware.cpu},
                   {"cpu_threads", facts.threads},
                   {"memory_gb", static_cast<double>(facts.hardware.memoryBytes) / 1e9},
                   {"peak_tflops", facts.peakFlops / 1e12},
                   {"peak_source", facts.peakSource},
                   {"matrix_products", facts.library}};

  Json header = Json::object();
  header["config"] = std::move(config);
  header["startup_info"] = {{"timestamp", time},
                            {"model", std::move(model)},
                            {"optimizer", std::move(optimizer)},
                            {"hardware", std::move(hardware)},
                            {"dataset",
                             {{"name", facts.datasetName},
                              {"directory", facts.datasetDirectory},
                              {"tokenizer", facts.tokenizer},
                              {"vocab_size", facts.datasetVocab},
                              {"train_tokens", facts.trainTokens},
                              {"val_tokens", facts.valTokens}}},
                            {"step",
                             {{"path", facts.step->path()},
                              {"sha256", facts.step->contentHash()},
                              {"compiler", step.compiler},
                              {"target", step.target}}}};
  return header;
}

Json iterationJson(const IterationFacts &it, const RunFacts &facts) {
  Json out = {
      {"iter", it.iteration}, {"loss", it.loss}, {"time_ms", it.seconds * 1e3}, {"lr", it.learningRate}};
  out["mfu"] = {{"mfu_percent", it.peakTflops > 0 ? Json(mfuPercent(it)) : Json()},
                {"achieved_tflops", it.achievedTflops},
                {"tokens_per_sec", it.tokensPerSecond},
                {"tokens_per_sec_per_gpu", nullptr},
                {"flops_per_token", facts.flops.perTokenFull},
                {"flops_per_token_causal", facts.flops.perTokenCausal},
                {"hardware_peak_tflops", it.peakTflops > 0 ? Json(it.peakTflops) : Json()},
                {"attention_flops_per_layer", facts.known("/flops_per_token/attention_per_layer_full")},
                {"ffn_flops_per_layer", facts.known("/flops_per_token/ffn_per_layer")},
                {"logit_flops", facts.known("/flops_per_token/logits")},
                {"attention_to_ffn_ratio", facts.known("/flops_per_token/attention_to_ffn_full")},
                {"architecture", facts.architectureName().empty() ? Json() : Json(facts.architectureName())}};
  const double used = static_cast<double>(it.memory.residentBytes) / 1e9;
  const double peak = static_cast<double>(it.memory.peakBytes) / 1e9;
  const double reserved = static_cast<double>(it.reservedBytes) / 1e9;
  out["memory"] = {{"allocated_gb", used},
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
  return {{"iter", e.iteration},   {"train_loss", e.trainLoss},
          {"val_loss", e.valLoss}, {"perplexity", std::exp(e.valLoss)},
          {"lr", e.learningRate},  {"timestamp", time}};
}

} // namespace txc
