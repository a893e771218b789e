//===- ManPage.cpp - Manual pages -----------------------------------------===//
//
// man(7) macros, which man-db, mandoc and groff all read. The date is that of
// the project's version, so that a build gives the same bytes every day.
//
//===----------------------------------------------------------------------===//

#include "txc/Manual/Manual.h"

namespace txc::manual {
namespace {

// Text in which nothing is a command of roff; dashes stay what a user types.
std::string plain(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else if (c == '`')
      out += "\\(aq";
    else
      out += c;
  }
  if (!out.empty() && (out[0] == '.' || out[0] == '\''))
    out.insert(0, "\\&");
  return out;
}

// An argument of a macro.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : plain(text))
    out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + '"';
}

std::string upper(std::string text) {
  for (char &c : text)
    c = c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c;
  return text;
}

std::string capital(std::string text) {
  return text.empty() ? text : upper(text.substr(0, 1)) + text.substr(1);
}

std::string sentence(std::string text) {
  if (!text.empty() && text.back() != '.')
    text += '.';
  return text;
}

// A paragraph in lines that people can edit, each escaped for itself.
std::string text(std::string_view words) {
  std::string lines = wrapped(words, 0, 0, 72), out;
  for (size_t begin = 0; begin <= lines.size();) {
    size_t end = std::min(lines.find('\n', begin), lines.size());
    out += plain(std::string_view(lines).substr(begin, end - begin)) + '\n';
    begin = end + 1;
  }
  return out;
}

std::string tagged(const std::string &tag, const std::string &meaning) {
  return ".TP\n" + tag + '\n' + text(meaning);
}

std::string bold(std::string_view text) { return "\\fB" + plain(text) + "\\fR"; }
std::string italic(std::string_view text) { return "\\fI" + plain(text) + "\\fR"; }

std::string optionTag(const Option &option) {
  std::string tag = option.letter.empty() ? "" : bold("-" + option.letter) + ", ";
  tag += bold("--" + option.name);
  if (!option.value)
    return tag;
  std::string value = italic(option.value->name);
  return tag + (option.valueIsOptional ? "[=" + value + "]" : "=" + value);
}

std::string optionText(const Option &option) {
  std::string out = tagged(optionTag(option), sentence(option.meaning));
  if (option.value && !option.value->range.empty())
    out += text("Takes " + option.value->range + ".");
  if (!option.defaultText.empty())
    out += text("Default: " + sentence(option.defaultText));
  bool explained = false;
  if (option.value)
    for (const Choice &choice : option.value->choices)
      explained |= !choice.meaning.empty();
  if (!explained)
    return out;
  out += ".RS\n";
  for (const Choice &choice : option.value->choices)
    out += tagged(bold(choice.text), sentence(choice.meaning));
  return out + ".RE\n";
}

std::string groupsText(const std::vector<Group> &groups) {
  std::string out;
  for (const Group &group : groups) {
    out += ".SS " + quoted(group.title) + '\n';
    for (const Option &option : group.options)
      out += optionText(option);
  }
  return out;
}

// Groups that an earlier command has too are named, not repeated.
std::string newGroupsText(const Tool &tool, const Command &command) {
  std::vector<Group> fresh;
  std::string known;
  const Command *earlier = nullptr;
  for (const Group &group : command.groups) {
    bool seen = false;
    for (const Command *each = tool.commands.data(); each != &command && !seen; ++each)
      for (const Group &other : each->groups)
        if (!seen && other.title == group.title && other.title != "Options") {
          seen = true;
          earlier = each;
          known += (known.empty() ? "" : ", ") + group.title;
        }
    if (!seen)
      fresh.push_back(group);
  }
  std::string out = groupsText(fresh);
  if (earlier)
    out += ".PP\n" + text("Also takes these of the command " + earlier->name + ": " + known + ".");
  return out;
}

std::string listText(const char *title, const std::vector<Choice> &list) {
  if (list.empty())
    return "";
  std::string out = std::string(".SH ") + title + '\n';
  for (const Choice &entry : list)
    out += tagged(bold(entry.text), sentence(entry.meaning));
  return out;
}

std::string examplesText(const std::vector<Example> &examples) {
  std::string out;
  for (const Example &example : examples)
    out += (example.meaning.empty() ? "" : text(capital(sentence(example.meaning)))) + ".RS\n.nf\n" +
           plain(example.command) + "\n.fi\n.RE\n";
  return out;
}

std::string commandText(const Command &command) {
  std::string out;
  for (const std::string &note : command.notes)
    out += ".PP\n" + text(note);
  for (const Operand &operand : command.operands)
    out += tagged(italic(operand.value.name) + (operand.repeats ? " ..." : ""), sentence(operand.meaning));
  return out;
}

} // namespace

std::string manPage(const Tool &tool) {
  std::string out = ".\\\" Made by `" + tool.name + " --print-man-page`.\n";
  out +=
      ".TH " + upper(tool.name) + " 1 " TXC_DATE " " + quoted("txc " + tool.version) + " \"User commands\"\n";
  out += ".SH NAME\n" + tool.name + " \\- " + plain(tool.meaning) + "\n.SH SYNOPSIS\n";
  bool single = tool.commands.size() == 1 && tool.commands.front().name.empty();
  for (size_t i = 0; i < tool.commands.size(); ++i) {
    const Command &command = tool.commands[i];
    out += (i ? ".br\n" : "") + std::string(".B ") + tool.name + (single ? "" : " " + command.name) + '\n' +
           plain(command.usage) + '\n';
  }
  out += ".SH DESCRIPTION\n";
  out += text(capital(sentence(tool.meaning)));
  for (const std::string &note : tool.notes)
    out += ".PP\n" + text(note);
  if (single) {
    const Command &command = tool.commands.front();
    out += commandText(command) + ".SH OPTIONS\n" + groupsText(command.groups);
    out += ".SH EXAMPLES\n" + examplesText(command.examples);
  } else {
    out += ".SH OPTIONS\n";
    for (const Group &group : tool.groups)
      for (const Option &option : group.options)
        out += optionText(option);
    for (const Command &command : tool.commands) {
      out += ".SH " + quoted("THE COMMAND " + upper(command.name)) + '\n' +
             text(capital(sentence(command.meaning)));
      out += commandText(command) + newGroupsText(tool, command);
    }
    out += ".SH EXAMPLES\n" + examplesText(tool.examples);
    for (const Command &command : tool.commands)
      out += examplesText(command.examples);
  }
  out += listText("ENVIRONMENT", tool.environment) + listText("FILES", tool.files) +
         listText("\"EXIT STATUS\"", tool.exitCodes);
  if (!tool.seeAlso.empty()) {
    out += ".SH \"SEE ALSO\"\n";
    for (size_t i = 0; i < tool.seeAlso.size(); ++i)
      out += ".BR " + plain(tool.seeAlso[i]) + " (1)" + (i + 1 < tool.seeAlso.size() ? ",\n" : "\n");
  }
  return out;
}

} // namespace txc::manual
