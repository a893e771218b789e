//===- fake_cuda.cpp - libcuda, libcublasLt and libnccl without a GPU ------===//
//
// A shared library with the functions that the runtime loads of them, so that
// tests need no GPU. Device memory is the host's, kernels are functions of the
// host (fake_image.h), products are plain loops.
//
// Work is lazy: a command is done when somebody waits for it, so a host that
// reads a result too early, or writes an input too early, gets wrong numbers.
// The clock counts microseconds of work: 5 per kernel, 1 per copy, and for a
// product 4 with the best algorithm and more with the others.
//
//===----------------------------------------------------------------------===//
#include "fake_cuda.h"
#include "fake_image.h"

#include "comm/nccl_api.h"
#include "device/cuda_api.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <new>
#include <utility>

using namespace txc::cuda;

namespace txc::cuda {
struct FunctionHandle {
  std::string name;
  void (*run)(void **);
};
struct ModuleHandle {
  const fake_image *image;
  std::map<std::string, FunctionHandle> functions;
};
using Work = std::function<Result()>;
struct GraphHandle {
  std::vector<Work> work;
  StreamHandle *origin = nullptr;
  std::vector<StreamHandle *> forked; // streams that wait for what is captured
};
struct GraphExecHandle {
  std::vector<Work> work;
};
struct StreamHandle {
  std::recursive_mutex
      mutex; // of what follows: a checkpoint's thread waits for its copy while work is enqueued
  std::deque<Work> work;
  GraphHandle *capture = nullptr;
  uint64_t captured = 0, joined = 0; // commands of a forked one, and those that the origin waits for
};
struct EventHandle {
  unsigned flags;
  std::atomic<uint64_t> recorded{0}, done{0}; // the thread that saves asks too
  double time = 0;
  StreamHandle *stream = nullptr;
  GraphHandle *capture = nullptr; // the capture in which it was recorded last
  uint64_t at = 0;                // which of the stream's captured commands it follows
  bool inGraph = false;           // the last time; there is then nothing to wait for outside
};
struct ContextHandle {};
struct LtContext {};
struct LtMatmulDescHandle {
  int compute = 0, scale = 0;
  int32_t transA = 0, transB = 0;
};
struct LtLayoutHandle {
  int type = 0;
  uint64_t rows = 0, columns = 0;
  int64_t leading = 0;
  int32_t batch = 1;
  int64_t stride = 0;
};
struct LtPreferenceHandle {
  size_t workspace = 0;
  uint32_t reduction = 7, alignment[4] = {256, 256, 256, 256};
};
} // namespace txc::cuda

static FakeCuda fake;
static double microseconds;
static Result lost; // once the GPU failed
static int commandsDone;

extern "C" __attribute__((visibility("default"))) FakeCuda *fake_cuda() { return &fake; }
extern "C" __attribute__((visibility("default"))) void fake_cuda_reset() {
  fake.~FakeCuda();
  new (&fake) FakeCuda();
  microseconds = 0;
  lost = 0;
  commandsDone = 0;
}

// Counts the call and fails it if a test wants that.
static Result enter(const std::string &function) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  int calls = ++fake.calls[function];
  auto found = fake.fails.find(function);
  if (found != fake.fails.end() && found->second && calls > fake.worksFirst[function])
    return found->second;
  return 0;
}
#define ENTER(function)                                                                                      \
  if (Result result_ = enter(function); result_)                                                             \
  return result_
// After the GPU has failed nothing works any more.
#define ENTER_ALIVE(function)                                                                                \
  ENTER(function);                                                                                           \
  if (lost)                                                                                                  \
  return lost

static Result doOne(StreamHandle *stream) {
  std::lock_guard lock(stream->mutex); // until it is done: the next comes after it
  Work work = std::move(stream->work.front());
  stream->work.pop_front();
  if (!lost && fake.failsLater && commandsDone >= fake.failsLaterAfter)
    lost = fake.failsLater;
  if (lost)
    return lost;
  ++commandsDone;
  if (Result result = work())
    lost = result;
  return lost;
}

static Result enqueue(StreamHandle *stream, Work work) {
  std::lock_guard lock(stream->mutex);
  if (stream->capture) {
    stream->capture->work.push_back(std::move(work));
    ++stream->captured;
  } else {
    stream->work.push_back(std::move(work));
  }
  return 0;
}

