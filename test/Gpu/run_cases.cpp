//===- run_cases.cpp - Runs the kernels of a case file on a GPU ------------===//
//
// usage: run-cases FILE [--device=N] [--filter=REGEX] [--per-group=N] [--apart] [--verbose]
//
// Each case runs twice, all that it does not read poisoned by other bits each
// time, at addresses that are multiples of 64 bytes only, with poison between its
// buffers. It passes if the results are what the file expects and the same to the
// bit, what lies between the buffers and the inputs are as they were, and what is
// not the kernel's to write is poison still.
//
// --apart gives each buffer an allocation of its own, and runs a case once, so
// that compute-sanitizer sees an access beyond a buffer.
//
// One line per group, one per case that fails, and a summary. Exits with 1 if a
// case failed or none ran, 2 for wrong usage, 3 if the GPU failed.
//
//===----------------------------------------------------------------------===//
#include "case_file.h"

#include "device/cuda_driver.h"
#include "support/text.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <regex>

using namespace txc;
using namespace txc::test;

namespace {

constexpr size_t alignment = TXC_BUFFER_ALIGNMENT;
/// Between buffers; odd in units of the alignment, so that few start on more.
constexpr size_t gap = 64 * alignment + alignment;

size_t roundUp(size_t value) { return (value + alignment - 1) / alignment * alignment; }

struct Arguments {
  std::string file, filter = ".*";
  int device = 0, perGroup = 0;
  bool apart = false, verbose = false;
};

class Gpu {
public:
  static Result<std::unique_ptr<Gpu>> open(int ordinal) {
    Result<cuda::Driver> driver = cuda::Driver::load();
    if (!driver.ok())
      return driver.status();
    std::unique_ptr<Gpu> gpu(new Gpu(*driver));
    if (Status status = gpu->start(ordinal); !status.ok())
      return status;
    return gpu;
  }

  Status check(cuda::Result result, const std::string &doing) const {
    return result == cuda::kSuccess ? Status() : driver.error(result, doing, true);
  }

  Result<cuda::Module> load(const CaseFile &file, size_t index) {
    auto known = modules.find(index);
    if (known != modules.end())
      return known->second;
    char log[4096] = {};
    int options[] = {cuda::kJitErrorLog, cuda::kJitErrorLogBytes};
    void *values[] = {log, reinterpret_cast<void *>(sizeof(log))};
    cuda::Module module = nullptr;
    cuda::Result result =
        driver.moduleLoadDataEx(&module, file.at(file.images[index].offset), 2, options, values);
    if (result != cuda::kSuccess)
      return check(result,
                   format("loading image %zu for %s on %s ", index, file.target.c_str(), name.c_str()) + log);
    modules[index] = module;
    return module;
  }

  cuda::Driver driver;
  cuda::Stream stream = nullptr;
  int multiprocessors = 0;
  std::string name;

private:
  explicit Gpu(const cuda::Driver &driver) : driver(driver) {}

  Status start(int ordinal) {
    cuda::DeviceNumber device = 0;
    cuda::Context context = nullptr;
    char text[256] = {};
    cuda::Result result = driver.deviceGet(&device, ordinal);
    if (result == cuda::kSuccess)
      result = driver.deviceGetName(text, sizeof(text), device);
    name = text;
    if (result == cuda::kSuccess)
      result = driver.deviceGetAttribute(&multiprocessors, cuda::kAttributeMultiprocessors, device);
    if (result == cuda::kSuccess)
      result = driver.primaryCtxRetain(&context, device);
    if (result == cuda::kSuccess)
      result = driver.ctxSetCurrent(context);
    if (result == cuda::kSuccess)
      result = driver.streamCreate(&stream, cuda::kStreamNonBlocking);
    return check(result, format("opening GPU %d", ordinal));
  }

  std::map<size_t, cuda::Module> modules;
};

/// Memory of one case: a mirror on the host and where each piece is on the GPU.
class Memory {
public:
  Memory(Gpu &gpu, bool apart) : gpu(gpu), apart(apart) {}
  ~Memory() {
    for (cuda::Address address : allocations)
      gpu.driver.memFree(address);
  }

  /// Lays out the buffers and then the workspaces of `c`.
  void layOut(const CaseFile::Case &c) {
    offsets.clear();
    sizes.clear();
    size_t end = gap;
    auto place = [&](size_t bytes) {
      offsets.push_back(end);
      sizes.push_back(bytes);
      end += roundUp(std::max<size_t>(bytes, 1)) + gap;
    };
    for (const CaseFile::Buffer &buffer : c.buffers) {
      if (buffer.shares >= 0) {
        offsets.push_back(offsets[static_cast<size_t>(buffer.shares)]);
        sizes.push_back(0);
      } else {
        place(buffer.bytes);
      }
    }
    for (size_t bytes : c.workspaces)
      place(bytes);
    host.resize(end);
  }

