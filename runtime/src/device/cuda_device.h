//===- cuda_device.h - A step on an NVIDIA GPU -----------------------------===//
//
// Everything that takes time or memory is done when the device is opened: one
// allocation for the arena, the code of all kernels, their parameters and tensor
// maps, and the algorithm of each matrix product. The commands of an entry are
// known then, because an entry always asks for the same ones.
//
// The first run of an entry enqueues its commands one by one, which also makes
// the driver and cuBLASLt load what they load late. The second captures them as
// a CUDA graph; that one and all later runs replay the graph.
//
// Everything goes through one stream, collectives of several ranks through one
// beside it, which events join to the first also while it is captured. Inputs wait in pinned memory, in a ring of
// kInputSlots runs; results are copied to pinned slots, each with an event. The
// host waits only for a slot or a result.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_DEVICE_CUDA_DEVICE_H
#define TXC_RUNTIME_DEVICE_CUDA_DEVICE_H

#include "comm/gpu_collectives.h"
#include "device/command_timer.h"
#include "device/cublas_lt.h"
#include "device/cuda_driver.h"
#include "device/device.h"
#include "device/nvtx.h"

#include <array>
#include <memory>
#include <unordered_map>
#include <vector>

namespace txc {

class CudaDevice final : public Device {
public:
  static Result<std::unique_ptr<CudaDevice>> open(const StepFile &step, const DeviceOptions &options);
  ~CudaDevice() override;

  const DeviceInfo &info() const override { return info_; }
  DeviceMemory memory() override { return memory_; }
  PeakRate peakRate() override;
  int runsAhead() const override { return kRunsAhead; }

  Result<char *> stage(const txc_buffer_t &buffer) override;
  Status run(const txc_entry_t &entry) override;
  Result<Ticket> fetch(const txc_buffer_t &buffer) override;
  bool arrived(Ticket ticket) override;
  Status take(Ticket ticket, void *data, uint64_t bytes) override;
  Result<Mark> mark() override;
  Result<double> secondsBetween(Mark from, Mark to) override;

  Status read(uint64_t offset, void *data, uint64_t bytes) override;
  Status write(uint64_t offset, const void *data, uint64_t bytes) override;
  Status copyOut(const std::vector<ArenaRange> &ranges) override;
  Result<const char *> copiedOut() override;
  Status synchronize() override;
  Result<std::string> tune() override;
  Status profile(bool on) override;
  std::vector<CommandTime> commandTimes() const override { return timer_.medians(step_->kernels); }
  void observe(CommandHook *hook) override { hook_ = hook; }

private:
  static constexpr int kRunsAhead = 4;
  static constexpr size_t kInputSlots = 8, kResultSlots = 64, kMarks = 64;

  // A kernel launch with all its parameters in place.
  struct Launch {
    const txc_kernel_t *kernel = nullptr;
    cuda::Function function = nullptr;
    unsigned grid[3] = {};
    std::vector<cuda::TensorMap> maps;
    std::vector<uint64_t> addresses;
    std::vector<int32_t> scalars;
    std::vector<void *> parameters; // point into the three above
  };
  // An entry whose products overwrite the gradients in the first micro batch of an
  // update has one variant for that and one for the others.
  struct Variant {
    bool ran = false;
    cuda::GraphExec graph = nullptr;
    // With an event before the first command and after each.
    cuda::GraphExec timedGraph = nullptr;
  };
  struct Entry {
    const txc_entry_t *entry = nullptr;
    CommandList commands;
    bool varies = false;
    std::array<Variant, 2> variants = {};
    std::vector<cuda::Event> times;
  };
  struct Input {
    uint64_t offset, bytes, at; // in the arena; in the slot
  };