static Result drain(StreamHandle *stream, EventHandle *until) {
  if (until && !until->stream)
    return 0;
  StreamHandle *of = until ? until->stream : stream;
  std::lock_guard lock(of->mutex);
  while (!of->work.empty() && !(until && until->done == until->recorded))
    if (Result result = doOne(of))
      return result;
  return lost;
}

#define API extern "C" __attribute__((visibility("default")))

//===-- Driver --------------------------------------------------------------===//

API Result cuInit(unsigned) {
  ENTER("cuInit");
  return 0;
}
API Result cuDriverGetVersion(int *version) {
  *version = fake.version;
  return 0;
}
API Result cuGetErrorName(Result error, const char **text) {
  static const std::map<Result, const char *> names = {{2, "CUDA_ERROR_OUT_OF_MEMORY"},
                                                       {100, "CUDA_ERROR_NO_DEVICE"},
                                                       {214, "CUDA_ERROR_ECC_UNCORRECTABLE"},
                                                       {700, "CUDA_ERROR_ILLEGAL_ADDRESS"},
                                                       {719, "CUDA_ERROR_LAUNCH_FAILED"}};
  auto found = names.find(error);
  *text = found == names.end() ? nullptr : found->second;
  return found == names.end();
}
API Result cuGetErrorString(Result error, const char **text) {
  *text = "the fake driver says so";
  return error == 1;
}
API Result cuDeviceGetCount(int *count) {
  ENTER("cuDeviceGetCount");
  *count = fake.devices;
  return 0;
}
API Result cuDeviceGet(DeviceNumber *device, int ordinal) {
  fake.calls["ordinal"] = ordinal;
  *device = ordinal;
  return 0;
}
API Result cuDeviceGetName(char *name, int length, DeviceNumber) {
  std::snprintf(name, static_cast<size_t>(length), "%s", fake.name.c_str());
  return 0;
}
API Result cuDeviceGetUuid_v2(txc::cuda::Uuid *uuid, DeviceNumber device) {
  std::fill(std::begin(uuid->bytes), std::end(uuid->bytes), static_cast<unsigned char>(0xa0 + device));
  return 0;
}
API Result cuDeviceGetAttribute(int *value, int attribute, DeviceNumber) {
  switch (attribute) {
  case 16:
    *value = fake.multiprocessors;
    return 0;
  case 75:
    *value = fake.major;
    return 0;
  case 76:
    *value = fake.minor;
    return 0;
  case 97:
    *value = 232448;
    return 0;
  }
  return 1;
}
API Result cuDeviceTotalMem_v2(size_t *bytes, DeviceNumber) {
  *bytes = fake.totalBytes;
  return 0;
}
API Result cuDevicePrimaryCtxRetain(Context *context, DeviceNumber) {
  static ContextHandle one;
  ENTER("cuDevicePrimaryCtxRetain");
  *context = &one;
  return 0;
}
API Result cuDevicePrimaryCtxRelease_v2(DeviceNumber) {
  ++fake.calls["release"];
  return 0;
}
API Result cuCtxSetCurrent(Context) { return 0; }
API Result cuMemGetInfo_v2(size_t *free, size_t *total) {
  *free = fake.freeBytes;
  *total = fake.totalBytes;
  return 0;
}
API Result cuMemAlloc_v2(Address *address, size_t bytes) {
  ENTER_ALIVE("cuMemAlloc");
  void *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  std::memset(memory, 0xee, bytes);
  fake.freeBytes -= bytes;
  *address = reinterpret_cast<Address>(memory);
  return 0;
}
API Result cuMemFree_v2(Address address) {
  ++fake.calls["cuMemFree"];
  std::free(reinterpret_cast<void *>(address));
  return lost;
}
API Result cuMemHostAlloc(void **memory, size_t bytes, unsigned) {
  ENTER_ALIVE("cuMemHostAlloc");
  *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  return 0;
}
API Result cuMemFreeHost(void *memory) {
  ++fake.calls["cuMemFreeHost"];
  std::free(memory);
  return 0;
}
API Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, Stream stream) {
  ENTER_ALIVE("cuMemcpyHtoDAsync");
  return enqueue(stream, [=] {
    fake.executed.push_back("copy in");
    std::memcpy(reinterpret_cast<void *>(to), from, bytes);
    microseconds += 1;
    return 0;
  });
}
API Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, Stream stream) {
  ENTER_ALIVE("cuMemcpyDtoHAsync");
  return enqueue(stream, [=] {
    fake.executed.push_back("copy out");
    std::memcpy(to, reinterpret_cast<void *>(from), bytes);
    microseconds += 1;
    return 0;
  });
}
API Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, Stream stream) {
  ENTER_ALIVE("cuMemcpyDtoDAsync");
  return enqueue(stream, [=] {
    fake.executed.push_back("copy " + std::to_string(bytes));
    std::memcpy(reinterpret_cast<void *>(to), reinterpret_cast<void *>(from), bytes);
    microseconds += 1;
    return 0;
  });
}
API Result cuMemsetD32Async(Address to, unsigned value, size_t count, Stream stream) {
  ENTER("cuMemsetD32Async");
  return enqueue(stream, [=] {
    std::fill_n(reinterpret_cast<uint32_t *>(to), count, value);
    return 0;
  });
}
// Of processes that are one: the address is the handle.
API Result cuIpcGetMemHandle(IpcHandle *handle, Address address) {
  ENTER("cuIpcGetMemHandle");
  if (!fake.sharesMemory)
    return 801;
  *handle = {};
  std::memcpy(handle->bytes, &address, sizeof(address));
  return 0;
}
API Result cuIpcOpenMemHandle_v2(Address *address, IpcHandle handle, unsigned flags) {
  ENTER("cuIpcOpenMemHandle");
  std::memcpy(address, handle.bytes, sizeof(*address));
  return flags == 1 ? 0 : 1;
}
API Result cuIpcCloseMemHandle(Address) {
  ++fake.calls["cuIpcCloseMemHandle"];
  return 0;
}
API Result cuMemsetD8Async(Address to, unsigned char value, size_t count, Stream stream) {
  ENTER_ALIVE("cuMemsetD8Async");
  return enqueue(stream, [=] {
    fake.executed.push_back("memset");
    std::memset(reinterpret_cast<void *>(to), value, count);
    microseconds += 1;
    return 0;
  });
}
API Result cuModuleLoadDataEx(Module *module, const void *image, unsigned numOptions, int *options,
                              void **values) {
  ENTER_ALIVE("cuModuleLoadDataEx");
  const bool ptx = std::memcmp(image, ".version", 8) == 0;
  if (ptx) {
    ++fake.calls["jit"];
    // The text has no functions; tests of it need none.
    if (numOptions == 2 && options[0] == 5 && options[1] == 6)
      std::snprintf(static_cast<char *>(values[0]), reinterpret_cast<size_t>(values[1]), "nothing to say");
    *module = new ModuleHandle{nullptr, {}};
    return 0;
  }
  if (std::memcmp(image, FAKE_MAGIC, 8) != 0)
    return 200;
  auto *fresh = new ModuleHandle{static_cast<const fake_image *>(image), {}};
  for (const auto &function : fresh->image->functions)
    if (function.name)
      fresh->functions[function.name] = {function.name, function.function};
  *module = fresh;
  return 0;
}
API Result cuModuleUnload(Module module) {
  ++fake.calls["cuModuleUnload"];
  delete module;
  return 0;
}
API Result cuModuleGetFunction(Function *function, Module module, const char *name) {
  ENTER_ALIVE("cuModuleGetFunction");
  if (!module->image) {
    FunctionHandle &made = module->functions[name];
    made = {name, [](void **) {}};
    *function = &made;
    return 0;
  }
  auto found = module->functions.find(name);
  if (found == module->functions.end())
    return 500;
  *function = &found->second;
  return 0;
}
API Result cuFuncSetAttribute(Function, int attribute, int value) {
  ENTER_ALIVE("cuFuncSetAttribute");
  fake.calls["dynamic shared"] = value;
  return attribute == 8 ? 0 : 1;
}
API Result cuLaunchKernel(Function function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                          unsigned blockY, unsigned blockZ, unsigned sharedBytes, Stream stream,
                          void **parameters, void **extra) {
  ENTER_ALIVE("cuLaunchKernel");
  if (extra)
    return 1;
  const unsigned grid[] = {gridX, gridY, gridZ}, block[] = {blockX, blockY, blockZ};
  std::memcpy(fake.grid, grid, sizeof(grid));
  std::memcpy(fake.block, block, sizeof(block));
  fake.shared = sharedBytes;
  return enqueue(stream, [=] {
    fake.executed.push_back("kernel " + function->name);
    microseconds += 5;
    if (function->name == "broken")
      return 700;
    function->run(parameters);
    return 0;
  });
}
API Result cuStreamCreate(Stream *stream, unsigned flags) {
  ENTER("cuStreamCreate");
  *stream = new StreamHandle;
  return flags == 1 ? 0 : 1;
}
API Result cuStreamCreateWithPriority(Stream *stream, unsigned flags, int) {
  return cuStreamCreate(stream, flags);
}
API Result cuStreamDestroy_v2(Stream stream) {
  delete stream;
  return 0;
}
API Result cuStreamSynchronize(Stream stream) {
  ENTER("cuStreamSynchronize");
  if (stream->capture)
    return 900;
  return drain(stream, nullptr);
}
API Result cuStreamWaitEvent(Stream stream, Event event, unsigned) {
  ENTER("cuStreamWaitEvent");
  if (event->capture) {
    // A stream that waits for a captured one is captured with it.
    if (!stream->capture) {
      stream->capture = event->capture;
      stream->captured = stream->joined = 0;
      stream->capture->forked.push_back(stream);
    }
    if (stream->capture != event->capture)
      return 906; // two captures in one
    event->stream->joined = std::max(event->stream->joined, event->at);
    return 0;
  }
  if (event->inGraph)
    return 907;
  if (stream->capture && event->stream)
    return 905; // the graph would depend on what is outside of it
  const uint64_t number = event->recorded;
  if (!event->stream || event->stream == stream)
    return 0;
  return enqueue(stream, [event, number]() -> Result {
    std::lock_guard lock(event->stream->mutex);
    while (event->done < number && !event->stream->work.empty())
      if (Result result = doOne(event->stream))
        return result;
    return 0;
  });
}
API Result cuStreamWriteValue32_v2(Stream stream, Address to, uint32_t value, unsigned flags) {
  ENTER("cuStreamWriteValue32");
  return flags ? 1 : enqueue(stream, [to, value]() -> Result {
    *reinterpret_cast<volatile uint32_t *>(to) = value;
    return 0;
  });
}
// Nobody sets it later: what is not there when the stream comes to it is a mistake.
API Result cuStreamWaitValue32_v2(Stream stream, Address at, uint32_t value, unsigned flags) {
  ENTER("cuStreamWaitValue32");
  return flags != 1 ? 1 : enqueue(stream, [at, value]() -> Result {
    const bool met = *reinterpret_cast<volatile uint32_t *>(at) == value;
    fake.executed.push_back(met ? "wait" : "wait in vain");
    return 0;
  });
}
API Result cuStreamQuery(Stream stream) {
  std::lock_guard lock(stream->mutex);
  return stream->work.empty() ? 0 : 600;
}
API Result cuStreamBeginCapture_v2(Stream stream, unsigned mode) {
  ENTER_ALIVE("cuStreamBeginCapture");
  if (stream->capture || mode != 1)
    return 900;
  stream->capture = new GraphHandle;
  stream->capture->origin = stream;
  ++fake.capturing;
  return 0;
}
static std::vector<EventHandle *> events;
API Result cuStreamEndCapture(Stream stream, Graph *graph) {
  *graph = std::exchange(stream->capture, nullptr);
  --fake.capturing;
  bool unjoined = false;
  for (StreamHandle *forked : (*graph)->forked) {
    unjoined |= forked->joined < forked->captured;
    forked->capture = nullptr;
  }
  // Outside of the graph such an event was never recorded.
  for (EventHandle *event : events)
    if (event->capture == *graph)
      event->capture = nullptr;
  ENTER_ALIVE("cuStreamEndCapture");
  if (unjoined) {
    delete std::exchange(*graph, nullptr);
    return 904;
  }
  return 0;
}
API Result cuGraphInstantiateWithFlags(GraphExec *exec, Graph graph, unsigned long long) {
  ENTER_ALIVE("cuGraphInstantiate");
  *exec = new GraphExecHandle{graph->work};
  return 0;
}
API Result cuGraphLaunch(GraphExec exec, Stream stream) {
  ENTER_ALIVE("cuGraphLaunch");
  for (const Work &work : exec->work)
    enqueue(stream, work);
  return 0;
}
API Result cuGraphDestroy(Graph graph) {
  delete graph;
  return 0;
}
API Result cuGraphExecDestroy(GraphExec exec) {
  ++fake.calls["cuGraphExecDestroy"];
  delete exec;
  return 0;
}
API Result cuEventCreate(Event *event, unsigned flags) {
  ENTER("cuEventCreate");
  *event = new EventHandle{flags};
  events.push_back(*event);
  return 0;
}
API Result cuEventDestroy_v2(Event event) {
  ++fake.calls["cuEventDestroy"];
  std::erase(events, event);
  delete event;
  return 0;
}
static Result record(Event event, Stream stream) {
  event->stream = stream;
  auto mark = [event] {
    event->done = event->recorded.load();
    event->time = microseconds;
    return 0;
  };
  if (stream->capture)
    return enqueue(stream, mark);
  std::lock_guard lock(stream->mutex);
  event->inGraph = false;
  uint64_t number = ++event->recorded;
  return enqueue(stream, [event, number] {
    event->done = number;
    event->time = microseconds;
    return 0;
  });
}
API Result cuEventRecord(Event event, Stream stream) {
  ENTER_ALIVE("cuEventRecord");
  const Result result = record(event, stream);
  if (stream->capture) {
    event->capture = stream->capture;
    event->at = stream->captured;
    event->inGraph = true;
  }
  return result;
}
API Result cuEventRecordWithFlags(Event event, Stream stream, unsigned flags) {
  ENTER_ALIVE("cuEventRecordWithFlags");
  return flags == 1 && stream->capture ? record(event, stream) : 1;
}
API Result cuEventQuery(Event event) {
  ENTER("cuEventQuery");
  if (lost)
    return lost;
  // The GPU gets on a little.
  if (event->done != event->recorded && !event->stream->work.empty())
    if (Result result = doOne(event->stream))
      return result;
  return event->done == event->recorded ? 0 : 600;
}
API Result cuEventSynchronize(Event event) {
  ENTER("cuEventSynchronize");
  return event->done == event->recorded ? lost : drain(nullptr, event);
}
API Result cuEventElapsedTime(float *milliseconds, Event from, Event to) {
  ENTER_ALIVE("cuEventElapsedTime");
  if ((from->flags | to->flags) & 2)
    return 400;
  if (from->done != from->recorded || to->done != to->recorded)
    return 600;
  *milliseconds = static_cast<float>((to->time - from->time) * 1e-3);
  return 0;
}
API Result cuTensorMapEncodeTiled(TensorMap *map, int dtype, uint32_t rank, void *address,
                                  const uint64_t *dims, const uint64_t *strides, const uint32_t *box,
                                  const uint32_t *elementStrides, int interleave, int swizzle, int promotion,
                                  int outOfBounds) {
  ENTER_ALIVE("cuTensorMapEncodeTiled");
  if (reinterpret_cast<uintptr_t>(map) % 64 || reinterpret_cast<uintptr_t>(address) % 16 || interleave ||
      outOfBounds || rank > 3)
    return 1;
  fake_tensor_map out = {};
  out.address = reinterpret_cast<uint64_t>(address);
  for (uint32_t d = 0; d < rank; ++d) {
    out.dims[d] = dims[d];
    out.box[d] = box[d];
    if (d + 1 < rank) {
      out.strides[d] = strides[d];
      if (strides[d] % 16)
        return 1;
    }
    if (elementStrides[d] != 1 || box[d] > 256)
      return 1;
  }
  out.dtype = dtype;
  out.rank = static_cast<int32_t>(rank);
  out.swizzle = swizzle;
  out.promotion = promotion;
  static_assert(sizeof(out) <= sizeof(*map));
  std::memcpy(map, &out, sizeof(out));
  return 0;
}

