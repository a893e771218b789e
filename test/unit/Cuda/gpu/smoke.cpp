//===- smoke.cpp - The CUDA backend on a real GPU, in a few seconds --------===//
//
// usage: cuda_smoke TOY.so [failing|blocking]
// Prints one line per check and exits with the number of those that failed. With
// a second word it runs a kernel that fails, and nothing else: after that a
// process cannot use the GPU any more.
// `ninja cuda_smoke` builds it and the step, on a machine with clang 19 and
// ptxas; both can then be carried to a machine with a GPU (sm_90) and run there.
//
//===----------------------------------------------------------------------===//
#include "device/cuda_device.h"
#include "loader/step_file.h"
#include "support/text.h"
#include "toy_layout.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace txc;

static int failures = 0;

static void report(const std::string &what, bool right, const std::string &detail) {
  std::printf("%-6s %-44s %s\n", right ? "ok" : "FAILED", what.c_str(), detail.c_str());
  std::fflush(stdout);
  failures += !right;
}

static float valueAt(size_t i) { return static_cast<float>((i * 7 + 3) % 17) / 8.0f - 1.0f; } // exact in bf16

template <typename T> static T convert(float value);
template <> float convert<float>(float value) { return value; }
template <> uint16_t convert<uint16_t>(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
static float toFloat(float value) { return value; }
static float toFloat(uint16_t half) {
  uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

template <typename T> static void put(Device &device, uint64_t offset, size_t count, size_t from) {
  txc_buffer_t buffer = {};
  buffer.name = "test";
  buffer.offset = offset;
  buffer.bytes = count * sizeof(T);
  Result<char *> memory = device.stage(buffer);
  if (!memory.ok()) {
    report("staging", false, memory.status().message());
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    T value = convert<T>(valueAt(from + i));
    std::memcpy(*memory + i * sizeof(T), &value, sizeof(T));
  }
}

// Runs a product of the toy step several times, so that it is also captured and
// replayed, and compares with loops.
template <typename In, typename Out>
static void product(Device &device, const StepFile &step, const char *entry, bool ta, bool tb, bool accumulate,
                    int batches, double tolerance, bool addend = false) {
  Status status;
  double worst = 0;
  for (int repeat = 0; repeat < 4 && status.ok(); ++repeat) {
    put<In>(device, XA, static_cast<size_t>(batches * XM * XK), static_cast<size_t>(repeat));
    put<In>(device, XB, static_cast<size_t>(batches * XK * XN), 1000);
    put<Out>(device, XC, static_cast<size_t>(batches * XM * XN), 2000);
    status = device.run(step.entry(entry));
    std::vector<Out> c(static_cast<size_t>(batches * XM * XN));
    if (status.ok())
      status = device.read(XC, c.data(), c.size() * sizeof(Out));
    for (int batch = 0; batch < batches && status.ok(); ++batch)
      for (int i = 0; i < XM; ++i)
        for (int j = 0; j < XN; ++j) {
          const size_t at = static_cast<size_t>((batch * XM + i) * XN + j);
          double sum = accumulate ? valueAt(2000 + at) : addend ? valueAt(static_cast<size_t>(repeat) + at) : 0;
          for (int k = 0; k < XK; ++k)
            sum += static_cast<double>(valueAt(static_cast<size_t>(repeat + batch * XM * XK + (ta ? k * XM + i : i * XK + k)))) *
                   valueAt(1000 + static_cast<size_t>(batch * XK * XN + (tb ? j * XK + k : k * XN + j)));
          worst = std::max(worst, std::fabs(toFloat(c[at]) - sum) / (1 + std::fabs(sum)));
        }
  }
  report(entry, status.ok() && worst <= tolerance,
         status.ok() ? format("worst relative error %.2e", worst) : status.message());
}

int main(int argc, char **argv) {
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "usage: cuda_smoke TOY.so [failing|blocking]\n");
    return 2;
  }
  auto start = std::chrono::steady_clock::now();
  Result<StepFile> step = StepFile::load(argv[1]);
  if (!step.ok()) {
    std::fprintf(stderr, "%s\n", step.status().message().c_str());
    return 1;
  }
  auto open = [&](DeviceOptions options) {
    Result<std::unique_ptr<CudaDevice>> device = CudaDevice::open(*step, options);
    if (!device.ok())
      report("open", false, device.status().message());
    return device.ok() ? std::move(*device) : nullptr;
  };
  if (argc == 3) {
    const bool blocking = std::strcmp(argv[2], "blocking") == 0;
    ::setenv("CUDA_LAUNCH_BLOCKING", "1", 1); // has an effect without graphs only
    DeviceOptions options;
    options.graphs = !blocking;
    std::unique_ptr<CudaDevice> device = open(options);
    if (!device)
      return 1;
    Status status = device->run(step->entry("broken"));
    if (status.ok())
      status = device->synchronize();
    report(blocking ? "failing kernel, blocking" : "failing kernel",
           status.code() == Code::Device &&
               (!blocking || status.message().find("lm_head.broken") != std::string::npos),
           status.message());
    return failures;
  }
  for (bool graphs : {true, false}) {
    DeviceOptions options;
    options.graphs = graphs;
    std::unique_ptr<CudaDevice> device = open(options);
    if (!device)
      return 1;
    const DeviceInfo &info = device->info();
    const DeviceMemory memory = device->memory();
    report(graphs ? "open" : "open again, without graphs", true,
           format("%s, %s, driver %s, %d multiprocessors, %s; ", info.name.c_str(), info.architecture.c_str(),
                  info.driver.c_str(), info.multiprocessors, info.library.c_str()) +
               bytesText(memory.reservedBytes) + " arena, " + bytesText(memory.inUseBytes) + " taken, " +
               bytesText(memory.deviceBytes) + " in use on the GPU" +
               format("; %.2f s since start",
                      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()));
    product<float, float>(*device, *step, "product0", false, true, false, 1, 1e-6);
    product<uint16_t, float>(*device, *step, "product1", true, false, true, 1, 1e-6);
    product<uint16_t, uint16_t>(*device, *step, "product2", false, false, false, 2, 4e-3);
    product<uint16_t, uint16_t>(*device, *step, "product3", false, true, false, 1, 4e-3, /*addend=*/true);

    Status status;
    bool same = true;
    for (int repeat = 0; repeat < 4 && status.ok(); ++repeat) {
      put<float>(*device, W, V * V, static_cast<size_t>(repeat));
      status = device->run(step->entry("copy"));
      std::vector<float> out(V * V);
      if (status.ok())
        status = device->read(ONEHOT, out.data(), out.size() * 4);
      for (size_t i = 0; i < out.size(); ++i)
        same &= out[i] == valueAt(i + static_cast<size_t>(repeat));
    }
    report("tensor map, scalar, dynamic shared memory", status.ok() && same, status.message());

    // Inputs and results of many runs, taken late.
    std::vector<Device::Ticket> tickets;
    const txc_buffer_t row = {"row", ONEHOT + 4 * V * 3, 4 * V, 0, 0, 0, 0, {}, 0, 0};
    same = true;
    Result<Device::Mark> from = device->mark();
    for (size_t i = 0; i < 60 && status.ok(); ++i) {
      put<float>(*device, W, V * V, i);
      status = device->run(step->entry("copy"));
      Result<Device::Ticket> ticket = device->fetch(row);
      if (ticket.ok())
        tickets.push_back(*ticket);
      else
        status = ticket.status();
    }
    Result<Device::Mark> to = device->mark();
    for (size_t i = 0; i < tickets.size() && status.ok(); ++i) {
      float values[V];
      status = device->take(tickets[i], values, sizeof(values));
      for (size_t j = 0; j < V; ++j)
        same &= values[j] == valueAt(i + 3 * V + j);
    }
    Result<double> seconds = from.ok() && to.ok() ? device->secondsBetween(*from, *to) : Result<double>(0.0);
    report("rings of 60 runs", status.ok() && same,
           status.ok() ? format("%.1f us per run", seconds.ok() ? *seconds / 60 * 1e6 : 0) : status.message());

    if (graphs) {
      Result<std::string> tuned = device->tune();
      report("tune", tuned.ok(), tuned.ok() ? *tuned : tuned.status().message());
      product<float, float>(*device, *step, "product0", false, true, false, 1, 1e-6);
      product<uint16_t, float>(*device, *step, "product1", true, false, true, 1, 1e-6);
      // Each command timed by events in a graph.
      status = device->profile(true);
      for (int i = 0; i < 5 && status.ok(); ++i) {
        put<float>(*device, W, V * V, 0);
        status = device->run(step->entry("copy"));
        if (status.ok())
          status = device->run(step->entry("product2"));
      }
      std::string times;
      for (const CommandTime &time : device->commandTimes())
        times += format("%s %.2f us  ", time.name.c_str(), time.milliseconds * 1e3);
      report("profile", status.ok() && !times.empty(), status.ok() ? times : status.message());
    }
  }
  std::unique_ptr<CudaDevice> wide = open([] {
    DeviceOptions options;
    options.allowTf32 = true;
    return options;
  }());
  if (wide)
    product<float, float>(*wide, *step, "product0", false, true, false, 1, 2e-3);
  wide.reset();

  DeviceOptions far;
  far.device = 99;
  Result<std::unique_ptr<CudaDevice>> none = CudaDevice::open(*step, far);
  report("no such GPU", none.status().code() == Code::Device, none.status().message());

  std::printf("%d failed\n", failures);
  return failures;
}
