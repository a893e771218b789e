//===- run_file.cpp - A run's JSON log, read --------------------------------===//
#include "compare/run_file.h"

#include "support/file.h"
#include "support/json.h"
#include "support/text.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace txc::compare {

using Json = nlohmann::ordered_json;

namespace {

// Fields of a log. The first field of a wrong type is kept as the error; what
// is absent or null is simply missing.
class Fields {
public:
  const std::string &error() const { return error_; }

  Figure number(const Json &object, const char *key, const std::string &where) {
    const Json *value = find(object, key);
    if (!value)
      return {};
    if (value->is_number())
      return value->get<double>();
    wrong(where + key, *value, "a number or null");
    return {};
  }
  double wholeNumber(const Json &object, const char *key, const std::string &where) {
    const Json *value = find(object, key);
    if (value && value->is_number() && value->get<double>() >= 0 && value->get<double>() < 9e15 &&
        value->get<double>() == std::floor(value->get<double>()))
      return value->get<double>();
    wrong(where + key, value ? *value : Json(), "a whole number");
    return 0;
  }
  std::string text(const Json &object, const char *key, const std::string &where) {
    const Json *value = find(object, key);
    if (!value)
      return "";
    if (value->is_string())
      return value->get<std::string>();
    wrong(where + key, *value, "a string or null");
    return "";
  }
  // An empty object if absent.
  const Json &object(const Json &parent, const char *key, const std::string &where) {
    return container(parent, key, where, true);
  }
  const Json &array(const Json &parent, const char *key, const std::string &where) {
    return container(parent, key, where, false);
  }
  bool isObject(const Json &value, const std::string &where) {
    if (value.is_object())
      return true;
    wrong(where, value, "an object");
    return false;
  }

private:
  static const Json *find(const Json &object, const char *key) {
    auto found = object.find(key);
    return found == object.end() || found->is_null() ? nullptr : &*found;
  }
  const Json &container(const Json &parent, const char *key, const std::string &where, bool object) {
    static const Json noObject = Json::object(), noArray = Json::array();
    const Json *value = find(parent, key);
    if (value && (object ? value->is_object() : value->is_array()))
      return *value;
    if (value)
      wrong(where + key, *value, object ? "an object" : "an array");
    return object ? noObject : noArray;
  }
  void wrong(const std::string &where, const Json &found, const char *expected) {
    if (!error_.empty())
      return;
    std::string shown = found.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (shown.size() > 40)
      shown = shown.substr(0, 37) + "...";
    error_ = where + ": found " + found.type_name() + " " + shown + ", expected " + expected;
  }

  std::string error_;
};

} // namespace

static Figure median(std::vector<double> values) {
  if (values.empty())
    return {};
  size_t half = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + half, values.end());
  double upper = values[half];
  if (values.size() % 2)
    return upper;
  return (*std::max_element(values.begin(), values.begin() + half) + upper) / 2;
}

static Figure medianOf(const std::vector<Iteration> &iterations, Figure Iteration::*field) {
  std::vector<double> values;
  for (const Iteration &each : iterations)
    if (each.*field)
      values.push_back(*(each.*field));
  return median(std::move(values));
}

static void addSettings(Run &run, const char *group, const Json &from, const std::string &prefix = "") {
  for (const auto &[key, value] : from.items()) {
    if (value.is_object()) {
      addSettings(run, group, value, prefix + key + ".");
      continue;
    }
    std::string text = value.is_string() ? value.get<std::string>()
                                         : value.dump(-1, ' ', false, Json::error_handler_t::replace);
    run.settings.push_back({group, prefix + key, text});
  }
}