//===-- cuBLASLt ------------------------------------------------------------===//

API LtStatus cublasLtCreate(LtHandle *handle) {
  static LtContext one;
  ENTER("cublasLtCreate");
  *handle = &one;
  return 0;
}
API LtStatus cublasLtDestroy(LtHandle) { return 0; }
API size_t cublasLtGetVersion() { return 130001; }
API const char *cublasLtGetStatusName(LtStatus status) {
  return status == 15 ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS_OTHER";
}
API LtStatus cublasLtMatmulDescCreate(LtMatmulDesc *desc, int compute, int scale) {
  ENTER("cublasLtMatmulDescCreate");
  *desc = new LtMatmulDescHandle{compute, scale};
  return 0;
}
API LtStatus cublasLtMatmulDescDestroy(LtMatmulDesc desc) {
  delete desc;
  return 0;
}
template <typename T> static LtStatus setValue(T &field, const void *value, size_t bytes) {
  if (bytes != sizeof(T))
    return 7;
  std::memcpy(&field, value, bytes);
  return 0;
}
API LtStatus cublasLtMatmulDescSetAttribute(LtMatmulDesc desc, int attribute, const void *value,
                                            size_t bytes) {
  return attribute == 3   ? setValue(desc->transA, value, bytes)
         : attribute == 4 ? setValue(desc->transB, value, bytes)
                          : 7;
}
API LtStatus cublasLtMatrixLayoutCreate(LtLayout *layout, int type, uint64_t rows, uint64_t columns,
                                        int64_t leading) {
  *layout = new LtLayoutHandle{type, rows, columns, leading};
  return leading >= static_cast<int64_t>(rows) ? 0 : 7;
}
API LtStatus cublasLtMatrixLayoutDestroy(LtLayout layout) {
  delete layout;
  return 0;
}
API LtStatus cublasLtMatrixLayoutSetAttribute(LtLayout layout, int attribute, const void *value,
                                              size_t bytes) {
  return attribute == 5   ? setValue(layout->batch, value, bytes)
         : attribute == 6 ? setValue(layout->stride, value, bytes)
                          : 7;
}
API LtStatus cublasLtMatmulPreferenceCreate(LtPreference *preference) {
  *preference = new LtPreferenceHandle;
  return 0;
}
API LtStatus cublasLtMatmulPreferenceDestroy(LtPreference preference) {
  delete preference;
  return 0;
}
API LtStatus cublasLtMatmulPreferenceSetAttribute(LtPreference preference, int attribute, const void *value,
                                                  size_t bytes) {
  if (attribute == 1)
    return setValue(preference->workspace, value, bytes);
  if (attribute == 3)
    return setValue(preference->reduction, value, bytes);
  return attribute >= 5 && attribute <= 8 ? setValue(preference->alignment[attribute - 5], value, bytes) : 7;
}
API LtStatus cublasLtMatmulAlgoGetHeuristic(LtHandle, LtMatmulDesc desc, LtLayout a, LtLayout b, LtLayout c,
                                            LtLayout, LtPreference preference, int requested,
                                            LtHeuristicResult *results, int *found) {
  ENTER("cublasLtMatmulAlgoGetHeuristic");
  *found = std::min(requested, fake.algorithms);
  if (*found == 0)
    return 15;
  char text[200];
  std::snprintf(text, sizeof(text),
                "%d>%d compute %d %c%c %ldx%ld ld %ld, %ldx%ld ld %ld, %ldx%ld ld %ld batch %d "
                "reduction %u workspace %zu",
                a->type, c->type, desc->compute, desc->transA ? 'T' : 'N', desc->transB ? 'T' : 'N',
                long(a->rows), long(a->columns), long(a->leading), long(b->rows), long(b->columns),
                long(b->leading), long(c->rows), long(c->columns), long(c->leading), a->batch,
                preference->reduction, preference->workspace);
  fake.descriptions.push_back(text);
  for (int i = 0; i < *found; ++i) {
    results[i] = {};
    results[i].algorithm.opaque[0] = static_cast<uint64_t>(i) + 100;
    // Wants more than was offered: the caller must not take it.
    results[i].workspaceBytes = i == 2 ? preference->workspace + 1 : preference->workspace;
  }
  return 0;
}
// Where an algorithm has its settings.
static constexpr int kCluster = 1, kOption = 2;

