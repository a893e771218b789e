//===- device.h - What runs a step, whatever it is -------------------------===//
//
// A device owns the arena and runs entries in the order of the calls. It may
// still be at work when a call returns, so the host gives it inputs ahead of
// time and asks for results later:
//
//   stage    memory in which the host writes an input of the next run
//   run      enqueues an entry, after its inputs
//   fetch    enqueues copying a result out of the arena: a ticket
//   take     waits for a ticket and gives what was copied
//   mark     enqueues reading the device's clock
//
// On the CPU everything is done when the call returns, `stage` gives the arena
// itself, and nothing is copied. A caller that keeps at most runsAhead() results
// waiting is right on every device and never lets one idle.
//
// Failures name the command where that is known. After one, the device runs
// nothing more; what was fetched before can still be taken if it has arrived.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_DEVICE_DEVICE_H
#define TXC_RUNTIME_DEVICE_DEVICE_H

#include "device/command_hook.h"
#include "support/status.h"
#include "txc/step_abi.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace txc {

class Control;
class StepFile;

struct DeviceInfo {
  std::string name; // of the GPU or CPU, e.g. "NVIDIA H200"
  bool gpu = false;
  std::string architecture; // "sm_90"; empty on a CPU
  std::string driver;       // version of the GPU's driver
  uint64_t memoryBytes = 0; // of the GPU or the machine
  int multiprocessors = 0;  // 0 on a CPU
  int threads = 1;          // of a CPU
  std::string library;      // what multiplies matrices
  std::string communication; // what connects the ranks; empty for one
  std::vector<std::string> warnings;
};

struct DeviceMemory {
  uint64_t inUseBytes = 0;    // by this process; on a GPU all that it took after its context
  uint64_t peakBytes = 0;     // most that was in use
  uint64_t reservedBytes = 0; // the arena, as planned
  uint64_t deviceBytes = 0;   // of a GPU, in use by all processes and their contexts
};

// FLOP per second that the device could reach, and what says so.
struct PeakRate {
  double flops = 0;      // 0: unknown
  std::string source;    // or why it is unknown
  bool measured = false; // now, on this machine: what else runs may have lowered it
};

// Bytes of the arena.
struct ArenaRange {
  uint64_t offset, bytes;
};

// Median time of one command of an entry, see Device::profile.
struct CommandTime {
  std::string entry, name, kind; // kind: "launch", "gemm", "fill", "collective" or "wait"
  std::string kernel;            // function or library routine
  uint32_t index = 0;            // of the command in its entry
  double milliseconds = 0;
  uint64_t bytes = 0, flops = 0; // least that it must move and do; 0: unknown
};

class Device {
public:
  // Which result of fetch() or mark(); each ticket is taken once, in order.
  using Ticket = uint64_t;
  using Mark = uint64_t;
  static constexpr uint64_t kLargestFetch = 64;

  Device() = default;
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;
  virtual ~Device() = default;

  virtual const DeviceInfo &info() const = 0;
  virtual DeviceMemory memory() = 0;
  virtual PeakRate peakRate() = 0;
  virtual int runsAhead() const = 0;

  // All of `buffer` must be written before run().
  virtual Result<char *> stage(const txc_buffer_t &buffer) = 0;
  virtual Status run(const txc_entry_t &entry) = 0;
  // At most kLargestFetch bytes.
  virtual Result<Ticket> fetch(const txc_buffer_t &buffer) = 0;
  virtual bool arrived(Ticket ticket) = 0;
  virtual Status take(Ticket ticket, void *data, uint64_t bytes) = 0;
  // Marks live until 64 others are made; secondsBetween waits for both.
  virtual Result<Mark> mark() = 0;
  virtual Result<double> secondsBetween(Mark from, Mark to) = 0;

  // Waits for what was enqueued before, then copies.
  virtual Status read(uint64_t offset, void *data, uint64_t bytes) = 0;
  virtual Status write(uint64_t offset, const void *data, uint64_t bytes) = 0;
  // Enqueues copying ranges of the arena to memory of the host, one after the
  // other; what is enqueued later changes nothing in the copy. The memory is the
  // device's, taken at the first call and used again by the next one.
  virtual Status copyOut(const std::vector<ArenaRange> &ranges) = 0;
  // Waits for the copy; for any thread.
  virtual Result<const char *> copiedOut() = 0;
  virtual Status synchronize() = 0;

  // Chooses library algorithms by measurement on what is in the arena, which is
  // zero afterwards. Returns what was done, for the user.
  virtual Result<std::string> tune() = 0;

  // While on, every command is timed.
  virtual Status profile(bool on) = 0;
  // Commands in program order; entries that did not run are left out.
  virtual std::vector<CommandTime> commandTimes() const = 0;
  // While there is a hook, entries are neither timed nor replayed as graphs. It may
  // read and write the arena, which waits for the commands before; what a
  // collective writes is there after the wait for it.
  virtual void observe(CommandHook *hook) = 0;
};

struct DeviceOptions {
  int threads = 0;        // CPU; 0: OMP_NUM_THREADS, else all cores
  int device = -1;        // which GPU; negative: the one of localRank
  int localRank = 0;      // of the ranks on this host
  bool graphs = true;     // replay entries as CUDA graphs
  bool allowTf32 = false; // in products of f32
  Control *control = nullptr; // of the other ranks, if there are any; outlives the device
};

// The device that the step was compiled for, with its arena zeroed.
Result<std::unique_ptr<Device>> openDevice(const StepFile &step, const DeviceOptions &options);

} // namespace txc

#endif // TXC_RUNTIME_DEVICE_DEVICE_H