static MemoryPlan readPlan(Fields &fields, const Json &from) {
  const std::string where = "metadata.memory_plan.";
  MemoryPlan plan;
  plan.arenaBytes = fields.wholeNumber(from, "arena_bytes", where);
  plan.lowerBound = fields.number(from, "arena_lower_bound", where);
  std::map<std::string, int64_t> numberOf;
  size_t index = 0;
  for (const Json &each : fields.array(from, "entries", where)) {
    std::string at = where + "entries[" + std::to_string(index++) + "]";
    if (!fields.isObject(each, at))
      break;
    PlanEntry entry{fields.text(each, "name", at + "."),
                    static_cast<int64_t>(fields.wholeNumber(each, "num_commands", at + "."))};
    numberOf.emplace(entry.name, static_cast<int64_t>(plan.entries.size()));
    plan.entries.push_back(std::move(entry));
  }
  index = 0;
  for (const Json &each : fields.array(from, "buffers", where)) {
    std::string at = where + "buffers[" + std::to_string(index++) + "]";
    if (!fields.isObject(each, at) || !fields.error().empty())
      break;
    at += ".";
    PlanBuffer buffer;
    buffer.name = fields.text(each, "name", at);
    buffer.kind = fields.text(each, "kind", at);
    buffer.offset = fields.wholeNumber(each, "offset", at);
    buffer.bytes = fields.wholeNumber(each, "bytes", at);
    if (std::string entry = fields.text(each, "entry", at); !entry.empty()) {
      auto [found, isNew] = numberOf.emplace(entry, static_cast<int64_t>(plan.entries.size()));
      buffer.entry = found->second;
      if (isNew)
        plan.entries.push_back({entry, 0});
      buffer.begin = static_cast<int64_t>(fields.wholeNumber(each, "begin", at));
      buffer.end = static_cast<int64_t>(fields.wholeNumber(each, "end", at));
      // An entry that the log does not list is as long as its buffers say.
      int64_t &commands = plan.entries[static_cast<size_t>(buffer.entry)].commands;
      commands = std::max(commands, buffer.end + 1);
    }
    plan.buffers.push_back(std::move(buffer));
  }
  return plan;
}

std::string Run::state() const {
  if (!ended)
    return "running or killed";
  if (signal)
    return "stopped by signal " + std::to_string(*signal);
  if (exitCode == static_cast<int64_t>(Code::Diverged))
    return "diverged";
  if (exitCode && *exitCode != 0)
    return "failed with exit code " + std::to_string(*exitCode);
  return "finished";
}

