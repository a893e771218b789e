//===- CudaDeviceTest.cpp - The CUDA backend on a GPU that does not exist --===//
#include "comm/peer_collectives.h"
#include "device/cuda_device.h"

#include "TempFolder.h"
#include "fake_cuda.h"
#include "fake_image.h"
#include "loader/step_file.h"
#include "toy_layout.h"
#include "train/trainer.h"

#include <cmath>
#include <csignal>
#include <dlfcn.h>
#include <fstream>
#include <gtest/gtest.h>
#include <iomanip>
#include <sstream>
#include <thread>
#include <unistd.h>

using namespace txc;
using Json = nlohmann::ordered_json;

#define EXPECT_MENTIONS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

namespace {

class Cuda : public testing::Test {
protected:
  void SetUp() override {
    void *library = ::dlopen(FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library, nullptr) << ::dlerror();
    fake = reinterpret_cast<FakeCuda *(*)()>(::dlsym(library, "fake_cuda"))();
    reset = reinterpret_cast<void (*)()>(::dlsym(library, "fake_cuda_reset"));
    reset();
  }

  std::unique_ptr<CudaDevice> open(DeviceOptions options = {}, const char *path = TOY_GPU) {
    step.reset(); // the loader knows a step by its descriptor, whose number comes again
    Result<StepFile> file = StepFile::load(path);
    EXPECT_TRUE(file.ok()) << file.status().message();
    step = std::make_unique<StepFile>(std::move(*file));
    Result<std::unique_ptr<CudaDevice>> device = CudaDevice::open(*step, options);
    error = device.status();
    return device.ok() ? std::move(*device) : nullptr;
  }
  std::string openError(DeviceOptions options = {}) {
    EXPECT_EQ(open(options), nullptr);
    EXPECT_EQ(error.code(), Code::Device) << error.message();
    EXPECT_MENTIONS(error.message(), "toy.so");
    return error.message();
  }
  // Puts values anywhere in the arena before the next run.
  template <typename T> void put(CudaDevice &device, uint64_t offset, const std::vector<T> &values) {
    txc_buffer_t buffer = {};
    buffer.name = "test";
    buffer.offset = offset;
    buffer.bytes = values.size() * sizeof(T);
    Result<char *> memory = device.stage(buffer);
    ASSERT_TRUE(memory.ok()) << memory.status().message();
    std::memcpy(*memory, values.data(), buffer.bytes);
  }
  template <typename T> std::vector<T> get(CudaDevice &device, uint64_t offset, size_t count) {
    std::vector<T> values(count);
    Status status = device.read(offset, values.data(), count * sizeof(T));
    EXPECT_TRUE(status.ok()) << status.message();
    return values;
  }
  int executed(const std::string &what) const {
    return static_cast<int>(std::count(fake->executed.begin(), fake->executed.end(), what));
  }

  FakeCuda *fake = nullptr;
  void (*reset)() = nullptr;
  std::unique_ptr<StepFile> step;
  Status error;
  TempFolder cache;
  ScopedVariable cacheHome{"XDG_CACHE_HOME", cache.path().c_str()}, driver{"TXC_CUDA_LIBRARY", FAKE_CUDA},
      library{"TXC_CUBLASLT_LIBRARY", FAKE_CUDA}, rank{"LOCAL_RANK", nullptr},
      blocking{"CUDA_LAUNCH_BLOCKING", nullptr};
};

float valueAt(size_t i) { return static_cast<float>((i * 7 + 3) % 17) / 8.0f - 1.0f; } // exact in bf16
uint16_t toBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<uint16_t>(bits >> 16);
}
float fromBf16(uint16_t half) {
  uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
std::vector<float> floats(size_t count, size_t from = 0) {
  std::vector<float> out;
  for (size_t i = 0; i < count; ++i)
    out.push_back(valueAt(from + i));
  return out;
}
std::vector<uint16_t> halves(size_t count, size_t from = 0) {
  std::vector<uint16_t> out;
  for (float value : floats(count, from))
    out.push_back(toBf16(value));
  return out;
}

// A run of the toy step on the fake GPU or the CPU.
struct ToyRun {
  TempFolder folder;
  Status status;
  std::string output, logFile;
  Json log;

  explicit ToyRun(const char *stepPath, std::vector<std::string> arguments, int signalAfter = -1) {
    std::vector<uint16_t> tokens(4000);
    for (size_t i = 1; i < tokens.size(); ++i)
      tokens[i] = i % 50 == 0 ? static_cast<uint16_t>(i / 50 % 16)
                              : static_cast<uint16_t>((5 * tokens[i - 1] + 3) % 16);
    folder.writeNumbers("data/train.bin", tokens);
    folder.writeNumbers("data/val.bin", tokens);
    folder.write("data/meta.json", R"({"dtype": "uint16", "vocab_size": 16})");
    std::vector<std::string> all = {stepPath, "--dataset=" + folder.file("data"),
                                    "--out_dir=" + folder.file("out")};
    all.insert(all.end(), arguments.begin(), arguments.end());
    Result<Command> command = parseCommandLine(all);
    if (!command.ok()) {
      status = command.status();
      return;
    }
    Result<std::unique_ptr<Trainer>> trainer = Trainer::create(*command);
    if (!trainer.ok()) {
      status = trainer.status();
      return;
    }
    int printed = 0;
    status = (*trainer)->train([&](const std::string &text) { output += text, ++printed; },
                               [&] { return signalAfter >= 0 && printed > signalAfter ? SIGINT : 0; });
    std::ifstream file((*trainer)->logPath());
    log = Json::parse(file, nullptr, false);
  }
  std::vector<double> losses() const {
    std::vector<double> out;
    for (const Json &iteration : log["training_iterations"])
      out.push_back(iteration["loss"]);
    return out;
  }
};

} // namespace

//===-- Opening -------------------------------------------------------------===//

TEST_F(Cuda, KnowsTheGpu) {
  std::unique_ptr<CudaDevice> device = open();
  ASSERT_TRUE(device) << error.message();
  EXPECT_EQ(device->info().name, "NVIDIA H200");
  EXPECT_EQ(device->info().architecture, "sm_90");
  EXPECT_EQ(device->info().driver, "13.0");
  EXPECT_EQ(device->info().multiprocessors, 132);
  EXPECT_EQ(device->info().library, "cuBLASLt 13.0.1, 0 of 6 shapes tuned");
  EXPECT_EQ(device->memory().reservedBytes, GPU_ARENA);
  EXPECT_GE(device->memory().inUseBytes, GPU_ARENA);
  EXPECT_GT(device->peakRate().flops, 0);
  // One allocation for everything, zeroed.
  EXPECT_EQ(fake->calls["cuMemAlloc"], 1);
  for (uint8_t byte : get<uint8_t>(*device, 0, GPU_ARENA))
    ASSERT_EQ(byte, 0);
}