  Status allocate() {
    if (apart) {
      for (cuda::Address address : allocations)
        gpu.driver.memFree(address);
      allocations.clear();
      pieces.assign(offsets.size(), 0);
      for (size_t i = 0; i < offsets.size(); ++i) {
        if (sizes[i] == 0)
          continue;
        if (Status status = reserve(roundUp(sizes[i]), pieces[i]); !status.ok())
          return status;
      }
      return {};
    }
    if (host.size() <= poolBytes)
      return {};
    poolBytes = std::max<size_t>(host.size(), 64 << 20);
    return reserve(poolBytes, pool);
  }

  cuda::Address address(const CaseFile::Case &c, size_t piece) const {
    if (!apart)
      return pool + offsets[piece];
    while (piece < c.buffers.size() && c.buffers[piece].shares >= 0)
      piece = static_cast<size_t>(c.buffers[piece].shares);
    return pieces[piece];
  }

  Status toGpu() {
    return copy([&](cuda::Address to, char *from, size_t bytes) {
      return gpu.driver.memcpyHtoDAsync(to, from, bytes, gpu.stream);
    });
  }
  Status toHost() {
    return copy([&](cuda::Address from, char *to, size_t bytes) {
      return gpu.driver.memcpyDtoHAsync(to, from, bytes, gpu.stream);
    });
  }

  Bytes host;
  std::vector<size_t> offsets, sizes; ///< size 0: shares another's place

private:
  Status reserve(size_t bytes, cuda::Address &to) {
    Status status = gpu.check(gpu.driver.memAlloc(&to, bytes), format("allocating %zu bytes", bytes));
    if (status.ok())
      allocations.push_back(to);
    return status;
  }

  template <typename F> Status copy(F move) {
    cuda::Result result = cuda::kSuccess;
    if (!apart)
      result = move(pool, host.data(), host.size());
    for (size_t i = 0; apart && i < offsets.size() && result == cuda::kSuccess; ++i)
      if (sizes[i] > 0)
        result = move(pieces[i], host.data() + offsets[i], roundUp(sizes[i]));
    if (result == cuda::kSuccess)
      result = gpu.driver.streamSynchronize(gpu.stream);
    return gpu.check(result, "copying");
  }

