//===- Help.cpp - Text for --help -----------------------------------------===//
//
// Examples first, then usage, then options by group. Meanings stand beside
// short options and under long ones.
//
//===----------------------------------------------------------------------===//

#include "txc/Manual/Manual.h"

namespace txc::manual {

std::string wrapped(std::string_view text, size_t column, size_t indent, size_t width) {
  std::string out;
  bool lineHasWord = false;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find(' ', begin), text.size());
    std::string_view word = text.substr(begin, end - begin);
    begin = end + 1;
    if (word.empty())
      continue;
    if (lineHasWord && column + 1 + word.size() > width) {
      out += '\n' + std::string(indent, ' ');
      column = indent;
      lineHasWord = false;
    }
    if (lineHasWord) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    lineHasWord = true;
  }
  return out;
}

namespace {

constexpr size_t meaningColumn = 26;

std::string row(const std::string &head, const std::string &meaning) {
  std::string out = "  " + head;
  if (meaning.empty())
    return out + '\n';
  if (out.size() + 2 > meaningColumn) {
    out += '\n' + std::string(meaningColumn, ' ');
  } else {
    out.append(meaningColumn - out.size(), ' ');
  }
  return out + wrapped(meaning, meaningColumn, meaningColumn) + '\n';
}

std::string optionHead(const Option &option) {
  std::string head = (option.letter.empty() ? "" : "-" + option.letter + ", ") + "--" + option.name;
  if (!option.value)
    return head;
  return head + (option.valueIsOptional ? "[=" + option.value->name + "]" : "=" + option.value->name);
}

std::string groupsText(const std::vector<Group> &groups) {
  std::string out;
  for (const Group &group : groups) {
    out += '\n' + group.title + ":\n";
    for (const Option &option : group.options)
      out += row(optionHead(option),
                 option.meaning + (option.defaultText.empty() ? "" : " [" + option.defaultText + "]"));
  }
  return out;
}

std::string examplesText(const std::vector<Example> &examples) {
  std::string out = "Examples:\n";
  for (const Example &example : examples) {
    out += "  " + example.command + '\n';
    if (!example.meaning.empty())
      out += "      " + wrapped(example.meaning, 6, 6) + '\n';
  }
  return out + '\n';
}

std::string notesText(const std::vector<std::string> &notes) {
  std::string out;
  for (const std::string &note : notes)
    out += '\n' + wrapped(note, 0, 0) + '\n';
  return out;
}

std::string listText(const char *title, const std::vector<Choice> &list) {
  if (list.empty())
    return "";
  std::string out = std::string("\n") + title + ":\n";
  for (const Choice &entry : list)
    out += row(entry.text, entry.meaning);
  return out;
}

// Everything of a command from its usage on.
std::string commandText(const Tool &tool, const Command &command) {
  std::string words = tool.name + (command.name.empty() ? "" : " " + command.name);
  std::string out = "Usage:\n  " + words + ' ' + command.usage + '\n' + notesText(command.notes);
  if (!command.operands.empty())
    out += '\n';
  for (const Operand &operand : command.operands)
    out += row(operand.value.name + (operand.repeats ? " ..." : ""), operand.meaning);
  return out + groupsText(command.groups);
}

} // namespace

std::string helpText(const Tool &tool, std::string_view name) {
  for (const Command &command : tool.commands)
    if (!name.empty() && command.name == name)
      return wrapped(tool.name + ' ' + command.name + ": " + command.meaning, 0, 0) + "\n\n" +
             examplesText(command.examples) + commandText(tool, command);
  std::string out = wrapped(tool.name + ": " + tool.meaning, 0, 0) + "\n\n";
  if (tool.commands.size() == 1 && tool.commands.front().name.empty()) {
    const Command &command = tool.commands.front();
    out += examplesText(command.examples) + commandText(tool, command);
  } else {
    out += examplesText(tool.examples) + "Usage:\n";
    for (const Command &command : tool.commands)
      out += "  " + tool.name + ' ' + command.name + ' ' + command.usage + '\n';
    out += "\nCommands:\n";
    for (const Command &command : tool.commands)
      out += row(command.name, command.meaning);
    out += "\n`" + tool.name + " COMMAND --help` lists a command's options.\n";
  }
  return out + groupsText(tool.groups) + notesText(tool.notes) + listText("Environment", tool.environment) +
         listText("Exit codes", tool.exitCodes);
}

} // namespace txc::manual