TEST_F(Cuda, GivesEverythingBack) {
  {
    std::unique_ptr<CudaDevice> device = open();
    ASSERT_TRUE(device) << error.message();
    for (int i = 0; i < 3; ++i)
      ASSERT_TRUE(device->run(step->entry("init")).ok());
  }
  EXPECT_EQ(fake->calls["cuMemFree"], 1);
  EXPECT_EQ(fake->calls["cuMemFreeHost"], 1);
  EXPECT_EQ(fake->calls["cuModuleUnload"], 2);
  EXPECT_EQ(fake->calls["cuGraphExecDestroy"], 1);
  EXPECT_EQ(fake->calls["cuEventCreate"], fake->calls["cuEventDestroy"]);
  EXPECT_EQ(fake->calls["release"], 1);
}

TEST_F(Cuda, ChoosesTheGpu) {
  fake->devices = 4;
  DeviceOptions options;
  ASSERT_TRUE(open());
  EXPECT_EQ(fake->calls["ordinal"], 0);
  {
    options.localRank = 3;
    ASSERT_TRUE(open(options));
    EXPECT_EQ(fake->calls["ordinal"], 3);
    options.localRank = 4;
    EXPECT_MENTIONS(openError(options), "LOCAL_RANK, or what the launcher has for it) asks for GPU 4, this process may use 4");
    options.device = 1;
    ASSERT_TRUE(open(options));
    EXPECT_EQ(fake->calls["ordinal"], 1);
    // The launcher shows each rank its own GPU only.
    options.device = -1;
    fake->devices = 1;
    ASSERT_TRUE(open(options));
    EXPECT_EQ(fake->calls["ordinal"], 0);
  }
  options.device = 7;
  EXPECT_MENTIONS(openError(options), "--device asks for GPU 7, this process may use 1");
}

TEST_F(Cuda, SaysWhatIsMissing) {
  {
    ScopedVariable driver("TXC_CUDA_LIBRARY", "/nowhere/libcuda.so.1");
    std::string message = openError();
    EXPECT_MENTIONS(message, "built for a CUDA GPU (cuda:sm_90a)");
    EXPECT_MENTIONS(message, "/nowhere/libcuda.so.1");
    EXPECT_MENTIONS(message, "--target=cpu");
  }
  {
    ScopedVariable driver("TXC_CUDA_LIBRARY", "libm.so.6");
    EXPECT_MENTIONS(openError(), "has no function cuInit; install driver version 525");
  }
  {
    ScopedVariable library("TXC_CUBLASLT_LIBRARY", "/nowhere/libcublasLt.so.13");
    std::string message = openError();
    EXPECT_MENTIONS(message, "cannot load cuBLASLt");
    EXPECT_MENTIONS(message, "/nowhere/libcublasLt.so.13");
    EXPECT_MENTIONS(message, "pip install");
  }
  fake->version = 11080;
  EXPECT_MENTIONS(openError(), "speaks CUDA 11.8, 12.0 is needed");
  reset();
  fake->fails["cuInit"] = 100;
  EXPECT_MENTIONS(openError(), "has no NVIDIA GPU that this process may use");
  reset();
  fake->devices = 0;
  EXPECT_MENTIONS(openError(), "CUDA_VISIBLE_DEVICES");
  reset();
  fake->fails["cublasLtCreate"] = 1;
  EXPECT_MENTIONS(openError(), "cublasLtCreate failed: CUBLAS_STATUS_OTHER (1)");
}

TEST_F(Cuda, RefusesAnotherArchitecture) {
  fake->major = 8, fake->minor = 6, fake->name = "NVIDIA RTX A6000";
  std::string message = openError();
  EXPECT_MENTIONS(message, "its kernels are for sm_90, GPU 0 (NVIDIA RTX A6000) is older, sm_86");
  EXPECT_MENTIONS(message, "--target=sm_86");
  // sm_90a runs on 9.0 only; a newer GPU takes the PTX, which one image lacks.
  fake->major = 10, fake->minor = 0;
  message = openError();
  EXPECT_EQ(fake->calls["jit"], 1);
  EXPECT_MENTIONS(message, "for sm_90a (machine code) and none (PTX)");
}

TEST_F(Cuda, SaysWhatTakesTheMemory) {
  fake->freeBytes = 500000;
  std::string message = openError();
  EXPECT_MENTIONS(message, "not enough memory on GPU 0 (NVIDIA H200): the step needs 1.1");
  EXPECT_MENTIONS(message, "weights 1.09 kB, gradients 1.09 kB");
  EXPECT_MENTIONS(message, "optimizer moments");
  EXPECT_MENTIONS(message, "500.00 kB of 1.07 GB are free");
  EXPECT_MENTIONS(message, "batch_size");
  // Fragmented, or taken since.
  reset();
  fake->fails["cuMemAlloc"] = 2;
  EXPECT_MENTIONS(openError(), "not enough memory on GPU 0");
}

//===-- Commands ------------------------------------------------------------===//

TEST_F(Cuda, LaunchesWithMapsAddressesAndScalars) {
  std::unique_ptr<CudaDevice> device = open();
  ASSERT_TRUE(device) << error.message();
  put(*device, W, floats(V * V));
  ASSERT_TRUE(device->run(step->entry("copy")).ok());
  EXPECT_EQ(get<float>(*device, ONEHOT, V * V), floats(V * V));
  // grid[0] of 0 is the number of multiprocessors.
  EXPECT_EQ(fake->grid[0], 132u);
  EXPECT_EQ(fake->block[0], 32u);
  EXPECT_EQ(fake->shared, 65536u);
  EXPECT_EQ(fake->calls["dynamic shared"], 65536);
  EXPECT_EQ(fake->calls["cuTensorMapEncodeTiled"], 1);
}

TEST_F(Cuda, DescribesProductsToAColumnMajorLibrary) {
  DeviceOptions options;
  ASSERT_TRUE(open(options)) << error.message();
  // Operands change places; N of ours is M of theirs. f32 to f32 may sum parts
  // in C, bf16 only in f32.
  std::vector<std::string> expected = {
      "0>0 compute 68 TN 64x32 ld 64, 64x48 ld 64, 32x48 ld 32 batch 1 reduction 7 workspace 1048576",
      "14>0 compute 68 NT 32x64 ld 32, 48x64 ld 48, 32x48 ld 32 batch 1 reduction 7 workspace 1048576",
      "14>14 compute 68 NN 32x64 ld 32, 64x48 ld 64, 32x48 ld 32 batch 2 reduction 2 workspace 0",
      "14>14 compute 68 TN 64x32 ld 64, 64x48 ld 64, 32x48 ld 32 batch 1 reduction 2 workspace 0"};
  ASSERT_EQ(fake->descriptions.size(), 6u); // two of the toy itself
  EXPECT_EQ(std::vector<std::string>(fake->descriptions.begin() + 2, fake->descriptions.end()), expected);
  reset();
  options.allowTf32 = true;
  ASSERT_TRUE(open(options));
  EXPECT_MENTIONS(fake->descriptions[2], "0>0 compute 77");
  EXPECT_MENTIONS(fake->descriptions[3], "14>0 compute 68");
}

