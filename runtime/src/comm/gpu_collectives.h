//===- gpu_collectives.h - What moves data between the ranks' GPUs ----------===//
#ifndef TXC_RUNTIME_COMM_GPU_COLLECTIVES_H
#define TXC_RUNTIME_COMM_GPU_COLLECTIVES_H

#include "comm/control.h"
#include "device/cuda_driver.h"
#include "support/status.h"
#include "txc/step_abi.h"

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace txc {

// NcclCollectives and PeerCollectives. Calls of run() may be captured in a graph.
class GpuCollectives {
public:
  // Graphs with its collectives must be gone.
  virtual ~GpuCollectives() = default;
  // Enqueues a collective on `stream`.
  virtual Status run(const txc_collective_t &collective, cuda::Address arena, cuda::Stream stream) = 0;
  // Lets what other threads wait for on the GPU end, wrongly. Any thread may call it; it may
  // return only when the graphs with its collectives are gone.
  virtual void abort() = 0;
  // What it found out by itself, of a connection that broke for instance.
  virtual Status asyncError() { return {}; }
  // "NCCL 2.27.3".
  virtual const std::string &name() const = 0;
};

// Where the GPU is: the number of the last collective that it came to, which it writes
// itself, in a graph too, since the host is ahead of it.
class CollectivePlace {
public:
  static Result<std::unique_ptr<CollectivePlace>> open(const cuda::Driver &driver);
  ~CollectivePlace();
  // Enqueues the mark.
  Status mark(const txc_collective_t &collective, cuda::Stream stream);
  // Tells `control` where it is. Any thread may call it.
  void tell(Control &control);

private:
  explicit CollectivePlace(const cuda::Driver &driver) : driver_(driver) {}

  const cuda::Driver &driver_;
  volatile uint32_t *place_ = nullptr; // from 1, in pinned memory
  std::mutex placing_;                 // of names_
  std::vector<const char *> names_;
  std::unordered_map<const txc_collective_t *, uint32_t> numbers_;
};

} // namespace txc

#endif // TXC_RUNTIME_COMM_GPU_COLLECTIVES_H
