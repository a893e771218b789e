//===- safetensors.h - Files of named tensors -------------------------------===//
//
// The public format: 8 bytes with the length of the header, little endian; the
// header, a JSON object of name -> {dtype, shape, data_offsets} and perhaps
// "__metadata__" -> {text: text}; the data.
//
// What is read may come from anyone. A file is refused unless
//   - the header has at most kLargestHeader bytes, all in the file, and begins
//     with '{'; no key is there twice;
//   - every dtype is known, every shape's product fits, and a tensor has exactly
//     the bytes that dtype and shape say;
//   - tensors fill the data without gaps or overlaps, to the last byte.
// Names are never used as paths.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_CHECKPOINT_SAFETENSORS_H
#define TXC_RUNTIME_CHECKPOINT_SAFETENSORS_H

#include "support/status.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace txc {

struct TensorEntry {
  std::string name;
  std::string dtype; // "F32", "BF16", ...
  std::vector<uint64_t> shape;
  uint64_t begin = 0, bytes = 0; // in the data

  uint64_t elements() const;
};

struct SafetensorsHeader {
  static constexpr uint64_t kLargestHeader = 100'000'000;

  std::vector<TensorEntry> tensors; // by `begin`
  std::map<std::string, std::string> metadata;
  uint64_t dataBegin = 0; // in the file

  const TensorEntry *find(std::string_view name) const;
};

// Bytes of an element, 0 if the type is unknown.
uint64_t dtypeBytes(std::string_view dtype);

// `text` is the file's beginning, with the header in it; `fileBytes` its length.
Result<SafetensorsHeader> parseSafetensors(std::string_view text, uint64_t fileBytes,
                                           const std::string &path);

// Length and header of a file with these tensors in this order; sets `begin` and
// `bytes` of each. The data follows at once, at a multiple of 8 bytes.
std::string layOutSafetensors(std::vector<TensorEntry> &tensors,
                              const std::map<std::string, std::string> &metadata);

// A file opened for reading. Its data is read, not mapped: an unreadable disk is
// an error, not a crash.
class SafetensorsFile {
public:
  static Result<SafetensorsFile> open(const std::string &path);

  const std::string &path() const { return path_; }
  const SafetensorsHeader &header() const { return header_; }
  // Reads [offset, offset + bytes) of a tensor's data.
  Status read(const TensorEntry &tensor, uint64_t offset, void *data, uint64_t bytes) const;
  // All of it.
  Result<std::string> read(const TensorEntry &tensor) const;

private:
  std::string path_;
  std::shared_ptr<const int> file_;
  SafetensorsHeader header_;
};

} // namespace txc

#endif // TXC_RUNTIME_CHECKPOINT_SAFETENSORS_H