  CudaDevice() = default;
  Status start(const StepFile &step, const DeviceOptions &options);
  Status chooseGpu(const StepFile &step, const DeviceOptions &options);
  Status loadImages();
  // That no two ranks are on one GPU.
  Status checkApart(Control &control);
  Status connect(Control &control);
  Status allocate(const StepFile &step);
  Status prepareCommands();
  Status prepareLaunch(const txc_launch_t &launch);
  Status encodeMap(const txc_launch_t &launch, const txc_tensor_map_t &map, cuda::TensorMap &out);
  void readMemory();

  Result<Entry *> find(const txc_entry_t &entry);
  Status runCommands(const txc_entry_t &entry);
  Status capture(const txc_entry_t &entry, cuda::GraphExec &graph);
  Status runTimed(Entry &entry, Variant &variant);
  Status check(cuda::Result result, const std::string &doing);
  // Ends a command: notes its failure, times it or waits for it if asked to.
  int32_t finish(Status status, const char *name);
  static int32_t launchCommand(void *self, char *arena, const txc_launch_t *command);
  static int32_t gemmCommand(void *self, char *arena, const txc_gemm_t *command);
  static int32_t fillCommand(void *self, char *arena, const txc_fill_t *command);
  static int32_t collectiveCommand(void *self, char *arena, const txc_collective_t *command);
  static int32_t waitCommand(void *self, char *arena, const txc_wait_t *command);

  cuda::Driver driver_;
  Nvtx nvtx_;
  const txc_step_t *step_ = nullptr;
  DeviceInfo info_;
  DeviceMemory memory_;
  bool graphs_ = true, blocking_ = false, allowTf32_ = false;
  int ordinal_ = 0, major_ = 0, minor_ = 0, largestShared_ = 0;
  cuda::DeviceNumber device_ = 0;
  cuda::Context context_ = nullptr;
  cuda::Stream stream_ = nullptr;
  // Of collectives, with two events for each of the step: when it may begin, and
  // when it has ended.
  cuda::Stream collectiveStream_ = nullptr;
  std::vector<std::array<cuda::Event, 2>> collectiveEvents_;
  std::unique_ptr<GpuCollectives> collectives_; // null for one rank
  std::unique_ptr<CollectivePlace> collectivePlace_;
  Control *control_ = nullptr;
  size_t freeAtStart_ = 0;
  cuda::Address allocation_ = 0, arena_ = 0;
  txc_device_t table_ = {};

  std::vector<cuda::Module> modules_;
  std::unordered_map<const txc_launch_t *, Launch> launches_;
  std::unique_ptr<CublasLt> products_;
  std::vector<Entry> entries_;
  Status failure_; // the first; nothing is enqueued after it

  char *pinned_ = nullptr; // input slots, then result slots
  uint64_t inputSlotBytes_ = 0;
  uint64_t inputRuns_ = 0; // runs so far; the current slot is that modulo kInputSlots
  bool inputOpen_ = false; // the current slot is free for writing
  uint64_t inputUsed_ = 0;
  std::vector<Input> inputs_; // staged for the next run
  std::array<cuda::Event, kInputSlots> inputDone_ = {};
  uint64_t fetches_ = 0, taken_ = 0;
  std::array<cuda::Event, kResultSlots> resultDone_ = {};
  std::array<const char *, kResultSlots> resultOf_ = {}; // entry
  const char *lastEntry_ = "";
  uint64_t hyperOffset_ = UINT64_MAX;
  bool first_ = true; // the last staged hyper is of the first micro batch of an update
  char *copy_ = nullptr; // of copyOut(), pinned
  uint64_t copyBytes_ = 0;
  cuda::Event copyDone_ = nullptr;
  uint64_t numMarks_ = 0;
  std::array<cuda::Event, kMarks> marks_ = {};

  CommandHook *hook_ = nullptr;
  bool profiling_ = false;
  Entry *timing_ = nullptr; // while commands are enqueued with events
  size_t timed_ = 0;
  bool timedInGraph_ = false;
  CommandTimer timer_;
};

} // namespace txc

#endif // TXC_RUNTIME_DEVICE_CUDA_DEVICE_H