API LtStatus cublasLtMatmulAlgoCheck(LtHandle, LtMatmulDesc, LtLayout, LtLayout, LtLayout, LtLayout,
                                     const LtAlgorithm *algorithm, LtHeuristicResult *result) {
  ++fake.calls["cublasLtMatmulAlgoCheck"];
  *result = {};
  result->algorithm = *algorithm;
  const bool changed = algorithm->opaque[kCluster] || algorithm->opaque[kOption];
  return fake.libraryRefusesAlgorithms || (changed && !fake.runsNeighbours) ? 15 : 0;
}
API LtStatus cublasLtMatmulAlgoConfigSetAttribute(LtAlgorithm *algorithm, int attribute, const void *value,
                                                  size_t bytes) {
  uint16_t cluster = 0;
  uint32_t option = 0;
  if (attribute == 8 && setValue(cluster, value, bytes) == 0)
    algorithm->opaque[kCluster] = cluster;
  else if (attribute == 5 && setValue(option, value, bytes) == 0)
    algorithm->opaque[kOption] = option;
  else
    return attribute == 4 && bytes == 4 ? 0 : 7; // the order of tiles: it has only one
  return 0;
}
API LtStatus cublasLtMatmulAlgoCapGetAttribute(const LtAlgorithm *, int attribute, void *value, size_t bytes,
                                               size_t *written) {
  const int32_t mostCustomOption = 3;
  if (attribute != 7 || bytes != sizeof(mostCustomOption))
    return 7;
  std::memcpy(value, &mostCustomOption, bytes);
  *written = bytes;
  return 0;
}