static Run readDocument(Fields &fields, const Json &log) {
  Run run;
  run.name = fields.text(log, "run_name", "");
  run.startTime = fields.text(log, "start_time", "");
  run.ended = !fields.text(log, "end_time", "").empty();

  const Json &startup = fields.object(log, "startup_info", "");
  const Json &model = fields.object(startup, "model", "startup_info.");
  const Json &optimizer = fields.object(startup, "optimizer", "startup_info.");
  const Json &hardware = fields.object(startup, "hardware", "startup_info.");
  const Json &dataset = fields.object(startup, "dataset", "startup_info.");
  const Json &config = fields.object(log, "config", "");
  run.architecture = fields.text(model, "architecture_name", "startup_info.model.");
  run.parameters = fields.number(model, "total_parameters", "startup_info.model.");
  run.tokensPerIteration = fields.number(optimizer, "tokens_per_iteration", "startup_info.optimizer.");
  run.maxIters = fields.number(config, "max_iters", "config.");
  run.peakTflops = fields.number(hardware, "peak_tflops", "startup_info.hardware.");
  run.dataset = fields.text(dataset, "name", "startup_info.dataset.");
  run.tokenizer = fields.text(dataset, "tokenizer", "startup_info.dataset.");
  run.vocabulary = fields.number(dataset, "vocab_size", "startup_info.dataset.");
  // model and optimizer repeat the config; what they add is of interest too.
  addSettings(run, "config", config);
  for (const auto &[group, from] : {std::pair<const char *, const Json *>{"model", &model},
                                    {"optimizer", &optimizer},
                                    {"hardware", &hardware},
                                    {"dataset", &dataset}}) {
    Json added = Json::object();
    for (const auto &[key, value] : from->items())
      if (!config.contains(key))
        added[key] = value;
    addSettings(run, group, added);
  }
  addSettings(run, "step", fields.object(startup, "step", "startup_info."));

  size_t index = 0;
  for (const Json &each : fields.array(log, "training_iterations", "")) {
    std::string at = "training_iterations[" + std::to_string(index++) + "]";
    if (!fields.isObject(each, at) || !fields.error().empty())
      break;
    at += ".";
    Iteration it;
    it.iter = fields.wholeNumber(each, "iter", at);
    it.loss = fields.number(each, "loss", at);
    it.timeMs = fields.number(each, "time_ms", at);
    it.lr = fields.number(each, "lr", at);
    const Json &mfu = fields.object(each, "mfu", at);
    it.mfuPercent = fields.number(mfu, "mfu_percent", at + "mfu.");
    // Some programs write -100 for a figure that they do not know.
    if (it.mfuPercent && *it.mfuPercent < 0)
      it.mfuPercent.reset();
    it.achievedTflops = fields.number(mfu, "achieved_tflops", at + "mfu.");
    it.tokensPerSecond = fields.number(mfu, "tokens_per_sec", at + "mfu.");
    if (run.architecture.empty())
      run.architecture = fields.text(mfu, "architecture", at + "mfu.");
    if (!run.peakTflops)
      run.peakTflops = fields.number(mfu, "hardware_peak_tflops", at + "mfu.");
    const Json &memory = fields.object(each, "memory", at);
    it.allocatedGb = fields.number(memory, "allocated_gb", at + "memory.");
    it.peakGb = fields.number(memory, "peak_gb", at + "memory.");
    it.reservedGb = fields.number(memory, "reserved_gb", at + "memory.");
    const Json &gradients = fields.object(each, "gradients", at);
    it.gradientNorm = fields.number(gradients, "global_norm", at + "gradients.");
    if (it.peakGb)
      run.maxPeakGb = std::max(run.maxPeakGb.value_or(0), *it.peakGb);
    if (it.loss)
      run.finalTrainLoss = it.loss;
    run.iterations.push_back(it);
  }

  index = 0;
  for (const Json &each : fields.array(log, "eval_steps", "")) {
    std::string at = "eval_steps[" + std::to_string(index++) + "]";
    if (!fields.isObject(each, at) || !fields.error().empty())
      break;
    at += ".";
    Evaluation evaluation;
    evaluation.iter = fields.wholeNumber(each, "iter", at);
    evaluation.trainLoss = fields.number(each, "train_loss", at);
    evaluation.valLoss = fields.number(each, "val_loss", at);
    if (evaluation.valLoss && !(run.bestValLoss && *run.bestValLoss <= *evaluation.valLoss)) {
      run.bestValLoss = evaluation.valLoss;
      run.bestValIter = evaluation.iter;
    }
    run.evaluations.push_back(evaluation);
  }

  const Json &summary = fields.object(log, "summary", "");
  if (!run.bestValLoss)
    run.bestValLoss = fields.number(summary, "best_val_loss", "summary.");
  if (!run.finalTrainLoss)
    run.finalTrainLoss = fields.number(summary, "final_train_loss", "summary.");
  run.timeMs = medianOf(run.iterations, &Iteration::timeMs);
  run.mfuPercent = medianOf(run.iterations, &Iteration::mfuPercent);
  run.tokensPerSecond = medianOf(run.iterations, &Iteration::tokensPerSecond);
  if (run.iterations.empty()) {
    run.timeMs = fields.number(summary, "avg_time_ms", "summary.");
    run.mfuPercent = fields.number(summary, "avg_mfu", "summary.");
    if (run.mfuPercent && *run.mfuPercent < 0)
      run.mfuPercent.reset();
  }
  if (!run.tokensPerSecond && run.tokensPerIteration && run.timeMs && *run.timeMs > 0)
    run.tokensPerSecond = *run.tokensPerIteration / *run.timeMs * 1e3;

  const Json &metadata = fields.object(log, "metadata", "");
  for (auto [key, field] : {std::pair("exit_code", &Run::exitCode), std::pair("signal", &Run::signal)})
    if (Figure number = fields.number(metadata, key, "metadata."); number && std::fabs(*number) < 1e9)
      run.*field = static_cast<int64_t>(*number);
  run.error = fields.text(metadata, "error", "metadata.");
  if (const Json &plan = fields.object(metadata, "memory_plan", "metadata."); !plan.empty())
    run.plan = readPlan(fields, plan);
  index = 0;
  for (const Json &each : fields.array(metadata, "flops", "metadata.")) {
    std::string at = "metadata.flops[" + std::to_string(index++) + "]";
    if (!fields.isObject(each, at) || !fields.error().empty())
      break;
    at += ".";
    run.flops.push_back({fields.text(each, "name", at), fields.text(each, "op", at),
                         fields.wholeNumber(each, "full", at), fields.wholeNumber(each, "causal", at)});
  }
  return run;
}

