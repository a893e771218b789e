//===- Options.h - The table of spec keys, as data --------------*- C++ -*-===//
//
// Options.def at run time: look-up, parsing of values as people write them,
// the nearest name for a typo, and docs/spec.md.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_IMPORT_OPTIONS_H
#define TXC_IMPORT_OPTIONS_H

#include "txc/Import/Spec.h"

namespace txc::import {

enum class Section { Model, Train, Parallel };
enum class Tool { Compile, Run };

struct OptionInfo {
  llvm::StringRef key;
  Section section;
  Tool tool;
  bool canBeAuto;        // the word `auto` is a value: derive it
  llvm::StringRef type;  // "integer", "number", "true or false", "text", or "one of ..."
  llvm::StringRef range; // "1 to 1024", or empty
  llvm::StringRef defaultText;
  llvm::StringRef derived; // what `auto` means, or empty
  llvm::StringRef meaning;
  // Sets the field of `spec`. `quoted`: the value was in quotes in YAML. On
  // failure returns false and says in `expected` what would have been right.
  bool (*set)(Spec &spec, llvm::StringRef value, bool quoted, std::string &expected);
  llvm::StringRef group = ""; // heading in docs/spec.md
};

llvm::ArrayRef<OptionInfo> allOptions();
const OptionInfo *findOption(llvm::StringRef key);
llvm::StringRef sectionName(Section section); // "model"

// The closest of `names` if it is close enough to be a typo, else empty.
llvm::StringRef nearestName(llvm::StringRef name, llvm::ArrayRef<llvm::StringRef> names);

// What to say about a key that is not in the table, e.g. "; did you mean
// 'n_layer'?". Empty if nothing helps. `more` are other names that are valid in the
// place (section names, command-line options).
std::string unknownKeyHint(llvm::StringRef key, llvm::ArrayRef<llvm::StringRef> more = {});

// `value` in quotes, shortened, control characters escaped.
std::string quoteValue(llvm::StringRef value);

// Shortest text that reads back as the same number.
std::string formatNumber(double value);

// docs/spec.md.
void printSpecReference(llvm::raw_ostream &os);

} // namespace txc::import

#endif // TXC_IMPORT_OPTIONS_H
