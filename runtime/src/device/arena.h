//===- arena.h - The memory that a step works in ---------------------------===//
#ifndef TXC_RUNTIME_DEVICE_ARENA_H
#define TXC_RUNTIME_DEVICE_ARENA_H

#include "support/status.h"

#include <cstdint>

namespace txc {

// One mapping, zeroed, aligned to 2 MiB and advised to use huge pages. Pages
// take memory when they are first written.
class Arena {
public:
  // Fails, with needed and available bytes, where the system would sooner or
  // later kill the process.
  static Result<Arena> allocate(uint64_t bytes);
  Arena(Arena &&other) noexcept;
  Arena &operator=(Arena &&other) noexcept;
  ~Arena();

  char *data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

private:
  Arena() = default;
  char *data_ = nullptr;
  uint64_t bytes_ = 0;
  char *mapping_ = nullptr;
  uint64_t mappingBytes_ = 0;
};

// How much more memory this process can have, and what says so.
struct MemoryLimit {
  uint64_t bytes = UINT64_MAX;
  std::string reason;
};
MemoryLimit availableMemory();

} // namespace txc

#endif // TXC_RUNTIME_DEVICE_ARENA_H
