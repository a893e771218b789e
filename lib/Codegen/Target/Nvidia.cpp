//===- Nvidia.cpp - What kernels need to know of NVIDIA GPUs ---------------===//
//
// Numbers from the CUDA C++ programming guide's table of compute capabilities
// (shared memory per block) and NVIDIA's white papers on A100, Ada and H100
// (multiprocessors).
//
//===----------------------------------------------------------------------===//

#include "txc/Codegen/Target.h"

#include "llvm/ADT/SmallVectorExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/DynamicLibrary.h"

using namespace llvm;
using namespace txc::codegen;

static const GpuTarget targets[] = {
    {"sm_80", "+ptx83", 108, 163 * 1024, false},
    {"sm_86", "+ptx83", 84, 99 * 1024, false},
    {"sm_89", "+ptx83", 144, 99 * 1024, false},
    {"sm_90", "+ptx83", 132, 227 * 1024, false},
    {"sm_90a", "+ptx83", 132, 227 * 1024, true},
};

std::optional<GpuTarget> txc::codegen::getGpuTarget(StringRef arch) {
  for (const GpuTarget &target : targets)
    if (arch == target.arch)
      return target;
  return std::nullopt;
}

ArrayRef<StringRef> txc::codegen::getGpuNames() {
  static const SmallVector<StringRef> names =
      llvm::map_to_vector(targets, [](const GpuTarget &target) { return StringRef(target.arch); });
  return names;
}

std::string txc::codegen::findHostGpu() {
  std::string error;
  auto driver = llvm::sys::DynamicLibrary::getPermanentLibrary("libcuda.so.1", &error);
  if (!driver.isValid())
    return "";
  auto init = reinterpret_cast<int (*)(unsigned)>(driver.getAddressOfSymbol("cuInit"));
  auto attribute =
      reinterpret_cast<int (*)(int *, int, int)>(driver.getAddressOfSymbol("cuDeviceGetAttribute"));
  if (!init || !attribute || init(0) != 0)
    return "";
  constexpr int computeCapabilityMajor = 75, computeCapabilityMinor = 76; // CUdevice_attribute
  int major = 0, minor = 0;
  if (attribute(&major, computeCapabilityMajor, 0) != 0 || attribute(&minor, computeCapabilityMinor, 0) != 0)
    return "";
  // The last one that this GPU can run: sm_90a code runs on 9.0 only, sm_80 code on 8.x.
  std::string found;
  for (const GpuTarget &target : targets) {
    int arch = 0;
    StringRef(target.arch).drop_front(3).take_while(llvm::isDigit).getAsInteger(10, arch);
    bool exact = StringRef(target.arch).ends_with("a");
    if (exact ? arch == major * 10 + minor : arch / 10 == major && arch % 10 <= minor)
      found = target.arch;
  }
  return found;
}

mlir::FailureOr<Target> txc::codegen::getTarget(StringRef name, std::string &error) {
  if (!name.starts_with("sm_")) {
    mlir::FailureOr<CpuTarget> cpu = getCpuTarget(name, error);
    if (failed(cpu))
      return mlir::failure();
    return Target{*cpu, std::nullopt};
  }
  if (std::optional<GpuTarget> gpu = getGpuTarget(name))
    return Target{std::nullopt, gpu};
  error = "unknown GPU architecture '" + name.str() + "', expected one of " +
          llvm::join(getGpuNames(), ", ") + "; lib/Codegen/Target/Nvidia.cpp lists them";
  return mlir::failure();
}
