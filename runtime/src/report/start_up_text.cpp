//===- start_up_text.cpp - The report before the first iteration -----------===//
//
// Labels in one column, values in another, nothing beyond column 80. What the
// step's metadata does not say is left out, not guessed.
//
//===----------------------------------------------------------------------===//
#include "report/report.h"

#include "support/text.h"

#include <cmath>

namespace txc {

using Json = nlohmann::ordered_json;

namespace {

constexpr size_t kWidth = 80, kValueColumn = 25;

size_t columnsOf(const std::string &text) {
  size_t columns = 0;
  for (char c : text)
    columns += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return columns;
}

class Sheet {
public:
  explicit Sheet(bool color) : color_(color) {}

  void section(const std::string &title) { text_ += (text_.empty() ? "" : "\n") + strong(title) + "\n"; }
  void line(const std::string &label, const std::string &value) {
    if (value.empty())
      return;
    std::string row = "  " + label;
    row.resize(std::max(row.size() + 1, kValueColumn), ' ');
    size_t column = row.size();
    std::string word;
    bool first = true;
    for (size_t i = 0; i <= value.size(); ++i) {
      if (i < value.size() && value[i] != ' ') {
        word += value[i];
        continue;
      }
      if (!first && column + 1 + columnsOf(word) > kWidth) {
        row += "\n" + std::string(kValueColumn, ' ');
        column = kValueColumn;
      } else if (!first) {
        row += ' ';
        ++column;
      }
      row += word;
      column += columnsOf(word);
      word.clear();
      first = false;
    }
    text_ += row + "\n";
  }
  // A row of figures, right-aligned below each other.
  void figures(const std::string &label, const std::vector<std::string> &cells) {
    std::string row = "  " + label;
    row.resize(std::max(row.size() + 1, kValueColumn), ' ');
    for (size_t i = 0; i < cells.size(); ++i)
      row += format(i == 2 ? "%10s" : "%18s", cells[i].c_str());
    text_ += row.substr(0, row.find_last_not_of(' ') + 1) + "\n";
  }
  std::string strong(const std::string &text) const { return color_ ? "\033[1m" + text + "\033[0m" : text; }
  const std::string &text() const { return text_; }

private:
  bool color_;
  std::string text_;
};

std::string number(int64_t value) { return withCommas(static_cast<uint64_t>(value)); }

std::string percent(uint64_t part, uint64_t whole) {
  return whole ? format("%.1f%%", 100.0 * static_cast<double>(part) / static_cast<double>(whole)) : "";
}

// The compile-time options by name, as text; "" for what the step does not say.
class Config {
public:
  explicit Config(const Json &metadata) : values_(flattened(metadata.value("config", Json::object()))) {}
  std::string operator()(const char *key) const {
    auto found = values_.find(key);
    if (found == values_.end() || found->is_null())
      return "";
    if (found->is_boolean())
      return found->get<bool>() ? "yes" : "no";
    if (found->is_number_integer() && found->get<int64_t>() >= 0)
      return number(found->get<int64_t>());
    return found->is_string() ? found->get<std::string>() : format("%g", found->get<double>());
  }
  double real(const char *key) const {
    auto found = values_.find(key);
    return found != values_.end() && found->is_number() ? found->get<double>() : 0;
  }

private:
  Json values_;
};

// "a, b" of those that are known.
std::string joined(std::initializer_list<std::string> parts) {
  std::string out;
  for (const std::string &part : parts)
    if (!part.empty())
      out += (out.empty() ? "" : ", ") + part;
  return out;
}

std::string with(const char *before, const std::string &text, const char *after = "") {
  return text.empty() ? "" : before + text + after;
}

void describeModel(Sheet &sheet, const RunFacts &facts) {
  const txc_step_t &step = facts.step->step();
  const Config of(facts.metadata);
  auto count = [&](const char *path) {
    Json value = facts.known(path);
    return value.is_number_unsigned() ? withCommas(value) : std::string();
  };
  sheet.section("Model");
  sheet.line("architecture", facts.architectureName());
  sheet.line("parameters", withCommas(step.num_parameters));
  sheet.line("  trainable", count("/parameters/trainable"));
  sheet.line("  non-embedding",
             with("", count("/parameters/non_embedding"), " (without the position table)"));
  sheet.line("layers", of("n_layer"));
  sheet.line("hidden size", of("n_embd"));
  std::string keyValue = of("n_kv_head") == of("n_head") ? "" : of("n_kv_head");
  sheet.line("heads", joined({of("n_head"), with("", keyValue, " key/value heads"),
                              with("head size ", of("head_dim"))}));
  sheet.line("sequence length", number(step.block_size));
  sheet.line("vocabulary", number(step.vocab_size));
  sheet.line("normalization", joined({of("normalization"), with("eps ", of("norm_eps"))}));
  sheet.line("norm position", of("norm_position"));
  std::string position = of("position_encoding");
  sheet.line("position encoding",
             position == "rope" ? joined({position, with("theta ", format("%.10g", of.real("rope_theta"))),
                                          of("rope_layout")})
                                : position);
  sheet.line("attention backend", of("attention_backend"));
  const bool gated = of("ffn_type") == "swiglu";
  std::string expansion;
  if (of.real("n_embd") > 0 && of.real("d_ff") > 0)
    expansion = format("%.4g x hidden", of.real("d_ff") / of.real("n_embd"));
  sheet.line("feed-forward", joined({of("ffn_type"), with("d_ff ", of("d_ff")), expansion}));
  sheet.line("activation", gated ? "silu (of the gate)" : of("activation"));
  sheet.line("bias", of("bias"));
  sheet.line("weight tying", of("weight_tying"));
  sheet.line("dropout", of("dropout"));
}

void describeTraining(Sheet &sheet, const RunFacts &facts) {
  const txc_step_t &step = facts.step->step();
  const RunOptions &o = facts.options;
  const Json options = toJson(o);
  const std::string schedule = options["schedule"].is_string() ? options["schedule"].get<std::string>() : "";
  const bool decays = schedule != "constant";
  sheet.section("Training");
  sheet.line("dataset", facts.datasetName + " (" + facts.tokenizer + ", vocabulary " +
                            withCommas(facts.datasetVocab) + ")");
  sheet.line("tokens", withCommas(facts.trainTokens) + " train, " + withCommas(facts.valTokens) + " val");
  sheet.line("micro batch", number(step.batch_size) + " sequences of " + number(step.block_size) + " tokens");
  sheet.line("accumulation", number(o.gradient_accumulation_steps / facts.ranks) + " per rank, " +
                                 number(o.gradient_accumulation_steps) + " over all ranks");
  const int64_t sequences = step.batch_size * o.gradient_accumulation_steps;
  sheet.line("effective batch", number(sequences) + " sequences" +
                                    (facts.ranks > 1 ? ", " + number(sequences / facts.ranks) + " of each rank" : ""));
  sheet.line("tokens/iteration", number(facts.tokensPerIteration()));
  sheet.line("iterations", number(o.max_iters));
  sheet.line("learning rate",
             format("%g", o.learning_rate) + (decays ? format(" to %g", o.min_lr) : "") + ", " + schedule);
  sheet.line("warm-up", number(o.warmup_iters) + " iterations");
  if (decays)
    sheet.line("decay", "until iteration " + number(o.lr_decay_iters));
  sheet.line("AdamW",
             format("beta %g, %g, eps %g, weight decay %g", o.beta1, o.beta2, o.eps, o.weight_decay));
  sheet.line("gradient clip", o.grad_clip > 0 ? format("%g (global norm)", o.grad_clip) : "none");
  sheet.line("seed", std::to_string(o.seed));
}

// "on host a", or "on hosts a (2), b (2)".
std::string hostsText(const std::vector<std::string> &hostOfRank) {
  std::vector<std::pair<std::string, int>> hosts;
  for (const std::string &host : hostOfRank) {
    if (hosts.empty() || hosts.back().first != host)
      hosts.push_back({host, 0});
    ++hosts.back().second;
  }
  if (hosts.size() <= 1)
    return hosts.empty() ? "" : "on host " + hosts[0].first;
  std::string out;
  for (const auto &[host, ranks] : hosts)
    out += (out.empty() ? "on hosts " : ", ") + host + " (" + std::to_string(ranks) + ")";
  return out;
}

void describeHardware(Sheet &sheet, const RunFacts &facts) {
  const txc_step_t &step = facts.step->step();
  const DeviceInfo &device = facts.device;
  sheet.section("Hardware");
  if (device.gpu) {
    sheet.line("GPU", joined({device.name, device.architecture, with("driver ", device.driver)}));
    sheet.line("count", number(facts.ranks));
    sheet.line("GPU memory", bytesText(device.memoryBytes));
    sheet.line("CPU", facts.hardware.cpu);
  } else {
    sheet.line("CPU", device.name);
    sheet.line("threads", format("%d of %d cores", device.threads, facts.hardware.cores));
  }
  sheet.line("memory", bytesText(facts.hardware.memoryBytes));
  sheet.line("precision", facts.precision());
  sheet.line("parallelism", facts.parallelism());
  if (facts.ranks > 1)
    sheet.line("ranks", joined({number(facts.ranks) + " by " + facts.launcher, device.communication,
                                hostsText(facts.rankHosts)}));
  sheet.line("step", std::string(step.target) + ", " + step.compiler);
  sheet.line("matrix products", device.library);
}

void describeTheory(Sheet &sheet, const RunFacts &facts) {
  sheet.section("Theory");
  sheet.line("peak", facts.peak.flops > 0
                         ? withPrefix(facts.peak.flops, 1) + "FLOP/s (" + facts.peak.source + ")"
                         : "unknown: " + facts.peak.source);
  sheet.figures("FLOPs per token", {"full", "causal", "of full"});
  for (const FlopGroup &group : flopGroups(facts.step->step()))
    sheet.figures("  " + group.name, {withCommas(group.full), withCommas(group.causal),
                                      percent(group.full, facts.flops.perTokenFull)});
  sheet.figures("  sum", {withCommas(facts.flops.perTokenFull), withCommas(facts.flops.perTokenCausal)});
  Json full = facts.known("/flops_per_token/attention_to_ffn_full");
  Json causal = facts.known("/flops_per_token/attention_to_ffn_causal");
  if (full.is_number() && causal.is_number())
    sheet.figures("attention/FFN ratio",
                  {format("%.3f", full.get<double>()), format("%.3f", causal.get<double>())});
  if (double rate = facts.tokensPerSecondAtHalf(); rate > 0)
    sheet.line("tokens/s at 50% MFU", withCommas(static_cast<uint64_t>(rate)));
}

void describeMemory(Sheet &sheet, const RunFacts &facts) {
  const txc_step_t &step = facts.step->step();
  sheet.section(facts.ranks > 1 ? "Memory plan of each rank" : "Memory plan");
  for (const MemoryPart &part : memoryParts(step))
    sheet.figures(part.name,
                  {withCommas(part.bytes), bytesText(part.bytes), percent(part.bytes, step.arena_bytes)});
  sheet.figures("arena, bytes", {withCommas(step.arena_bytes), bytesText(step.arena_bytes)});
  sheet.figures("most live at once", {withCommas(step.arena_lower_bound), bytesText(step.arena_lower_bound)});
}

} // namespace

std::string startupText(const RunFacts &facts, bool color) {
  Sheet sheet(color);
  describeModel(sheet, facts);
  describeTraining(sheet, facts);
  describeHardware(sheet, facts);
  describeTheory(sheet, facts);
  describeMemory(sheet, facts);
  return sheet.text();
}

} // namespace txc
