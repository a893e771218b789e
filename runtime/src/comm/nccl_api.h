//===- nccl_api.h - What we call of NCCL -----------------------------------===//
//
// Names, argument lists and numbers of the functions that are loaded at run
// time, so that building needs no NCCL: its documented binary interface
// (docs.nvidia.com/deeplearning/nccl), version 2.10 and later.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_COMM_NCCL_API_H
#define TXC_RUNTIME_COMM_NCCL_API_H

#include "device/cuda_api.h"

namespace txc::nccl {

using Result = int; // ncclResult_t
using Communicator = struct CommunicatorHandle *;

struct UniqueId {
  char bytes[128];
};

inline constexpr Result kSuccess = 0, kInProgress = 7;
// ncclDataType_t.
inline constexpr int kFloat32 = 7, kFloat64 = 8, kBfloat16 = 9;
// ncclRedOp_t.
inline constexpr int kSum = 0, kMax = 2, kMin = 3;

#define TXC_NCCL_FUNCTIONS(X)                                                                                \
  X(getVersion, "ncclGetVersion", int *version)                                                              \
  X(getUniqueId, "ncclGetUniqueId", UniqueId *id)                                                            \
  X(initRank, "ncclCommInitRank", Communicator *communicator, int ranks, UniqueId id, int rank)              \
  X(destroy, "ncclCommDestroy", Communicator communicator)                                                   \
  X(abort, "ncclCommAbort", Communicator communicator)                                                       \
  X(getAsyncError, "ncclCommGetAsyncError", Communicator communicator, Result *error)                        \
  X(groupStart, "ncclGroupStart")                                                                            \
  X(groupEnd, "ncclGroupEnd")                                                                                \
  X(allReduce, "ncclAllReduce", const void *send, void *receive, size_t count, int type, int op,             \
    Communicator communicator, cuda::Stream stream)                                                          \
  X(send, "ncclSend", const void *send, size_t count, int type, int peer, Communicator communicator,         \
    cuda::Stream stream)                                                                                     \
  X(receive, "ncclRecv", void *receive, size_t count, int type, int peer, Communicator communicator,         \
    cuda::Stream stream)                                                                                     \
  X(allGather, "ncclAllGather", const void *send, void *receive, size_t count, int type,                     \
    Communicator communicator, cuda::Stream stream)

} // namespace txc::nccl

#endif // TXC_RUNTIME_COMM_NCCL_API_H
