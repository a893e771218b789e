//===- FishCompletion.cpp - Completion for fish ---------------------------===//

#include "txc/Manual/Manual.h"

namespace txc::manual {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "'";
  for (char c : text)
    out += c == '\'' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  return out + "'";
}

// What -a takes for a value; nothing if any text fits.
std::string candidates(const Value &value) {
  if (!value.choices.empty()) {
    std::string list;
    for (const Choice &choice : value.choices)
      list +=
          (list.empty() ? "" : "\n") + choice.text + (choice.meaning.empty() ? "" : "\t" + choice.meaning);
    // Evaluated by fish: one candidate per line.
    return "(echo " + quoted(list) + ")";
  }
  if (!value.suffixes.empty()) {
    std::string list;
    for (const std::string &suffix : value.suffixes)
      list += (list.empty() ? "" : "; ") + ("__fish_complete_suffix " + suffix);
    return "(" + list + ")";
  }
  return value.folders && !value.files ? "(__fish_complete_directories)" : "";
}

std::string offer(const Value &value) {
  std::string list = candidates(value);
  if (!list.empty())
    return " -x -a " + quoted(list);
  return value.files ? " -r -F" : " -x";
}

} // namespace

std::string fishCompletion(const Tool &tool) {
  std::string out =
      "# fish completion of " + tool.name + ", made by `" + tool.name + " --print-completion=fish`\n";
  std::string start = "complete -c " + tool.name;
  out += start + " -f\n";
  bool single = tool.commands.size() == 1 && tool.commands.front().name.empty();
  for (const Group &group : tool.groups)
    for (const Option &option : group.options)
      out += start + " -n __fish_use_subcommand -l " + option.name + " -d " + quoted(option.meaning) + '\n';
  for (const Command &command : tool.commands) {
    std::string here = start;
    if (!single) {
      out += start + " -n __fish_use_subcommand -a " + command.name + " -d " + quoted(command.meaning) + '\n';
      here += " -n '__fish_seen_subcommand_from " + command.name + "'";
    }
    for (const Operand &operand : command.operands) {
      std::string list = candidates(operand.value);
      if (!list.empty())
        out += here + " -a " + quoted(list) + '\n';
      else if (operand.value.files)
        out += here + " -F\n";
    }
    for (const Group &group : command.groups)
      for (const Option &option : group.options) {
        out += here + (option.letter.empty() ? "" : " -s " + option.letter) + " -l " + option.name;
        if (option.value && option.valueIsOptional) // `-x` would demand it
          out += " -a " + quoted(candidates(*option.value));
        else if (option.value)
          out += offer(*option.value);
        out += " -d " + quoted(option.meaning) + '\n';
      }
    if (!single)
      out += here + " -l help -d " + quoted("print the command's options") + '\n';
  }
  return out;
}

} // namespace txc::manual
