//===- elf_file.cpp - Read an ELF shared object without loading it ---------===//
#include "loader/elf_file.h"

#include "support/text.h"

#include <cstring>
#include <elf.h>

namespace txc {

// Copies a T from `offset`; false if the file is too short. The file may put
// structures at any alignment, so they are copied, not cast.
template <typename T> static bool readAt(std::string_view bytes, uint64_t offset, T &out) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T))
    return false;
  std::memcpy(&out, bytes.data() + offset, sizeof(T));
  return true;
}

static bool inside(std::string_view bytes, uint64_t offset, uint64_t size) {
  return offset <= bytes.size() && size <= bytes.size() - offset;
}

Result<ElfFile> ElfFile::parse(std::string_view bytes, const std::string &path) {
  auto fail = [&](const std::string &what) { return Status::failed(path + ": " + what); };
  auto truncated = [&](const char *what, uint64_t end) {
    return fail(format("truncated: its %s ends at byte %llu, the file has %zu; compile or copy it again",
                       what, static_cast<unsigned long long>(end), bytes.size()));
  };
  const std::string notStep = "not a step file: ";
  const std::string remedy = "; txrun takes what `txc compile SPEC.yaml -o step.so` writes";

  if (bytes.empty())
    return fail(notStep + "it is empty" + remedy);
  size_t magic = std::min<size_t>(bytes.size(), SELFMAG);
  if (std::memcmp(bytes.data(), ELFMAG, magic) != 0)
    return fail(notStep + "it does not begin as an ELF file does" + remedy);
  Elf64_Ehdr header;
  if (!readAt(bytes, 0, header))
    return truncated("ELF header", sizeof(header));
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_machine != EM_X86_64)
    return fail(notStep +
                format("an ELF file of class %u, byte order %u, machine %u; expected 64-bit "
                       "little-endian x86-64",
                       header.e_ident[EI_CLASS], header.e_ident[EI_DATA], header.e_machine) +
                remedy);
  if (header.e_type != ET_DYN)
    return fail(notStep +
                format("an ELF file of type %u; expected a shared object (%u)", header.e_type, ET_DYN) +
                remedy);

  ElfFile file;
  file.bytes_ = bytes;
  file.path_ = path;
  if (header.e_phnum != 0 && header.e_phentsize != sizeof(Elf64_Phdr))
    return fail(
        format("altered: program headers of %u bytes, expected %zu", header.e_phentsize, sizeof(Elf64_Phdr)));
  for (uint64_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    uint64_t at = header.e_phoff + i * sizeof(segment);
    if (at < header.e_phoff || !readAt(bytes, at, segment))
      return truncated("program header table", header.e_phoff + header.e_phnum * sizeof(segment));
    if (segment.p_type != PT_NULL && !inside(bytes, segment.p_offset, segment.p_filesz))
      return truncated("loadable content", segment.p_offset + segment.p_filesz);
    if (segment.p_type == PT_NOTE)
      file.notes_.push_back({segment.p_offset, segment.p_filesz});
  }

  if (header.e_shnum != 0 && header.e_shentsize != sizeof(Elf64_Shdr))
    return fail(
        format("altered: section headers of %u bytes, expected %zu", header.e_shentsize, sizeof(Elf64_Shdr)));
  std::vector<Elf64_Shdr> sections(header.e_shnum);
  for (uint64_t i = 0; i < header.e_shnum; ++i) {
    uint64_t at = header.e_shoff + i * sizeof(Elf64_Shdr);
    if (at < header.e_shoff || !readAt(bytes, at, sections[i]))
      return truncated("section header table", header.e_shoff + header.e_shnum * sizeof(Elf64_Shdr));
    if (sections[i].sh_type != SHT_NOBITS && sections[i].sh_type != SHT_NULL &&
        !inside(bytes, sections[i].sh_offset, sections[i].sh_size))
      return truncated("section content", sections[i].sh_offset + sections[i].sh_size);
  }
  if (header.e_shnum != 0) {
    if (header.e_shstrndx >= header.e_shnum || sections[header.e_shstrndx].sh_type != SHT_STRTAB)
      return fail("altered: it has no table of section names");
    const Elf64_Shdr &names = sections[header.e_shstrndx];
    std::string_view text = bytes.substr(names.sh_offset, names.sh_size);
    for (const Elf64_Shdr &section : sections) {
      size_t end = section.sh_name < text.size() ? text.find('\0', section.sh_name) : std::string_view::npos;
      if (end == std::string_view::npos)
        return fail("altered: the name of a section lies outside the table of section names");
      if (section.sh_type != SHT_NOBITS && section.sh_type != SHT_NULL)
        file.sections_.push_back(
            {text.substr(section.sh_name, end - section.sh_name), {section.sh_offset, section.sh_size}});
    }
  }
  return file;
}

Result<std::optional<FileRange>> ElfFile::findNote(std::string_view name, uint32_t type) const {
  std::optional<FileRange> found;
  for (const FileRange &segment : notes_) {
    uint64_t at = segment.offset, end = segment.offset + segment.size;
    while (end - at >= sizeof(Elf64_Nhdr)) {
      Elf64_Nhdr note;
      readAt(bytes_, at, note);
      // Name and descriptor are padded to 4 bytes; the sum cannot overflow.
      uint64_t nameAt = at + sizeof(note);
      uint64_t descriptorAt = nameAt + ((uint64_t(note.n_namesz) + 3) & ~uint64_t(3));
      uint64_t next = descriptorAt + ((uint64_t(note.n_descsz) + 3) & ~uint64_t(3));
      if (descriptorAt + note.n_descsz > end)
        return Status::failed(path_ + ": altered: an ELF note is longer than its segment");
      std::string_view noteName = bytes_.substr(nameAt, note.n_namesz);
      if (!noteName.empty() && noteName.back() == '\0')
        noteName.remove_suffix(1);
      if (noteName == name && note.n_type == type) {
        if (found && found->offset != descriptorAt)
          return Status::failed(path_ + ": altered: it has two notes of the step ABI");
        found = FileRange{descriptorAt, note.n_descsz};
      }
      if (next >= end)
        break;
      at = next;
    }
  }
  return found;
}

std::optional<FileRange> ElfFile::findSection(std::string_view name) const {
  for (const Section &section : sections_)
    if (section.name == name)
      return section.range;
  return std::nullopt;
}

} // namespace txc
