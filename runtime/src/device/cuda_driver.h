//===- cuda_driver.h - NVIDIA's driver, loaded at run time -----------------===//
#ifndef TXC_RUNTIME_DEVICE_CUDA_DRIVER_H
#define TXC_RUNTIME_DEVICE_CUDA_DRIVER_H

#include "device/cuda_api.h"
#include "support/status.h"

#include <string>
#include <vector>

namespace txc::cuda {

// The functions of libcuda.so.1, or of the library that the environment variable
// TXC_CUDA_LIBRARY names. It is never unloaded.
class Driver {
public:
#define TXC_DECLARE(function, symbol, ...) Result (*function)(__VA_ARGS__) = nullptr;
  TXC_CUDA_DRIVER_FUNCTIONS(TXC_DECLARE)
#undef TXC_DECLARE

  // Loads and initializes it.
  static txc::Result<Driver> load();

  // Of CUDA that the driver speaks: 12040 is 12.4.
  int version() const { return version_; }
  std::string versionText() const;

  // What went wrong in words, and what to do if that is known: "launching X: an
  // illegal memory access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS); ...".
  // `commandIsKnown`: `doing` names the command that failed for sure.
  Status error(Result result, const std::string &doing, bool commandIsKnown = false) const;

private:
  int version_ = 0;
};

// A library found among several names and folders, or what was tried.
struct FoundLibrary {
  void *handle = nullptr;
  std::string path;
  std::string tried; // one line per attempt, with the loader's reason
};
FoundLibrary openLibrary(const std::vector<std::string> &paths);

} // namespace txc::cuda

#endif // TXC_RUNTIME_DEVICE_CUDA_DRIVER_H