  Gpu &gpu;
  bool apart;
  cuda::Address pool = 0;
  size_t poolBytes = 0;
  std::vector<cuda::Address> pieces, allocations;
};

Status launch(Gpu &gpu, cuda::Module module, const CaseFile::Case &c, const CaseFile::Phase &phase,
              const Memory &memory) {
  cuda::Function function = nullptr;
  if (Status status = gpu.check(gpu.driver.moduleGetFunction(&function, module, phase.function.c_str()),
                                "looking for function " + phase.function);
      !status.ok())
    return status;
  std::vector<cuda::Address> addresses;
  for (size_t argument : c.arguments)
    addresses.push_back(memory.address(c, argument));
  for (size_t i = 0; i < c.workspaces.size(); ++i)
    addresses.push_back(memory.address(c, c.buffers.size() + i));
  std::vector<cuda::TensorMap> maps(phase.maps.size());
  std::vector<void *> parameters;
  for (size_t i = 0; i < maps.size(); ++i) {
    const txc_tensor_map_t &map = phase.maps[i];
    const int dtypes[] = {cuda::kMapF32, cuda::kMapBF16, cuda::kMapI32};
    const uint32_t ones[TXC_MAX_TENSOR_MAP_RANK] = {1, 1, 1, 1, 1};
    int swizzle = map.swizzle == 128 ? 3 : map.swizzle == 64 ? 2 : map.swizzle == 32 ? 1 : 0;
    cuda::Result result = gpu.driver.tensorMapEncodeTiled(
        &maps[i], dtypes[std::min<uint32_t>(map.dtype, 2)], map.rank,
        reinterpret_cast<void *>(addresses[map.argument] + map.offset), map.dims, map.strides + 1, map.box,
        ones, 0, swizzle, cuda::kMapPromotion256, 0);
    if (Status status = gpu.check(result, format("describing tiles of argument %u", map.argument));
        !status.ok())
      return status;
    parameters.push_back(&maps[i]);
  }
  for (cuda::Address &address : addresses)
    parameters.push_back(&address);
  std::vector<int32_t> scalars = phase.scalars;
  for (int32_t &scalar : scalars)
    parameters.push_back(&scalar);
  if (phase.shared > 0)
    if (Status status = gpu.check(gpu.driver.funcSetAttribute(function, cuda::kFunctionMaxDynamicShared,
                                                              static_cast<int>(phase.shared)),
                                  format("reserving %u bytes of shared memory", phase.shared));
        !status.ok())
      return status;
  unsigned blocks = phase.grid[0] ? phase.grid[0] : static_cast<unsigned>(gpu.multiprocessors);
  return gpu.check(gpu.driver.launchKernel(function, blocks, phase.grid[1], phase.grid[2], phase.block[0],
                                           phase.block[1], phase.block[2], phase.shared, gpu.stream,
                                           parameters.data(), nullptr),
                   "launching " + phase.function);
}

struct Outcome {
  std::string problem; ///< empty: passed
  double share = 0;    ///< the worst of what is allowed
};

/// The first byte outside of all buffers, or in an input, that is not as it was.
std::string findStray(const CaseFile::Case &c, const Memory &memory, const Bytes &before) {
  // A result's place is the kernel's, and so are workspaces.
  std::vector<bool> written(memory.offsets.size());
  const size_t inputs = c.buffers.size() - c.results.size();
  for (size_t i = inputs; i < c.buffers.size(); ++i) {
    size_t place = i;
    while (c.buffers[place].shares >= 0)
      place = static_cast<size_t>(c.buffers[place].shares);
    written[place] = true;
  }
  for (size_t i = c.buffers.size(); i < written.size(); ++i)
    written[i] = true;
  Bytes now = memory.host;
  for (size_t i = 0; i < written.size(); ++i)
    if (written[i] && memory.sizes[i] > 0)
      std::memcpy(&now[memory.offsets[i]], &before[memory.offsets[i]], memory.sizes[i]);
  auto [at, was] = std::mismatch(now.begin(), now.end(), before.begin());
  if (at == now.end())
    return "";
  const size_t byte = static_cast<size_t>(at - now.begin());
  for (size_t i = 0; i < memory.offsets.size(); ++i)
    if (memory.sizes[i] > 0 && byte >= memory.offsets[i] && byte < memory.offsets[i] + memory.sizes[i])
      return format("input %zu was written at byte %zu", i, byte - memory.offsets[i]);
  for (size_t i = memory.offsets.size(); i-- > 0;)
    if (memory.sizes[i] > 0 && byte >= memory.offsets[i])
      return format("written %zu bytes behind %s %zu of %zu bytes",
                    byte - memory.offsets[i] - memory.sizes[i],
                    i < c.buffers.size() ? "buffer" : "workspace of argument", i, memory.sizes[i]);
  return format("written %zu bytes before the first buffer", memory.offsets[0] - byte);
}

/// What outputs hold before a first and a second run. All bits set is NaN in every
/// format; the other is large.
constexpr unsigned char poisons[] = {0xff, 0x7e};

/// Whether a second run gave the bytes of the first. Bytes that neither wrote differ;
/// compare() looked at them.
bool isSame(const Bytes &first, const char *second) {
  for (size_t i = 0; i < first.size(); ++i) {
    const auto a = static_cast<unsigned char>(first[i]), b = static_cast<unsigned char>(second[i]);
    if (a != b && !(a == poisons[0] && b == poisons[1]))
      return false;
  }
  return true;
}

Result<Outcome> run(Gpu &gpu, const CaseFile &file, const CaseFile::Case &c, Memory &memory, bool apart) {
  Result<cuda::Module> module = gpu.load(file, c.image);
  if (!module.ok())
    return module.status();
  memory.layOut(c);
  if (Status status = memory.allocate(); !status.ok())
    return status;
  Outcome outcome;
  std::vector<Bytes> first;
  for (unsigned char poison : poisons) {
    std::fill(memory.host.begin(), memory.host.end(), static_cast<char>(poison));
    for (size_t i = 0; i < c.buffers.size(); ++i)
      if (c.buffers[i].given || c.buffers[i].random) {
        Bytes contents = file.contents(c.buffers[i]);
        std::copy(contents.begin(), contents.end(),
                  memory.host.begin() + static_cast<long>(memory.offsets[i]));
      }
    Bytes before = memory.host;
    if (Status status = memory.toGpu(); !status.ok())
      return status;
    for (const CaseFile::Phase &phase : c.phases)
      if (Status status = launch(gpu, *module, c, phase, memory); !status.ok())
        return status;
    if (Status status = memory.toHost(); !status.ok())
      return Status{status.code(), "after the launch: " + status.message()};
    if (outcome.problem.empty())
      outcome.problem = findStray(c, memory, before);
    for (size_t r = 0; r < c.results.size(); ++r) {
      const size_t number = c.buffers.size() - c.results.size() + r;
      const CaseFile::Buffer &buffer = c.buffers[number];
      const char *got = &memory.host[memory.offsets[number]];
      Comparison comparison = compare(file, buffer, c.results[r], got, poison);
      outcome.share = std::max(outcome.share, comparison.share);
      if (!comparison.ok && outcome.problem.empty())
        outcome.problem = format("result %zu: ", r) + comparison.problem;
      if (poison == poisons[0])
        first.emplace_back(got, got + buffer.bytes);
      else if (!isSame(first[r], got) && outcome.problem.empty())
        outcome.problem = format("result %zu differs between two runs", r);
    }
    if (apart)
      break;
  }
  return outcome;
}

Result<Arguments> parse(int argc, char **argv) {
  Arguments arguments;
  auto usage = [](const std::string &what) {
    return Status::usage(what +
                         "\nusage: run-cases FILE [--device=N] [--filter=REGEX] [--per-group=N] [--apart] "
                         "[--verbose]");
  };
  for (int i = 1; i < argc; ++i) {
    std::string_view text = argv[i];
    auto number = [&](size_t from, int &to) {
      Result<int64_t> value = parseWholeNumber(text.substr(from));
      if (value.ok())
        to = static_cast<int>(*value);
      return value.status();
    };
    Status status;
    if (text.substr(0, 9) == "--device=")
      status = number(9, arguments.device);
    else if (text.substr(0, 12) == "--per-group=")
      status = number(12, arguments.perGroup);
    else if (text.substr(0, 9) == "--filter=")
      arguments.filter = text.substr(9);
    else if (text == "--apart")
      arguments.apart = true;
    else if (text == "--verbose")
      arguments.verbose = true;
    else if (text.substr(0, 1) == "-" || !arguments.file.empty())
      return usage("unknown argument " + std::string(text));
    else
      arguments.file = text;
    if (!status.ok())
      return usage(std::string(text) + ": " + status.message());
  }
  if (arguments.file.empty())
    return usage("no file of cases");
  return arguments;
}

int fail(const Status &status) {
  std::fprintf(stderr, "error: %s\n", status.message().c_str());
  return static_cast<int>(status.code());
}

} // namespace

