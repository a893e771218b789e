//===- peer_kernels.h - Kernels of small all-reduces, as PTX ----------------===//
//
// Two steps, since a result may lie where a rank sends from: reduce() reads the parts of
// all ranks and leaves the result in memory of its own; when everyone has read, unpack()
// copies it to its place. A block works on one part, whose row of the table has
//
//   send (arena offset), receive (address), result (address), elements, words of 4 bytes
//
// The driver translates the text when it is loaded.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_COMM_PEER_KERNELS_H
#define TXC_RUNTIME_COMM_PEER_KERNELS_H

#include <cstdint>
#include <string>

namespace txc {

struct PeerSumRow {
  uint64_t send, receive, result, elements, words;
};

inline constexpr unsigned kPeerKernelThreads = 256;

// Kernels reduce_f32_add, ..., and unpack.
std::string peerKernels();
// "reduce_f32_add"; empty if there is none.
std::string peerKernelName(uint32_t dtype, uint32_t op);

} // namespace txc

#endif // TXC_RUNTIME_COMM_PEER_KERNELS_H
