//===- peer_collectives.h - Collectives of GPUs that reach each other -------===//
//
// Of ranks on one host whose GPUs can read each other's memory. What an exchange or a
// gather moves, every rank copies from the others' arenas by itself: the copy engines do
// that, so no multiprocessor is taken from the kernels beside it, as NCCL's would be. The few
// numbers of an all-reduce are read from all arenas by one small kernel, in the order of
// the ranks.
//
// Ranks meet by two flags for each other rank, in memory beside the arena. On the stream
// of collectives, a rank
//
//   1. writes `ready` at every other rank: what it sends may be read;
//   2. for each other rank: waits for that one's `ready` and clears it, reads, and writes
//      `done` there;
//   3. waits for every `done` and clears it: what it sends may be written again.
//
// A flag is written again only after it was cleared: who writes `ready` has seen `done`,
// which its reader wrote after it had cleared the `ready` before. All ranks run the same
// collectives in the same order, so one pair of flags serves all of them.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_COMM_PEER_COLLECTIVES_H
#define TXC_RUNTIME_COMM_PEER_COLLECTIVES_H

#include "comm/gpu_collectives.h"

namespace txc {

class PeerCollectives final : public GpuCollectives {
public:
  // An allocation of the GPU whose context is current: the arena, and flagBytes() at
  // `flags`, which are 0.
  struct Memory {
    cuda::Context context;
    cuda::Address allocation, arena, flags;
    cuda::Stream stream; // that waits for collectives
  };
  static uint64_t flagBytes(int ranks) { return ranks > 1 ? static_cast<uint64_t>(ranks) * kFlagsOfRank : 0; }
  // Not if TXC_PEER_COPIES is 0.
  static bool wanted();

  // Null, for all ranks alike, if some cannot reach another's memory; `why` says which.
  // `sums` are all the all-reduces that there will be.
  static Result<std::unique_ptr<PeerCollectives>> open(const cuda::Driver &driver, Control &control,
                                                       const Memory &memory,
                                                       const std::vector<const txc_collective_t *> &sums,
                                                       std::string &why);
  ~PeerCollectives() override;

  Status run(const txc_collective_t &collective, cuda::Address arena, cuda::Stream stream) override;
  // Returns when the GPU has nothing left to do, or after a few seconds.
  void abort() override;
  const std::string &name() const override { return name_; }

private:
  // Flags of different ranks, and the two of one, are apart as caches are.
  static constexpr uint64_t kFlagsOfRank = 256, kDone = 128;
  struct Peer {
    cuda::Address allocation = 0, arena = 0, flags = 0;
  };
  // One of an all-reduce: its rows of the table, a block of the kernels each.
  struct Sum {
    cuda::Function reduce = nullptr;
    cuda::Address rows = 0;
    uint32_t numParts = 0;
  };

  PeerCollectives(const cuda::Driver &driver, Control &control, const Memory &memory)
      : driver_(driver), control_(control), memory_(memory) {}
  cuda::Result reach(const std::vector<std::string> &handles, int &peer);
  cuda::Result prepareSums(const std::vector<const txc_collective_t *> &sums);
  cuda::Result reduce(const Sum &sum, cuda::Stream stream);
  cuda::Result unpack(const Sum &sum, cuda::Stream stream);

  const cuda::Driver &driver_;
  Control &control_;
  const Memory memory_;
  const std::string name_ = "peer memory and copy engines";
  std::vector<Peer> peers_; // by rank; that of this one has only its arena
  cuda::Stream releasing_ = nullptr;
  cuda::Module module_ = nullptr;
  cuda::Function unpack_ = nullptr;
  cuda::Address table_ = 0; // arenas of all ranks, rows of all sums, room for results
  std::unordered_map<const txc_collective_t *, Sum> sums_;
};

} // namespace txc

#endif // TXC_RUNTIME_COMM_PEER_COLLECTIVES_H