static float load(const void *matrix, int type, int64_t at) {
  if (type == 0)
    return static_cast<const float *>(matrix)[at];
  uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t *>(matrix)[at]) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
static void store(void *matrix, int type, int64_t at, float value) {
  if (type == 0) {
    static_cast<float *>(matrix)[at] = value;
    return;
  }
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  static_cast<uint16_t *>(matrix)[at] = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

API LtStatus cublasLtMatmul(LtHandle, LtMatmulDesc desc, const void *alpha, const void *a, LtLayout aLayout,
                            const void *b, LtLayout bLayout, const void *beta, const void *c,
                            LtLayout cLayout, void *d, LtLayout dLayout, const LtAlgorithm *algorithm,
                            void *workspace, size_t workspaceBytes, Stream stream) {
  ENTER("cublasLtMatmul");
  if (lost || cLayout != dLayout || (workspaceBytes != 0) != (workspace != nullptr))
    return 7;
  const float alphaValue = *static_cast<const float *>(alpha), betaValue = *static_cast<const float *>(beta);
  const LtMatmulDescHandle op = *desc;
  const LtLayoutHandle la = *aLayout, lb = *bLayout, lc = *cLayout;
  const int number = static_cast<int>(algorithm->opaque[0]) - 100;
  const int cluster = static_cast<int>(algorithm->opaque[kCluster]);
  const int option = static_cast<int>(algorithm->opaque[kOption]);
  if (number < 0 || number > 2)
    return 7;
  return enqueue(stream, [=] {
    fake.executed.push_back("matmul");
    fake.algorithmsUsed.push_back(number);
    // Some settings cost time, others only seem to save it.
    const bool forgets = cluster == fake.clusterThatForgets, wavers = cluster == fake.clusterThatWavers;
    microseconds += number == fake.bestAlgorithm ? 4 : 6 + number;
    microseconds += forgets || wavers ? -3 : cluster == fake.bestCluster ? -2 : cluster ? 1 : 0;
    microseconds += option == fake.bestOption ? -0.5 : option ? 1 : 0;
    fake.settingsUsed = {cluster, option};
    const int64_t m = static_cast<int64_t>(lc.rows), n = static_cast<int64_t>(lc.columns);
    const int64_t k = static_cast<int64_t>(op.transA ? la.rows : la.columns);
    for (int batch = 0; batch < lc.batch; ++batch)
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
          double sum = 0;
          for (int64_t x = 0; x < k; ++x)
            sum +=
                static_cast<double>(load(
                    a, la.type, batch * la.stride + (op.transA ? x + i * la.leading : i + x * la.leading))) *
                load(b, lb.type, batch * lb.stride + (op.transB ? j + x * lb.leading : x + j * lb.leading));
          const int64_t at = batch * lc.stride + i + j * lc.leading;
          double before = betaValue == 0 ? 0 : betaValue * load(c, lc.type, at);
          if (forgets && i == m - 1 && j == n - 1)
            continue;
          if (wavers && i == m - 1 && j == n - 1)
            sum *= 1 + 1e-6 * (fake.calls["wavering"]++ % 3);
          store(d, lc.type, at, static_cast<float>(alphaValue * sum + before));
        }
    return 0;
  });
}

