//===- options.h - What the user asks of a run -----------------------------===//
//
// The run-time keys of include/txc/Import/Options.def, which also says what
// they mean, plus the options that only txrun has. A value comes from the
// command line, else from the recipe that step.so carries, else from the
// table's default.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_TRAIN_OPTIONS_H
#define TXC_RUNTIME_TRAIN_OPTIONS_H

#include "support/status.h"
#include "txc/Manual/Manual.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace txc {

namespace run {
// clang-format off
#define TXC_ENUM_BEGIN(Enum) enum class Enum {
#define TXC_ENUM_VALUE(Enum, Name, text, meaning) Name,
#define TXC_ENUM_END(Enum) };
#include "txc/Import/Options.def"
// clang-format on
enum class ExportFormat { Hf, Txc };
} // namespace run

struct RunOptions {
#define TXC_FIELD_Compile(type, key, value)
#define TXC_FIELD_Run(type, key, value) type key = value;
#define TXC_INT(section, key, default_, min, max, tool, meaning) TXC_FIELD_##tool(int64_t, key, default_)
#define TXC_AUTO_INT(section, key, min, max, tool, derived, meaning) TXC_FIELD_##tool(int64_t, key, 0)
#define TXC_REAL(section, key, default_, min, max, tool, meaning) TXC_FIELD_##tool(double, key, default_)
#define TXC_AUTO_REAL(section, key, min, max, tool, derived, meaning) TXC_FIELD_##tool(double, key, 0)
#define TXC_BOOL(section, key, default_, tool, meaning) TXC_FIELD_##tool(bool, key, default_)
#define TXC_CHOICE(section, key, Enum, Default, tool, meaning)                                               \
  TXC_FIELD_##tool(run::Enum, key, run::Enum::Default)
#define TXC_STRING(section, key, default_, tool, meaning) TXC_FIELD_##tool(std::string, key, default_)
#include "txc/Import/Options.def"
#undef TXC_FIELD_Compile
#undef TXC_FIELD_Run

  // Of txrun alone.
  int64_t threads = 0;
  int64_t device = -1; // GPU; negative: that of the rank's number on its host
  bool graphs = true;
  bool tune = false;
  int64_t profile = 0; // iterations; 0: train
  int64_t nproc = 1;   // ranks to start on this host
  double comm_timeout = 600;
  bool quiet = false;
  bool json = false;
  std::string dump_tensors;
  // A folder to write the weights to, instead of training; and how.
  std::string export_to;
  run::ExportFormat export_format = run::ExportFormat::Hf;
};

// What the command line says, every value checked by itself.
struct Command {
  enum class Action { Train, Help, Version } action = Action::Train;
  std::string stepPath;
  std::vector<std::pair<std::string, std::string>> overrides;
};

Result<Command> parseCommandLine(const std::vector<std::string> &arguments);

// Joins the table's defaults, the recipe and the overrides, and checks what
// values mean together. `config` is the metadata's object of all options; it
// may be grouped in sections.
Result<RunOptions> resolveOptions(const nlohmann::ordered_json &config, const Command &command);

// Every run-time option and its value, as the log shows them.
nlohmann::ordered_json toJson(const RunOptions &options);

// Those that a checkpoint keeps for whoever resumes from it: all keys of a spec that
// txrun reads, but for where it writes and what it does besides training.
nlohmann::ordered_json savedOptions(const RunOptions &options);
// `command` where these hold unless it says otherwise.
Result<Command> withSavedOptions(const Command &command, const nlohmann::ordered_json &saved);

// `config` without its sections, if it has any.
nlohmann::ordered_json flattened(const nlohmann::ordered_json &config);

std::string helpText();

// Options and examples, for the man page and completion.
manual::Tool describeTool();

} // namespace txc

#endif // TXC_RUNTIME_TRAIN_OPTIONS_H
