//===- BashCompletion.cpp - Completion for bash ---------------------------===//
//
// One self-contained function: no bash-completion package is needed. It knows
// two ways in which bash hands over --key=value: as three words (when '=' is
// among COMP_WORDBREAKS, the default) and as one.
//
//===----------------------------------------------------------------------===//

#include "txc/Manual/Manual.h"

#include <map>

namespace txc::manual {
namespace {

std::string quoted(const std::string &text) {
  std::string out = "'";
  for (char c : text)
    out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string choiceWords(const Value &value) {
  std::string out;
  for (const Choice &choice : value.choices)
    out += (out.empty() ? "" : " ") + choice.text;
  return out;
}

// Assignments that say what to offer for a value.
std::string offer(const Value &value) {
  std::string out;
  if (!value.choices.empty())
    out += " words=" + quoted(choiceWords(value));
  if (value.files && value.suffixes.empty())
    out += " files=1";
  if (!value.suffixes.empty()) {
    out += " suffixes='";
    for (size_t i = 0; i < value.suffixes.size(); ++i)
      out += (i ? " " : "") + value.suffixes[i];
    out += "'";
  }
  if (value.folders || value.files)
    out += " folders=1";
  return out.empty() ? "" : out.substr(1);
}

void addOption(const Option &option, std::string &words) {
  words += (words.empty() ? "" : " ") + ("--" + option.name);
  if (option.value && !option.valueIsOptional)
    words += '=';
}

} // namespace

std::string bashCompletion(const Tool &tool) {
  bool single = tool.commands.size() == 1 && tool.commands.front().name.empty();
  std::string commandNames, toolWords;
  for (const Command &command : tool.commands)
    commandNames += (commandNames.empty() ? "" : " ") + command.name;
  for (const Group &group : tool.groups)
    for (const Option &option : group.options)
      addOption(option, toolWords);

  // Names of options after which a separate word is the value; what to offer by
  // command and option. Equal offers share a line.
  std::string separate, words, operands;
  std::map<std::string, std::string> offers;
  std::map<std::string, bool> isSeparate;
  for (const Command &command : tool.commands) {
    std::string list;
    for (const Group &group : command.groups)
      for (const Option &option : group.options) {
        addOption(option, list);
        if (!option.value)
          continue;
        if (!option.letter.empty())
          isSeparate["-" + option.letter] = true;
        if (tool.separateValues && !option.valueIsOptional)
          isSeparate["--" + option.name] = true;
        std::string what = offer(*option.value);
        if (what.empty())
          continue;
        std::string &patterns = offers[what];
        for (std::string name : {"--" + option.name, option.letter.empty() ? "" : "-" + option.letter})
          if (!name.empty())
            patterns += (patterns.empty() ? "" : " | ") + command.name + ":" + name;
      }
    if (!single)
      addOption({"help", "", std::nullopt, false, "", ""}, list);
    words += "    " + (single ? "*" : command.name) + ") options=" + quoted(list) + " ;;\n";
    for (size_t i = 0; i < command.operands.size(); ++i) {
      const Operand &operand = command.operands[i];
      operands += "      " + command.name + ":" + (operand.repeats ? "*" : std::to_string(i)) + ") " +
                  offer(operand.value) + " ;;\n";
    }
  }
  for (const auto &[name, unused] : isSeparate)
    separate += (separate.empty() ? "" : " | ") + name;

  std::string out =
      "# bash completion of " + tool.name + ", made by `" + tool.name + " --print-completion=bash`\n";
  out += "_" + tool.name + "() {\n";
  out += R"(  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  local command= option= prefix= words= options= suffixes= files= folders= operand=0 i suffix
  COMPREPLY=()
  # bash cuts --key=value into three words at '='.
  if [[ $current == '=' ]]; then
    option=$previous current=
  elif [[ $previous == '=' ]]; then
    option=${COMP_WORDS[COMP_CWORD-2]}
  elif [[ $current == --*=* ]]; then
    option=${current%%=*} prefix=${current%%=*}= current=${current#*=}
  fi
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case ${COMP_WORDS[i]} in
      '=') ((++i)) ;;
)";
  if (!separate.empty())
    out += "      " + separate + R"()
        if [[ ${COMP_WORDS[i+1]} != '=' ]]; then
          ((++i))
          ((i == COMP_CWORD)) && option=$previous
        fi ;;
)";
  out += "      -*) ;;\n";
  if (single)
    out += "      *) ((++operand)) ;;\n";
  else
    out += "      *) if [[ -n $command ]]; then ((++operand)); else command=${COMP_WORDS[i]}; fi ;;\n";
  out += "    esac\n  done\n";
  out += "  case $command in\n" + (single ? "" : "    '') options=" + quoted(toolWords) + " ;;\n") + words +
         "  esac\n";
  out += "  if [[ -n $option ]]; then\n    case $command:$option in\n";
  for (const auto &[what, patterns] : offers)
    out += "      " + patterns + ") " + what + " ;;\n";
  out += "    esac\n  elif [[ $current == -* ]]; then\n    words=$options\n";
  if (!single)
    out += "  elif [[ -z $command ]]; then\n    words=" + quoted(commandNames) + "\n";
  out += "  else\n    case $command:$operand in\n" + operands;
  out += "      *) words=$options ;;\n    esac\n  fi\n";
  out += R"(  mapfile -t COMPREPLY < <(
    [[ -n $words ]] && compgen -P "$prefix" -W "$words" -- "$current"
    [[ -n $files ]] && compgen -P "$prefix" -f -- "$current"
    [[ -n $folders && -z $files ]] && compgen -P "$prefix" -d -- "$current"
    for suffix in $suffixes; do
      compgen -P "$prefix" -f -X "!*$suffix" -- "$current"
    done
  )
  [[ -n $files$folders$suffixes ]] && compopt -o filenames 2>/dev/null
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == --*= ]] && compopt -o nospace 2>/dev/null
  return 0
}
)";
  return out + "complete -F _" + tool.name + ' ' + tool.name + '\n';
}

} // namespace txc::manual