//===-- NCCL ----------------------------------------------------------------===//

// The other ranks always have what this one has.
namespace txc::nccl {
struct CommunicatorHandle {
  int ranks;
};
} // namespace txc::nccl
static bool grouping;
static std::vector<std::pair<Stream, Work>> group;

API Result ncclGetVersion(int *version) {
  *version = 22703;
  return 0;
}
API const char *ncclGetErrorString(Result error) {
  return error == 2 ? "unhandled system error" : error == 6 ? "remote process exited" : "another error";
}
API const char *ncclGetLastError(txc::nccl::Communicator) { return "the fake NCCL says so"; }
API Result ncclGetUniqueId(txc::nccl::UniqueId *id) {
  ENTER("ncclGetUniqueId");
  for (size_t i = 0; i < sizeof(id->bytes); ++i)
    id->bytes[i] = static_cast<char>(251 - 2 * i); // zero and negative ones too
  return 0;
}
API Result ncclCommInitRank(txc::nccl::Communicator *communicator, int ranks, txc::nccl::UniqueId id,
                            int rank) {
  ENTER("ncclCommInitRank");
  for (size_t i = 0; i < sizeof(id.bytes); ++i)
    if (id.bytes[i] != static_cast<char>(251 - 2 * i))
      return 4;
  fake.executed.push_back("nccl rank " + std::to_string(rank) + " of " + std::to_string(ranks));
  *communicator = new txc::nccl::CommunicatorHandle{ranks};
  ++fake.communicators;
  return 0;
}
// These come from another thread too.
API Result ncclCommAbort(txc::nccl::Communicator communicator) {
  delete communicator;
  --fake.communicators;
  ++fake.aborts;
  return 0;
}
API Result ncclCommGetAsyncError(txc::nccl::Communicator communicator, Result *error) {
  *error = communicator->ranks > 1 ? fake.asyncError.load() : 0;
  return 0;
}
API Result ncclCommDestroy(txc::nccl::Communicator communicator) {
  delete communicator;
  --fake.communicators;
  return 0;
}
API Result ncclGroupStart() {
  ENTER("ncclGroupStart");
  grouping = true;
  return 0;
}
API Result ncclGroupEnd() {
  grouping = false;
  auto works = std::exchange(group, {});
  ENTER("ncclGroupEnd");
  for (auto &[stream, work] : works)
    enqueue(stream, work);
  return 0;
}
static Result collective(const char *name, const void *send, void *receive, size_t count, int type,
                         size_t times, float factor, Stream stream) {
  // Parts of one collective are one group, whatever their number.
  if (type != txc::nccl::kFloat32 || !grouping)
    return 4;
  group.push_back({stream, [=] {
                     fake.executed.push_back(std::string("nccl ") + name + " " + std::to_string(count));
                     const std::vector<float> from(static_cast<const float *>(send),
                                                   static_cast<const float *>(send) + count);
                     for (size_t i = 0; i < times * count; ++i)
                       static_cast<float *>(receive)[i] = from[i % count] * factor;
                     microseconds += 7;
                     return 0;
                   }});
  return 0;
}
API Result ncclAllReduce(const void *send, void *receive, size_t count, int type, int op,
                         txc::nccl::Communicator communicator, Stream stream) {
  ENTER("ncclAllReduce");
  return collective("all_reduce", send, receive, count, type, 1,
                    op == txc::nccl::kSum ? static_cast<float>(communicator->ranks) : 1, stream);
}
static const void *sent; // what the others have, too
API Result ncclSend(const void *send, size_t, int, int peer, txc::nccl::Communicator communicator, Stream) {
  ENTER("ncclSend");
  sent = send;
  return peer >= 0 && peer < communicator->ranks ? 0 : 4;
}
API Result ncclRecv(void *receive, size_t count, int type, int, txc::nccl::Communicator, Stream stream) {
  ENTER("ncclRecv");
  return collective("receive", sent, receive, count, type, 1, 1, stream);
}
API Result ncclAllGather(const void *send, void *receive, size_t count, int type,
                         txc::nccl::Communicator communicator, Stream stream) {
  ENTER("ncclAllGather");
  return collective("all_gather", send, receive, count, type, static_cast<size_t>(communicator->ranks), 1,
                    stream);
}
