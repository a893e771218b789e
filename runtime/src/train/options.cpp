//===- options.cpp - What the user asks of a run ---------------------------===//
#include "train/options.h"

#include "support/file.h"
#include "support/text.h"
#include "txc/Manual/Manual.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

namespace txc {

using Json = nlohmann::ordered_json;

namespace {

struct OptionInfo {
  std::string key;
  bool runTime = true;
  bool flag = false;
  std::string values; // what to write, for --help
  std::string defaultText, meaning;
  std::function<Status(RunOptions &, const std::string &)> set;
  std::function<Json(const RunOptions &)> get;
};

struct Choice {
  const char *text;
  int value;
};

// The choices of each enumeration; an alias is accepted but not listed.
struct Choices {
  std::vector<Choice> listed, aliases;
};

const Choices &choicesOf(const std::string &name) {
  static const std::map<std::string, Choices> all = [] {
    std::map<std::string, Choices> out;
#define TXC_ENUM_VALUE(Enum, Name, text, meaning)                                                            \
  out[#Enum].listed.push_back({text, static_cast<int>(run::Enum::Name)});
#define TXC_ENUM_ALIAS(Enum, Name, text)                                                                     \
  out[#Enum].aliases.push_back({text, static_cast<int>(run::Enum::Name)});
#include "txc/Import/Options.def"
    out["ExportFormat"].listed = {{"hf", static_cast<int>(run::ExportFormat::Hf)},
                                  {"txc", static_cast<int>(run::ExportFormat::Txc)}};
    return out;
  }();
  return all.at(name);
}

std::string listOf(const Choices &choices) {
  std::string out;
  for (const Choice &choice : choices.listed)
    out += (out.empty() ? "" : "|") + std::string(choice.text);
  return out;
}

Status expected(const std::string &what) { return Status::usage("expected " + what); }

std::string shortNumber(double value) { return format("%.10g", value); }

OptionInfo wholeNumber(const char *key, int64_t RunOptions::*field, int64_t min, int64_t max,
                       std::string defaultText, const char *meaning, bool canBeAuto = false) {
  auto set = [=](RunOptions &options, const std::string &text) -> Status {
    if (canBeAuto && text == "auto") {
      options.*field = 0;
      return {};
    }
    Result<int64_t> value = parseWholeNumber(text);
    if (!value.ok())
      return value.status();
    if (*value < min || *value > max)
      return expected(format("%lld to %lld", static_cast<long long>(min), static_cast<long long>(max)));
    options.*field = *value;
    return {};
  };
  auto get = [=](const RunOptions &options) -> Json { return options.*field; };
  return {key, true, false, canBeAuto ? "N|auto" : "N", std::move(defaultText), meaning, set, get};
}

OptionInfo realNumber(const char *key, double RunOptions::*field, double min, double max,
                      std::string defaultText, const char *meaning) {
  auto set = [=](RunOptions &options, const std::string &text) -> Status {
    Result<double> value = parseNumber(text);
    if (!value.ok())
      return value.status();
    if (*value < min || *value > max)
      return expected(shortNumber(min) + " to " + shortNumber(max));
    options.*field = *value;
    return {};
  };
  auto get = [=](const RunOptions &options) -> Json { return options.*field; };
  return {key, true, false, "X", std::move(defaultText), meaning, set, get};
}

OptionInfo truth(const char *key, bool RunOptions::*field, bool value, const char *meaning) {
  auto set = [=](RunOptions &options, const std::string &text) -> Status {
    Result<bool> parsed = parseTruth(text);
    if (!parsed.ok())
      return parsed.status();
    options.*field = *parsed;
    return {};
  };
  auto get = [=](const RunOptions &options) -> Json { return options.*field; };
  return {key, true, true, "", value ? "true" : "false", meaning, set, get};
}

OptionInfo textOption(const char *key, std::string RunOptions::*field, std::string defaultText,
                      const char *values, const char *meaning) {
  // Text may be empty where it is by default.
  auto set = [=, canBeEmpty = defaultText.empty()](RunOptions &options, const std::string &value) -> Status {
    if (value.empty() && !canBeEmpty)
      return expected("some text");
    options.*field = value;
    return {};
  };
  auto get = [=](const RunOptions &options) -> Json {
    return (options.*field).empty() ? Json() : Json(options.*field);
  };
  return {key, true, false, values, std::move(defaultText), meaning, set, get};
}

template <typename Enum>
OptionInfo choiceOption(const char *key, Enum RunOptions::*field, const char *enumName, Enum value,
                        const char *meaning) {
  const Choices &choices = choicesOf(enumName);
  auto set = [&choices, field](RunOptions &options, const std::string &text) -> Status {
    for (const auto *list : {&choices.listed, &choices.aliases})
      for (const Choice &choice : *list)
        if (text == choice.text) {
          options.*field = static_cast<Enum>(choice.value);
          return {};
        }
    return expected(listOf(choices));
  };
  auto get = [&choices, field](const RunOptions &options) -> Json {
    for (const Choice &choice : choices.listed)
      if (static_cast<int>(options.*field) == choice.value)
        return choice.text;
    return nullptr;
  };
  std::string defaultText;
  for (const Choice &choice : choices.listed)
    if (choice.value == static_cast<int>(value))
      defaultText = choice.text;
  return {key, true, false, listOf(choices), defaultText, meaning, set, get};
}

OptionInfo compileTime(const char *key) {
  OptionInfo info;
  info.key = key;
  info.runTime = false;
  return info;
}

const std::vector<OptionInfo> &allOptions() {
  static const std::vector<OptionInfo> options = [] {
    std::vector<OptionInfo> out;
#define TXC_ADD_Compile(key, ...) out.push_back(compileTime(#key));
#define TXC_ADD_Run(key, ...) out.push_back(__VA_ARGS__);
#define TXC_INT(section, key, default_, min, max, tool, meaning)                                             \
  TXC_ADD_##tool(key, wholeNumber(#key, &RunOptions::key, min, max, std::to_string(default_), meaning))
#define TXC_AUTO_INT(section, key, min, max, tool, derived, meaning)                                         \
  TXC_ADD_##tool(key, wholeNumber(#key, &RunOptions::key, min, max, derived, meaning, true))
#define TXC_REAL(section, key, default_, min, max, tool, meaning)                                            \
  TXC_ADD_##tool(key, realNumber(#key, &RunOptions::key, min, max, shortNumber(default_), meaning))
#define TXC_AUTO_REAL(section, key, min, max, tool, derived, meaning)                                        \
  TXC_ADD_##tool(key, realNumber(#key, &RunOptions::key, min, max, derived, meaning))
#define TXC_BOOL(section, key, default_, tool, meaning)                                                      \
  TXC_ADD_##tool(key, truth(#key, &RunOptions::key, default_, meaning))
#define TXC_CHOICE(section, key, Enum, Default, tool, meaning)                                               \
  TXC_ADD_##tool(key, choiceOption(#key, &RunOptions::key, #Enum, run::Enum::Default, meaning))
#define TXC_STRING(section, key, default_, tool, meaning)                                                    \
  TXC_ADD_##tool(key, textOption(#key, &RunOptions::key, default_, "TEXT", meaning))
#include "txc/Import/Options.def"
#undef TXC_ADD_Compile
#undef TXC_ADD_Run
    out.push_back(wholeNumber("threads", &RunOptions::threads, 1, 4096, "OMP_NUM_THREADS, else all cores",
                              "CPU threads."));
    out.push_back(wholeNumber("device", &RunOptions::device, 0, 1023, "the rank's on its host, else 0",
                              "Number of the GPU, among those that CUDA_VISIBLE_DEVICES shows."));
    out.back().get = [](const RunOptions &options) {
      return options.device < 0 ? Json() : Json(options.device);
    };
    out.push_back(
        truth("tune", &RunOptions::tune, false,
              "On a GPU: measure the library's algorithms for each matrix product that was not measured "
              "before, and keep the choice in ~/.cache/txc for all later runs."));
    out.push_back(
        truth("graphs", &RunOptions::graphs, true,
              "On a GPU: replay entries as CUDA graphs. For debugging, --no-graphs enqueues every command "
              "by itself; with CUDA_LAUNCH_BLOCKING=1 in the environment an error then names its command."));
    out.push_back(
        wholeNumber("profile", &RunOptions::profile, 0, 1000000, "0",
                    "Time every command over N iterations after a few to warm up, write the table to "
                    "OUT_DIR/profile.json and stop; 0: train."));
    out.push_back(
        wholeNumber("nproc", &RunOptions::nproc, 1, 1024, "1",
                    "Start this many ranks on this host; as many as step.so was compiled for. Other "
                    "launchers (torchrun, srun, mpirun) are recognised by their environment."));
    out.push_back(realNumber("comm_timeout", &RunOptions::comm_timeout, 1, 1e6, "600",
                             "Seconds after which a rank that the others wait for is given up."));
    out.push_back(truth("quiet", &RunOptions::quiet, false,
                        "Print errors and the texts of --sample only; the log is written all the same."));
    out.push_back(truth("json", &RunOptions::json, false,
                        "Print one JSON object per line, those of the .jsonl log, instead of text."));
    out.push_back(textOption("dump_tensors", &RunOptions::dump_tensors, "none", "DIR",
                             "For debugging: write initial parameters (DIR/init/NAME.npy), every batch "
                             "(DIR/iterN/tokens.M.npy, targets.M.npy) and the gradients of every iteration "
                             "(DIR/iterN/grad/NAME.npy, mean over the micro batches, before clipping)."));
    out.push_back(
        textOption("export", &RunOptions::export_to, "none", "DIR",
                   "Write the weights of --init_from to a new folder, without training; no data set and "
                   "no GPU are needed."));
    out.push_back(
        choiceOption("export_format", &RunOptions::export_format, "ExportFormat", run::ExportFormat::Hf,
                     "Layout of --export: hf is Hugging Face's Llama or GPT-2, with config.json; txc is "
                     "txc's own."));
    return out;
  }();
  return options;
}

const OptionInfo *findOption(const std::string &key) {
  for (const OptionInfo &option : allOptions())
    if (option.key == key)
      return &option;
  return nullptr;
}

Status unknownOption(const std::string &argument) {
  std::string key = argument.substr(0, argument.find('='));
  key.erase(0, key.find_first_not_of('-'));
  for (char &c : key)
    c = c == '-' ? '_' : c;
  std::string value =
      argument.find('=') == std::string::npos ? "..." : argument.substr(argument.find('=') + 1);
  static const std::map<std::string, std::string> foreign = {
#define TXC_FOREIGN(name, remedy) {name, remedy},
#include "txc/Import/Options.def"
  };
  auto compileHint = [&](const std::string &name) {
    return "compile again with `txc compile SPEC.yaml --" + name + "=" + value + " -o step.so`";
  };
  if (const OptionInfo *option = findOption(key); option && !option->runTime)
    return Status::usage("--" + key + " is fixed in step.so when it is compiled, txrun cannot change it; " +
                         compileHint(key));
  std::vector<std::string> names = {"help", "version"};
  for (const OptionInfo &option : allOptions())
    names.push_back(option.key);
  std::string message = "unknown option " + argument.substr(0, argument.find('='));
  if (auto known = foreign.find(key); known != foreign.end())
    return Status::usage(message + "; " + known->second);
  std::string nearest = nearestName(key, names);
  if (nearest.empty())
    return Status::usage(message + "; `txrun --help` lists all options");
  const OptionInfo *option = findOption(nearest);
  if (option && !option->runTime)
    return Status::usage(message + "; did you mean --" + nearest +
                         "? That one is fixed when compiling: " + compileHint(nearest));
  return Status::usage(message + "; did you mean --" + nearest + "?");
}

} // namespace

Result<Command> parseCommandLine(const std::vector<std::string> &arguments) {
  // A flag may be written as two words, `--eval_only true`, and as --no-KEY.
  std::vector<std::string> words;
  for (size_t i = 0; i < arguments.size(); ++i) {
    words.push_back(arguments[i]);
    if (arguments[i].rfind("--no-", 0) == 0 || arguments[i].rfind("--no_", 0) == 0)
      if (const OptionInfo *option = findOption(arguments[i].substr(5)); option && option->flag)
        words.back() = "--" + option->key + "=false";
    if (arguments[i].rfind("--", 0) == 0 && i + 1 < arguments.size()) {
      const OptionInfo *option = findOption(arguments[i].substr(2));
      if (option && option->flag && parseTruth(arguments[i + 1]).ok())
        words.back() += "=" + arguments[++i];
    }
  }

  Command command;
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  bool help = false, version = false;
  std::vector<std::string> paths;
  app.add_flag("--help,-h", help);
  app.add_flag("--version", version);
  std::map<std::string, std::string> values;
  std::vector<std::pair<const OptionInfo *, CLI::Option *>> known;
  for (const OptionInfo &option : allOptions()) {
    if (!option.runTime)
      continue;
    std::string &value = values[option.key];
    CLI::Option *added =
        option.flag ? app.add_flag("--" + option.key, value) : app.add_option("--" + option.key, value);
    added->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    known.push_back({&option, added});
  }
  try {
    // CLI11 takes the words in reverse.
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
  } catch (const CLI::ParseError &error) {
    return Status::usage(std::string(error.what()) + "; see txrun --help");
  }
  if (help || version) {
    command.action = help ? Command::Action::Help : Command::Action::Version;
    return command;
  }
  for (const std::string &word : app.remaining()) {
    if (word.size() > 1 && word[0] == '-')
      return unknownOption(word);
    paths.push_back(word);
  }
  RunOptions scratch;
  for (const auto &[option, added] : known) {
    if (added->count() == 0)
      continue;
    const std::string &value = values[option->key];
    if (Status status = option->set(scratch, value); !status.ok())
      return Status::usage("--" + option->key + "=" + value + ": " + status.message());
    command.overrides.push_back({option->key, value});
  }
  if (paths.empty())
    return Status::usage(
        "no step file given; usage: txrun step.so --dataset=NAME [--key=value ...], see txrun --help");
  if (paths.size() > 1)
    return Status::usage("'" + paths[1] + "': one step file is enough, '" + paths[0] +
                         "' is it; write options as --key=value");
  command.stepPath = paths[0];
  return command;
}

Json flattened(const Json &config) {
  Json out = Json::object();
  if (!config.is_object())
    return out;
  for (const auto &[key, value] : config.items()) {
    if (value.is_object())
      out.update(value);
    else
      out[key] = value;
  }
  return out;
}

Result<RunOptions> resolveOptions(const Json &config, const Command &command) {
  RunOptions options;
  Json recipe = flattened(config);
  for (const OptionInfo &option : allOptions()) {
    auto found = recipe.find(option.key);
    // Text that is not given is null or empty.
    if (!option.runTime || found == recipe.end() || found->is_null() || *found == "")
      continue;
    std::string text = found->is_string() ? found->get<std::string>() : found->dump();
    if (Status status = option.set(options, text); !status.ok())
      return Status::failed(command.stepPath + ": its recipe has " + option.key + ": " + text + "; " +
                            status.message() + "; compile it again or give --" + option.key);
  }
  for (const auto &[key, value] : command.overrides)
    if (Status status = findOption(key)->set(options, value); !status.ok())
      return Status::usage("--" + key + "=" + value + ": " + status.message());

  if (options.lr_decay_iters == 0)
    options.lr_decay_iters = std::max<int64_t>(options.max_iters, 1);
  const std::string &from = options.init_from, suffix = ".safetensors";
  const bool isFile =
      from.size() > suffix.size() && from.compare(from.size() - suffix.size(), suffix.size(), suffix) == 0;
  if (from != "scratch" && from != "resume" && !isFile && !isDirectory(from))
    return Status::usage(
        "--init_from=" + from +
        ": expected scratch, resume, a FILE.safetensors or a folder of weights; there is no folder "
        "of this name");
  return options;
}

Json savedOptions(const RunOptions &options) {
  static const std::vector<std::string> ofThisRunAlone = {"out_dir", "init_from", "eval_only", "sample"};
  Json out = Json::object();
  for (const OptionInfo &option : allOptions()) {
    if (option.key == "threads") // the first that is no key of a spec
      break;
    if (option.runTime &&
        std::find(ofThisRunAlone.begin(), ofThisRunAlone.end(), option.key) == ofThisRunAlone.end())
      out[option.key] = option.get(options);
  }
  return out;
}

Result<Command> withSavedOptions(const Command &command, const Json &saved) {
  Command out = command;
  out.overrides.clear();
  const Json known = savedOptions(RunOptions());
  for (const auto &[key, value] : saved.items()) {
    if (!known.contains(key) || value.is_null())
      continue;
    std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    RunOptions scratch;
    if (Status status = findOption(key)->set(scratch, text); !status.ok())
      return Status::failed(key + ": " + text + ": " + status.message());
    out.overrides.push_back({key, text});
  }
  out.overrides.insert(out.overrides.end(), command.overrides.begin(), command.overrides.end());
  return out;
}

Json toJson(const RunOptions &options) {
  Json out = Json::object();
  for (const OptionInfo &option : allOptions())
    if (option.runTime)
      out[option.key] = option.get(options);
  return out;
}

manual::Tool describeTool() {
  manual::Tool tool;
  tool.name = "txrun";
  tool.version = TXC_VERSION;
  tool.meaning = "trains a compiled step";
  manual::Command command;
  command.examples = {{"txrun step.so --dataset=shakespeare_char", ""},
                      {"txrun step.so --dataset=data/mine --max_iters=500 --learning_rate=3e-4", ""},
                      {"txrun step.so --init_from=resume", ""},
                      {"txrun step.so --init_from=models/TinyLlama-1.1B --dataset=data/mine", ""},
                      {"txrun step.so --init_from=resume --export=models/mine", ""},
                      {"txrun step.so --dataset=shakespeare_char --eval_only", ""},
                      {"txrun step.so --dataset=shakespeare_char --sample --prompt=\"ROMEO:\"", ""},
                      {"txrun step.so --max_iters=10 --json | jq .loss", ""},
                      {"txrun --nproc=2 step.so --dataset=shakespeare_char", ""}};
  command.usage = "step.so [--key=value | --key value ...]";
  command.operands = {{manual::valueOf("step.so", {".so"}), "what `txc compile SPEC.yaml -o step.so` wrote"}};
  command.groups = manual::keyGroups(manual::Keys::Run);
  manual::Group own{"Of this run alone", {}};
  for (const OptionInfo &option : allOptions()) {
    if (!option.runTime)
      continue;
    bool isKey = false;
    for (const manual::Group &group : command.groups)
      for (const manual::Option &known : group.options)
        isKey |= known.name == option.key;
    if (isKey)
      continue;
    manual::Option entry{option.key,
                         "",
                         manual::valueOf(option.flag ? "true|false" : option.values),
                         option.flag,
                         option.meaning,
                         option.defaultText};
    own.options.push_back(std::move(entry));
  }
  own.options.push_back({"help", "h", std::nullopt, false, "Print this.", ""});
  own.options.push_back({"version", "", std::nullopt, false, "Print the version.", ""});
  command.groups.push_back(std::move(own));
  command.notes = {
      "`txc explain step.so` shows what is in a step. Its recipe gives the defaults of the options "
      "below; in brackets is what holds when the recipe says nothing. Architecture, batch_size, "
      "block_size and dtype are fixed in step.so: give them to txc.",
      "A dataset NAME is looked for as a folder of that name, then in $TXC_DATA_DIR, ./data and "
      "~/.cache/txc/datasets; `txdata prepare` makes one."};
  tool.commands = {std::move(command)};
  tool.environment = {
      {"OMP_NUM_THREADS", "CPU threads, unless --threads says"},
      {"TXC_DATA_DIR", "a folder of data sets"},
      {"CUDA_VISIBLE_DEVICES", "GPUs that the driver shows, in the order of --device"},
      {"RANK, WORLD_SIZE", "which of how many ranks this is; also OMPI_COMM_WORLD_*, PMI_* and SLURM_*"},
      {"LOCAL_RANK", "which of those on its host, and with it which GPU unless --device says; likewise"},
      {"MASTER_ADDR, MASTER_PORT", "where rank 0 waits for the others"},
      {"TXC_NCCL_LIBRARY", "the file of NCCL, if not libnccl.so.2"},
      {"TXC_MPI_LIBRARY, TXC_MPIRUN",
       "the file of txc's MPI plugin; the program that --nproc starts on a CPU"},
      {"TXC_CUDA_LIBRARY", "the file of NVIDIA's driver library, if not libcuda.so.1"},
      {"TXC_CUBLASLT_LIBRARY", "the file of cuBLASLt; docs/gpu.md says where it is looked for"},
      {"XDG_CACHE_HOME", "folder of the folder txc, where --tune keeps its choices; else ~/.cache"},
      {"NO_COLOR", "if set and not empty: no bold text on a terminal"}};
  tool.exitCodes = {
      {"0", "done"},
      {"1", "bad input"},
      {"2", "wrong usage"},
      {"3", "device or library failed, or another rank"},
      {"4", "training diverged"},
      {"130, 143", "interrupted, terminated: after finishing the iteration, its log and a checkpoint"}};
  tool.seeAlso = {"txc", "txdata", "txreport"};
  return tool;
}

std::string helpText() { return manual::helpText(describeTool()); }

} // namespace txc
