//===- cpu_device.h - A step on the CPU ------------------------------------===//
//
// Implements txc_device on the OpenMP threads of the process. The number of
// threads changes only the speed: blocks of a launch are independent, and
// matrix products sum in a fixed order.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_DEVICE_CPU_DEVICE_H
#define TXC_RUNTIME_DEVICE_CPU_DEVICE_H

#include "comm/collectives.h"
#include "device/arena.h"
#include "device/command_timer.h"
#include "device/device.h"
#include "device/matrix_products.h"

#include <array>
#include <chrono>
#include <optional>

namespace txc {

class CpuDevice final : public Device {
public:
  // `threads` of 0: OMP_NUM_THREADS, else all cores that this process may use.
  static Result<std::unique_ptr<CpuDevice>> create(uint64_t arenaBytes, int threads,
                                                   Control *control = nullptr, uint32_t numEvents = 0);

  const DeviceInfo &info() const override { return info_; }
  DeviceMemory memory() override;
  PeakRate peakRate() override;
  int runsAhead() const override { return 0; }

  Result<char *> stage(const txc_buffer_t &buffer) override { return arena_.data() + buffer.offset; }
  Status run(const txc_entry_t &entry) override;
  Result<Ticket> fetch(const txc_buffer_t &buffer) override;
  bool arrived(Ticket) override { return true; }
  Status take(Ticket ticket, void *data, uint64_t bytes) override;
  Result<Mark> mark() override;
  Result<double> secondsBetween(Mark from, Mark to) override;

  Status read(uint64_t offset, void *data, uint64_t bytes) override;
  Status write(uint64_t offset, const void *data, uint64_t bytes) override;
  Status copyOut(const std::vector<ArenaRange> &ranges) override;
  Result<const char *> copiedOut() override { return copy_ ? copy_->data() : nullptr; }
  Status synchronize() override { return {}; }
  Result<std::string> tune() override;
  Status profile(bool on) override;
  std::vector<CommandTime> commandTimes() const override { return timer_.medians(); }
  void observe(CommandHook *hook) override { hook_ = hook; }

  char *arena() const { return arena_.data(); }
  const txc_device_t &table() const { return table_; }

private:
  using Clock = std::chrono::steady_clock;

  CpuDevice(MatrixProducts products, Arena arena)
      : arena_(std::move(arena)), products_(std::move(products)) {}
  static int32_t launch(void *self, char *arena, const txc_launch_t *command);
  static int32_t gemm(void *self, char *arena, const txc_gemm_t *command);
  static int32_t fill(void *self, char *arena, const txc_fill_t *command);
  static int32_t collective(void *self, char *arena, const txc_collective_t *command);
  static int32_t wait(void *self, char *arena, const txc_wait_t *command);

  Arena arena_;
  std::optional<Arena> copy_; // of copyOut()
  MatrixProducts products_;
  std::unique_ptr<HostCollectives> collectives_; // null for one rank
  uint64_t rank_ = 0;
  std::vector<uint64_t> offsets_; // of a launch, on this rank
  txc_device_t table_ = {};
  DeviceInfo info_;
  Status failure_;
  std::array<std::array<char, kLargestFetch>, 64> fetched_ = {};
  uint64_t fetches_ = 0;
  std::array<Clock::time_point, 64> marks_ = {};
  uint64_t numMarks_ = 0;
  bool profiling_ = false;
  CommandHook *hook_ = nullptr;
  CommandTimer timer_;
};

} // namespace txc

#endif // TXC_RUNTIME_DEVICE_CPU_DEVICE_H
