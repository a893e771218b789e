//===- command_line.cpp - Command line of txc, and the keys that it changes ---===//
//
// Parts of an input: the command line, an argument per line; the spec that its
// --key=value change.
//
//===----------------------------------------------------------------------===//
#include "fuzz.h"

#include "../../lib/Driver/CommandLine.h"

#include "llvm/Support/CommandLine.h"

using namespace txc;

static void check(bool holds) {
  if (!holds)
    std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::vector<std::string_view> parts = fuzz::split(fuzz::asText(data, size), 2);
  std::vector<std::string> arguments = {"txc"};
  for (std::string_view rest = parts[0]; !rest.empty();) {
    size_t end = rest.find('\n');
    // What a program is given has no zeros.
    arguments.push_back(std::string(rest.substr(0, std::min(end, rest.find('\0')))));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  std::vector<char *> argv;
  for (std::string &argument : arguments)
    argv.push_back(argument.data());
  argv.push_back(nullptr);

  // MLIR's options keep that they were given.
  llvm::cl::ResetAllOptionOccurrences();
  std::string errors;
  llvm::raw_string_ostream os(errors);
  std::optional<driver::CommandLine> line =
      driver::parseCommandLine(static_cast<int>(arguments.size()), argv.data(), os);
  // MLIR's options say to standard error what is wrong with their values.
  bool ofMlir = llvm::any_of(arguments, [](llvm::StringRef a) { return a.starts_with("--mlir-"); });
  check(line ? errors.empty() : !errors.empty() || ofMlir);
  if (!line)
    return 0;
  if (line->command == driver::Command::Help)
    check(!manual::helpText(driver::describeTool(), line->helpOn).empty());
  if (line->command != driver::Command::Compile && line->command != driver::Command::Explain)
    return 0;
  check(!line->input.empty() && !line->output.empty() && line->emit >= line->from.value_or(line->emit));

  import::Spec spec;
  bool good = import::parseSpec({parts[1].data(), parts[1].size()}, "none/spec.yaml", line->overrides, os,
                                spec) == import::LoadStatus::Ok;
  check(good == errors.empty());
  if (!good)
    return 0;
  settleForTarget(spec, line->target != "auto" && line->target != "cpu");
  check(!spec.architectureName().empty() && !spec.toJson().empty());
  return 0;
}