TEST_F(Cuda, ProductsEqualTheDefinition) {
  std::unique_ptr<CudaDevice> device = open();
  ASSERT_TRUE(device) << error.message();
  auto a = [](int batch, int row, int column, int columns) {
    return valueAt(static_cast<size_t>(batch * XM * XK + row * columns + column));
  };
  auto b = [](int batch, int row, int column, int columns) {
    return valueAt(1000 + static_cast<size_t>(batch * XK * XN + row * columns + column));
  };
  put(*device, XA, floats(XM * XK));
  put(*device, XB, floats(XK * XN, 1000));
  ASSERT_TRUE(device->run(step->entry("product0")).ok());
  std::vector<float> c = get<float>(*device, XC, XM * XN);
  for (int i = 0; i < XM; ++i)
    for (int j = 0; j < XN; ++j) {
      double sum = 0;
      for (int k = 0; k < XK; ++k)
        sum += a(0, i, k, XK) * b(0, j, k, XK);
      ASSERT_NEAR(c[static_cast<size_t>(i * XN + j)], sum, 1e-5);
    }
  put(*device, XA, halves(2 * XM * XK));
  put(*device, XB, halves(2 * XK * XN, 1000));
  ASSERT_TRUE(device->run(step->entry("product1")).ok());
  std::vector<float> c1 = get<float>(*device, XC, XM * XN);
  for (int i = 0; i < XM; ++i)
    for (int j = 0; j < XN; ++j) {
      double sum = c[static_cast<size_t>(i * XN + j)];
      for (int k = 0; k < XK; ++k)
        sum += a(0, k, i, XM) * b(0, k, j, XN);
      ASSERT_NEAR(c1[static_cast<size_t>(i * XN + j)], sum, 1e-5);
    }
  ASSERT_TRUE(device->run(step->entry("product2")).ok());
  std::vector<uint16_t> c2 = get<uint16_t>(*device, XC, 2 * XM * XN);
  for (int batch = 0; batch < 2; ++batch)
    for (int i = 0; i < XM; ++i)
      for (int j = 0; j < XN; ++j) {
        double sum = 0;
        for (int k = 0; k < XK; ++k)
          sum += a(batch, i, k, XK) * b(batch, k, j, XN);
        ASSERT_NEAR(fromBf16(c2[static_cast<size_t>((batch * XM + i) * XN + j)]), sum,
                    0.004 * std::fabs(sum) + 1e-6);
      }
  ASSERT_TRUE(device->run(step->entry("product3")).ok());
  std::vector<uint16_t> c3 = get<uint16_t>(*device, XC, XM * XN);
  for (int i = 0; i < XM; ++i)
    for (int j = 0; j < XN; ++j) {
      double sum = a(0, 0, i * XN + j, 0); // the addend
      for (int k = 0; k < XK; ++k)
        sum += a(0, i, k, XK) * b(0, j, k, XK);
      ASSERT_NEAR(fromBf16(c3[static_cast<size_t>(i * XN + j)]), sum, 0.004 * std::fabs(sum) + 1e-6);
    }
}

TEST_F(Cuda, NamesTheProductThatTheLibraryCannotDo) {
  fake->algorithms = 0;
  std::string message = openError();
  EXPECT_MENTIONS(message,
                  "entry 'micro': matrix product 'logits' (m 16, n 16, k 16, batch 1, workspace 0 bytes)");
  EXPECT_MENTIONS(message, "CUBLAS_STATUS_NOT_SUPPORTED");
}

TEST_F(Cuda, CapturesAtTheSecondRunAndReplays) {
  std::unique_ptr<CudaDevice> device = open();
  ASSERT_TRUE(device) << error.message();
  auto calls = [&](const char *name) { return fake->calls[name]; };
  const txc_entry_t &entry = step->entry("update");
  ASSERT_TRUE(device->run(entry).ok());
  EXPECT_EQ(calls("cuStreamBeginCapture"), 0);
  ASSERT_TRUE(device->run(entry).ok());
  EXPECT_EQ(calls("cuStreamBeginCapture"), 1);
  EXPECT_EQ(calls("cuGraphLaunch"), 1);
  const int launches = calls("cuLaunchKernel");
  for (int i = 0; i < 10; ++i)
    ASSERT_TRUE(device->run(entry).ok());
  EXPECT_EQ(calls("cuGraphInstantiate"), 1);
  EXPECT_EQ(calls("cuGraphLaunch"), 11);
  EXPECT_EQ(calls("cuLaunchKernel"), launches);
  ASSERT_TRUE(device->synchronize().ok());
  EXPECT_EQ(executed("kernel update_all"), 12);
  DeviceOptions options;
  options.graphs = false;
  reset();
  device = open(options);
  for (int i = 0; i < 5; ++i)
    ASSERT_TRUE(device->run(entry).ok());
  EXPECT_EQ(calls("cuStreamBeginCapture"), 0);
}

