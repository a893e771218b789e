//===- cpu_device.cpp - A step on the CPU ----------------------------------===//
#include "device/cpu_device.h"

#include "report/hardware.h"
#include "support/text.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <immintrin.h>
#include <omp.h>

namespace txc {

// Chunks per thread of a launch: enough that a thread which the system
// interrupts, or which gets the short rows of a causal triangle, is made up for.
static constexpr int64_t kChunksPerThread = 8;
static constexpr uint64_t kParallelFillBytes = 1 << 20;

// What the host needs beside the arena: code that the matrix library makes, the product
// that is measured, text; and stacks, of which only addresses count before they are used.
// Where it is lacking, libraries crash.
static constexpr uint64_t kHostBytes = 96 << 20, kAddressesPerThread = 16 << 20;

// Denormal results and operands count as zero, as on a GPU: optimizer moments
// and softmax tails decay into denormals, which are many times slower.
static void flushDenormals() { _mm_setcsr(_mm_getcsr() | 0x8040); }

Result<std::unique_ptr<CpuDevice>> CpuDevice::create(uint64_t arenaBytes, int threads, Control *control,
                                                     uint32_t numEvents) {
  const MemoryLimit limit = availableMemory();
  uint64_t host = kHostBytes;
  if (limit.reason == "ulimit -v")
    host += kAddressesPerThread * static_cast<uint64_t>(threads > 0 ? threads : omp_get_max_threads());
  if (limit.bytes < host || (arenaBytes <= limit.bytes && arenaBytes > limit.bytes - host))
    return Status::failed("not enough memory: the step needs an arena of " + bytesText(arenaBytes) +
                          " and the host " + bytesText(host) + " beside it, " + bytesText(limit.bytes) +
                          " are available (" + limit.reason +
                          "); take fewer --threads, a smaller batch_size or block_size when compiling, or a "
                          "machine with more memory");
  Result<MatrixProducts> products = MatrixProducts::load();
  if (!products.ok())
    return products.status();
  Result<Arena> arena = Arena::allocate(arenaBytes);
  if (!arena.ok())
    return arena.status();
  std::unique_ptr<CpuDevice> device(new CpuDevice(std::move(*products), std::move(*arena)));
  if (threads > 0)
    omp_set_num_threads(threads);
  else if (control && control->sharers() > 1 && !std::getenv("OMP_NUM_THREADS"))
    omp_set_num_threads(std::max(1, omp_get_num_procs() / control->sharers()));
  omp_set_dynamic(0);
  Hardware hardware = detectHardware();
  device->info_.name = hardware.cpu;
  device->info_.memoryBytes = hardware.memoryBytes;
  device->info_.threads = omp_get_max_threads();
  device->info_.library = device->products_.libraryName();
  if (control) {
    Result<std::unique_ptr<HostCollectives>> collectives = openMpi(*control, numEvents);
    if (!collectives.ok())
      return collectives.status();
    device->collectives_ = std::move(*collectives);
    device->rank_ = static_cast<uint64_t>(control->world().rank);
    device->info_.communication = device->collectives_->name();
  }
  device->table_ = {
      sizeof(txc_device_t), TXC_STEP_ABI_VERSION, device.get(), launch, gemm, fill, collective, wait};
  // Starts the threads; they live as long as the process.
#pragma omp parallel
  flushDenormals();
  return device;
}

DeviceMemory CpuDevice::memory() {
  ProcessMemory process = processMemory();
  return {process.residentBytes, process.peakBytes, arena_.bytes()};
}

PeakRate CpuDevice::peakRate() {
  const int size = MatrixProducts::kPeakSize, depth = MatrixProducts::kPeakDepth;
  return {products_.measurePeak(),
          format("measured: fp32 matrix product [%d, %d] x [%d, %d]", size, depth, depth, size), true};
}

//===-- Commands ------------------------------------------------------------===//

namespace {

// Takes the time of each command.
struct Stopwatch final : CommandHook {
  std::chrono::steady_clock::time_point start;
  std::vector<double> milliseconds;

