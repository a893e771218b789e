//===- peer_collectives.cpp - Collectives by the GPUs' copy engines --------------===//
#include "comm/peer_collectives.h"

#include "comm/collectives.h"
#include "comm/peer_kernels.h"
#include "support/text.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace txc {

using cuda::kSuccess;

static constexpr char kOff[] = "TXC_PEER_COPIES";
static constexpr auto kAbortTime = std::chrono::seconds(4);

bool PeerCollectives::wanted() {
  const char *text = std::getenv(kOff);
  return !text || std::strcmp(text, "0") != 0;
}

// What the other ranks need to reach this one's memory, as a line of text. Host names are
// not unique, ids of a boot are.
static std::string describe(const std::string &boot, const cuda::IpcHandle &handle,
                            const PeerCollectives::Memory &memory) {
  return boot +
         format(" %llu %llu ", static_cast<unsigned long long>(memory.arena - memory.allocation),
                static_cast<unsigned long long>(memory.flags - memory.allocation)) +
         bytesToHex(handle.bytes, sizeof(handle.bytes));
}

static bool parse(const std::string &text, std::string &boot, cuda::IpcHandle &handle, uint64_t &arena,
                  uint64_t &flags) {
  char id[64] = {}, hex[2 * sizeof(handle.bytes) + 1] = {};
  unsigned long long at[2] = {};
  if (std::sscanf(text.c_str(), "%63s %llu %llu %128s", id, &at[0], &at[1], hex) != 4)
    return false;
  boot = id;
  arena = at[0];
  flags = at[1];
  return bytesFromHex(hex, handle.bytes, sizeof(handle.bytes));
}

Result<std::unique_ptr<PeerCollectives>>
PeerCollectives::open(const cuda::Driver &driver, Control &control, const Memory &memory,
                      const std::vector<const txc_collective_t *> &sums, std::string &why) {
  std::unique_ptr<PeerCollectives> out(new PeerCollectives(driver, control, memory));
  const int ranks = control.world().size;
  // Everyone says all that it knows against it before anyone decides.
  std::string own, problem, boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  cuda::IpcHandle handle = {};
  if (!wanted())
    problem = format("%s is 0", kOff);
  else if (boot.empty())
    problem = "cannot read the id of this host's boot from /proc/sys/kernel/random/boot_id";
  else if (cuda::Result result = driver.ipcGetMemHandle(&handle, memory.allocation); result != kSuccess)
    problem = driver.error(result, "asking for a handle of the arena").message();
  else
    own = describe(boot, handle, memory);
  Result<std::vector<std::string>> all = control.gather(own);
  if (!all.ok())
    return all.status();
  out->peers_.resize(static_cast<size_t>(ranks));
  int peer = 0;
  if (problem.empty()) {
    if (cuda::Result result = out->reach(*all, peer); result == cuda::kInvalidValue)
      problem = control.nameOf(peer) + " is on another host, or does not share its memory";
    else if (result != kSuccess)
      problem = driver.error(result, "reaching the memory of " + control.nameOf(peer)).message();
    else if (result = out->prepareSums(sums); result != kSuccess)
      problem = driver.error(result, "preparing small all-reduces").message();
  }
  Result<std::vector<std::string>> problems = control.gather(problem);
  if (!problems.ok())
    return problems.status();
  for (int rank = 0; rank < ranks; ++rank)
    if (const std::string &said = (*problems)[static_cast<size_t>(rank)]; !said.empty()) {
      why = control.nameOf(rank) + ": " + said;
      return std::unique_ptr<PeerCollectives>();
    }
  return out;
}

