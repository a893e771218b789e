//===- elf_file.h - Read an ELF shared object without loading it -----------===//
//
// 64-bit little-endian x86-64 objects only. Every offset that the file states
// is checked against its length before it is used; the file is not trusted.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_LOADER_ELF_FILE_H
#define TXC_RUNTIME_LOADER_ELF_FILE_H

#include "support/status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace txc {

// Bytes [offset, offset + size) of the file.
struct FileRange {
  uint64_t offset = 0;
  uint64_t size = 0;
};

class ElfFile {
public:
  // `bytes` must outlive the object; `path` is for messages.
  static Result<ElfFile> parse(std::string_view bytes, const std::string &path);

  // Descriptor of the one note of this name and type in the PT_NOTE segments;
  // nothing if there is none, an error if the notes are malformed or there
  // are two.
  Result<std::optional<FileRange>> findNote(std::string_view name, uint32_t type) const;
  std::optional<FileRange> findSection(std::string_view name) const;

private:
  struct Section {
    std::string_view name;
    FileRange range;
  };
  std::string_view bytes_;
  std::string path_;
  std::vector<FileRange> notes_;
  std::vector<Section> sections_;
};

} // namespace txc

#endif // TXC_RUNTIME_LOADER_ELF_FILE_H
