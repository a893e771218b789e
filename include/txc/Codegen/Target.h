//===- Target.h - What kernels need to know of the machine -----------------===//
//
// Facts of an architecture live in lib/Codegen/Target/ and nowhere else.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_TARGET_H
#define TXC_CODEGEN_TARGET_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/StringRef.h"

#include <optional>
#include <string>

namespace txc::codegen {

/// An x86-64 CPU.
struct CpuTarget {
  std::string level = "x86-64-v4"; ///< also LLVM's -mcpu; x86-64-v3 or x86-64-v4
  int64_t vectorBytes = 64;        ///< width of a vector register
  int64_t floatLanes() const { return vectorBytes / 4; }
};

/// An NVIDIA GPU.
struct GpuTarget {
  std::string arch;        ///< sm_90a: LLVM's -mcpu and ptxas's -arch
  std::string ptxFeatures; ///< of LLVM's -mattr: the PTX version
  int64_t multiprocessors; ///< of the largest part: bounds grids whose size must not depend on the machine
  int64_t sharedBytes;     ///< most that a block can have
  bool hasWgmma;           ///< warpgroup products, TMA, thread block clusters
  int64_t libraryWorkspaceBytes = int64_t(32) << 20; ///< scratch of the library of matrix products
};

/// One of the two.
struct Target {
  std::optional<CpuTarget> cpu;
  std::optional<GpuTarget> gpu;
  bool isGpu() const { return gpu.has_value(); }
  llvm::StringRef isa() const { return isGpu() ? gpu->arch : cpu->level; }
  /// "cpu:x86-64-v4", "cuda:sm_90a".
  std::string name() const { return (isGpu() ? "cuda:" : "cpu:") + isa().str(); }
};

/// The target of that name, "" being this machine's CPU; an error message for
/// anything else than x86-64-v3, x86-64-v4 and the architectures of getGpuNames.
mlir::FailureOr<Target> getTarget(llvm::StringRef name, std::string &error);

mlir::FailureOr<CpuTarget> getCpuTarget(llvm::StringRef level, std::string &error);
std::optional<GpuTarget> getGpuTarget(llvm::StringRef arch);
llvm::ArrayRef<llvm::StringRef> getGpuNames();

/// The architecture to compile for this machine's first GPU; "" if there is none
/// (no driver, no device).
std::string findHostGpu();

} // namespace txc::codegen

#endif // TXC_CODEGEN_TARGET_H
