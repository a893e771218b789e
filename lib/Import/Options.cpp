//===- Options.cpp - The table of spec keys, as data ----------------------===//
//
// Everything here is generated from Options.def by macros: nothing about a
// single key is written in this file.
//
//===----------------------------------------------------------------------===//

#include "txc/Import/Options.h"
#include "txc/Support/EditDistance.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"

#include <cmath>
#include <iterator>

using namespace llvm;

namespace txc::import {

//===----------------------------------------------------------------------===//
// Choices
//===----------------------------------------------------------------------===//

#define TXC_ENUM_BEGIN(Enum)                                                                                 \
  StringRef stringify(Enum value) {                                                                          \
    switch (value) {
#define TXC_ENUM_VALUE(Enum, Name, text, meaning)                                                            \
  case Enum::Name:                                                                                           \
    return text;
#define TXC_ENUM_END(Enum)                                                                                   \
  }                                                                                                          \
  return "";                                                                                                 \
  }
#include "txc/Import/Options.def"

namespace {

template <typename Enum> struct Choice {
  StringRef text;
  Enum value;
  bool isAlias;
};

// choicesOf(Enum()): what a spec may write for the choice.
// clang-format off
#define TXC_ENUM_BEGIN(Enum) ArrayRef<Choice<Enum>> choicesOf(Enum) { static const Choice<Enum> table[] = {
#define TXC_ENUM_VALUE(Enum, Name, text, meaning) {text, Enum::Name, false},
#define TXC_ENUM_ALIAS(Enum, Name, text) {text, Enum::Name, true},
#define TXC_ENUM_END(Enum) }; return table; }
#include "txc/Import/Options.def"
// clang-format on

template <typename Enum> std::string listChoices() {
  std::string list;
  for (const Choice<Enum> &choice : choicesOf(Enum())) {
    if (choice.isAlias)
      continue;
    if (!list.empty())
      list += ", ";
    list += choice.text;
  }
  return list;
}

//===----------------------------------------------------------------------===//
// Values as people write them
//===----------------------------------------------------------------------===//

} // namespace

std::string formatNumber(double value) {
  if (value == std::floor(value) && std::fabs(value) < 1e7)
    return std::to_string(static_cast<int64_t>(value));
  for (int digits = 1; digits <= 17; ++digits) {
    std::string text;
    raw_string_ostream(text) << format("%.*g", digits, value);
    double back;
    if (!StringRef(text).getAsDouble(back) && back == value)
      return text;
  }
  return "";
}

namespace {

// Takes out the '_' between digits. False if one is elsewhere.
bool stripUnderscores(StringRef value, std::string &result) {
  for (size_t i = 0; i < value.size(); ++i) {
    if (value[i] != '_') {
      result += value[i];
      continue;
    }
    if (i == 0 || i + 1 == value.size() || !isDigit(value[i - 1]) || !isDigit(value[i + 1]))
      return false;
  }
  return true;
}

// Decimal numbers only: [+-] digits [. digits] [e [+-] digits], with '_'
// between digits. The checks keep out what getAsDouble also reads: inf, nan,
// hexadecimal.
bool readNumber(StringRef value, double &result) {
  std::string text;
  if (value.size() > 64 || !stripUnderscores(value, text))
    return false;
  StringRef rest(text);
  bool negative = rest.consume_front("-");
  if (!negative)
    rest.consume_front("+");
  bool sawDigit = false;
  for (char c : rest) {
    if (isDigit(c))
      sawDigit = true;
    else if (c != '.' && c != 'e' && c != 'E' && c != '+' && c != '-')
      return false;
  }
  // LLVM reads 1e as 1.
  auto isPart = [](char c) { return isDigit(c) || c == '.'; };
  if (!sawDigit || !isPart(rest.front()) || !isPart(rest.back()))
    return false;
  if (rest.getAsDouble(result, /*AllowInexact=*/true) || !std::isfinite(result))
    return false;
  if (negative)
    result = -result;
  return true;
}

bool readInteger(StringRef value, int64_t &result) {
  std::string text;
  if (value.size() > 64 || !stripUnderscores(value, text))
    return false;
  StringRef rest(text);
  rest.consume_front("+");
  if (!rest.getAsInteger(10, result))
    return true;
  // 1e3 and 2.0 are integers to people.
  double number;
  if (!readNumber(value, number) || number != std::floor(number) || std::fabs(number) > 9e15)
    return false;
  result = static_cast<int64_t>(number);
  return true;
}

bool isAuto(StringRef value) { return value.equals_insensitive("auto"); }

bool setInt(int64_t &field, StringRef value, bool quoted, bool canBeAuto, int64_t min, int64_t max,
            std::string &expected) {
  if (canBeAuto && isAuto(value)) {
    field = 0;
    return true;
  }
  int64_t number = 0;
  if (!quoted && readInteger(value, number) && number >= min && number <= max) {
    field = number;
    return true;
  }
  expected = "an integer from " + std::to_string(min) + " to " + std::to_string(max) +
             (canBeAuto ? ", or auto" : "") + (quoted ? ", without quotes" : "");
  return false;
}

bool setReal(double &field, StringRef value, bool quoted, bool canBeAuto, double min, double max,
             std::string &expected) {
  if (canBeAuto && isAuto(value)) {
    field = 0;
    return true;
  }
  double number;
  if (!quoted && readNumber(value, number) && number >= min && number <= max) {
    field = number;
    return true;
  }
  expected = "a number from " + formatNumber(min) + " to " + formatNumber(max) +
             (canBeAuto ? ", or auto" : "") + (quoted ? ", without quotes" : "");
  return false;
}

bool setBool(bool &field, StringRef value, bool quoted, std::string &expected) {
  for (StringRef yes : {"true", "yes", "on", "1"}) {
    if (!quoted && value.equals_insensitive(yes)) {
      field = true;
      return true;
    }
  }
  for (StringRef no : {"false", "no", "off", "0"}) {
    if (!quoted && value.equals_insensitive(no)) {
      field = false;
      return true;
    }
  }
  expected = std::string("true or false") + (quoted ? ", without quotes" : "");
  return false;
}

template <typename Enum> bool setChoice(Enum &field, StringRef value, std::string &expected) {
  SmallVector<StringRef> names;
  for (const Choice<Enum> &choice : choicesOf(Enum())) {
    if (value == choice.text) {
      field = choice.value;
      return true;
    }
    names.push_back(choice.text);
  }
  expected = "one of " + listChoices<Enum>();
  StringRef nearest = nearestName(value, names);
  if (!nearest.empty())
    expected += "; did you mean '" + nearest.str() + "'?";
  return false;
}

// Text may be empty where it is by default.
bool setString(std::string &field, StringRef value, bool canBeEmpty, std::string &expected) {
  if ((canBeEmpty || !value.empty()) && value.size() <= 1024) {
    field = value.str();
    return true;
  }
  expected = canBeEmpty ? "a text of at most 1024 bytes" : "a text of 1 to 1024 bytes";
  return false;
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

// Texts of the table that are put together at start and live for ever.
StringRef keep(std::string text) {
  static std::vector<std::unique_ptr<std::string>> store;
  store.push_back(std::make_unique<std::string>(std::move(text)));
  return *store.back();
}

std::vector<OptionInfo> buildTable() {
  std::vector<OptionInfo> table;
  std::vector<std::pair<size_t, StringRef>> groups; // the first key of each
#define TXC_GROUP(title) groups.push_back({table.size(), title});
#define TXC_SETTER [](Spec & spec, StringRef value, [[maybe_unused]] bool quoted, std::string &expected)
#define TXC_INT(section, key, default_, min, max, tool, meaning)                                             \
  table.push_back({#key, Section::section, Tool::tool, false, "integer",                                     \
                   keep(std::to_string(int64_t(min)) + " to " + std::to_string(int64_t(max))),               \
                   keep(std::to_string(int64_t(default_))), "", meaning,                                     \
                   TXC_SETTER { return setInt(spec.key, value, quoted, false, min, max, expected);           \
  }                                                                                                          \
  });
#define TXC_AUTO_INT(section, key, min, max, tool, derived, meaning)                                         \
  table.push_back({#key, Section::section, Tool::tool, true, "integer",                                      \
                   keep(std::to_string(int64_t(min)) + " to " + std::to_string(int64_t(max))), "auto",       \
                   derived, meaning,                                                                         \
                   TXC_SETTER { return setInt(spec.key, value, quoted, true, min, max, expected);            \
  }                                                                                                          \
  });
#define TXC_REAL(section, key, default_, min, max, tool, meaning)                                            \
  table.push_back({#key, Section::section, Tool::tool, false, "number",                                      \
                   keep(formatNumber(min) + " to " + formatNumber(max)), keep(formatNumber(default_)), "",         \
                   meaning,                                                                                  \
                   TXC_SETTER { return setReal(spec.key, value, quoted, false, min, max, expected);          \
  }                                                                                                          \
  });
#define TXC_AUTO_REAL(section, key, min, max, tool, derived, meaning)                                        \
  table.push_back({#key, Section::section, Tool::tool, true, "number",                                       \
                   keep(formatNumber(min) + " to " + formatNumber(max)), "auto", derived, meaning,               \
                   TXC_SETTER { return setReal(spec.key, value, quoted, true, min, max, expected);           \
  }                                                                                                          \
  });
#define TXC_BOOL(section, key, default_, tool, meaning)                                                      \
  table.push_back({#key, Section::section, Tool::tool, false, "true or false", "",                           \
                   default_ ? "true" : "false", "", meaning,                                                 \
                   TXC_SETTER { return setBool(spec.key, value, quoted, expected);                           \
  }                                                                                                          \
  });
#define TXC_CHOICE(section, key, Enum, Default, tool, meaning)                                               \
  table.push_back({#key, Section::section, Tool::tool, false, "one of", keep(listChoices<Enum>()),           \
                   stringify(Enum::Default), "", meaning,                                                    \
                   TXC_SETTER { return setChoice(spec.key, value, expected);                                 \
  }                                                                                                          \
  });
#define TXC_STRING(section, key, default_, tool, meaning)                                                    \
  table.push_back({#key, Section::section, Tool::tool, false, "text", "", default_, "", meaning,             \
                   TXC_SETTER { return setString(spec.key, value, StringRef(default_).empty(), expected);    \
  }                                                                                                          \
  });
#include "txc/Import/Options.def"
#undef TXC_SETTER
  for (auto [first, title] : groups)
    for (size_t i = first; i < table.size(); ++i)
      table[i].group = title;
  return table;
}

struct Foreign {
  StringRef name, remedy;
};
const Foreign foreignNames[] = {
#define TXC_FOREIGN(name, remedy) {name, remedy},
#include "txc/Import/Options.def"
};

} // namespace

ArrayRef<OptionInfo> allOptions() {
  static const std::vector<OptionInfo> table = buildTable();
  return table;
}

const OptionInfo *findOption(StringRef key) {
  for (const OptionInfo &option : allOptions())
    if (option.key == key)
      return &option;
  return nullptr;
}

StringRef sectionName(Section section) {
  switch (section) {
  case Section::Model:
    return "model";
  case Section::Train:
    return "train";
  case Section::Parallel:
    return "parallel";
  }
  return "";
}

//===----------------------------------------------------------------------===//
// Hints
//===----------------------------------------------------------------------===//

StringRef nearestName(StringRef name, ArrayRef<StringRef> names) {
  // People write n-layer and N_Layer.
  std::string plain = name.take_front(64).lower();
  std::replace(plain.begin(), plain.end(), '-', '_');
  StringRef best;
  unsigned bestDistance = (plain.size() < 4 ? 1 : std::max<size_t>(2, plain.size() / 3)) + 1;
  for (StringRef candidate : names) {
    std::string other = candidate.lower();
    std::replace(other.begin(), other.end(), '-', '_');
    unsigned distance = editDistance(plain, other);
    if (distance < bestDistance) {
      bestDistance = distance;
      best = candidate;
    }
  }
  // Or the beginning of the shortest name that begins so: rms for rmsnorm.
  if (best.empty() && plain.size() >= 3)
    for (StringRef candidate : names)
      if (candidate.lower().compare(0, plain.size(), plain) == 0 && (best.empty() || candidate.size() < best.size()))
        best = candidate;
  return best;
}

std::string unknownKeyHint(StringRef key, ArrayRef<StringRef> more) {
  std::string plain = key.str();
  std::replace(plain.begin(), plain.end(), '-', '_');
  for (const Foreign &foreign : foreignNames)
    if (plain == foreign.name)
      return ("; " + foreign.remedy).str();
  if (key == "<<")
    return "; merge keys are not read: inherit from another file with base:";
  SmallVector<StringRef> names(more);
  for (const OptionInfo &option : allOptions())
    names.push_back(option.key);
  StringRef nearest = nearestName(key, names);
  return nearest.empty() ? "" : ("; did you mean '" + nearest + "'?").str();
}

std::string quoteValue(StringRef value) {
  std::string text = "'";
  for (unsigned char c : value.take_front(60)) {
    if (c < 0x20 || c == 0x7f) {
      text += "\\x";
      text += hexdigit(c >> 4, /*LowerCase=*/true);
      text += hexdigit(c & 15, /*LowerCase=*/true);
    } else {
      text += static_cast<char>(c);
    }
  }
  // Do not end in the middle of a character.
  if (value.size() > 60) {
    while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xc0) == 0x80)
      text.pop_back();
    if (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xc0)
      text.pop_back();
    text += "…";
  }
  return text + "'";
}

