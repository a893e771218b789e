//===- Manual.cpp - Values, keys of the spec, --print options -------------===//

#include "txc/Manual/Manual.h"

#include <cstdio>
#include <map>

namespace txc::manual {

Value valueOf(std::string name, std::vector<std::string> suffixes) {
  Value value;
  for (size_t begin = 0; begin <= name.size();) {
    size_t end = std::min(name.find('|', begin), name.size());
    std::string word = name.substr(begin, end - begin);
    if (word == "FILE") {
      value.files = true;
    } else if (word.starts_with("FILE.")) {
      value.files = true;
      value.suffixes.push_back(word.substr(4));
    } else if (word == "DIR")
      value.folders = true;
    else if (!word.empty() && word[0] >= 'a' && word[0] <= 'z')
      value.choices.push_back({word, ""});
    begin = end + 1;
  }
  value.files |= !suffixes.empty();
  value.name = std::move(name);
  value.suffixes.insert(value.suffixes.end(), suffixes.begin(), suffixes.end());
  return value;
}

//===-- Keys of the spec --------------------------------------------------===//

namespace {

std::string number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

const std::vector<Choice> &choicesOf(const std::string &enumName) {
  static const std::map<std::string, std::vector<Choice>> all = [] {
    std::map<std::string, std::vector<Choice>> out;
#define TXC_ENUM_VALUE(Enum, Name, text, meaning) out[#Enum].push_back({text, meaning});
#include "txc/Import/Options.def"
    return out;
  }();
  return all.at(enumName);
}

Value rangeValue(const char *name, const std::string &what, double min, double max, bool canBeAuto) {
  Value value = valueOf(canBeAuto ? std::string(name) + "|auto" : name);
  value.range = what + " from " + number(min) + " to " + number(max) + (canBeAuto ? ", or auto" : "");
  return value;
}

Value choiceValue(const std::string &enumName) {
  Value value;
  value.choices = choicesOf(enumName);
  for (const Choice &choice : value.choices)
    value.name += (value.name.empty() ? "" : "|") + choice.text;
  return value;
}

// The text of an enumerator.
std::string textOf(const std::string &enumName, const std::string &name) {
  static const std::map<std::pair<std::string, std::string>, std::string> texts = {
#define TXC_ENUM_VALUE(Enum, Name, text, meaning) {{#Enum, #Name}, text},
#include "txc/Import/Options.def"
  };
  return texts.at({enumName, name});
}

// Texts that name a folder complete as one.
std::string wordFor(std::string_view key) {
  return key == "dataset" ? "NAME|DIR" : key.ends_with("_dir") ? "DIR" : "TEXT";
}

struct Key {
  Keys tool;
  std::string group;
  Option option;
};

std::vector<Key> allKeys() {
  std::vector<Key> out;
  std::string group;
  const Keys Compile = Keys::Compile, Run = Keys::Run;
  auto add = [&](Keys tool, const char *key, Value value, std::string defaultText, const char *meaning,
                 bool valueIsOptional = false) {
    out.push_back(
        {tool, group, {key, "", std::move(value), valueIsOptional, meaning, std::move(defaultText)}});
  };
#define TXC_GROUP(title) group = title;
#define TXC_INT(section, key, default_, min, max, tool, meaning)                                             \
  add(tool, #key, rangeValue("N", "an integer", double(min), double(max), false), number(double(default_)),  \
      meaning);
#define TXC_AUTO_INT(section, key, min, max, tool, derived, meaning)                                         \
  add(tool, #key, rangeValue("N", "an integer", double(min), double(max), true), "auto: " derived, meaning);
#define TXC_REAL(section, key, default_, min, max, tool, meaning)                                            \
  add(tool, #key, rangeValue("X", "a number", double(min), double(max), false), number(double(default_)),    \
      meaning);
#define TXC_AUTO_REAL(section, key, min, max, tool, derived, meaning)                                        \
  add(tool, #key, rangeValue("X", "a number", double(min), double(max), true), "auto: " derived, meaning);
#define TXC_BOOL(section, key, default_, tool, meaning)                                                      \
  add(tool, #key, valueOf("true|false"), default_ ? "true" : "false", meaning, Keys::tool == Keys::Run);
#define TXC_CHOICE(section, key, Enum, Default, tool, meaning)                                               \
  add(tool, #key, choiceValue(#Enum), textOf(#Enum, #Default), meaning);
#define TXC_STRING(section, key, default_, tool, meaning)                                                    \
  add(tool, #key, valueOf(wordFor(#key)), default_, meaning);
#include "txc/Import/Options.def"
  return out;
}

} // namespace

std::vector<Group> keyGroups(Keys keys) {
  std::vector<Group> out;
  for (Key &key : allKeys()) {
    if (key.tool != keys)
      continue;
    if (out.empty() || out.back().title != key.group)
      out.push_back({key.group, {}});
    out.back().options.push_back(std::move(key.option));
  }
  return out;
}

std::optional<std::string> printed(const Tool &tool, std::string_view argument) {
  if (argument == "--print-man-page")
    return manPage(tool);
  if (argument == "--print-completion=bash")
    return bashCompletion(tool);
  if (argument == "--print-completion=zsh")
    return zshCompletion(tool);
  if (argument == "--print-completion=fish")
    return fishCompletion(tool);
  return std::nullopt;
}

} // namespace txc::manual
