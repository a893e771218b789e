//===- cpu_device.cpp - What compiled code calls to run on the CPU ---------===//
#include "device/cpu_device.h"

#include "support/text.h"

#include <algorithm>
#include <cstring>
#include <immintrin.h>
#include <omp.h>

namespace txc {

// Chunks per thread of a launch: enough that a thread which the system
// interrupts, or which gets the short rows of a causal triangle, is made up for.
static constexpr int64_t kChunksPerThread = 8;
static constexpr uint64_t kParallelFillBytes = 1 << 20;

// Denormal results and operands count as zero, as on a GPU: optimizer moments
// and softmax tails decay into denormals, which are many times slower.
static void flushDenormals() { _mm_setcsr(_mm_getcsr() | 0x8040); }

Result<std::unique_ptr<CpuDevice>> CpuDevice::create(int threads) {
  Result<MatrixProducts> products = MatrixProducts::load();
  if (!products.ok())
    return products.status();
  std::unique_ptr<CpuDevice> device(new CpuDevice(std::move(*products)));
  if (threads > 0)
    omp_set_num_threads(threads);
  omp_set_dynamic(0);
  device->threads_ = omp_get_max_threads();
  device->table_ = {sizeof(txc_device_t), TXC_STEP_ABI_VERSION, device.get(), launch, gemm, fill};
  // Starts the threads; they live as long as the process.
#pragma omp parallel
  flushDenormals();
  return device;
}

Status CpuDevice::run(const txc_entry_t &entry, char *arena) {
  failure_ = {};
  int32_t status = entry.run(&table_, arena);
  if (status == 0)
    return {};
  if (!failure_.ok())
    return failure_;
  return {Code::Device, format("entry '%s' of the step failed with status %d", entry.name, status)};
}

int32_t CpuDevice::launch(void *self, char *arena, const txc_launch_t *command) {
  auto &device = *static_cast<CpuDevice *>(self);
  if (!command->kernel) {
    device.failure_ = {Code::Device, format("launch '%s' has no CPU kernel", command->name)};
    return 1;
  }
  const int64_t blocks = command->blocks;
  if (blocks <= 1 || device.threads_ == 1) {
    if (blocks > 0)
      command->kernel(arena, command->offsets, 0, blocks);
    return 0;
  }
  const int64_t chunk = std::max<int64_t>(1, blocks / (device.threads_ * kChunksPerThread));
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t begin = 0; begin < blocks; begin += chunk)
    command->kernel(arena, command->offsets, begin, std::min(begin + chunk, blocks));
  return 0;
}

int32_t CpuDevice::gemm(void *self, char *arena, const txc_gemm_t *command) {
  auto &device = *static_cast<CpuDevice *>(self);
  device.failure_ = device.products_.run(arena, *command);
  return device.failure_.ok() ? 0 : 1;
}

int32_t CpuDevice::fill(void *self, char *arena, const txc_fill_t *command) {
  auto &device = *static_cast<CpuDevice *>(self);
  char *begin = arena + command->offset;
  if (command->bytes < kParallelFillBytes || device.threads_ == 1) {
    std::memset(begin, command->value, command->bytes);
    return 0;
  }
  const uint64_t piece = kParallelFillBytes / 4;
#pragma omp parallel for schedule(static)
  for (uint64_t at = 0; at < command->bytes; at += piece)
    std::memset(begin + at, command->value, std::min(piece, command->bytes - at));
  return 0;
}

} // namespace txc
