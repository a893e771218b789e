//===- tuning_cache.h - Algorithms that were chosen by measurement ---------===//
//
// One JSON file per GPU model and library version in $XDG_CACHE_HOME/txc (else
// ~/.cache/txc): an algorithm is only valid with the version that it comes from.
// A file that cannot be read is ignored with a warning and written anew by the
// next tuning; several processes may write it, the last one wins.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_DEVICE_TUNING_CACHE_H
#define TXC_RUNTIME_DEVICE_TUNING_CACHE_H

#include "device/cuda_api.h"
#include "support/status.h"

#include <map>
#include <string>

namespace txc {

struct TunedProduct {
  cuda::LtAlgorithm algorithm;
  double microseconds = 0;      // of the algorithm
  double firstMicroseconds = 0; // of the heuristic's first
  int candidates = 0;
};

struct TuningCache {
  std::string path;
  std::string gpu, library;
  std::map<std::string, TunedProduct> products; // by shape, see cublas_lt.h
  std::string warning;                          // why the file was ignored

  // No file is no warning.
  static TuningCache load(const std::string &gpu, const std::string &library);
  // Adds to what the file has by now.
  Status save() const;
};

} // namespace txc

#endif // TXC_RUNTIME_DEVICE_TUNING_CACHE_H
