//===- step_file.h - A verified and loaded step.so -------------------------===//
//
// Loading a shared object runs its code, so nothing of it is loaded before the
// bytes are known to be what a compatible txc wrote for this machine:
//
// 1. Copy the file into a sealed memory file, which nobody can change.
// 2. Check, in these bytes: ELF structure, note, ABI version, content hash,
//    target kind and CPU level.
// 3. Load exactly these bytes, ask for the tables and check the tables: sizes,
//    every buffer inside the arena, the buffers and entries that a run needs.
//
// What a step.so contains beyond its tables is native code and can do anything
// that this process can. The hash finds damage, not malice: run only files
// from people you trust (docs/security.md).
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_LOADER_STEP_FILE_H
#define TXC_RUNTIME_LOADER_STEP_FILE_H

#include "support/status.h"
#include "txc/step_abi.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace txc {

class StepFile {
public:
  static Result<StepFile> load(const std::string &path);

  const std::string &path() const { return path_; }
  const txc_step_t &step() const { return *step_; }
  const txc_note_t &note() const { return note_; }
  std::string contentHash() const; // 64 hexadecimal digits

  // Whether the step can generate text.
  bool hasDecode() const;
  bool hasEntry(std::string_view name) const;
  // The entry of that name; it exists for "init", "micro", "update" and "eval".
  const txc_entry_t &entry(std::string_view name) const;
  // Buffers of a kind, in table order: for PARAM, GRAD and the moments the same
  // parameters in the same order.
  std::vector<const txc_buffer_t *> buffers(txc_buffer_kind_t kind) const;
  // The buffer of that kind that entry `name` uses.
  const txc_buffer_t &buffer(txc_buffer_kind_t kind, std::string_view entryName) const;

private:
  struct Library;
  std::string path_;
  std::shared_ptr<Library> library_;
  const txc_step_t *step_ = nullptr;
  txc_note_t note_ = {};
};

// Does what load() does up to step 2, and returns the note.
Result<txc_note_t> verifyStepBytes(std::string_view bytes, const std::string &path);

// The JSON metadata of a step.so, read without loading it and without asking
// whether this machine could run it; the content hash is checked.
Result<std::string> readMetadata(const std::string &path);

// SHA-256 of `bytes` in which [hole, hole + 32) reads as zero.
void hashWithHole(std::string_view bytes, uint64_t hole, uint8_t digest[32]);

// Checks the tables that the step hands out; part of load(), apart for tests.
Status checkTables(const txc_step_t &step, const std::string &path);

// 4, 3, 2 or 1: the highest x86-64 micro-architecture level of this machine.
unsigned hostCpuLevel();

} // namespace txc

#endif // TXC_RUNTIME_LOADER_STEP_FILE_H
