//===- FromCli11.h - A CLI11 program's manual --------------------*- C++ -*-===//
//
// Reads a CLI::App as it stands into a Tool, so that a program that declares its
// commands with CLI11 says nothing twice. What CLI11 has no place for is put so:
//
// * an option's type_name is the name of its value (manual::valueOf), and
//   default_str its default;
// * a command's footer holds its examples, one per line: the command, two or
//   more spaces, what it does.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_MANUAL_FROMCLI11_H
#define TXC_MANUAL_FROMCLI11_H

#include "txc/Manual/Manual.h"

#include <CLI/CLI.hpp>

#include <functional>
#include <sstream>

namespace txc::manual {

inline std::vector<Example> examplesOf(const CLI::App &app) {
  std::vector<Example> out;
  std::istringstream lines(app.get_footer());
  for (std::string line; std::getline(lines, line);) {
    line.erase(0, std::min(line.find_first_not_of(' '), line.size()));
    if (line.empty() || line == "Examples:")
      continue;
    size_t gap = line.find("  ");
    Example example{line.substr(0, gap), ""};
    if (gap != std::string::npos)
      example.meaning = line.substr(line.find_first_not_of(' ', gap));
    out.push_back(std::move(example));
  }
  return out;
}

inline Command commandOf(const CLI::App &app) {
  Command out;
  out.name = app.get_name();
  out.meaning = app.get_description();
  out.examples = examplesOf(app);
  out.groups.push_back({"Options", {}});
  for (const CLI::Option *option : app.get_options()) {
    if (option == app.get_help_ptr() || option == app.get_version_ptr() || option->get_group().empty())
      continue;
    bool flag = option->get_items_expected_max() == 0;
    bool repeats = option->get_items_expected_max() > 1;
    std::string typeName = option->get_type_name();
    if (option->get_positional()) {
      Operand operand{valueOf(typeName == "TEXT" ? option->get_name(true) : typeName),
                      option->get_description(), repeats};
      out.usage += operand.value.name + (repeats ? " ... " : " ");
      out.operands.push_back(std::move(operand));
      continue;
    }
    Option entry;
    entry.name = option->get_lnames().empty() ? option->get_snames().front() : option->get_lnames().front();
    if (!option->get_snames().empty())
      entry.letter = option->get_snames().front();
    if (!flag)
      entry.value = valueOf(typeName);
    entry.meaning = option->get_description();
    entry.defaultText = option->get_default_str();
    out.groups.back().options.push_back(std::move(entry));
  }
  out.usage += "[--key=value ...]";
  return out;
}

inline Tool toolOf(const CLI::App &app, std::string version) {
  Tool out;
  out.name = app.get_name();
  out.version = std::move(version);
  out.meaning = app.get_description();
  out.examples = examplesOf(app);
  for (const CLI::App *command : app.get_subcommands(nullptr))
    out.commands.push_back(commandOf(*command));
  out.groups.push_back({"Options",
                        {{"help", "h", std::nullopt, false, "Print this.", ""},
                         {"version", "", std::nullopt, false, "Print the version.", ""}}});
  return out;
}

/// Makes CLI11 print this manual for --help. `describe` starts from toolOf and adds
/// what CLI11 does not know: environment, exit codes, notes.
class ManualFormatter : public CLI::Formatter {
public:
  explicit ManualFormatter(std::function<Tool(const CLI::App &)> describe) : describe(std::move(describe)) {}
  std::string make_help(const CLI::App *asked, std::string, CLI::AppFormatMode) const override {
    const CLI::App *parent = asked->get_parent();
    return helpText(describe(parent ? *parent : *asked), parent ? asked->get_name() : "");
  }

private:
  std::function<Tool(const CLI::App &)> describe;
};

} // namespace txc::manual

#endif // TXC_MANUAL_FROMCLI11_H
