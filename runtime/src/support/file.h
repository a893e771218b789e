//===- file.h - Whole files, read and written -------------------------------===//
#ifndef TXC_RUNTIME_SUPPORT_FILE_H
#define TXC_RUNTIME_SUPPORT_FILE_H

#include "support/status.h"

#include <cstddef>
#include <cstdint>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace txc {

// A regular file mapped read-only; unmapped with the last copy.
class MappedFile {
public:
  static Result<MappedFile> open(const std::string &path);
  std::string_view bytes() const { return {address_.get(), size_}; }

private:
  std::shared_ptr<const char> address_;
  size_t size_ = 0;
};

// A regular file for reading, and its size. Closed with the last copy.
Result<std::shared_ptr<const int>> openForReading(const std::string &path, uint64_t &bytes);
// Reads [offset, offset + bytes) of an open file; all of it or an error.
Status readExactly(int file, uint64_t offset, void *data, uint64_t bytes, const std::string &path);

Result<std::string> readFile(const std::string &path);

// Writes to a temporary file beside `path`, flushes it to the disk and renames
// it, so that `path` holds the old content or the new, never a part.
Status writeFileAtomically(const std::string &path, std::string_view bytes);

bool isFile(const std::string &path);
bool isDirectory(const std::string &path);

} // namespace txc

#endif // TXC_RUNTIME_SUPPORT_FILE_H
