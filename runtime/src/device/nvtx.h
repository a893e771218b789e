//===- nvtx.h - Names on a profiler's timeline -----------------------------===//
//
// A profiler that wants NVTX ranges names a library in NVTX_INJECTION64_PATH
// before it starts the program. That library puts its functions into the tables
// that the program hands it; without one, nothing is called. This is all of NVTX
// that is needed here, so neither its headers nor libnvToolsExt are.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_DEVICE_NVTX_H
#define TXC_RUNTIME_DEVICE_NVTX_H

namespace txc {

class Nvtx {
public:
  /// Attaches the profiler that the environment names, unless it is already.
  static Nvtx attach();
  explicit operator bool() const { return push_ && pop_; }

private:
  friend class NvtxRange;
  int (*push_)(const char *name) = nullptr;
  int (*pop_)() = nullptr;
};

/// A range of this thread from here to the end of the scope.
class NvtxRange {
public:
  NvtxRange(const Nvtx &nvtx, const char *name) : nvtx_(nvtx) {
    if (nvtx_)
      nvtx_.push_(name);
  }
  ~NvtxRange() {
    if (nvtx_)
      nvtx_.pop_();
  }
  NvtxRange(const NvtxRange &) = delete;

private:
  const Nvtx &nvtx_;
};

} // namespace txc

#endif // TXC_RUNTIME_DEVICE_NVTX_H
