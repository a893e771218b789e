//===- Manual.h - What a tool's user can write, and its texts ----*- C++ -*-===//
//
// A tool describes its commands, options and operands once, as a Tool; --help,
// the man page and the completions of three shells are made from that. Standard
// C++ only: compiler and runtime both use it.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_MANUAL_MANUAL_H
#define TXC_MANUAL_MANUAL_H

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace txc::manual {

/// A value of an option that takes few.
struct Choice {
  std::string text, meaning;
};

/// What stands after an option or where an operand is expected.
struct Value {
  std::string name; ///< as help shows it: "N", "FILE", "gelu|relu"
  std::vector<Choice> choices;
  std::string range; ///< "an integer from 1 to 1024", or empty
  bool files = false, folders = false;
  std::vector<std::string> suffixes; ///< of the files that fit, e.g. ".yaml"; none: all fit
};

/// Reads a name: "FILE" is any file, "FILE.json" one that ends so, "DIR" a folder;
/// words in lower case between '|' are choices.
Value valueOf(std::string name, std::vector<std::string> suffixes = {});

struct Option {
  std::string name;           ///< without dashes
  std::string letter;         ///< "o" of -o, or empty
  std::optional<Value> value; ///< none: a flag
  bool valueIsOptional = false;
  std::string meaning;
  std::string defaultText; ///< empty: not worth a word
};

struct Group {
  std::string title;
  std::vector<Option> options;
};

struct Operand {
  Value value;
  std::string meaning;
  bool repeats = false;
};

struct Example {
  std::string command, meaning; ///< the meaning may be empty
};

struct Command {
  std::string name, meaning;
  std::vector<Example> examples;
  std::string usage; ///< what follows the tool's name
  std::vector<Operand> operands;
  std::vector<Group> groups;
  std::vector<std::string> notes; ///< paragraphs
};

struct Tool {
  std::string name, version, meaning;
  /// Without dash, `--key value` is refused and only `--key=value` is taken.
  bool separateValues = true;
  std::vector<Command> commands; ///< a tool without commands has one, without a name
  std::vector<Example> examples; ///< of a tool with commands
  std::vector<Group> groups;     ///< options that stand in place of a command
  std::vector<std::string> notes;
  std::vector<Choice> exitCodes, environment, files;
  std::vector<std::string> seeAlso; ///< other tools
};

/// The keys of include/txc/Import/Options.def that one tool takes, grouped as
/// there.
enum class Keys { Compile, Run };
std::vector<Group> keyGroups(Keys keys);

/// Of the tool (`command` empty) or of one of its commands; fits 80 columns if
/// examples and usage do.
std::string helpText(const Tool &tool, std::string_view command = "");
std::string manPage(const Tool &tool);
std::string bashCompletion(const Tool &tool);
std::string zshCompletion(const Tool &tool);
std::string fishCompletion(const Tool &tool);

/// Answers --print-man-page and --print-completion=bash|zsh|fish, which every
/// tool takes and no help mentions: they are for the build. Nothing if
/// `argument` is neither.
std::optional<std::string> printed(const Tool &tool, std::string_view argument);

/// Breaks a text at its spaces so that lines of `width` hold it; lines after the
/// first are indented, the first begins at `column`.
std::string wrapped(std::string_view text, size_t column, size_t indent, size_t width = 80);

} // namespace txc::manual

#endif // TXC_MANUAL_MANUAL_H