// kInvalidValue: `peer` said nothing, or is elsewhere.
cuda::Result PeerCollectives::reach(const std::vector<std::string> &handles, int &peer) {
  const auto own = static_cast<size_t>(control_.world().rank);
  std::string ownBoot, boot;
  cuda::IpcHandle handle = {};
  uint64_t arena = 0, flags = 0;
  parse(handles[own], ownBoot, handle, arena, flags);
  peers_[own].arena = memory_.arena;
  for (size_t rank = 0; rank < handles.size(); ++rank) {
    peer = static_cast<int>(rank);
    if (rank == own)
      continue;
    if (!parse(handles[rank], boot, handle, arena, flags) || boot != ownBoot)
      return cuda::kInvalidValue;
    Peer &other = peers_[rank];
    if (cuda::Result result =
            driver_.ipcOpenMemHandle(&other.allocation, handle, cuda::kIpcLazyEnablePeerAccess);
        result != kSuccess)
      return result == cuda::kInvalidValue ? cuda::kInvalidHandle : result;
    other.arena = other.allocation + arena;
    other.flags = other.allocation + flags;
  }
  return kSuccess;
}

cuda::Result PeerCollectives::prepareSums(const std::vector<const txc_collective_t *> &sums) {
  if (cuda::Result result = driver_.streamCreate(&releasing_, cuda::kStreamNonBlocking); result != kSuccess)
    return result;
  // The table: the arenas' addresses, then rows; behind it the results.
  std::vector<uint64_t> arenas;
  for (const Peer &peer : peers_)
    arenas.push_back(peer.arena);
  std::vector<PeerSumRow> rows;
  uint64_t resultBytes = 0;
  for (const txc_collective_t *sum : sums)
    for (uint32_t i = 0; i < sum->num_parts; ++i) {
      const txc_collective_part_t &part = sum->parts[i];
      const uint64_t bytes = part.count * bytesOfElement(sum->dtype);
      rows.push_back(
          {part.send, memory_.arena + part.receive, resultBytes, part.count, bytes / sizeof(uint32_t)});
      resultBytes += (bytes + 63) / 64 * 64;
    }
  const uint64_t arenaBytes = arenas.size() * sizeof(arenas[0]), rowBytes = rows.size() * sizeof(PeerSumRow),
                 tableBytes = (arenaBytes + rowBytes + 63) / 64 * 64;
  const std::string text = peerKernels();
  cuda::Result result = driver_.memAlloc(&table_, tableBytes + resultBytes);
  auto then = [&](auto &&call) { result = result == kSuccess ? call() : result; };
  for (PeerSumRow &row : rows)
    row.result += table_ + tableBytes;
  then([&] { return driver_.memcpyHtoDAsync(table_, arenas.data(), arenaBytes, releasing_); });
  if (rowBytes)
    then([&] { return driver_.memcpyHtoDAsync(table_ + arenaBytes, rows.data(), rowBytes, releasing_); });
  then([&] { return driver_.streamSynchronize(releasing_); });
  then([&] { return driver_.moduleLoadDataEx(&module_, text.c_str(), 0, nullptr, nullptr); });
  then([&] { return driver_.moduleGetFunction(&unpack_, module_, "unpack"); });
  uint64_t row = 0;
  for (const txc_collective_t *sum : sums) {
    Sum &prepared = sums_[sum];
    prepared.numParts = sum->num_parts;
    prepared.rows = table_ + arenaBytes + row * sizeof(PeerSumRow);
    row += sum->num_parts;
    const std::string name = peerKernelName(sum->dtype, sum->op);
    then([&] {
      return name.empty() ? cuda::kNotSupported
                          : driver_.moduleGetFunction(&prepared.reduce, module_, name.c_str());
    });
  }
  return result;
}

PeerCollectives::~PeerCollectives() {
  for (const Peer &peer : peers_)
    if (peer.allocation)
      driver_.ipcCloseMemHandle(peer.allocation);
  if (module_)
    driver_.moduleUnload(module_);
  if (table_)
    driver_.memFree(table_);
  if (releasing_)
    driver_.streamDestroy(releasing_);
}

cuda::Result PeerCollectives::reduce(const Sum &sum, cuda::Stream stream) {
  uint64_t rows = sum.rows, arenas = table_;
  auto ranks = static_cast<uint32_t>(peers_.size());
  void *parameters[] = {&rows, &arenas, &ranks};
  return driver_.launchKernel(sum.reduce, sum.numParts, 1, 1, kPeerKernelThreads, 1, 1, 0, stream, parameters,
                              nullptr);
}

