//===- collectives.h - What moves data between ranks -----------------------===//
//
// start() begins a collective of the step after what the caller did before, and
// wait() returns, or on a GPU enqueues, its end. NCCL and MPI implement it.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_COMM_COLLECTIVES_H
#define TXC_RUNTIME_COMM_COLLECTIVES_H

#include "comm/control.h"
#include "support/status.h"
#include "txc/step_abi.h"

#include <memory>
#include <string>

namespace txc {

inline uint64_t bytesOfElement(uint32_t dtype) {
  return dtype == TXC_DTYPE_F64 ? 8 : dtype == TXC_DTYPE_BF16 ? 2 : dtype == TXC_DTYPE_U8 ? 1 : 4;
}

// On the CPU. One thread calls all functions.
class HostCollectives {
public:
  virtual ~HostCollectives() = default;
  virtual Status start(char *arena, const txc_collective_t &collective) = 0;
  virtual Status wait(const txc_wait_t &wait) = 0;
  // Lets what was started go on; called now and then.
  virtual void progress() = 0;
  // "Open MPI 4.1.4".
  virtual std::string name() const = 0;
};

// MPI, by the plugin library of this project that is linked with it.
Result<std::unique_ptr<HostCollectives>> openMpi(Control &control, uint32_t numEvents);

} // namespace txc

#endif // TXC_RUNTIME_COMM_COLLECTIVES_H
