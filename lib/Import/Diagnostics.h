//===- Diagnostics.h - Errors with their place in a spec --------*- C++ -*-===//
//
// Prints `file:line:column: error: message` with the source line and a caret,
// or `--key=value: error: message` for what the command line said.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_LIB_IMPORT_DIAGNOSTICS_H
#define TXC_LIB_IMPORT_DIAGNOSTICS_H

#include "ReadYaml.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/raw_ostream.h"

#include <deque>

namespace txc::import {

struct SourceFile {
  std::string name;
  std::string text;
};

// Where a value comes from: a file, the command line, or (neither) the table's
// default.
struct Origin {
  const SourceFile *file = nullptr;
  YamlPlace place;
  std::string override;
};

class Diagnostics {
public:
  explicit Diagnostics(llvm::raw_ostream &os) : os(os) {}

  // The file lives as long as this object.
  const SourceFile *addFile(llvm::StringRef name, llvm::StringRef text) {
    return &files.emplace_back(SourceFile{name.str(), text.str()});
  }
  void error(const Origin &origin, const llvm::Twine &message);
  // For errors of a command line: exit code 2.
  void usageError(const llvm::Twine &message);
  void note(const Origin &origin, const llvm::Twine &message);

  unsigned numErrors() const { return errors + usageErrors; }
  unsigned numUsageErrors() const { return usageErrors; }
  // Nobody reads more than this many.
  bool isFull() const { return numErrors() >= 20; }

private:
  void print(const Origin &origin, llvm::StringRef kind, const llvm::Twine &message);

  llvm::raw_ostream &os;
  std::deque<SourceFile> files;
  unsigned errors = 0, usageErrors = 0;
};

} // namespace txc::import

#endif // TXC_LIB_IMPORT_DIAGNOSTICS_H
