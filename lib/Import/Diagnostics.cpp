//===- Diagnostics.cpp - Errors with their place in a spec ----------------===//
//
// See Diagnostics.h. Lines that are too long for a screen, or hold characters
// that could disturb a terminal, are not shown.
//
//===----------------------------------------------------------------------===//

#include "Diagnostics.h"

using namespace llvm;

namespace txc::import {

void Diagnostics::error(const Origin &origin, const Twine &message) {
  if (isFull())
    return;
  ++errors;
  print(origin, "error", message);
  if (isFull())
    os << "error: too many errors; the rest is not shown\n";
}

void Diagnostics::usageError(const Twine &message) {
  if (isFull())
    return;
  ++usageErrors;
  os << "error: " << message << '\n';
}

void Diagnostics::note(const Origin &origin, const Twine &message) {
  if (!isFull())
    print(origin, "note", message);
}

void Diagnostics::print(const Origin &origin, StringRef kind, const Twine &message) {
  if (!origin.file) {
    if (!origin.override.empty())
      os << origin.override << ": ";
    os << kind << ": " << message << '\n';
    return;
  }
  os << origin.file->name << ':' << origin.place.line << ':' << origin.place.column << ": " << kind << ": "
     << message << '\n';
  StringRef rest = origin.file->text;
  for (unsigned line = 1; line < origin.place.line && !rest.empty(); ++line)
    rest = rest.split('\n').second;
  StringRef line = rest.split('\n').first.rtrim('\r');
  unsigned column = origin.place.column - 1;
  if (line.empty() || line.size() > 160 || column > line.size())
    return;
  for (unsigned char c : line)
    if (c < 0x20 && c != '\t')
      return;
  os << line << '\n';
  // Keep tabs, and count a character of several bytes once.
  for (unsigned char c : line.take_front(column))
    if ((c & 0xc0) != 0x80)
      os << (c == '\t' ? '\t' : ' ');
  os << "^\n";
}

} // namespace txc::import
