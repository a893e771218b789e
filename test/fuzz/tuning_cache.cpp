//===- tuning_cache.cpp - Algorithms that earlier runs chose ----------------===//
#include "fuzz.h"

#include "device/tuning_cache.h"

using namespace txc;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const fuzz::Folder folder;
  static const bool ready = [] {
    return ::setenv("XDG_CACHE_HOME", folder.path().c_str(), 1) == 0 &&
           std::filesystem::create_directory(folder.path() + "/txc");
  }();
  std::string path = TuningCache::load("G", "L").path;
  if (!ready || path.rfind(folder.path() + "/", 0) != 0)
    std::abort();
  folder.write(path.substr(folder.path().size() + 1), fuzz::asText(data, size));
  TuningCache cache = TuningCache::load("G", "L");
  if (!cache.warning.empty() && !cache.products.empty())
    std::abort(); // an ignored file gives nothing
  return 0;
}
