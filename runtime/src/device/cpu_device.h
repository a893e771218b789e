//===- cpu_device.h - What compiled code calls to run on the CPU -----------===//
//
// Implements txc_device on the OpenMP threads of the process. The number of
// threads changes only the speed: blocks of a launch are independent, and
// matrix products sum in a fixed order.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_DEVICE_CPU_DEVICE_H
#define TXC_RUNTIME_DEVICE_CPU_DEVICE_H

#include "device/matrix_products.h"
#include "support/status.h"
#include "txc/step_abi.h"

#include <memory>
#include <string>

namespace txc {

class CpuDevice {
public:
  // `threads` of 0: OMP_NUM_THREADS, else all cores that this process may use.
  static Result<std::unique_ptr<CpuDevice>> create(int threads);
  CpuDevice(const CpuDevice &) = delete;
  CpuDevice &operator=(const CpuDevice &) = delete;

  // Runs an entry; the message of a failure names the command.
  Status run(const txc_entry_t &entry, char *arena);

  const txc_device_t &table() const { return table_; }
  const MatrixProducts &matrixProducts() const { return products_; }
  int threads() const { return threads_; }

private:
  explicit CpuDevice(MatrixProducts products) : products_(std::move(products)) {}
  static int32_t launch(void *self, char *arena, const txc_launch_t *command);
  static int32_t gemm(void *self, char *arena, const txc_gemm_t *command);
  static int32_t fill(void *self, char *arena, const txc_fill_t *command);

  MatrixProducts products_;
  txc_device_t table_ = {};
  int threads_ = 1;
  Status failure_;
};

} // namespace txc

#endif // TXC_RUNTIME_DEVICE_CPU_DEVICE_H