// What a JSON document is, in a few words.
static std::string described(const Json &value) {
  if (!value.is_object())
    return std::string("JSON that is ") +
           (value.is_array() ? "an array" : std::string("a ") + value.type_name());
  if (value.empty())
    return "an empty JSON object";
  std::string keys;
  size_t shown = 0;
  for (const auto &[key, unused] : value.items()) {
    if (++shown > 4) {
      keys += ", ...";
      break;
    }
    keys += (keys.empty() ? "" : ", ") + key.substr(0, 40);
  }
  return "a JSON object with " + keys;
}

static const char expectedText[] = "expected the JSON log that txrun writes, OUT_DIR/run_*.json";

Result<Run> readRun(const std::string &path) {
  Result<std::string> text = readFile(path);
  if (!text.ok())
    return text.status();
  if (text->find_first_not_of(" \t\r\n") == std::string::npos)
    return Status::failed(path + ": not a run log: found an empty file, " + expectedText);
  Result<Json> parsed = parseJson(*text);
  if (!parsed.ok()) {
    // A JSON Lines file is JSON up to its first line's end.
    size_t lineEnd = text->find('\n');
    Result<Json> first = parseJson(std::string_view(*text).substr(0, lineEnd));
    if (lineEnd != std::string::npos && first.ok() && first->is_object() && first->contains("event")) {
      std::string document = path.ends_with(".jsonl") ? path.substr(0, path.size() - 1) : "run_*.json";
      return Status::failed(
          path + ": found the lines of a run, one event each; give the document beside it, " + document);
    }
    return Status::failed(path + ": not a run log: " + parsed.status().message() + ", " + expectedText);
  }
  const Json &log = *parsed;
  if (!log.is_object() || !log.contains("training_iterations") || !log.contains("eval_steps"))
    return Status::failed(path + ": not a run log: found " + described(log) + ", " + expectedText +
                          ", with training_iterations and eval_steps");
  Fields fields;
  Run run = readDocument(fields, log);
  if (!fields.error().empty())
    return Status::failed(path + ": " + fields.error());
  run.path = path;
  if (run.name.empty()) {
    run.name = path.substr(path.find_last_of('/') + 1);
    if (run.name.ends_with(".json"))
      run.name.resize(run.name.size() - 5);
  }
  return run;
}

Result<std::vector<Run>> readRuns(const std::vector<std::string> &paths) {
  std::vector<Run> runs;
  std::string errors;
  Code code = Code::Failed;
  for (const std::string &path : paths) {
    Result<Run> run = readRun(path);
    if (run.ok()) {
      runs.push_back(std::move(*run));
      continue;
    }
    code = run.status().code();
    errors += (errors.empty() ? "" : "\n  ") + run.status().message();
  }
  if (!errors.empty())
    return Status(code, errors);
  std::map<std::string, int> count;
  for (const Run &run : runs)
    ++count[run.name];
  for (Run &run : runs)
    if (count[run.name] > 1)
      run.name = run.path;
  return runs;
}

} // namespace txc::compare
