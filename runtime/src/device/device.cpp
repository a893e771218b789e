//===- device.cpp - The device that a step was compiled for ----------------===//
#include "device/device.h"

#include "device/cpu_device.h"
#include "device/cuda_device.h"
#include "loader/step_file.h"

namespace txc {

Result<std::unique_ptr<Device>> openDevice(const StepFile &step, const DeviceOptions &options) {
  if (step.note().target_kind == TXC_TARGET_CUDA) {
    Result<std::unique_ptr<CudaDevice>> device = CudaDevice::open(step, options);
    if (!device.ok())
      return device.status();
    return std::unique_ptr<Device>(std::move(*device));
  }
  Result<std::unique_ptr<CpuDevice>> device = CpuDevice::create(step.step().arena_bytes, options.threads,
                                                              options.control, step.step().num_events);
  if (!device.ok())
    return device.status();
  return std::unique_ptr<Device>(std::move(*device));
}

} // namespace txc