  Status before(uint32_t) override {
    start = std::chrono::steady_clock::now();
    return {};
  }
  Status after(uint32_t) override {
    milliseconds.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    return {};
  }
};

} // namespace

Status CpuDevice::run(const txc_entry_t &entry) {
  failure_ = {};
  Stopwatch stopwatch;
  CommandHook *hook = hook_ ? hook_ : profiling_ ? &stopwatch : nullptr;
  int32_t status;
  if (hook) {
    HookedTable hooked(table_, *hook);
    status = entry.run(&hooked.table(), arena_.data());
    if (!hooked.status().ok())
      return hooked.status();
  } else {
    status = entry.run(&table_, arena_.data());
  }
  if (status == 0 && hook == &stopwatch)
    return timer_.add(entry, stopwatch.milliseconds);
  if (status == 0)
    return {};
  if (!failure_.ok())
    return failure_;
  return {Code::Device, format("entry '%s' of the step failed with status %d", entry.name, status)};
}

Result<Device::Ticket> CpuDevice::fetch(const txc_buffer_t &buffer) {
  std::memcpy(fetched_[fetches_ % fetched_.size()].data(), arena_.data() + buffer.offset,
              std::min(buffer.bytes, kLargestFetch));
  return fetches_++;
}

Status CpuDevice::take(Ticket ticket, void *data, uint64_t bytes) {
  std::memcpy(data, fetched_[ticket % fetched_.size()].data(), std::min(bytes, kLargestFetch));
  return {};
}

Result<Device::Mark> CpuDevice::mark() {
  marks_[numMarks_ % marks_.size()] = Clock::now();
  return numMarks_++;
}

Result<double> CpuDevice::secondsBetween(Mark from, Mark to) {
  return std::chrono::duration<double>(marks_[to % marks_.size()] - marks_[from % marks_.size()]).count();
}

Status CpuDevice::read(uint64_t offset, void *data, uint64_t bytes) {
  std::memcpy(data, arena_.data() + offset, bytes);
  return {};
}

Status CpuDevice::write(uint64_t offset, const void *data, uint64_t bytes) {
  std::memcpy(arena_.data() + offset, data, bytes);
  return {};
}

Status CpuDevice::copyOut(const std::vector<ArenaRange> &ranges) {
  uint64_t total = 0;
  for (const ArenaRange &range : ranges)
    total += range.bytes;
  if (!copy_ || copy_->bytes() < total) {
    copy_.reset();
    Result<Arena> memory = Arena::allocate(std::max<uint64_t>(total, 1));
    if (!memory.ok())
      return memory.status();
    copy_ = std::move(*memory);
  }
  char *to = copy_->data();
  for (const ArenaRange &range : ranges) {
    std::memcpy(to, arena_.data() + range.offset, range.bytes);
    to += range.bytes;
  }
  return {};
}

Result<std::string> CpuDevice::tune() {
  return Status::usage(
      "--tune: this step runs on the CPU, where matrix products have no algorithms to choose "
      "from; leave it out");
}

Status CpuDevice::profile(bool on) {
  profiling_ = on;
  if (on)
    timer_.clear();
  return {};
}

int32_t CpuDevice::launch(void *self, char *arena, const txc_launch_t *command) {
  auto &device = *static_cast<CpuDevice *>(self);
  if (device.collectives_)
    device.collectives_->progress();
  if (!command->kernel) {
    device.failure_ = {Code::Device, format("launch '%s' has no CPU kernel", command->name)};
    return 1;
  }
  const int64_t blocks = command->blocks;
  const uint64_t *offsets = command->offsets;
  if (command->rank_strides) {
    device.offsets_.assign(offsets, offsets + command->num_args);
    for (uint32_t i = 0; i < command->num_args; ++i)
      device.offsets_[i] += device.rank_ * command->rank_strides[i];
    offsets = device.offsets_.data();
  }
  if (blocks <= 1 || device.info_.threads == 1) {
    if (blocks > 0)
      command->kernel(arena, offsets, 0, blocks);
    return 0;
  }
  const int64_t chunk = std::max<int64_t>(1, blocks / (device.info_.threads * kChunksPerThread));
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t begin = 0; begin < blocks; begin += chunk)
    command->kernel(arena, offsets, begin, std::min(begin + chunk, blocks));
  return 0;
}

int32_t CpuDevice::gemm(void *self, char *arena, const txc_gemm_t *command) {
  auto &device = *static_cast<CpuDevice *>(self);
  if (device.collectives_)
    device.collectives_->progress();
  device.failure_ = device.products_.run(arena, *command);
  return device.failure_.ok() ? 0 : 1;
}

int32_t CpuDevice::fill(void *self, char *arena, const txc_fill_t *command) {
  auto &device = *static_cast<CpuDevice *>(self);
  char *begin = arena + command->offset;
  if (command->bytes < kParallelFillBytes || device.info_.threads == 1) {
    std::memset(begin, command->value, command->bytes);
    return 0;
  }
  const uint64_t piece = kParallelFillBytes / 4;
#pragma omp parallel for schedule(static)
  for (uint64_t at = 0; at < command->bytes; at += piece)
    std::memset(begin + at, command->value, std::min(piece, command->bytes - at));
  return 0;
}

int32_t CpuDevice::collective(void *self, char *arena, const txc_collective_t *command) {
  auto &device = *static_cast<CpuDevice *>(self);
  device.failure_ =
      device.collectives_
          ? device.collectives_->start(arena, *command)
          : Status(Code::Device, format("collective '%s': this is the only rank", command->name));
  return device.failure_.ok() ? 0 : 1;
}

int32_t CpuDevice::wait(void *self, char *, const txc_wait_t *command) {
  auto &device = *static_cast<CpuDevice *>(self);
  device.failure_ = device.collectives_
                        ? device.collectives_->wait(*command)
                        : Status(Code::Device, format("wait for '%s': this is the only rank", command->name));
  return device.failure_.ok() ? 0 : 1;
}

} // namespace txc
