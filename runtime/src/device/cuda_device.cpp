//===- cuda_device.cpp - A step on an NVIDIA GPU ---------------------------===//
#include "device/cuda_device.h"

#include "comm/nccl.h"
#include "comm/peer_collectives.h"
#include "device/arena.h"
#include "loader/step_file.h"
#include "report/gpu_peaks.h"
#include "report/report.h"
#include "support/text.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>

namespace txc {

using cuda::kSuccess;

// Room in an input slot beside tokens, targets and hyperparameters.
static constexpr uint64_t kInputHeadroom = 64 << 10;

static unsigned long long ull(uint64_t value) { return value; }

Result<std::unique_ptr<CudaDevice>> CudaDevice::open(const StepFile &step, const DeviceOptions &options) {
  std::unique_ptr<CudaDevice> device(new CudaDevice);
  if (Status status = device->start(step, options); !status.ok())
    return Status{status.code(),
                  step.path() + ": built for a CUDA GPU (" + step.step().target + "): " + status.message()};
  return device;
}

Status CudaDevice::start(const StepFile &step, const DeviceOptions &options) {
  step_ = &step.step();
  graphs_ = options.graphs;
  allowTf32_ = options.allowTf32;
  const char *blocking = std::getenv("CUDA_LAUNCH_BLOCKING");
  blocking_ = !graphs_ && blocking && std::strcmp(blocking, "1") == 0;
  table_ = {sizeof(txc_device_t), TXC_STEP_ABI_VERSION, this,       launchCommand, gemmCommand,
            fillCommand,          collectiveCommand,    waitCommand};

  nvtx_ = Nvtx::attach();
  Result<cuda::Driver> driver = cuda::Driver::load();
  if (!driver.ok())
    return driver.status();
  driver_ = *driver;
  if (Status status = chooseGpu(step, options); !status.ok())
    return status;
  if (Status status = loadImages(); !status.ok())
    return status;

  bool hasProducts = false;
  for (uint32_t i = 0; i < step_->num_entries; ++i) {
    Result<CommandList> commands = CommandList::of(step_->entries[i]);
    if (!commands.ok())
      return commands.status();
    bool varies = false;
    for (const CommandList::Item &item : commands->items)
      if (item.kind == CommandList::Item::Kind::Gemm) {
        hasProducts = true;
        varies |= static_cast<const txc_gemm_t *>(item.command)->accumulate == TXC_ACCUMULATE_AFTER_FIRST;
      }
    entries_.push_back({&step_->entries[i], std::move(*commands), varies, {}, {}});
  }
  if (hasProducts) {
    auto products = CublasLt::load(driver_.version(), info_.name, options.allowTf32);
    if (!products.ok())
      return products.status();
    products_ = std::move(*products);
  }
  if (Status status = allocate(step); !status.ok())
    return status;
  if (options.control)
    if (Status status = connect(*options.control); !status.ok())
      return status;
  if (Status status = prepareCommands(); !status.ok())
    return status;
  if (products_) {
    info_.library = products_->describe();
    if (!products_->warning().empty())
      info_.warnings.push_back(products_->warning());
  }
  if (Status status = synchronize(); !status.ok())
    return status;
  readMemory();
  return {};
}

CudaDevice::~CudaDevice() {
  if (!context_)
    return;
  // After a failure these fail too, which changes nothing.
  driver_.ctxSetCurrent(context_);
  if (stream_)
    driver_.streamSynchronize(stream_);
  auto destroy = [&](const auto &events) {
    for (cuda::Event event : events)
      if (event)
        driver_.eventDestroy(event);
  };
  for (Entry &entry : entries_) {
    for (Variant &variant : entry.variants)
      for (cuda::GraphExec graph : {variant.graph, variant.timedGraph})
        if (graph)
          driver_.graphExecDestroy(graph);
    destroy(entry.times);
  }
  if (collectivePlace_) {
    control_->watch({});
    control_->onFailure({});
  }
  collectives_.reset();
  collectivePlace_.reset();
  for (const auto &events : collectiveEvents_)
    destroy(events);
  if (collectiveStream_)
    driver_.streamDestroy(collectiveStream_);
  destroy(inputDone_);
  destroy(resultDone_);
  destroy(marks_);
  products_.reset();
  for (cuda::Module module : modules_)
    driver_.moduleUnload(module);
  if (allocation_)
    driver_.memFree(allocation_);
  if (pinned_)
    driver_.memFreeHost(pinned_);
  if (copy_)
    driver_.memFreeHost(copy_);
  if (copyDone_)
    driver_.eventDestroy(copyDone_);
  if (stream_)
    driver_.streamDestroy(stream_);
  driver_.primaryCtxRelease(device_);
}

Status CudaDevice::check(cuda::Result result, const std::string &doing) {
  if (result == kSuccess)
    return {};
  Status status = driver_.error(result, doing, blocking_);
  if (failure_.ok())
    failure_ = status;
  return status;
}

//===-- The GPU -------------------------------------------------------------===//

Status CudaDevice::chooseGpu(const StepFile &step, const DeviceOptions &options) {
  int count = 0;
  if (Status status = check(driver_.deviceGetCount(&count), "counting the GPUs"); !status.ok())
    return status;
  if (count == 0)
    return driver_.error(cuda::kNoDevice, "counting the GPUs");
  const char *why = "--device";
  ordinal_ = options.device;
  if (ordinal_ < 0) {
    why = "the number of this rank on its host (LOCAL_RANK, or what the launcher has for it)";
    // Some launchers show each process only its own GPU.
    ordinal_ = count == 1 ? 0 : options.localRank;
  }
  if (ordinal_ >= count)
    return Status{Code::Device,
                  format("%s asks for GPU %d, this process may use %d (numbers 0 to %d); CUDA_VISIBLE_"
                         "DEVICES says which",
                         why, ordinal_, count, count - 1)};
  char name[256] = {};
  size_t memory = 0;
  cuda::Result result = driver_.deviceGet(&device_, ordinal_);
  auto then = [&](auto &&call) {
    if (result == kSuccess)
      result = call();
  };
  then([&] { return driver_.deviceGetName(name, sizeof(name) - 1, device_); });
  then([&] { return driver_.deviceTotalMem(&memory, device_); });
  auto attribute = [&](int which, int &value) {
    then([&] { return driver_.deviceGetAttribute(&value, which, device_); });
  };
  attribute(cuda::kAttributeCapabilityMajor, major_);
  attribute(cuda::kAttributeCapabilityMinor, minor_);
  attribute(cuda::kAttributeMultiprocessors, info_.multiprocessors);
  attribute(cuda::kAttributeMaxSharedPerBlock, largestShared_);
  if (result != kSuccess)
    return check(result, format("asking for the properties of GPU %d", ordinal_));
  info_.gpu = true;
  info_.name = name;
  info_.architecture = format("sm_%d%d", major_, minor_);
  info_.driver = driver_.versionText();
  info_.memoryBytes = memory;
  const int level = static_cast<int>(step.note().target_level);
  if (level > major_ * 10 + minor_)
    return Status{Code::Device,
                  format("its kernels are for sm_%d, GPU %d (%s) is older, %s; compile the step with "
                         "--target=%s",
                         level, ordinal_, name, info_.architecture.c_str(), info_.architecture.c_str())};

  then([&] { return driver_.primaryCtxRetain(&context_, device_); });
  then([&] { return driver_.ctxSetCurrent(context_); });
  size_t total = 0;
  then([&] { return driver_.memGetInfo(&freeAtStart_, &total); });
  then([&] { return driver_.streamCreate(&stream_, cuda::kStreamNonBlocking); });
  for (cuda::Event &event : inputDone_)
    then([&] { return driver_.eventCreate(&event, cuda::kEventBlockingSync | cuda::kEventDisableTiming); });
  for (cuda::Event &event : resultDone_)
    then([&] { return driver_.eventCreate(&event, cuda::kEventBlockingSync | cuda::kEventDisableTiming); });
  for (cuda::Event &event : marks_)
    then([&] { return driver_.eventCreate(&event, cuda::kEventBlockingSync); });
  return check(result, format("opening GPU %d (%s)", ordinal_, name));
}

//===-- Code ----------------------------------------------------------------===//

namespace {

// sm_90a: code for compute capability 9.0 and no other. sm_80: for 8.0, and a
// cubin of it for 8.6 too.
struct Architecture {
  int number = 0; // 90
  bool exact = false;