int main(int argc, char **argv) {
  Result<Arguments> arguments = parse(argc, argv);
  if (!arguments.ok())
    return fail(arguments.status());
  std::regex filter;
  try {
    filter = std::regex(arguments->filter);
  } catch (const std::regex_error &error) {
    return fail(Status::usage("--filter=" + arguments->filter + ": " + error.what()));
  }
  Result<CaseFile> file = CaseFile::read(arguments->file);
  if (!file.ok())
    return fail(file.status());
  Result<std::unique_ptr<Gpu>> gpu = Gpu::open(arguments->device);
  if (!gpu.ok())
    return fail(gpu.status());
  Memory memory(**gpu, arguments->apart);
  std::map<std::string, int> taken;
  size_t ran = 0, failed = 0, groupRan = 0, groupFailed = 0;
  double groupShare = 0;
  for (size_t i = 0; i < file->cases.size(); ++i) {
    const CaseFile::Case &c = file->cases[i];
    const std::string name = c.group + " " + c.name;
    if (std::regex_search(name, filter) &&
        (arguments->perGroup <= 0 || taken[c.group]++ < arguments->perGroup)) {
      Result<Outcome> outcome = run(**gpu, *file, c, memory, arguments->apart);
      if (!outcome.ok()) {
        // After a kernel has failed the process cannot use the GPU.
        std::printf("FAILED %s: %s\n", name.c_str(), outcome.status().message().c_str());
        std::printf("%zu cases ran before, %zu failed\n", ran, failed);
        return static_cast<int>(outcome.status().code());
      }
      ++ran, ++groupRan;
      groupShare = std::max(groupShare, outcome->share);
      if (!outcome->problem.empty())
        ++failed, ++groupFailed;
      if (!outcome->problem.empty() || arguments->verbose)
        std::printf("%s %s: %s (at most %.2f of what is allowed)\n",
                    outcome->problem.empty() ? "ok    " : "FAILED", name.c_str(), outcome->problem.c_str(),
                    outcome->share);
    }
    if (i + 1 == file->cases.size() || file->cases[i + 1].group != c.group) {
      if (groupRan)
        std::printf("%s %-40s %3zu cases, worst %.2f of what is allowed\n", groupFailed ? "FAILED" : "ok    ",
                    c.group.c_str(), groupRan, groupShare);
      groupRan = groupFailed = 0;
      groupShare = 0;
    }
    std::fflush(stdout);
  }
  std::printf("%zu cases for %s on %s, %zu failed\n", ran, file->target.c_str(), (*gpu)->name.c_str(),
              failed);
  if (ran == 0)
    std::fprintf(stderr, "error: no case matches --filter=%s\n", arguments->filter.c_str());
  return failed > 0 || ran == 0;
}