//===----------------------------------------------------------------------===//
// Reference
//===----------------------------------------------------------------------===//

namespace {

struct EnumDoc {
  StringRef name, text, meaning;
};
const EnumDoc enumDocs[] = {
#define TXC_ENUM_VALUE(Enum, Name, text, meaning) {#Enum, text, meaning},
#include "txc/Import/Options.def"
};
struct ChoiceDoc {
  StringRef key, enumName;
};
const ChoiceDoc choiceDocs[] = {
#define TXC_CHOICE(section, key, Enum, Default, tool, meaning) {#key, #Enum},
#include "txc/Import/Options.def"
};

} // namespace

void printSpecReference(raw_ostream &os) {
  os << R"(# The spec

<!-- Made by `txc --print-spec-reference` from include/txc/Import/Options.def. Do not edit. -->

A spec is a YAML file that describes a decoder-only transformer and how to train it:

```yaml
base: arch_llama.yaml     # start from this file (relative to this one); what follows replaces its values
model:
  n_layer: 6
train:
  batch_size: 8
```

* Three sections, `model:`, `train:` and `parallel:`; a key belongs to one of them, and key names are unique over all.
* `--key=value` on the command line has the last word. `txc` takes the keys that are fixed in `step.so`, `txrun` the others;
  a spec may hold both, and the values that `txrun` reads are then its defaults.
* Integers may be written `1000`, `1_000` or `1e3`; numbers also `6e-4`; truth as `true`/`false`, `yes`/`no`, `on`/`off`, `1`/`0`.
* A key that is `auto` is derived from the others after the overrides.
* An override that cannot change the model is an error: `--activation` with swiglu, `--rope_theta` and `--rope_layout`
  without rope.
* Anchors, aliases, merge keys, tags and further documents are errors, and so are unknown and repeated keys.

)";
  for (Section section : {Section::Model, Section::Train, Section::Parallel}) {
    os << "## " << sectionName(section) << ":\n";
    StringRef group;
    for (const OptionInfo &option : allOptions()) {
      if (option.section != section)
        continue;
      if (option.group != group) {
        group = option.group;
        os << "\n### " << group << "\n\n| key | tool | takes | default | meaning |\n|---|---|---|---|---|\n";
      }
      os << "| `" << option.key << "` | " << (option.tool == Tool::Compile ? "txc" : "txrun") << " | ";
      if (option.type == "one of") {
        SmallVector<StringRef> words;
        option.range.split(words, ", ");
        llvm::interleave(words, os, [&](StringRef word) { os << '`' << word << '`'; }, ", ");
      } else {
        os << option.type << (option.range.empty() ? "" : ", ") << option.range;
      }
      os << " | ";
      if (option.defaultText.empty())
        os << "none";
      else
        os << '`' << option.defaultText << '`';
      if (!option.derived.empty())
        os << ": " << option.derived;
      os << " | " << option.meaning << " |\n";
    }
    for (const ChoiceDoc &choice : choiceDocs) {
      if (findOption(choice.key)->section != section)
        continue;
      os << "\n`" << choice.key << "`:\n";
      for (const EnumDoc &value : enumDocs)
        if (value.name == choice.enumName)
          os << "* `" << value.text << "`: " << value.meaning << "\n";
    }
    os << "\n";
  }
  os << R"(## What is derived

* **Architecture name**: `{n_layer}L-{n_head}H-{n_embd}D[-GQA{n_kv_head}]-{RoPE|AbsPos|NoPos}-{RMS|LN|LN-NB}-`
  `{SwiGLU|GELU|SILU|RELU|LEAKY_RELU}-{PreNorm|PostNorm}`; GQA only if n_kv_head < n_head.
* **Parameters**: `total` counts every weight once (tied weights too); `non_embedding` is the total without the position
  table, as nanoGPT counts (the token embedding stays in it, since a tied output layer multiplies by it); `matmul` (P_mm) counts
  the weights of matrix products: blocks and output layer, whether tied or not.
* **FLOPs per token**, forward and backward: `full` = 6 P_mm + 12 n_layer n_head head_dim block_size (attention over the
  whole square, PaLM's convention); `causal` = 6 P_mm + 6 n_layer n_head head_dim (block_size + 1) (the pairs that causal
  attention sees).
)";
}

} // namespace txc::import