TEST_F(Cuda, RangesForAProfiler) {
  void *tool = ::dlopen(NVTX_TOOL, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(tool, nullptr) << ::dlerror();
  auto ranges = reinterpret_cast<const char *(*)()>(::dlsym(tool, "nvtx_ranges"));
  auto clear = reinterpret_cast<void (*)()>(::dlsym(tool, "nvtx_clear"));
  const std::string commands = [&] {
    std::unique_ptr<CudaDevice> device = open();
    EXPECT_TRUE(device) << error.message();
    std::string all;
    const txc_entry_t &entry = step->entry("micro");
    Result<CommandList> list = CommandList::of(entry);
    EXPECT_TRUE(list.ok()) << list.status().message();
    using Kind = CommandList::Item::Kind;
    for (const CommandList::Item &item : list->items)
      all += std::string("(") +
             (item.kind == Kind::Launch ? static_cast<const txc_launch_t *>(item.command)->name
              : item.kind == Kind::Gemm ? static_cast<const txc_gemm_t *>(item.command)->name
                                        : static_cast<const txc_fill_t *>(item.command)->name) +
             ")";
    EXPECT_TRUE(device->run(entry).ok());
    return "(micro" + all + ")";
  }();
  EXPECT_STREQ(ranges(), ""); // nobody asked
  ScopedVariable asked("NVTX_INJECTION64_PATH", NVTX_TOOL);
  std::unique_ptr<CudaDevice> device = open();
  ASSERT_TRUE(device) << error.message();
  const txc_entry_t &entry = step->entry("micro");
  ASSERT_TRUE(device->run(entry).ok());
  EXPECT_EQ(ranges(), commands);
  ASSERT_TRUE(device->run(entry).ok()); // captures
  EXPECT_EQ(ranges(), commands + commands);
  ASSERT_TRUE(device->run(entry).ok()); // replays
  EXPECT_EQ(ranges(), commands + commands + "(micro)");
  clear();
  ScopedVariable wrong("NVTX_INJECTION64_PATH", "/nowhere/libtool.so");
  device = open();
  ASSERT_TRUE(device) << error.message();
  ASSERT_TRUE(device->run(entry).ok());
  EXPECT_STREQ(ranges(), "");
}

TEST_F(Cuda, FailedCaptureNamesTheWayOut) {
  std::unique_ptr<CudaDevice> device = open();
  ASSERT_TRUE(device) << error.message();
  const txc_entry_t &entry = step->entry("update");
  ASSERT_TRUE(device->run(entry).ok());
  fake->fails["cuGraphInstantiate"] = 2;
  Status status = device->run(entry);
  EXPECT_EQ(status.code(), Code::Device);
  EXPECT_MENTIONS(status.message(), "capturing entry 'update' as a CUDA graph (--graphs=false runs without)");
  EXPECT_EQ(fake->capturing, 0);
}

//===-- Rings ---------------------------------------------------------------===//

TEST_F(Cuda, InputsWaitUntilTheGpuHasReadThem) {
  std::unique_ptr<CudaDevice> device = open();
  ASSERT_TRUE(device) << error.message();
  // More runs than slots, results taken late: the fake GPU does nothing early.
  std::vector<Device::Ticket> tickets;
  std::vector<float> sums;
  const txc_buffer_t result = {"row", ONEHOT + 4 * V * 3, 4 * V, 0, 0, 0, 0, {}, 0, 0};
  for (int i = 0; i < 40; ++i) {
    std::vector<float> values = floats(V * V, static_cast<size_t>(i));
    put(*device, W, values);
    ASSERT_TRUE(device->run(step->entry("copy")).ok());
    Result<Device::Ticket> ticket = device->fetch(result);
    ASSERT_TRUE(ticket.ok()) << ticket.status().message();
    tickets.push_back(*ticket);
  }
  for (int i = 0; i < 40; ++i) {
    float row[V];
    ASSERT_TRUE(device->take(tickets[static_cast<size_t>(i)], row, sizeof(row)).ok());
    for (int j = 0; j < V; ++j)
      ASSERT_EQ(row[j], valueAt(static_cast<size_t>(i + 3 * V + j))) << i;
  }
}

TEST_F(Cuda, HostRunsAheadOfTheGpu) {
  std::unique_ptr<CudaDevice> device = open();
  ASSERT_TRUE(device) << error.message();
  ASSERT_GT(device->runsAhead(), 0);
  const txc_buffer_t &loss = step->buffer(TXC_BUFFER_LOSS, "eval");
  fake->executed.clear();
  put(*device, HYPER, std::vector<uint8_t>(64));
  ASSERT_TRUE(device->run(step->entry("eval")).ok());
  Result<Device::Ticket> ticket = device->fetch(loss);
  ASSERT_TRUE(ticket.ok());
  EXPECT_TRUE(fake->executed.empty()) << "the host waited";
  EXPECT_FALSE(device->arrived(*ticket));
  while (!device->arrived(*ticket))
    ;
  txc_loss_result_t result;
  ASSERT_TRUE(device->take(*ticket, &result, sizeof(result)).ok());
  EXPECT_EQ(result.target_count, N);
  EXPECT_NEAR(result.loss, std::log(16.0), 1e-4);
}

TEST_F(Cuda, MarksMeasureTheGpusTime) {
  std::unique_ptr<CudaDevice> device = open();
  ASSERT_TRUE(device) << error.message();
  Result<Device::Mark> from = device->mark();
  ASSERT_TRUE(device->run(step->entry("update")).ok()); // a kernel, 5 us, and a fill, 1 us
  Result<Device::Mark> to = device->mark();
  Result<double> seconds = device->secondsBetween(*from, *to);
  ASSERT_TRUE(seconds.ok());
  EXPECT_NEAR(*seconds, 6e-6, 1e-9);
}

//===-- Failures ------------------------------------------------------------===//

TEST_F(Cuda, NamesTheLaunchThatIsRefused) {
  std::unique_ptr<CudaDevice> device = open();
  ASSERT_TRUE(device) << error.message();
  fake->fails["cuLaunchKernel"] = 719;
  Status status = device->run(step->entry("copy"));
  EXPECT_EQ(status.code(), Code::Device);
  EXPECT_MENTIONS(status.message(),
                  "entry 'copy': launch 'lm_head.copy' (kernel copy_tile, grid 132 x 1 x 1");
  EXPECT_MENTIONS(status.message(), "CUDA_ERROR_LAUNCH_FAILED");
  // Nothing is enqueued after it.
  fake->fails.clear();
  EXPECT_EQ(device->run(step->entry("copy")).message(), device->run(step->entry("init")).message());
}

TEST_F(Cuda, KernelThatFailsIsFoundLater) {
  std::unique_ptr<CudaDevice> device = open();
  ASSERT_TRUE(device) << error.message();
  ASSERT_TRUE(device->run(step->entry("broken")).ok());
  Result<Device::Ticket> ticket = device->fetch(step->buffer(TXC_BUFFER_LOSS, "micro"));
  ASSERT_TRUE(ticket.ok());
  txc_loss_result_t result;
  Status status = device->take(*ticket, &result, sizeof(result));
  EXPECT_EQ(status.code(), Code::Device);
  EXPECT_MENTIONS(status.message(), "waiting for the result of entry 'broken'");
  EXPECT_MENTIONS(status.message(), "CUDA_ERROR_ILLEGAL_ADDRESS");
  EXPECT_MENTIONS(status.message(), "--graphs=false and CUDA_LAUNCH_BLOCKING=1");
  EXPECT_FALSE(device->stage(step->buffer(TXC_BUFFER_HYPER, "micro")).ok());
}

TEST_F(Cuda, BlockingNamesTheCommand) {
  ScopedVariable blocking("CUDA_LAUNCH_BLOCKING", "1");
  DeviceOptions options;
  options.graphs = false;
  std::unique_ptr<CudaDevice> device = open(options);
  ASSERT_TRUE(device) << error.message();
  Status status = device->run(step->entry("broken"));
  EXPECT_MENTIONS(status.message(),
                  "command 'lm_head.broken': the fake driver says so (CUDA_ERROR_ILLEGAL_ADDRESS)");
}

//===-- Tuning --------------------------------------------------------------===//

TEST_F(Cuda, TunesOnceAndRemembers) {
  std::unique_ptr<CudaDevice> device = open();
  ASSERT_TRUE(device) << error.message();
  put(*device, XA, floats(XM * XK));
  ASSERT_TRUE(device->run(step->entry("product0")).ok());
  ASSERT_TRUE(device->synchronize().ok());
  EXPECT_EQ(fake->algorithmsUsed, std::vector<int>{0});
  Result<std::string> done = device->tune();
  ASSERT_TRUE(done.ok()) << done.status().message();
  EXPECT_MENTIONS(*done, "6 of 6 shapes measured");
  EXPECT_EQ(device->info().library, "cuBLASLt 13.0.1, 6 of 6 shapes tuned");
  // The third candidate wants more workspace than there is.
  EXPECT_EQ(std::count(fake->algorithmsUsed.begin(), fake->algorithmsUsed.end(), 2), 0);
  for (uint8_t byte : get<uint8_t>(*device, 0, GPU_ARENA))
    ASSERT_EQ(byte, 0);
  fake->algorithmsUsed.clear();
  ASSERT_TRUE(device->run(step->entry("product0")).ok());
  ASSERT_TRUE(device->synchronize().ok());
  EXPECT_EQ(fake->algorithmsUsed, std::vector<int>{1});

  std::string file = "txc/products-NVIDIA-H200-cuBLASLt-13.0.1.json";
  Json kept = Json::parse(cache.read(file), nullptr, false);
  ASSERT_EQ(kept["products"].size(), 6u) << kept.dump();
  EXPECT_TRUE(
      kept["products"].contains("f32>f32 nt 48x32x64 ld 64,64,32 align 256,256,256 workspace 1048576"));
  EXPECT_EQ(kept["products"].front()["candidates"], 2);
  EXPECT_NEAR(kept["products"].front()["microseconds"].get<double>(), 4, 0.01);

  // Another process takes it without asking the library for a choice.
  reset();
  device = open();
  EXPECT_EQ(fake->calls["cublasLtMatmulAlgoGetHeuristic"], 0);
  EXPECT_EQ(device->info().library, "cuBLASLt 13.0.1, 6 of 6 shapes tuned");
  EXPECT_MENTIONS(*device->tune(), "0 of 6 shapes measured");
  // What the library refuses now is chosen anew, with a warning.
  reset();
  fake->libraryRefusesAlgorithms = true;
  device = open();
  EXPECT_EQ(fake->calls["cublasLtMatmulAlgoGetHeuristic"], 6);
  ASSERT_EQ(device->info().warnings.size(), 1u);
  EXPECT_MENTIONS(device->info().warnings[0], "the library refuses");
}

TEST_F(Cuda, TunesBeyondWhatIsProposed) {
  fake->runsNeighbours = true;
  fake->bestCluster = 6;
  fake->bestOption = 3; // which the second generation joins to the cluster
  std::unique_ptr<CudaDevice> device = open();
  ASSERT_TRUE(device) << error.message();
  ASSERT_TRUE(device->tune().ok());
  ASSERT_TRUE(device->run(step->entry("product0")).ok());
  ASSERT_TRUE(device->synchronize().ok());
  EXPECT_EQ(fake->algorithmsUsed.back(), 1);
  EXPECT_EQ(fake->settingsUsed, (std::vector<int>{6, 3}));
  Json kept = Json::parse(cache.read("txc/products-NVIDIA-H200-cuBLASLt-13.0.1.json"), nullptr, false);
  EXPECT_NEAR(kept["products"].front()["microseconds"].get<double>(), 1.5, 0.01);
  // 2 proposals, 9 clusters and 3 options of each; of the best four, what is new.
  EXPECT_GT(kept["products"].front()["candidates"], 2 * (1 + 9 + 3));
}

TEST_F(Cuda, TuningRefusesWrongResults) {
  fake->runsNeighbours = true;
  fake->clusterThatForgets = 4; // these two are the fastest
  fake->clusterThatWavers = 8;
  fake->bestCluster = 6;
  std::unique_ptr<CudaDevice> device = open();
  ASSERT_TRUE(device) << error.message();
  ASSERT_TRUE(device->tune().ok());
  ASSERT_TRUE(device->run(step->entry("product0")).ok());
  ASSERT_TRUE(device->synchronize().ok());
  EXPECT_EQ(fake->settingsUsed[0], 6);
}

TEST_F(Cuda, DamagedTuningIsAWarning) {
  std::string file = "txc/products-NVIDIA-H200-cuBLASLt-13.0.1.json";
  for (const char *text :
       {"", "{", "[1]", R"({"gpu": "NVIDIA H200", "library": "cuBLASLt 13.0.1"})",
        R"({"gpu": "other", "library": "cuBLASLt 13.0.1", "products": {}})",
        R"({"gpu": "NVIDIA H200", "library": "cuBLASLt 13.0.1", "products": {"x": {"algorithm": "12"}}})"}) {
    cache.write(file, text);
    std::unique_ptr<CudaDevice> device = open();
    ASSERT_TRUE(device) << error.message();
    ASSERT_EQ(device->info().warnings.size(), 1u) << text;
    EXPECT_MENTIONS(device->info().warnings[0], "ignored: ");
    EXPECT_EQ(device->info().library, "cuBLASLt 13.0.1, 0 of 6 shapes tuned");
  }
  ASSERT_TRUE(open()->tune().ok());
  EXPECT_TRUE(open()->info().warnings.empty());
}

//===-- Whole runs ----------------------------------------------------------===//

TEST_F(Cuda, TrainsLikeTheCpu) {
  ToyRun gpu(TOY_GPU, {"--max_iters=30"});
  ASSERT_TRUE(gpu.status.ok()) << gpu.status.message();
  ToyRun cpu(TOY_CPU, {"--max_iters=30"});
  ASSERT_TRUE(cpu.status.ok()) << cpu.status.message();
  std::vector<double> expected = cpu.losses(), losses = gpu.losses();
  ASSERT_EQ(losses.size(), 30u);
  for (size_t i = 0; i < losses.size(); ++i)
    EXPECT_NEAR(losses[i], expected[i], 1e-5 * expected[i]) << i;
  ASSERT_EQ(gpu.log["eval_steps"].size(), cpu.log["eval_steps"].size());
  for (size_t i = 0; i < gpu.log["eval_steps"].size(); ++i)
    EXPECT_NEAR(gpu.log["eval_steps"][i]["val_loss"].get<double>(),
                cpu.log["eval_steps"][i]["val_loss"].get<double>(), 1e-5);
  for (size_t i = 0; i < 30; ++i)
    EXPECT_NEAR(gpu.log["training_iterations"][i]["gradients"]["global_norm"].get<double>(),
                cpu.log["training_iterations"][i]["gradients"]["global_norm"].get<double>(), 1e-4);
  // Two micro batches of 4 kernels, 2 products and 3 + 1 copies, one update.
  EXPECT_NEAR(gpu.log["training_iterations"][5]["time_ms"].get<double>(), 0.078, 0.02);
  EXPECT_EQ(fake->calls["cuGraphInstantiate"], 4); // micro: the first of an update, the others
}

TEST_F(Cuda, SameLossesWithAndWithoutGraphs) {
  ToyRun with(TOY_GPU, {"--max_iters=12"}), without(TOY_GPU, {"--max_iters=12", "--no-graphs"}),
      accumulated(TOY_GPU, {"--max_iters=12", "--gradient_accumulation_steps=40"});
  EXPECT_EQ(with.losses(), without.losses());
  EXPECT_EQ(with.losses().size(), 12u);
  EXPECT_EQ(accumulated.losses().size(), 12u);
}

TEST_F(Cuda, LogIntervalAndSignal) {
  ToyRun sparse(TOY_GPU, {"--max_iters=10", "--log_interval=4", "--eval_interval=0"});
  std::vector<int64_t> logged;
  for (const Json &it : sparse.log["training_iterations"])
    logged.push_back(it["iter"]);
  EXPECT_EQ(logged, (std::vector<int64_t>{0, 4, 8, 9}));
  // What was enqueued when the signal came is finished and reported.
  ToyRun stopped(TOY_GPU, {"--max_iters=500", "--eval_interval=0"}, 3);
  ASSERT_TRUE(stopped.status.ok()) << stopped.status.message();
  EXPECT_EQ(stopped.log["metadata"]["exit_code"], 130);
  EXPECT_GE(stopped.losses().size(), 3u);
  EXPECT_LE(stopped.losses().size(), 8u);
}

TEST_F(Cuda, DivergenceIsFoundWithinTheRunsAhead) {
  ToyRun run(TOY_GPU, {"--max_iters=500", "--learning_rate=100", "--weight_decay=100", "--warmup_iters=0",
                       "--eval_interval=0"});
  EXPECT_EQ(run.status.code(), Code::Diverged) << run.status.message();
  EXPECT_EQ(run.log["metadata"]["exit_code"], 4);
}

// The weights overflow in an update; the first product that reads them is to blame. The
// host has run ahead of the GPU by then.
TEST_F(Cuda, HaltWithDumpNamesTheCommand) {
  for (const char *graphs : {"--graphs", "--no-graphs"}) {
    ToyRun run(TOY_GPU, {"--max_iters=500", "--learning_rate=100", "--weight_decay=100", "--warmup_iters=0",
                         "--eval_interval=0", "--nonfinite=halt-with-dump", graphs});
    EXPECT_EQ(run.status.code(), Code::Diverged);
    EXPECT_MENTIONS(
        run.status.message(),
        "first not finite: logits (forward; command 1 of micro, micro batch 0) wrote logits, f32 [16, 16]: ");
    EXPECT_MENTIONS(run.status.message(), "param lm_head.weight, f32 [16, 16]: ");
    EXPECT_EQ(run.log["metadata"]["error"], run.status.message());
    const std::string folder = "out/nonfinite-iter-" + std::to_string(run.losses().size()) + "/";
    Json report = Json::parse(run.folder.read(folder + "report.json"), nullptr, false);
    EXPECT_EQ(report["iter"], run.losses().size());
    EXPECT_EQ(report["first"]["buffer"]["elements"], 256);
    EXPECT_FALSE(run.folder.read(folder + "tokens.npy").empty());
    EXPECT_TRUE(report["checkpoint"].is_string());
  }
  // Nothing is done in another way until then.
  ToyRun plain(TOY_GPU, {"--max_iters=30"});
  ToyRun careful(TOY_GPU, {"--max_iters=30", "--nonfinite=halt-with-dump"});
  EXPECT_EQ(plain.losses(), careful.losses());
  EXPECT_EQ(plain.losses().size(), 30u);
}

TEST_F(Cuda, LosingTheGpuKeepsTheLog) {
  fake->failsLater = 999;
  fake->failsLaterAfter = 300;
  ToyRun run(TOY_GPU, {"--max_iters=500", "--eval_interval=0"});
  EXPECT_EQ(run.status.code(), Code::Device);
  EXPECT_MENTIONS(run.status.message(), "waiting for");
  EXPECT_MENTIONS(run.status.message(), "dmesg");
  EXPECT_GT(run.losses().size(), 3u);
  EXPECT_EQ(run.log["metadata"]["exit_code"], 3);
  EXPECT_EQ(run.log["metadata"]["error"], run.status.message());
}

TEST_F(Cuda, TunedRunStartsFromTheSameWeights) {
  ToyRun plain(TOY_GPU, {"--max_iters=5"});
  reset();
  ToyRun tuned(TOY_GPU, {"--max_iters=5", "--tune"});
  ASSERT_TRUE(tuned.status.ok()) << tuned.status.message();
  EXPECT_MENTIONS(tuned.output, "shapes measured");
  EXPECT_EQ(plain.losses(), tuned.losses());
}

TEST_F(Cuda, ProfileTimesEveryCommand) {
  for (const char *graphs : {"--graphs", "--no-graphs"}) {
    ToyRun run(TOY_GPU, {"--profile=4", graphs});
    ASSERT_TRUE(run.status.ok()) << run.status.message();
    Json table = Json::parse(run.folder.read("out/profile.json"), nullptr, false);
    ASSERT_EQ(table["entries"].size(), 2u) << table.dump(1);
    EXPECT_EQ(table["device"], "NVIDIA H200");
    const Json &micro = table["entries"][0];
    EXPECT_EQ(micro["name"], "micro");
    ASSERT_EQ(micro["commands"].size(), 6u);
    EXPECT_EQ(micro["commands"][0]["name"], "onehot");
    EXPECT_EQ(micro["commands"][0]["kernel"], "onehot");
    EXPECT_NEAR(micro["commands"][0]["milliseconds"].get<double>(), 5e-3, 1e-6);
    EXPECT_TRUE(micro["commands"][0]["flops"].is_null());
    EXPECT_EQ(micro["commands"][1]["kind"], "gemm");
    EXPECT_EQ(micro["commands"][1]["flops"], 2 * 16 * 16 * 16);
    EXPECT_EQ(micro["commands"][1]["bytes"], 3 * 16 * 16 * 4);
    EXPECT_EQ(table["entries"][1]["commands"][1]["kind"], "fill");
    EXPECT_MENTIONS(run.output, "micro: 0.0");
    EXPECT_EQ(run.log["training_iterations"].size(), 7u); // 3 to warm up
  }
}

//===-- Several ranks -------------------------------------------------------===//

namespace {

// Rank 0 of two, and a thread that is the other as far as the control plane goes.
class CudaRanks : public Cuda {
protected:
  void SetUp() override {
    Cuda::SetUp();
    const int port = 10000 + static_cast<int>(::getpid()) % 20000; // none that connections get by themselves
    other = std::thread([this, port] {
      World world;
      world.rank = 1;
      world.size = 2;
      world.port = port;
      auto joined = Control::join(world, 20);
      ASSERT_TRUE(joined.ok()) << joined.status().message();
      auto all = (*joined)->gather(otherGpu);
      bool goesOn = all.ok() && (*all)[0] != otherGpu;
      if (goesOn)
        goesOn = (*joined)->gather(handle).ok();
      if (goesOn)
        goesOn = (*joined)->gather(handle.empty() ? "its memory is its own" : "").ok();
      if (goesOn && handle.empty())
        if (all = (*joined)->gather(""); all.ok())
          id = (*all)[0];
      while (!(*joined)->failed() && !leave)
        ::usleep(5000);
    });
    World world;
    world.size = 2;
    world.port = port;
    auto joined = Control::join(world, 20);
    ASSERT_TRUE(joined.ok()) << joined.status().message();
    control = std::move(*joined);
  }
  void TearDown() override {
    leave = true;
    control.reset();
    other.join();
    EXPECT_EQ(fake->communicators, 0);
    // Rank 0's id of NCCL went to the other rank.
    if (usesNccl) {
      EXPECT_EQ(id.size(), 256u);
      EXPECT_EQ(id.substr(0, 6), "fbf9f7");
    }
  }
  std::unique_ptr<CudaDevice> openRanks(bool graphs) {
    DeviceOptions options;
    options.graphs = graphs;
    options.control = control.get();
    return open(options, TOY_GPU_RANKS);
  }
  // Runs it three times, with graphs at last by them; the gradients.
  std::vector<float> gradients(CudaDevice &device) {
    Status status;
    for (int turn = 0; turn < 3 && status.ok(); ++turn) {
      std::vector<int32_t> tokens(N), targets(N);
      for (int i = 0; i < N; ++i) {
        tokens[static_cast<size_t>(i)] = (3 * i + turn) % V;
        targets[static_cast<size_t>(i)] = (5 * i + turn) % V;
      }
      put(device, TOKENS, tokens);
      put(device, TARGETS, targets);
      put(device, HYPER, std::vector<txc_hyper_t>(1));
      put(device, W, floats(V * V));
      put(device, GBIAS, std::vector<float>(V));
      status = device.run(step->entry("micro"));
    }
    EXPECT_TRUE(status.ok()) << status.message();
    return get<float>(device, G, V * V + V);
  }

  std::unique_ptr<Control> control;
  std::thread other;
  std::atomic<bool> leave{false};
  bool usesNccl = true;
  std::string otherGpu = "elsewhere", id, handle; // of the other's memory
  ScopedVariable nccl{"TXC_NCCL_LIBRARY", FAKE_CUDA};
};

} // namespace

// Sums over ranks come from NCCL, in the order in which the step asks, beside its
// other work.
TEST_F(CudaRanks, ReducesBesideKernels) {
  std::vector<float> one = gradients(*open());
  for (float &value : one)
    value *= 2;
  fake->executed.clear();
  fake->calls.clear();
  std::unique_ptr<CudaDevice> device = openRanks(false);
  ASSERT_NE(device, nullptr) << error.message();
  EXPECT_EQ(device->info().communication, "NCCL 2.27.3");
  EXPECT_EQ(executed("nccl rank 0 of 2"), 1);
  EXPECT_EQ(gradients(*device), one);
  EXPECT_EQ(fake->calls["ncclGroupStart"], 6); // two for each of three runs
  EXPECT_EQ(fake->calls["ncclGroupEnd"], 6);
  EXPECT_EQ(fake->calls["ncclAllReduce"], 9);
  auto place = [&](const std::string &what) {
    return std::find(fake->executed.begin(), fake->executed.end(), what) - fake->executed.begin();
  };
  EXPECT_LT(place("kernel bias_gradient"), place("nccl all_reduce 16"));
  EXPECT_LT(place("nccl all_reduce 256"), place("nccl all_reduce 16"));
  EXPECT_LT(place("nccl all_reduce 16"), place("nccl all_reduce 2"));
}

TEST_F(CudaRanks, CapturesCollectives) {
  std::vector<float> one = gradients(*open());
  for (float &value : one)
    value *= 2;
  std::unique_ptr<CudaDevice> device = openRanks(true);
  ASSERT_NE(device, nullptr) << error.message();
  fake->calls.clear();
  EXPECT_EQ(gradients(*device), one);
  EXPECT_GT(fake->calls["cuGraphLaunch"], 0);
  EXPECT_EQ(executed("nccl all_reduce 256"), 3); // each run, in a graph or not
}

TEST_F(CudaRanks, SaysWhatNcclSays) {
  fake->fails["ncclCommInitRank"] = 2;
  EXPECT_EQ(openRanks(true), nullptr);
  EXPECT_MENTIONS(error.message(),
                  "connecting the ranks (NCCL 2.27.3): unhandled system error: the fake NCCL says so");
  EXPECT_MENTIONS(error.message(), "NCCL_DEBUG=INFO");
}

TEST_F(CudaRanks, NamesTheCollective) {
  std::unique_ptr<CudaDevice> device = openRanks(false);
  ASSERT_NE(device, nullptr) << error.message();
  fake->fails["ncclAllReduce"] = 2;
  Status status = device->run(step->entry("micro"));
  ASSERT_FALSE(status.ok());
  EXPECT_MENTIONS(status.message(), "collective 'lm_head.weight.grad' (NCCL 2.27.3): unhandled system error");
  EXPECT_EQ(fake->calls["ncclGroupEnd"], 1); // the group is closed all the same
}

// The GPU says where it is, from a graph as well; the host is ahead of it.
TEST_F(CudaRanks, TellsTheCollectiveThatTheGpuIsIn) {
  std::unique_ptr<CudaDevice> device = openRanks(true);
  ASSERT_NE(device, nullptr) << error.message();
  gradients(*device);
  ::usleep(1700000); // longer than a beat
  control->fail(Status::failed("no more data"));
  for (int turn = 0; turn < 400 && fake->aborts == 0; ++turn)
    ::usleep(10000);
  EXPECT_MENTIONS(control->failure().message(), "last in collective 'lm_head.bias.grad'");
}

class CudaRanksOnOneGpu : public CudaRanks {
protected:
  CudaRanksOnOneGpu() {
    usesNccl = false;
    otherGpu.clear();
    for (int i = 0; i < 16; ++i)
      otherGpu += "a0";
  }
};
TEST_F(CudaRanksOnOneGpu, IsRefused) {
  EXPECT_EQ(openRanks(true), nullptr);
  EXPECT_MENTIONS(error.message(), "rank 0 (host ");
  EXPECT_MENTIONS(error.message(), ") and rank 1 (host ");
  EXPECT_MENTIONS(error.message(), "are on the same GPU, which NCCL does not allow");
}

// A connection that breaks is known before any timeout, and NCCL's work is given up.
TEST_F(CudaRanks, AbortsAtErrorsOfItsOwn) {
  std::unique_ptr<CudaDevice> device = openRanks(false);
  ASSERT_NE(device, nullptr) << error.message();
  fake->asyncError = 7; // still at it
  ::usleep(1200000);
  EXPECT_FALSE(control->failed());
  fake->asyncError = 6;
  for (int turn = 0; turn < 400 && fake->aborts == 0; ++turn)
    ::usleep(10000);
  EXPECT_EQ(fake->aborts, 1);
  EXPECT_MENTIONS(control->failure().message(), "rank 0 (host ");
  EXPECT_MENTIONS(control->failure().message(),
                  "exchanging data with others (NCCL 2.27.3): remote process exited");
  // What is asked of it then fails with the same words.
  Status status = device->run(step->entry("micro"));
  ASSERT_FALSE(status.ok());
  EXPECT_MENTIONS(status.message(), "remote process exited");
}

TEST_F(CudaRanks, AbortsWhenAnotherRankFails) {
  std::unique_ptr<CudaDevice> device = openRanks(false);
  ASSERT_NE(device, nullptr) << error.message();
  control->fail(Status::failed("no more data"));
  for (int turn = 0; turn < 400 && fake->aborts == 0; ++turn)
    ::usleep(10000);
  EXPECT_EQ(fake->aborts, 1);
}

// The memory of both ranks; what the other does is done by hand, ahead of this one.
class CudaPeers : public CudaRanks {
protected:
  static constexpr uint64_t kShard = 8, kFlags = 1024; // bytes
  struct Memory {
    alignas(256) float arena[kFlags / 4];
    uint32_t flags[128];
    uint32_t &ready(int rank) { return flags[64 * rank]; }
    uint32_t &done(int rank) { return flags[64 * rank + 32]; }
  };
  CudaPeers() {
    usesNccl = false;
    for (Memory *memory : {&own, &peer}) {
      for (size_t i = 0; i < std::size(memory->arena); ++i)
        memory->arena[i] = static_cast<float>(i) + (memory == &peer ? 1000 : 0);
      std::fill(std::begin(memory->flags), std::end(memory->flags), 0u);
    }
    std::string boot;
    std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
    std::ostringstream text;
    text << boot << " 0 " << kFlags << ' ' << std::hex << std::setfill('0');
    cuda::IpcHandle bytes = {};
    const auto address = reinterpret_cast<cuda::Address>(&peer);
    std::memcpy(bytes.bytes, &address, sizeof(address));
    for (unsigned char byte : bytes.bytes)
      text << std::setw(2) << static_cast<unsigned>(byte);
    handle = text.str();
  }
  void TearDown() override {
    if (stream)
      driver.streamDestroy(stream);
    CudaRanks::TearDown();
  }
  // Null if the ranks do not reach each other's memory.
  std::unique_ptr<PeerCollectives> openPeers() {
    driver = *cuda::Driver::load();
    EXPECT_TRUE(control->gather("here").ok());
    EXPECT_EQ(driver.streamCreate(&stream, cuda::kStreamNonBlocking), cuda::kSuccess);
    const auto base = reinterpret_cast<cuda::Address>(&own);
    auto peers =
        PeerCollectives::open(driver, *control, {nullptr, base, base, base + kFlags, stream}, {&loss}, why);
    EXPECT_TRUE(peers.ok()) << peers.status().message();
    return peers.ok() ? std::move(*peers) : nullptr;
  }
  void run(PeerCollectives &peers, const txc_collective_t &collective) {
    own.ready(1) = own.done(1) = 1;
    fake->executed.clear();
    ASSERT_TRUE(peers.run(collective, reinterpret_cast<cuda::Address>(&own), stream).ok());
    driver.streamSynchronize(stream);
    // Each waited for the other, cleared what it saw, and left the other to clear its own.
    EXPECT_EQ(executed("wait"), 2);
    EXPECT_EQ(executed("wait in vain"), 0);
    EXPECT_EQ(std::make_pair(own.ready(1), own.done(1)), std::make_pair(0u, 0u));
    EXPECT_EQ(std::make_pair(peer.ready(0), peer.done(0)), std::make_pair(1u, 1u));
    peer.ready(0) = peer.done(0) = 0;
  }
  void move(PeerCollectives &peers, txc_collective_kind_t kind, uint64_t send, uint64_t receive) {
    const txc_collective_part_t part = {send, receive, kShard / 4};
    run(peers, {"weights", kind, 0, TXC_DTYPE_F32, 1, &part, 0, 0});
  }

  Memory own, peer;
  cuda::Driver driver;
  cuda::Stream stream = nullptr;
  std::string why;
  txc_collective_part_t numbers[2] = {{0, 0, 1}, {4, 4, 1}};
  txc_collective_t loss = {"loss", TXC_COLLECTIVE_ALL_REDUCE, TXC_REDUCE_SUM, TXC_DTYPE_F32, 2, numbers, 0,
                           0};
};

TEST_F(CudaPeers, MoveShards) {
  fake->sharesMemory = true;
  std::unique_ptr<PeerCollectives> peers = openPeers();
  ASSERT_NE(peers, nullptr) << why;
  // Of two shards from 64 on, what the other has of the first.
  move(*peers, TXC_COLLECTIVE_EXCHANGE, 64, 512);
  EXPECT_EQ(executed("copy 8"), 1);
  EXPECT_EQ(std::make_pair(own.arena[128], own.arena[129]), std::make_pair(1016.0f, 1017.0f));
  EXPECT_EQ(own.arena[130], 130);
  // The own shard, then the other's.
  move(*peers, TXC_COLLECTIVE_ALL_GATHER, 64, 640);
  EXPECT_EQ(executed("copy 8"), 2);
  EXPECT_EQ(std::vector<float>(own.arena + 160, own.arena + 165),
            (std::vector<float>{16, 17, 1016, 1017, 164}));
  // In place only the other's.
  move(*peers, TXC_COLLECTIVE_ALL_GATHER, 768, 768);
  EXPECT_EQ(executed("copy 8"), 1);
  EXPECT_EQ(std::vector<float>(own.arena + 192, own.arena + 197),
            (std::vector<float>{192, 193, 1194, 1195, 196}));
  peers.reset();
  EXPECT_EQ(fake->calls["cuIpcCloseMemHandle"], 1);
}

// A block per part; the result goes to its place when the other has read, too.
TEST_F(CudaPeers, SumFewNumbers) {
  fake->sharesMemory = true;
  std::unique_ptr<PeerCollectives> peers = openPeers();
  ASSERT_NE(peers, nullptr) << why;
  run(*peers, loss);
  EXPECT_EQ(fake->executed,
            (std::vector<std::string>{"wait", "kernel reduce_f32_add", "wait", "kernel unpack"}));
  EXPECT_EQ(fake->grid[0], 2u);
  const txc_collective_t unknown = loss;
  EXPECT_FALSE(peers->run(unknown, reinterpret_cast<cuda::Address>(&own), stream).ok());
}

// What waits for a rank that is gone is let go.
TEST_F(CudaPeers, AreReleased) {
  fake->sharesMemory = true;
  std::unique_ptr<PeerCollectives> peers = openPeers();
  ASSERT_NE(peers, nullptr) << why;
  driver.streamWriteValue32(stream, reinterpret_cast<cuda::Address>(&own.arena), 7, 0); // not yet done
  std::thread later([&] {
    ::usleep(20000);
    driver.streamSynchronize(stream);
  });
  peers->abort();
  later.join();
  EXPECT_EQ(std::make_pair(own.ready(1), own.done(1)), std::make_pair(1u, 1u));
}

TEST_F(CudaPeers, NeedSharedMemory) {
  EXPECT_EQ(openPeers(), nullptr);
  EXPECT_MENTIONS(why, "rank 0 (host ");
  EXPECT_MENTIONS(why, "asking for a handle of the arena");
}

TEST_F(CudaPeers, NeedAKernelForEverySum) {
  fake->sharesMemory = true;
  loss.dtype = TXC_DTYPE_BF16;
  EXPECT_EQ(openPeers(), nullptr);
  EXPECT_MENTIONS(why, "preparing small all-reduces");
}
