//===- nccl.h - Collectives of NVIDIA GPUs ---------------------------------===//
#ifndef TXC_RUNTIME_COMM_NCCL_H
#define TXC_RUNTIME_COMM_NCCL_H

#include "comm/gpu_collectives.h"
#include "comm/nccl_api.h"

#include <memory>
#include <mutex>
#include <string>

namespace txc {

namespace nccl {
struct Functions {
#define TXC_DECLARE(function, symbol, ...) Result (*function)(__VA_ARGS__) = nullptr;
  TXC_NCCL_FUNCTIONS(TXC_DECLARE)
#undef TXC_DECLARE
};
} // namespace nccl

// libnccl.so.2, and a communicator of all ranks on the GPU whose context is current.
class NcclCollectives final : public GpuCollectives {
public:
  static Result<std::unique_ptr<NcclCollectives>> open(Control &control);
  ~NcclCollectives() override;

  Status run(const txc_collective_t &collective, cuda::Address arena, cuda::Stream stream) override;
  void abort() override;
  Status asyncError() override;
  const std::string &name() const override { return name_; }

private:
  explicit NcclCollectives(Control &control) : control_(control) {}
  Status error(nccl::Result result, const std::string &doing) const;

  Control &control_;
  nccl::Functions nccl_;
  const char *(*errorText_)(nccl::Result) = nullptr;
  const char *(*lastError_)(nccl::Communicator) = nullptr;
  std::timed_mutex using_; // of calls with the communicator, which abort() takes away
  nccl::Communicator communicator_ = nullptr;
  std::string name_;
};

} // namespace txc

#endif // TXC_RUNTIME_COMM_NCCL_H
