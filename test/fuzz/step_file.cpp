//===- step_file.cpp - ELF, note and metadata of a step.so ------------------===//
//
// A changed file has the wrong hash and would be refused for that alone. So each
// input is checked twice: as it is, and with the hash that it would need.
//
//===----------------------------------------------------------------------===//
#include "fuzz.h"

#include "loader/elf_file.h"
#include "loader/step_file.h"

#include <nlohmann/json.hpp>

using namespace txc;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const fuzz::Folder folder;
  std::string bytes(fuzz::asText(data, size));
  fuzz::checkSays(verifyStepBytes(bytes, "step.so"));

  Result<ElfFile> elf = ElfFile::parse(bytes, "step.so");
  fuzz::checkSays(elf);
  if (!elf.ok())
    return 0;
  auto note = elf->findNote(TXC_NOTE_NAME, TXC_NOTE_TYPE);
  fuzz::checkSays(note);
  constexpr uint64_t hole = offsetof(txc_note_t, sha256);
  if (!note.ok() || !*note || (*note)->size < hole + 32)
    return 0;
  uint64_t offset = (*note)->offset + hole;
  hashWithHole(bytes, offset, reinterpret_cast<uint8_t *>(bytes.data() + offset));
  fuzz::checkSays(verifyStepBytes(bytes, "step.so"));

  Result<std::string> metadata = readMetadata(folder.write("step.so", bytes));
  fuzz::checkSays(metadata);
  if (metadata.ok())
    (void)nlohmann::ordered_json::accept(*metadata);
  return 0;
}
