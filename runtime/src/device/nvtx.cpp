//===- nvtx.cpp - Names on a profiler's timeline ---------------------------===//
//
// The interface between programs and injected tools, version 3, of NVIDIA/NVTX
// (c/include/nvtx3/nvtxDetail/nvtxTypes.h and nvtxInit.h): the tool exports
// InitializeInjectionNvtx2, gets a function that hands out tables, and replaces
// what the slots of the core module point to.
//
//===----------------------------------------------------------------------===//
#include "device/nvtx.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <dlfcn.h>
#include <string>

namespace txc {
namespace {

using Function = void (*)();
using GetTable = const void *(*)(uint32_t table);

enum Table : uint32_t { kCallbacks = 1, kVersionInfo = 3 };
enum Module : int { kCore = 1 };
enum Slot { kRangePushA = 9, kRangePop = 11, kCoreSize = 16 };

struct Callbacks {
  size_t structSize;
  int (*getModuleFunctions)(int module, Function ***table, unsigned *size);
};
struct VersionInfo {
  size_t structSize;
  uint32_t version, reserved;
  void (*setInjectionVersion)(uint32_t version);
};

Function functions[kCoreSize];
Function *slots[kCoreSize + 1]; // the tool takes the size to be one less

int getModuleFunctions(int module, Function ***table, unsigned *size) {
  if (module != kCore)
    return 0;
  for (size_t i = 1; i < kCoreSize; ++i)
    slots[i] = &functions[i];
  if (table)
    *table = slots;
  if (size)
    *size = kCoreSize;
  return 1;
}

const void *getTable(uint32_t table) {
  static const Callbacks callbacks = {sizeof(Callbacks), getModuleFunctions};
  static const VersionInfo version = {sizeof(VersionInfo), 3, 0, [](uint32_t) {}};
  return table == kCallbacks ? static_cast<const void *>(&callbacks) : table == kVersionInfo ? &version : nullptr;
}

bool initialize(const char *path) {
  void *library = ::dlopen(path, RTLD_LAZY);
  if (!library)
    return false;
  auto start = reinterpret_cast<int (*)(GetTable)>(::dlsym(library, "InitializeInjectionNvtx2"));
  if (start && start(getTable))
    return true;
  ::dlclose(library);
  return false;
}

} // namespace

Nvtx Nvtx::attach() {
  static std::string attached; // a tool is told once
  Nvtx nvtx;
  const char *path = std::getenv("NVTX_INJECTION64_PATH");
  if (!path || !*path || (attached != path && !initialize(path)))
    return nvtx;
  attached = path;
  nvtx.push_ = reinterpret_cast<int (*)(const char *)>(functions[kRangePushA]);
  nvtx.pop_ = reinterpret_cast<int (*)()>(functions[kRangePop]);
  return nvtx;
}

} // namespace txc
