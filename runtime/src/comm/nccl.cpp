//===- nccl.cpp - Collectives of NVIDIA GPUs -------------------------------===//
#include "comm/nccl.h"

#include "comm/collectives.h"
#include "device/cuda_driver.h"
#include "support/text.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <glob.h>
#include <utility>

namespace txc {

// Where NCCL may be: the system's folders, then the packages of pip and conda.
static std::vector<std::string> libraryPaths() {
  auto variable = [](const char *name) {
    const char *value = std::getenv(name);
    return value ? std::string(value) : "";
  };
  if (std::string named = variable("TXC_NCCL_LIBRARY"); !named.empty())
    return {named};
  std::vector<std::string> paths = {"libnccl.so.2"}, patterns;
  for (const char *home : {"CUDA_HOME", "CUDA_PATH"})
    if (std::string folder = variable(home); !folder.empty())
      patterns.push_back(folder + "/lib64/libnccl.so.2");
  patterns.push_back("/usr/local/cuda/lib64/libnccl.so.2");
  if (std::string folder = variable("CONDA_PREFIX"); !folder.empty())
    patterns.push_back(folder + "/lib/libnccl.so.2");
  for (const std::string &root : {variable("VIRTUAL_ENV"), variable("HOME") + "/.local", std::string("/usr/local")})
    if (!root.empty())
      for (const char *folder : {"site-packages", "dist-packages"})
        patterns.push_back(root + "/lib/python3*/" + folder + "/nvidia/nccl/lib/libnccl.so.2");
  for (const std::string &pattern : patterns) {
    glob_t found = {};
    if (::glob(pattern.c_str(), 0, nullptr, &found) == 0)
      paths.insert(paths.end(), found.gl_pathv, found.gl_pathv + found.gl_pathc);
    ::globfree(&found);
  }
  return paths;
}

Result<std::unique_ptr<NcclCollectives>> NcclCollectives::open(Control &control) {
  cuda::FoundLibrary library = cuda::openLibrary(libraryPaths());
  if (!library.handle)
    return Status{Code::Device,
                  "several GPUs need NCCL, which cannot be loaded:\n" + library.tried +
                      "\ninstall it (apt install libnccl2, or pip install nvidia-nccl-cu13), or name "
                      "the file in TXC_NCCL_LIBRARY"};
  std::unique_ptr<NcclCollectives> out(new NcclCollectives(control));
  const char *missing = nullptr;
#define TXC_LOAD(function, symbol, ...)                                                                      \
  out->nccl_.function = reinterpret_cast<decltype(out->nccl_.function)>(::dlsym(library.handle, symbol));    \
  if (!out->nccl_.function && !missing)                                                                      \
    missing = symbol;
  TXC_NCCL_FUNCTIONS(TXC_LOAD)
#undef TXC_LOAD
  if (missing)
    return Status{Code::Device,
                  library.path + ": it has no function " + missing + "; install NCCL 2.10 or newer"};
  out->errorText_ =
      reinterpret_cast<const char *(*)(nccl::Result)>(::dlsym(library.handle, "ncclGetErrorString"));
  out->lastError_ =
      reinterpret_cast<const char *(*)(nccl::Communicator)>(::dlsym(library.handle, "ncclGetLastError"));
  int version = 0;
  out->nccl_.getVersion(&version);
  out->name_ = format("NCCL %d.%d.%d", version / 10000, version / 100 % 100, version % 100);

  const World &world = control.world();
  nccl::UniqueId id = {};
  std::string text;
  if (world.rank == 0) {
    if (nccl::Result result = out->nccl_.getUniqueId(&id); result != nccl::kSuccess)
      return out->error(result, "asking NCCL for an id of the job");
    text = bytesToHex(id.bytes, sizeof(id.bytes));
  }
  Result<std::vector<std::string>> all = control.gather(text);
  if (!all.ok())
    return all.status();
  if (!bytesFromHex((*all)[0], id.bytes, sizeof(id.bytes)))
    return Status{Code::Device, "rank 0 sent no id of NCCL; all ranks need the same txrun"};
  // Connecting may hang if a rank dies; the control plane then ends the process.
  nccl::Communicator communicator = nullptr;
  control.enter("NCCL's start");
  control.waiting(true);
  nccl::Result result = out->nccl_.initRank(&communicator, world.size, id, world.rank);
  control.waiting(false);
  if (result != nccl::kSuccess)
    return control.failed() ? control.failure() : out->error(result, "connecting the ranks");
  out->communicator_ = communicator;
  return out;
}

NcclCollectives::~NcclCollectives() {
  if (communicator_)
    control_.failed() ? nccl_.abort(communicator_) : nccl_.destroy(communicator_);
}

void NcclCollectives::abort() {
  nccl::Communicator communicator;
  {
    // A call that takes longer waits for other ranks, and abort() is what ends it.
    std::unique_lock lock(using_, std::chrono::seconds(1));
    communicator = std::exchange(communicator_, nullptr);
  }
  if (communicator)
    nccl_.abort(communicator);
}

Status NcclCollectives::asyncError() {
  std::unique_lock lock(using_, std::try_to_lock);
  if (!lock.owns_lock() || !communicator_)
    return {};
  nccl::Result found = nccl::kSuccess;
  nccl::Result result = nccl_.getAsyncError(communicator_, &found);
  result = result == nccl::kSuccess ? found : result;
  return result == nccl::kSuccess || result == nccl::kInProgress
             ? Status()
             : error(result, "exchanging data with others");
}

Status NcclCollectives::error(nccl::Result result, const std::string &doing) const {
  std::string text = errorText_ ? errorText_(result) : format("error %d", result);
  if (lastError_)
    if (const char *last = lastError_(nullptr); last && *last)
      text += std::string(": ") + last;
  return {Code::Device,
          doing + " (" + name_ + "): " + text + "; NCCL_DEBUG=INFO in the environment says more"};
}

Status NcclCollectives::run(const txc_collective_t &collective, cuda::Address arena, cuda::Stream stream) {
  std::lock_guard lock(using_);
  const nccl::Communicator communicator = communicator_;
  if (!communicator)
    return control_.failure();
  int type = -1;
  switch (collective.dtype) {
  case TXC_DTYPE_F32:
    type = nccl::kFloat32;
    break;
  case TXC_DTYPE_F64:
    type = nccl::kFloat64;
    break;
  case TXC_DTYPE_BF16:
    type = nccl::kBfloat16;
    break;
  }
  if (type < 0)
    return {Code::Device, format("collective '%s': dtype %u; expected f32, f64 or bf16", collective.name,
                                 collective.dtype)};
  const int op = collective.op == TXC_REDUCE_MIN   ? nccl::kMin
                 : collective.op == TXC_REDUCE_MAX ? nccl::kMax
                                                   : nccl::kSum;
  const auto rank = static_cast<uint64_t>(control_.world().rank),
             ranks = static_cast<uint64_t>(control_.world().size);
  nccl::Result result = nccl_.groupStart();
  auto then = [&](nccl::Result next) { result = result == nccl::kSuccess ? next : result; };
  for (uint32_t i = 0; i < collective.num_parts && result == nccl::kSuccess; ++i) {
    const txc_collective_part_t &part = collective.parts[i];
    const uint64_t bytes = part.count * bytesOfElement(collective.dtype);
    char *send = reinterpret_cast<char *>(arena + part.send);
    char *receive = reinterpret_cast<char *>(arena + part.receive);
    switch (collective.kind) {
    case TXC_COLLECTIVE_ALL_REDUCE:
      then(nccl_.allReduce(send, receive, part.count, type, op, communicator, stream));
      break;
    case TXC_COLLECTIVE_EXCHANGE:
      for (uint64_t k = 0; k + 1 < ranks && result == nccl::kSuccess; ++k) {
        const uint64_t from = (rank + 1 + k) % ranks, to = (rank + ranks - 1 - k) % ranks;
        then(nccl_.send(send + to * bytes, part.count, type, static_cast<int>(to), communicator, stream));
        then(nccl_.receive(receive + k * bytes, part.count, type, static_cast<int>(from), communicator,
                           stream));
      }
      break;
    default:
      then(nccl_.allGather(part.send == part.receive ? send + rank * bytes : send, receive, part.count, type,
                           communicator, stream));
      break;
    }
  }
  const nccl::Result ended = nccl_.groupEnd();
  result = result == nccl::kSuccess ? ended : result;
  if (result == nccl::kSuccess)
    return {};
  return control_.failed() ? control_.failure() : error(result, format("collective '%s'", collective.name));
}

} // namespace txc