cuda::Result PeerCollectives::unpack(const Sum &sum, cuda::Stream stream) {
  uint64_t rows = sum.rows;
  void *parameters[] = {&rows};
  return driver_.launchKernel(unpack_, sum.numParts, 1, 1, kPeerKernelThreads, 1, 1, 0, stream, parameters,
                              nullptr);
}

Status PeerCollectives::run(const txc_collective_t &collective, cuda::Address arena, cuda::Stream stream) {
  if (control_.failed())
    return control_.failure();
  const auto rank = static_cast<uint64_t>(control_.world().rank), ranks = peers_.size();
  const uint64_t element = bytesOfElement(collective.dtype);
  const bool isSum = collective.kind == TXC_COLLECTIVE_ALL_REDUCE;
  const auto sum = sums_.find(&collective);
  if (isSum && sum == sums_.end())
    return {Code::Device, format("collective '%s': the step did not ask for it before", collective.name)};
  cuda::Result result = kSuccess;
  auto then = [&](cuda::Result next) { result = result == kSuccess ? next : result; };
  auto write = [&](cuda::Address flag, uint32_t value) {
    then(driver_.streamWriteValue32(stream, flag, value, 0));
  };
  auto await = [&](cuda::Address flag) {
    then(driver_.streamWaitValue32(stream, flag, 1, cuda::kWaitValueEqual));
    write(flag, 0);
  };
  auto copy = [&](cuda::Address to, cuda::Address from, uint64_t bytes) {
    then(driver_.memcpyDtoDAsync(to, from, bytes, stream));
  };
  auto copyParts = [&](uint64_t k) {
    const uint64_t from = (rank + k) % ranks;
    for (uint32_t i = 0; i < collective.num_parts; ++i) {
      const txc_collective_part_t &part = collective.parts[i];
      const uint64_t bytes = part.count * element;
      if (collective.kind == TXC_COLLECTIVE_EXCHANGE)
        copy(arena + part.receive + (k - 1) * bytes, peers_[from].arena + part.send + rank * bytes, bytes);
      else if (part.send != part.receive)
        copy(arena + part.receive + from * bytes, peers_[from].arena + part.send, bytes);
      else if (k > 0)
        copy(arena + part.receive + from * bytes, peers_[from].arena + part.send + from * bytes, bytes);
    }
  };

  for (uint64_t k = 1; k < ranks; ++k)
    write(peers_[(rank + k) % ranks].flags + rank * kFlagsOfRank, 1);
  if (collective.kind == TXC_COLLECTIVE_ALL_GATHER)
    copyParts(0); // its own
  for (uint64_t k = 1; k < ranks; ++k) {
    await(memory_.flags + (rank + k) % ranks * kFlagsOfRank);
    if (!isSum) {
      copyParts(k);
      write(peers_[(rank + k) % ranks].flags + rank * kFlagsOfRank + kDone, 1);
    }
  }
  if (isSum) {
    then(reduce(sum->second, stream));
    for (uint64_t k = 1; k < ranks; ++k)
      write(peers_[(rank + k) % ranks].flags + rank * kFlagsOfRank + kDone, 1);
  }
  for (uint64_t k = 1; k < ranks; ++k)
    await(memory_.flags + (rank + k) % ranks * kFlagsOfRank + kDone);
  if (isSum)
    then(unpack(sum->second, stream));
  return result == kSuccess ? Status() : driver_.error(result, format("collective '%s'", collective.name));
}

void PeerCollectives::abort() {
  const auto end = std::chrono::steady_clock::now() + kAbortTime;
  if (driver_.ctxSetCurrent(memory_.context) != kSuccess)
    return;
  // What waits clears its flag, and the next one waits.
  while (driver_.streamQuery(memory_.stream) == cuda::kNotReady && std::chrono::steady_clock::now() < end) {
    driver_.memsetD32Async(memory_.flags, 1, flagBytes(static_cast<int>(peers_.size())) / sizeof(uint32_t),
                           releasing_);
    driver_.streamSynchronize(releasing_);
  }
}

} // namespace txc