  static Architecture parse(std::string_view text) {
    Architecture out;
    size_t at = text.find("sm_");
    if (at == std::string_view::npos)
      return out;
    auto [end, error] = std::from_chars(text.data() + at + 3, text.data() + text.size(), out.number);
    out.exact = error == std::errc() && end != text.data() + text.size() && (*end == 'a' || *end == 'f');
    return out;
  }
};

} // namespace

Status CudaDevice::loadImages() {
  const int gpu = major_ * 10 + minor_;
  for (uint32_t i = 0; i < step_->num_images; ++i) {
    const txc_image_t &image = step_->images[i];
    const std::string arch = image.arch ? image.arch : "?";
    const Architecture cubin = Architecture::parse(arch);
    const bool fits = cubin.exact ? cubin.number == gpu : cubin.number / 10 == major_ && cubin.number <= gpu;
    cuda::Module module = nullptr;
    cuda::Result result = cuda::kNoBinaryForGpu;
    if (image.cubin && fits)
      result = driver_.moduleLoadDataEx(&module, image.cubin, 0, nullptr, nullptr);
    char log[4096] = {};
    std::string ptxArch = "none";
    if (result == cuda::kNoBinaryForGpu && image.ptx) {
      // ".target sm_90a" stands in the first lines.
      std::string_view text(static_cast<const char *>(image.ptx), image.ptx_bytes);
      size_t at = text.find(".target");
      size_t end = text.find_first_of("\n,", at == std::string_view::npos ? 0 : at);
      std::string_view target = at == std::string_view::npos
                                    ? std::string_view()
                                    : text.substr(at, end == text.npos ? end : end - at);
      const Architecture ptx = Architecture::parse(target);
      ptxArch = format("sm_%d", ptx.number) + (ptx.exact ? "a" : "");
      if (ptx.exact ? ptx.number == gpu : ptx.number <= gpu) {
        int options[] = {cuda::kJitErrorLog, cuda::kJitErrorLogBytes};
        void *values[] = {log, reinterpret_cast<void *>(sizeof(log) - 1)};
        result = driver_.moduleLoadDataEx(&module, image.ptx, 2, options, values);
      }
    }
    if (result == cuda::kNoBinaryForGpu && !module)
      return Status{Code::Device, "its kernels are for " + arch + " (machine code) and " + ptxArch +
                                      " (PTX), which do not run on GPU " +
                                      format("%d (%s), ", ordinal_, info_.name.c_str()) + info_.architecture +
                                      "; compile the step with --target=" + info_.architecture};
    if (result == cuda::kUnsupportedPtxVersion)
      return Status{Code::Device,
                    "its PTX is newer than the driver (CUDA " + info_.driver +
                        "), which would have to translate it for " + info_.architecture +
                        "; update the driver, or compile the step with --target=" + info_.architecture};
    if (result != kSuccess)
      return check(result, format("loading the kernels (image %u, %s)", i, arch.c_str()) +
                               (log[0] ? std::string(": ") + log : ""));
    modules_.push_back(module);
  }
  return {};
}

Status CudaDevice::encodeMap(const txc_launch_t &launch, const txc_tensor_map_t &map, cuda::TensorMap &out) {
  auto fail = [&](const std::string &what) {
    return Status{Code::Device,
                  format("launch '%s': tensor map of argument %u: ", launch.name, map.argument) + what};
  };
  if (map.argument >= launch.num_args)
    return fail(format("the launch has %u arguments", launch.num_args));
  if (map.rank < 1 || map.rank > TXC_MAX_TENSOR_MAP_RANK)
    return fail(format("rank %u, expected 1 to %d", map.rank, TXC_MAX_TENSOR_MAP_RANK));
  int dtype = -1;
  switch (map.dtype) {
  case TXC_DTYPE_F32:
    dtype = cuda::kMapF32;
    break;
  case TXC_DTYPE_BF16:
    dtype = cuda::kMapBF16;
    break;
  case TXC_DTYPE_I32:
    dtype = cuda::kMapI32;
    break;
  case TXC_DTYPE_F64:
    dtype = cuda::kMapF64;
    break;
  case TXC_DTYPE_U8:
    dtype = cuda::kMapU8;
    break;
  }
  int swizzle = -1;
  for (int i = 0; i < 4; ++i)
    if (map.swizzle == (i == 0 ? 0u : 16u << i))
      swizzle = i;
  if (dtype < 0 || swizzle < 0)
    return fail(format("dtype %u, swizzle %u", map.dtype, map.swizzle));
  const uint32_t ones[TXC_MAX_TENSOR_MAP_RANK] = {1, 1, 1, 1, 1};
  cuda::Result result = driver_.tensorMapEncodeTiled(
      &out, dtype, map.rank, reinterpret_cast<void *>(arena_ + launch.offsets[map.argument] + map.offset),
      map.dims, map.strides + 1, map.box, ones, 0, swizzle, cuda::kMapPromotion256, 0);
  if (result == kSuccess)
    return {};
  std::string shape;
  for (uint32_t d = 0; d < map.rank; ++d)
    shape += format("%s%llu (stride %llu, box %u)", d ? ", " : "", ull(map.dims[d]), ull(map.strides[d]),
                    map.box[d]);
  return fail(driver_.error(result, "the driver refuses dimensions " + shape).message());
}

Status CudaDevice::prepareLaunch(const txc_launch_t &command) {
  auto fail = [&](const std::string &what) {
    return Status{Code::Device, format("launch '%s': ", command.name) + what};
  };
  if (command.kernel_index >= step_->num_kernels)
    return fail(format("kernel %u of %u", command.kernel_index, step_->num_kernels));
  const txc_kernel_t &kernel = step_->kernels[command.kernel_index];
  if (kernel.image >= modules_.size() || !kernel.function)
    return fail(format("image %u of %zu", kernel.image, modules_.size()));
  if (kernel.shared_bytes > static_cast<uint32_t>(largestShared_))
    return fail(format("%u bytes of shared memory; a block of this GPU has at most %d", kernel.shared_bytes,
                       largestShared_));
  Launch &launch = launches_[&command];
  launch.kernel = &kernel;
  if (cuda::Result result =
          driver_.moduleGetFunction(&launch.function, modules_[kernel.image], kernel.function);
      result != kSuccess)
    return check(result, format("launch '%s': finding kernel '%s'", command.name, kernel.function));
  // Needed above 48 KiB. The limit is the function's, so the largest launch counts.
  if (kernel.shared_bytes > 0) {
    uint32_t most = kernel.shared_bytes;
    for (const auto &[other, prepared] : launches_)
      if (prepared.function == launch.function)
        most = std::max(most, prepared.kernel->shared_bytes);
    if (cuda::Result result = driver_.funcSetAttribute(launch.function, cuda::kFunctionMaxDynamicShared,
                                                       static_cast<int>(most));
        result != kSuccess)
      return check(result, format("launch '%s': reserving %u bytes of shared memory", command.name, most));
  }
  for (int d = 0; d < 3; ++d)
    launch.grid[d] = kernel.grid[d];
  if (launch.grid[0] == 0)
    launch.grid[0] = static_cast<unsigned>(info_.multiprocessors);
  launch.maps.resize(kernel.num_tensor_maps);
  for (uint32_t i = 0; i < kernel.num_tensor_maps; ++i)
    if (Status status = encodeMap(command, kernel.tensor_maps[i], launch.maps[i]); !status.ok())
      return status;
  const auto rank = static_cast<uint64_t>(control_ ? control_->world().rank : 0);
  for (uint32_t i = 0; i < command.num_args; ++i)
    launch.addresses.push_back(arena_ + command.offsets[i] +
                               (command.rank_strides ? rank * command.rank_strides[i] : 0));
  launch.scalars.assign(kernel.scalars, kernel.scalars + kernel.num_scalars);
  for (cuda::TensorMap &map : launch.maps)
    launch.parameters.push_back(&map);
  for (uint64_t &address : launch.addresses)
    launch.parameters.push_back(&address);
  for (int32_t &scalar : launch.scalars)
    launch.parameters.push_back(&scalar);
  return {};
}

Status CudaDevice::prepareCommands() {
  for (const Entry &entry : entries_)
    for (const CommandList::Item &item : entry.commands.items) {
      Status status;
      if (item.kind == CommandList::Item::Kind::Launch) {
        const auto &launch = *static_cast<const txc_launch_t *>(item.command);
        if (!launches_.count(&launch))
          status = prepareLaunch(launch);
      } else if (item.kind == CommandList::Item::Kind::Gemm) {
        status = products_->prepare(*static_cast<const txc_gemm_t *>(item.command), arena_);
      }
      if (!status.ok())
        return {status.code(), format("entry '%s': ", entry.entry->name) + status.message()};
    }
  return {};
}

//===-- Memory --------------------------------------------------------------===//

Status CudaDevice::allocate(const StepFile &step) {
  const uint64_t bytes = step_->arena_bytes;
  size_t free = 0, total = 0;
  if (Status status = check(driver_.memGetInfo(&free, &total), "asking for free memory"); !status.ok())
    return status;
  auto shortage = [&] {
    std::string parts;
    for (const MemoryPart &part : memoryParts(*step_))
      parts += (parts.empty() ? "" : ", ") + part.name + " " + bytesText(part.bytes);
    return Status{
        Code::Device,
        format("not enough memory on GPU %d (%s): the step needs ", ordinal_, info_.name.c_str()) +
            bytesText(bytes) + " (" + parts + "), " + bytesText(free) + " of " + bytesText(total) +
            " are free; compile with a smaller batch_size or block_size and more "
            "gradient_accumulation_steps, or free the GPU of other processes (nvidia-smi lists them)"};
  };
  if (bytes > free)
    return shortage();
  // Large allocations are aligned to more than a page of the arena; a small one may not be.
  const uint64_t flagBytes = PeerCollectives::flagBytes(static_cast<int>(step_->num_ranks)),
                 taken = bytes + flagBytes;
  cuda::Result result = driver_.memAlloc(&allocation_, taken);
  if (result == kSuccess && allocation_ % TXC_ARENA_ALIGNMENT != 0) {
    driver_.memFree(allocation_);
    result = driver_.memAlloc(&allocation_, taken + TXC_ARENA_ALIGNMENT);
  }
  if (result == cuda::kOutOfMemory) {
    allocation_ = 0;
    return shortage();
  }
  if (result != kSuccess)
    return check(result, "allocating the arena of " + bytesText(bytes));
  arena_ = (allocation_ + TXC_ARENA_ALIGNMENT - 1) / TXC_ARENA_ALIGNMENT * TXC_ARENA_ALIGNMENT;
  if (Status status = check(driver_.memsetD8Async(arena_, 0, taken, stream_), "zeroing the arena");
      !status.ok())
    return status;

  inputSlotBytes_ = kInputHeadroom;
  for (txc_buffer_kind_t kind : {TXC_BUFFER_TOKENS, TXC_BUFFER_TARGETS, TXC_BUFFER_HYPER,
                                 TXC_BUFFER_DECODE_TOKENS, TXC_BUFFER_DECODE_STATE})
    for (const txc_buffer_t *buffer : step.buffers(kind)) {
      if (kind == TXC_BUFFER_HYPER)
        hyperOffset_ = buffer->offset;
      inputSlotBytes_ += (buffer->bytes + 63) / 64 * 64;
    }
  const uint64_t pinned = kInputSlots * inputSlotBytes_ + kResultSlots * kLargestFetch;
  void *memory = nullptr;
  if (cuda::Result pin = driver_.memHostAlloc(&memory, pinned, 0); pin != kSuccess)
    return check(pin, "allocating " + bytesText(pinned) + " of pinned memory");
  pinned_ = static_cast<char *>(memory);
  return {};
}

PeakRate CudaDevice::peakRate() {
  const char *precision = allowTf32_ ? "tf32" : "float32";
  for (const Entry &entry : entries_)
    for (const CommandList::Item &item : entry.commands.items)
      if (item.kind == CommandList::Item::Kind::Gemm &&
          static_cast<const txc_gemm_t *>(item.command)->dtype == TXC_DTYPE_BF16)
        precision = "bfloat16";
  Result<GpuPeak> peak = findGpuPeak(info_.name, precision);
  return peak.ok() ? PeakRate{peak->flops, peak->source} : PeakRate{0, peak.status().message()};
}

void CudaDevice::readMemory() {
  size_t free = 0, total = 0;
  memory_.reservedBytes = step_->arena_bytes;
  if (driver_.memGetInfo(&free, &total) != kSuccess)
    return;
  // Other processes come and go; ours has at least the arena.
  memory_.inUseBytes = std::max<uint64_t>(freeAtStart_ > free ? freeAtStart_ - free : 0, step_->arena_bytes);
  memory_.peakBytes = std::max(memory_.peakBytes, memory_.inUseBytes);
  memory_.deviceBytes = total - free;
}

//===-- Inputs and results --------------------------------------------------===//

Result<char *> CudaDevice::stage(const txc_buffer_t &buffer) {
  if (!failure_.ok())
    return failure_;
  const size_t slot = inputRuns_ % kInputSlots;
  if (!inputOpen_) {
    if (inputRuns_ >= kInputSlots)
      if (Status status =
              check(driver_.eventSynchronize(inputDone_[slot]), format("waiting for entry '%s'", lastEntry_));
          !status.ok())
        return status;
    inputOpen_ = true;
    inputUsed_ = 0;
  }
  if (buffer.bytes > inputSlotBytes_ - inputUsed_)
    return Status{Code::Device, format("input '%s' of %llu bytes does not fit into a slot of %llu",
                                       buffer.name, ull(buffer.bytes), ull(inputSlotBytes_))};
  inputs_.push_back({buffer.offset, buffer.bytes, inputUsed_});
  char *memory = pinned_ + slot * inputSlotBytes_ + inputUsed_;
  inputUsed_ += (buffer.bytes + 63) / 64 * 64;
  return memory;
}

Result<Device::Ticket> CudaDevice::fetch(const txc_buffer_t &buffer) {
  if (!failure_.ok())
    return failure_;
  const size_t slot = fetches_ % kResultSlots;
  if (buffer.bytes > kLargestFetch || fetches_ - taken_ >= kResultSlots)
    return Status{Code::Device, format("result '%s' of %llu bytes with %llu not taken", buffer.name,
                                       ull(buffer.bytes), ull(fetches_ - taken_))};
  char *memory = pinned_ + kInputSlots * inputSlotBytes_ + slot * kLargestFetch;
  cuda::Result result = driver_.memcpyDtoHAsync(memory, arena_ + buffer.offset, buffer.bytes, stream_);
  if (result == kSuccess)
    result = driver_.eventRecord(resultDone_[slot], stream_);
  if (result != kSuccess)
    return check(result, format("fetching '%s' after entry '%s'", buffer.name, lastEntry_));
  resultOf_[slot] = lastEntry_;
  return fetches_++;
}

bool CudaDevice::arrived(Ticket ticket) {
  // An error is for take() to report.
  return driver_.eventQuery(resultDone_[ticket % kResultSlots]) != cuda::kNotReady;
}

Status CudaDevice::take(Ticket ticket, void *data, uint64_t bytes) {
  const size_t slot = ticket % kResultSlots;
  if (control_)
    control_->waiting(true);
  const cuda::Result result = driver_.eventSynchronize(resultDone_[slot]);
  if (control_) {
    control_->waiting(false);
    // What was waited for may have ended because the collectives were given up.
    if (control_->failed())
      return failure_ = control_->failure();
  }
  if (Status status = check(result, format("waiting for the result of entry '%s'", resultOf_[slot]));
      !status.ok())
    return status;
  taken_ = std::max(taken_, ticket + 1);
  std::memcpy(data, pinned_ + kInputSlots * inputSlotBytes_ + slot * kLargestFetch,
              std::min(bytes, kLargestFetch));
  return {};
}

Result<Device::Mark> CudaDevice::mark() {
  if (Status status =
          check(driver_.eventRecord(marks_[numMarks_ % kMarks], stream_), "reading the GPU's clock");
      !status.ok())
    return status;
  return numMarks_++;
}

Result<double> CudaDevice::secondsBetween(Mark from, Mark to) {
  float milliseconds = 0;
  cuda::Result result = driver_.eventSynchronize(marks_[to % kMarks]);
  if (result == kSuccess)
    result = driver_.eventElapsedTime(&milliseconds, marks_[from % kMarks], marks_[to % kMarks]);
  if (result != kSuccess)
    return check(result, "reading the GPU's clock");
  return milliseconds * 1e-3;
}

Status CudaDevice::read(uint64_t offset, void *data, uint64_t bytes) {
  if (!failure_.ok())
    return failure_;
  // From pageable memory the call itself waits for the copy to be staged.
  if (Status status =
          check(driver_.memcpyDtoHAsync(data, arena_ + offset, bytes, stream_), "reading the arena");
      !status.ok())
    return status;
  return synchronize();
}

Status CudaDevice::write(uint64_t offset, const void *data, uint64_t bytes) {
  if (!failure_.ok())
    return failure_;
  if (Status status =
          check(driver_.memcpyHtoDAsync(arena_ + offset, data, bytes, stream_), "writing the arena");
      !status.ok())
    return status;
  return synchronize();
}

Status CudaDevice::copyOut(const std::vector<ArenaRange> &ranges) {
  if (!failure_.ok())
    return failure_;
  uint64_t total = 0;
  for (const ArenaRange &range : ranges)
    total += range.bytes;
  if (copyBytes_ < total) {
    if (copy_)
      driver_.memFreeHost(copy_);
    copy_ = nullptr;
    copyBytes_ = 0;
    // Without it training can go on.
    MemoryLimit limit = availableMemory();
    void *memory = nullptr;
    if (total > limit.bytes || driver_.memHostAlloc(&memory, total, 0) != kSuccess)
      return Status::failed("not enough memory of the host to copy the state of " + bytesText(total) +
                            " from the GPU: " + bytesText(limit.bytes) + " are available (" + limit.reason +
                            ")");
    copy_ = static_cast<char *>(memory);
    copyBytes_ = total;
  }
  if (!copyDone_)
    if (Status status = check(
            driver_.eventCreate(&copyDone_, cuda::kEventDisableTiming | cuda::kEventBlockingSync),
            "creating an event");
        !status.ok())
      return status;
  cuda::Result result = kSuccess;
  char *to = copy_;
  for (const ArenaRange &range : ranges) {
    if (result == kSuccess)
      result = driver_.memcpyDtoHAsync(to, arena_ + range.offset, range.bytes, stream_);
    to += range.bytes;
  }
  if (result == kSuccess)
    result = driver_.eventRecord(copyDone_, stream_);
  return check(result, "copying the state to the host");
}

Result<const char *> CudaDevice::copiedOut() {
  // Called by another thread, which must not note the failure: the next run does.
  cuda::Result result = driver_.ctxSetCurrent(context_);
  if (result == kSuccess)
    result = driver_.eventSynchronize(copyDone_);
  if (result != kSuccess)
    return Status{Code::Device, format("copying the state to the host: CUDA error %d", static_cast<int>(result))};
  return static_cast<const char *>(copy_);
}

Status CudaDevice::synchronize() {
  return check(driver_.streamSynchronize(stream_), format("waiting for entry '%s'", lastEntry_));
}

//===-- Commands ------------------------------------------------------------===//

int32_t CudaDevice::finish(Status status, const char *name) {
  if (status.ok() && blocking_)
    status = check(driver_.streamSynchronize(stream_), format("command '%s'", name));
  if (status.ok() && timing_) {
    // One event more than commands.
    if (timed_ >= timing_->times.size())
      status = {Code::Device, format("command '%s': the entry has more commands than before", name)};
    else
      status = check(timedInGraph_ ? driver_.eventRecordWithFlags(timing_->times[timed_], stream_,
                                                                  cuda::kEventRecordExternal)
                                   : driver_.eventRecord(timing_->times[timed_], stream_),
                     format("timing command '%s'", name));
    ++timed_;
  }
  if (!status.ok() && failure_.ok())
    failure_ = status;
  return status.ok() ? 0 : 1;
}

int32_t CudaDevice::launchCommand(void *self, char *, const txc_launch_t *command) {
  auto &device = *static_cast<CudaDevice *>(self);
  NvtxRange range(device.nvtx_, command->name);
  auto found = device.launches_.find(command);
  if (found == device.launches_.end())
    return device.finish(
        {Code::Device, format("launch '%s': the entry did not ask for it before", command->name)},
        command->name);
  Launch &launch = found->second;
  const txc_kernel_t &kernel = *launch.kernel;
  cuda::Result result = device.driver_.launchKernel(
      launch.function, launch.grid[0], launch.grid[1], launch.grid[2], kernel.block[0], kernel.block[1],
      kernel.block[2], kernel.shared_bytes, device.stream_, launch.parameters.data(), nullptr);
  return device.finish(
      result == kSuccess
          ? Status()
          : device.check(result, format("launch '%s' (kernel %s, grid %u x %u x %u, block %u x %u x "
                                        "%u, %u bytes of shared memory)",
                                        command->name, kernel.function, launch.grid[0], launch.grid[1],
                                        launch.grid[2], kernel.block[0], kernel.block[1], kernel.block[2],
                                        kernel.shared_bytes)),
      command->name);
}

int32_t CudaDevice::gemmCommand(void *self, char *, const txc_gemm_t *command) {
  auto &device = *static_cast<CudaDevice *>(self);
  NvtxRange range(device.nvtx_, command->name);
  return device.finish(device.products_->run(*command, device.arena_, device.stream_, device.first_), command->name);
}

int32_t CudaDevice::fillCommand(void *self, char *, const txc_fill_t *command) {
  auto &device = *static_cast<CudaDevice *>(self);
  NvtxRange range(device.nvtx_, command->name);
  cuda::Result result = command->bytes == 0
                            ? kSuccess
                            : device.driver_.memsetD8Async(device.arena_ + command->offset, command->value,
                                                           command->bytes, device.stream_);
  return device.finish(result == kSuccess ? Status()
                                          : device.check(result, format("fill '%s'", command->name)),
                       command->name);
}

Result<CudaDevice::Entry *> CudaDevice::find(const txc_entry_t &entry) {
  for (Entry &known : entries_)
    if (known.entry == &entry)
      return &known;
  return Status{Code::Device, format("entry '%s' is not one of this step", entry.name)};
}

Status CudaDevice::checkApart(Control &control) {
  cuda::Uuid uuid = {};
  if (Status status = check(driver_.deviceGetUuid(&uuid, device_), "asking for the GPU's UUID"); !status.ok())
    return status;
  // NCCL lets ranks that call themselves hosts of their own share a GPU; that is for tests.
  const char *host = std::getenv("NCCL_HOSTID");
  std::string own = bytesToHex(uuid.bytes, sizeof(uuid.bytes));
  own += host ? host : "";
  Result<std::vector<std::string>> all = control.gather(own);
  if (!all.ok())
    return all.status();
  for (size_t second = 1; second < all->size(); ++second)
    for (size_t first = 0; first < second; ++first)
      if ((*all)[first] == (*all)[second])
        return {Code::Device,
                control.nameOf(static_cast<int>(first)) + " and " + control.nameOf(static_cast<int>(second)) +
                    " are on the same GPU, which NCCL does not allow; start as many ranks on a host as it has "
                    "GPUs (nvidia-smi -L lists them), each with its own LOCAL_RANK or CUDA_VISIBLE_DEVICES, and "
                    "compile the step for that many: --mesh=dp:N"};
  return {};
}

Status CudaDevice::connect(Control &control) {
  control_ = &control;
  if (Status status = checkApart(control); !status.ok())
    return status;
  // The flags are zero before any rank hears of them.
  if (Status status = synchronize(); !status.ok())
    return status;
  std::vector<const txc_collective_t *> sums;
  for (const Entry &entry : entries_)
    for (const CommandList::Item &item : entry.commands.items)
      if (item.kind == CommandList::Item::Kind::Collective)
        if (auto *collective = static_cast<const txc_collective_t *>(item.command);
            collective->kind == TXC_COLLECTIVE_ALL_REDUCE)
          sums.push_back(collective);
  std::string why;
  Result<std::unique_ptr<PeerCollectives>> peers = PeerCollectives::open(
      driver_, control, {context_, allocation_, arena_, arena_ + step_->arena_bytes, stream_}, sums, why);
  if (!peers.ok())
    return peers.status();
  if (*peers) {
    collectives_ = std::move(*peers);
  } else {
    if (control.isOneHost() && PeerCollectives::wanted())
      info_.warnings.push_back(
          "GPUs exchange gradients and weights by NCCL, which takes multiprocessors from other "
          "work: " +
          why);
    Result<std::unique_ptr<NcclCollectives>> nccl = NcclCollectives::open(control);
    if (!nccl.ok())
      return nccl.status();
    collectives_ = std::move(*nccl);
  }
  info_.communication = collectives_->name();
  Result<std::unique_ptr<CollectivePlace>> place = CollectivePlace::open(driver_);
  if (!place.ok())
    return place.status();
  collectivePlace_ = std::move(*place);
  control.onFailure([this] { collectives_->abort(); });
  control.watch([this] {
    collectivePlace_->tell(*control_);
    return collectives_->asyncError();
  });
  cuda::Result result =
      driver_.streamCreateWithPriority(&collectiveStream_, cuda::kStreamNonBlocking, cuda::kMostUrgent);
  collectiveEvents_.resize(step_->num_events);
  for (auto &events : collectiveEvents_)
    for (cuda::Event &event : events)
      if (result == kSuccess)
        result = driver_.eventCreate(&event, cuda::kEventDisableTiming);
  return check(result, "making the stream of collectives");
}

int32_t CudaDevice::collectiveCommand(void *self, char *, const txc_collective_t *command) {
  auto &device = *static_cast<CudaDevice *>(self);
  if (!device.collectives_ || command->event >= device.collectiveEvents_.size())
    return device.finish({Code::Device, format("collective '%s': event %u of %zu on %u ranks", command->name,
                                               command->event, device.collectiveEvents_.size(),
                                               device.collectives_ ? device.step_->num_ranks : 1)},
                         command->name);
  const auto &[begin, end] = device.collectiveEvents_[command->event];
  cuda::Result result = device.driver_.eventRecord(begin, device.stream_);
  if (result == kSuccess)
    result = device.driver_.streamWaitEvent(device.collectiveStream_, begin, 0);
  Status status = device.check(result, format("collective '%s'", command->name));
  if (status.ok())
    status = device.collectivePlace_->mark(*command, device.collectiveStream_);
  if (status.ok())
    status = device.collectives_->run(*command, device.arena_, device.collectiveStream_);
  if (status.ok())
    status = device.check(device.driver_.eventRecord(end, device.collectiveStream_),
                          format("collective '%s'", command->name));
  return device.finish(status, command->name);
}

int32_t CudaDevice::waitCommand(void *self, char *, const txc_wait_t *command) {
  auto &device = *static_cast<CudaDevice *>(self);
  if (command->event >= device.collectiveEvents_.size())
    return device.finish({Code::Device, format("wait for '%s': event %u of %zu", command->name, command->event,
                                               device.collectiveEvents_.size())},
                         command->name);
  return device.finish(
      device.check(device.driver_.streamWaitEvent(device.stream_, device.collectiveEvents_[command->event][1], 0),
                   format("wait for '%s'", command->name)),
      command->name);
}

Status CudaDevice::runCommands(const txc_entry_t &entry) {
  // The event before the first command.
  if (timing_ && finish({}, entry.name) != 0)
    return failure_;
  std::optional<HookedTable> hooked;
  if (hook_)
    hooked.emplace(table_, *hook_);
  const int32_t status = entry.run(hooked ? &hooked->table() : &table_, reinterpret_cast<char *>(arena_));
  if (hooked && !hooked->status().ok())
    return hooked->status();
  if (status == 0)
    return {};
  std::string why = failure_.ok() ? format("failed with status %d", status) : failure_.message();
  return {Code::Device, format("entry '%s': ", entry.name) + why};
}

Status CudaDevice::capture(const txc_entry_t &entry, cuda::GraphExec &exec) {
  const std::string doing =
      format("capturing entry '%s' as a CUDA graph (--graphs=false runs without)", entry.name);
  if (Status status = check(driver_.streamBeginCapture(stream_, cuda::kCaptureThreadLocal), doing);
      !status.ok())
    return status;
  Status status = runCommands(entry);
  cuda::Graph graph = nullptr;
  // Ends the capture in any case, so that the stream can be used.
  cuda::Result result = driver_.streamEndCapture(stream_, &graph);
  if (!status.ok())
    return status;
  if (result == kSuccess)
    result = driver_.graphInstantiate(&exec, graph, cuda::kGraphUseNodePriority);
  if (graph)
    driver_.graphDestroy(graph);
  if (result != kSuccess)
    return check(result, doing);
  readMemory();
  return {};
}

Status CudaDevice::run(const txc_entry_t &entry) {
  if (!failure_.ok())
    return failure_;
  Result<Entry *> found = find(entry);
  if (!found.ok())
    return found.status();
  Entry &known = **found;
  lastEntry_ = entry.name;
  if (control_)
    control_->enter();
  NvtxRange range(nvtx_, entry.name);

  const size_t slot = inputRuns_ % kInputSlots;
  if (inputOpen_) {
    cuda::Result result = kSuccess;
    for (const Input &input : inputs_) {
      if (input.offset == hyperOffset_)
        first_ = reinterpret_cast<const txc_hyper_t *>(pinned_ + slot * inputSlotBytes_ + input.at)->accumulated == 0;
      if (result == kSuccess)
        result = driver_.memcpyHtoDAsync(arena_ + input.offset, pinned_ + slot * inputSlotBytes_ + input.at,
                                         input.bytes, stream_);
    }
    inputs_.clear();
    if (result == kSuccess)
      result = driver_.eventRecord(inputDone_[slot], stream_);
    if (result != kSuccess)
      return check(result, format("copying the inputs of entry '%s'", entry.name));
    inputOpen_ = false;
    ++inputRuns_;
  }

  Variant &variant = known.variants[known.varies && first_];
  if (hook_)
    return runCommands(entry);
  if (profiling_)
    return runTimed(known, variant);
  if (!graphs_ || !variant.ran) {
    variant.ran = true;
    return runCommands(entry);
  }
  if (!variant.graph)
    if (Status status = capture(entry, variant.graph); !status.ok())
      return status;
  return check(driver_.graphLaunch(variant.graph, stream_),
               format("launching the graph of entry '%s'", entry.name));
}

//===-- Measurement ---------------------------------------------------------===//

Status CudaDevice::profile(bool on) {
  profiling_ = on;
  if (on)
    timer_.clear();
  return {};
}

Status CudaDevice::runTimed(Entry &entry, Variant &variant) {
  const char *name = entry.entry->name;
  cuda::Result result = kSuccess;
  while (entry.times.size() < entry.commands.items.size() + 1 && result == kSuccess) {
    entry.times.push_back(nullptr);
    result = driver_.eventCreate(&entry.times.back(), 0);
  }
  if (result != kSuccess)
    return check(result, format("timing entry '%s'", name));
  const bool inGraph = graphs_ && variant.ran;
  variant.ran = true;
  timedInGraph_ = inGraph;
  Status status;
  timing_ = &entry;
  timed_ = 0;
  if (!inGraph)
    status = runCommands(*entry.entry);
  else if (!variant.timedGraph)
    status = capture(*entry.entry, variant.timedGraph);
  timing_ = nullptr;
  if (status.ok() && inGraph)
    status = check(driver_.graphLaunch(variant.timedGraph, stream_),
                   format("launching the graph of entry '%s'", name));
  if (status.ok())
    status = synchronize();
  std::vector<double> milliseconds;
  for (size_t i = 0; i + 1 < entry.times.size() && status.ok(); ++i) {
    float time = 0;
    status = check(driver_.eventElapsedTime(&time, entry.times[i], entry.times[i + 1]),
                   format("timing entry '%s'", name));
    milliseconds.push_back(time);
  }
  return status.ok() ? timer_.add(*entry.entry, milliseconds) : status;
}

Result<std::string> CudaDevice::tune() {
  if (!products_)
    return std::string("the step has no matrix products");
  if (Status status = synchronize(); !status.ok())
    return status;
  Result<std::string> done = products_->tune(driver_, arena_, stream_);
  if (!done.ok())
    return done;
  info_.library = products_->describe();
  // A captured entry has the old algorithms.
  for (Entry &entry : entries_)
    for (Variant &variant : entry.variants)
      for (cuda::GraphExec *graph : {&variant.graph, &variant.timedGraph})
        if (*graph) {
          driver_.graphExecDestroy(*graph);
          *graph = nullptr;
        }
  if (Status status =
          check(driver_.memsetD8Async(arena_, 0, step_->arena_bytes, stream_), "zeroing the arena");
      !status.ok())
    return status;
  return done;
}

} // namespace txc
