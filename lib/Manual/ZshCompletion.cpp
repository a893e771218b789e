//===- ZshCompletion.cpp - Completion for zsh -----------------------------===//

#include "txc/Manual/Manual.h"

namespace txc::manual {
namespace {

// Inside single quotes, with what _arguments reads as its own escaped.
std::string escaped(std::string_view text, std::string_view special) {
  std::string out;
  for (char c : text) {
    if (c == '\'')
      out += "'\\''";
    else if (special.find(c) != std::string_view::npos)
      out += std::string("\\") + c;
    else
      out += c;
  }
  return out;
}

std::string action(const Value &value) {
  std::string out;
  if (!value.choices.empty()) {
    out = "((";
    for (const Choice &choice : value.choices)
      out += (out.size() > 2 ? " " : "") + escaped(choice.text, "\\:") + "\\:\"" +
             escaped(choice.meaning.empty() ? choice.text : choice.meaning, "\\:\"$`[]()") + "\"";
    return out + "))";
  }
  if (!value.suffixes.empty()) {
    std::string list;
    for (const std::string &suffix : value.suffixes)
      list += (list.empty() ? "" : "|") + suffix.substr(1);
    return "_files -g \"*.(" + list + ")\"";
  }
  if (value.files)
    return "_files";
  return value.folders ? "_files -/" : " ";
}

std::string line(const std::string &text) { return " \\\n      '" + text + "'"; }

std::string argumentsOf(const Tool &tool, const Command &command) {
  std::string out;
  for (const Group &group : command.groups)
    for (const Option &option : group.options) {
      std::string meaning = "[" + escaped(option.meaning, "\\[]:") + "]";
      if (!option.value) {
        out += line("--" + option.name + meaning);
        continue;
      }
      std::string value = (option.valueIsOptional ? "::" : ":") + escaped(option.value->name, "\\:") + ":" +
                          action(*option.value);
      bool onlyJoined = !tool.separateValues || option.valueIsOptional;
      out += line("--" + option.name + (onlyJoined ? "=-" : "=") + meaning + value);
      if (!option.letter.empty())
        out += line("-" + option.letter + meaning + value);
    }
  for (const Operand &operand : command.operands)
    out += line((operand.repeats ? "*:" : ":") + escaped(operand.value.name, "\\:") + ":" +
                action(operand.value));
  return out + "\n";
}

} // namespace

std::string zshCompletion(const Tool &tool) {
  std::string out = "#compdef " + tool.name + "\n# Made by `" + tool.name + " --print-completion=zsh`.\n\n";
  out += "_" + tool.name + "() {\n";
  if (tool.commands.size() == 1 && tool.commands.front().name.empty()) {
    out += "  _arguments -S" + argumentsOf(tool, tool.commands.front());
  } else {
    out += "  local curcontext=$curcontext state line\n  typeset -A opt_args\n  _arguments -C";
    for (const Group &group : tool.groups)
      for (const Option &option : group.options)
        out += line("(- *)--" + option.name + "[" + escaped(option.meaning, "\\[]:") + "]");
    out += line("1:command:->command") + line("*::argument:->argument") + "\n";
    out += "  case $state in\n  command)\n    local -a commands=(\n";
    for (const Command &command : tool.commands)
      out += "      '" + command.name + ":" + escaped(command.meaning, "\\:") + "'\n";
    out += "    )\n    _describe -t commands command commands\n    ;;\n  argument)\n    case $words[1] in\n";
    for (const Command &command : tool.commands)
      out += "    " + command.name + ")\n      _arguments -S '--help[print the command'\\''s options]'" +
             argumentsOf(tool, command) + "      ;;\n";
    out += "    esac\n    ;;\n  esac\n";
  }
  return out + "}\n\n_" + tool.name + " \"$@\"\n";
}

} // namespace txc::manual
