//===- arena.cpp - The memory that a step works in -------------------------===//
#include "device/arena.h"

#include "support/text.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <sys/mman.h>
#include <sys/resource.h>

namespace txc {

// The number that a file such as memory.max holds; false for "max" or none.
static bool readNumber(const std::string &path, uint64_t &value) {
  std::ifstream file(path);
  return static_cast<bool>(file >> value);
}

// The value of "Key:   123 kB" in bytes.
static bool readField(const char *path, const std::string &key, uint64_t &bytes) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line))
    if (line.compare(0, key.size(), key) == 0) {
      std::istringstream rest(line.substr(key.size()));
      if (!(rest >> bytes))
        return false;
      bytes *= 1024;
      return true;
    }
  return false;
}

// Limits of this process's control group and those above it, version 2 or 1.
static void applyControlGroups(MemoryLimit &limit) {
  auto apply = [&](const std::string &folder, const char *maxName, const char *usedName) {
    uint64_t most = 0, used = 0, cache = 0;
    // Version 1 writes a huge number for "no limit".
    if (!readNumber(folder + "/" + maxName, most) || most >= uint64_t(1) << 60 ||
        !readNumber(folder + "/" + usedName, used))
      return;
    // Page cache that the kernel drops when memory is short.
    std::ifstream statistics(folder + "/memory.stat");
    std::string key;
    uint64_t value;
    while (statistics >> key >> value)
      if (key == "inactive_file" || key == "total_inactive_file")
        cache = value;
    used -= std::min(used, cache);
    uint64_t left = most > used ? most - used : 0;
    if (left < limit.bytes)
      limit = {left, "control group limit " + folder + "/" + maxName};
  };
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos)
      continue;
    std::string controllers = line.substr(first + 1, second - first - 1), group = line.substr(second + 1);
    bool version2 = controllers.empty();
    if (!version2 && controllers.find("memory") == std::string::npos)
      continue;
    std::string root = version2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    for (;;) {
      apply(root + (group == "/" ? "" : group), version2 ? "memory.max" : "memory.limit_in_bytes",
            version2 ? "memory.current" : "memory.usage_in_bytes");
      if (group.empty() || group == "/")
        break;
      group.erase(group.find_last_of('/'));
    }
  }
}

static void applyResourceLimit(MemoryLimit &limit, int resource, const char *field, const char *name) {
  struct rlimit value;
  uint64_t used = 0;
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &value) != 0 || value.rlim_cur == RLIM_INFINITY)
    return;
  readField("/proc/self/status", field, used);
  uint64_t left = value.rlim_cur > used ? value.rlim_cur - used : 0;
  if (left < limit.bytes)
    limit = {left, name};
}

MemoryLimit availableMemory() {
  MemoryLimit limit;
  uint64_t available = 0;
  if (readField("/proc/meminfo", "MemAvailable:", available))
    limit = {available, "MemAvailable of /proc/meminfo"};
  applyControlGroups(limit);
  applyResourceLimit(limit, RLIMIT_AS, "VmSize:", "ulimit -v");
  applyResourceLimit(limit, RLIMIT_DATA, "VmData:", "ulimit -d");
  return limit;
}

Result<Arena> Arena::allocate(uint64_t bytes) {
  const uint64_t huge = uint64_t(2) << 20;
  const std::string remedy =
      "; take a smaller batch_size or block_size when compiling, or a machine with more memory";
  MemoryLimit limit = availableMemory();
  if (bytes > UINT64_MAX - 2 * huge || bytes > limit.bytes)
    return Status::failed("not enough memory: the step needs an arena of " + bytesText(bytes) + ", " +
                          bytesText(limit.bytes) + " are available (" + limit.reason + ")" + remedy);
  Arena arena;
  arena.bytes_ = bytes;
  arena.mappingBytes_ = bytes + huge;
  void *mapping =
      ::mmap(nullptr, arena.mappingBytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED)
    return Status::failed("not enough memory: the system refuses an arena of " + bytesText(bytes) + ": " +
                          std::strerror(errno) + remedy);
  arena.mapping_ = static_cast<char *>(mapping);
  uint64_t address = reinterpret_cast<uint64_t>(mapping);
  arena.data_ = arena.mapping_ + ((huge - address % huge) % huge);
  // Only advice: without huge pages all is the same, a little slower.
  (void)::madvise(arena.data_, bytes, MADV_HUGEPAGE);
  return arena;
}

Arena::Arena(Arena &&other) noexcept { *this = std::move(other); }

Arena &Arena::operator=(Arena &&other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(mapping_, other.mapping_);
  std::swap(mappingBytes_, other.mappingBytes_);
  return *this;
}

Arena::~Arena() {
  if (mapping_)
    ::munmap(mapping_, mappingBytes_);
}

} // namespace txc
