//===- nccl.h - Collectives of NVIDIA GPUs ---------------------------------===//
#ifndef TXC_RUNTIME_COMM_NCCL_H
#define TXC_RUNTIME_COMM_NCCL_H

#include "comm/control.h"
#include "comm/nccl_api.h"
#include "device/cuda_driver.h"
#include "support/status.h"
#include "txc/step_abi.h"

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace txc {

namespace nccl {
struct Functions {
#define TXC_DECLARE(function, symbol, ...) Result (*function)(__VA_ARGS__) = nullptr;
  TXC_NCCL_FUNCTIONS(TXC_DECLARE)
#undef TXC_DECLARE
};
} // namespace nccl

// libnccl.so.2, and a communicator of all ranks on the GPU whose context is
// current. Calls may be captured in a graph.
class NcclCollectives {
public:
  static Result<std::unique_ptr<NcclCollectives>> open(const cuda::Driver &driver, Control &control);
  // Graphs with its collectives must be gone.
  ~NcclCollectives();

  // Enqueues a collective on `stream`.
  Status run(const txc_collective_t &collective, cuda::Address arena, cuda::Stream stream);
  // Lets what other threads wait for on the GPU end, wrongly. Any thread may call
  // it; NCCL returns from it when the graphs with its collectives are gone.
  void abort();
  // What NCCL found out by itself, of a connection that broke for instance.
  Status asyncError();
  // "NCCL 2.27.3".
  const std::string &name() const { return name_; }

private:
  NcclCollectives(const cuda::Driver &driver, Control &control) : driver_(driver), control_(control) {}
  Status error(nccl::Result result, const std::string &doing) const;
  // Lets the GPU itself say when it comes to the collective, in a graph too.
  Status markPlace(const txc_collective_t &collective, cuda::Stream stream);
  void tellPlace();

  const cuda::Driver &driver_;
  Control &control_;
  nccl::Functions nccl_;
  const char *(*errorText_)(nccl::Result) = nullptr;
  const char *(*lastError_)(nccl::Communicator) = nullptr;
  std::timed_mutex using_; // of calls with the communicator, which abort() takes away
  nccl::Communicator communicator_ = nullptr;
  std::string name_;
  // The number of the last collective that the GPU came to, from 1, in pinned memory.
  volatile uint32_t *place_ = nullptr;
  std::mutex placing_; // of names_
  std::vector<const char *> names_;
  std::unordered_map<const txc_collective_t *, uint32_t> numbers_;
};

} // namespace txc

#endif // TXC_RUNTIME_COMM_NCCL_H
