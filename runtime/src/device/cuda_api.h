//===- cuda_api.h - What we call of CUDA's driver and of cuBLASLt ----------===//
//
// Names, argument lists and numbers of the functions that CudaDevice loads at
// run time, so that building needs no CUDA. They are the stable binary
// interfaces that NVIDIA documents:
//
//   driver    CUDA Driver API, docs.nvidia.com/cuda/cuda-driver-api, version
//             12.0 and later. Functions of which a second version exists are
//             exported as NAME_v2; only that one is declared here.
//   cuBLASLt  docs.nvidia.com/cuda/cublas, "Using the cuBLASLt API", versions
//             12 and 13.
//
// Handles are opaque. Enumerations are passed as int or uint32_t; the numbers
// that we use are named below, with the documented name behind.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_DEVICE_CUDA_API_H
#define TXC_RUNTIME_DEVICE_CUDA_API_H

#include <cstddef>
#include <cstdint>

namespace txc::cuda {

//===-- Driver --------------------------------------------------------------===//

using Result = int; // CUresult
using DeviceNumber = int;
using Address = unsigned long long; // CUdeviceptr
using Context = struct ContextHandle *;
using Module = struct ModuleHandle *;
using Function = struct FunctionHandle *;
using Stream = struct StreamHandle *;
using Event = struct EventHandle *;
using Graph = struct GraphHandle *;
using GraphExec = struct GraphExecHandle *;

struct Uuid {
  unsigned char bytes[16];
};

struct IpcHandle { // CUipcMemHandle
  char bytes[64];
};

struct alignas(64) TensorMap {
  unsigned char opaque[128];
};

// CUresult.
inline constexpr Result kSuccess = 0;
inline constexpr Result kInvalidValue = 1;
inline constexpr Result kOutOfMemory = 2;
inline constexpr Result kInsufficientDriver = 35;
inline constexpr Result kDeviceUnavailable = 46;
inline constexpr Result kNoDevice = 100;
inline constexpr Result kInvalidDevice = 101;
inline constexpr Result kNoBinaryForGpu = 209;
inline constexpr Result kEccUncorrectable = 214;
inline constexpr Result kUnsupportedPtxVersion = 222;
inline constexpr Result kInvalidHandle = 400;
inline constexpr Result kNotReady = 600;
inline constexpr Result kNotSupported = 801;
inline constexpr Result kIllegalAddress = 700;
inline constexpr Result kHardwareStackError = 714;
inline constexpr Result kIllegalInstruction = 715;
inline constexpr Result kMisalignedAddress = 716;
inline constexpr Result kInvalidAddressSpace = 717;
inline constexpr Result kInvalidPc = 718;
inline constexpr Result kLaunchFailed = 719;
inline constexpr Result kSystemNotReady = 802;
inline constexpr Result kSystemDriverMismatch = 803;

// CUdevice_attribute.
inline constexpr int kAttributeMultiprocessors = 16;   // MULTIPROCESSOR_COUNT
inline constexpr int kAttributeCapabilityMajor = 75;   // COMPUTE_CAPABILITY_MAJOR
inline constexpr int kAttributeCapabilityMinor = 76;   // COMPUTE_CAPABILITY_MINOR
inline constexpr int kAttributeMaxSharedPerBlock = 97; // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN

inline constexpr int kFunctionMaxDynamicShared = 8; // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES

inline constexpr unsigned kStreamNonBlocking = 1;
// Lower is more urgent; the driver takes the most urgent that it has.
inline constexpr int kMostUrgent = -1000;
inline constexpr unsigned long long kGraphUseNodePriority =
    8;                                                  // CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY
inline constexpr unsigned kWaitValueEqual = 1;          // CU_STREAM_WAIT_VALUE_EQ
inline constexpr unsigned kIpcLazyEnablePeerAccess = 1; // CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS
inline constexpr unsigned kEventBlockingSync = 1;
inline constexpr unsigned kEventDisableTiming = 2;
inline constexpr unsigned kEventRecordExternal = 1; // CU_EVENT_RECORD_EXTERNAL
inline constexpr unsigned kCaptureThreadLocal = 1;  // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL

// CUjit_option.
inline constexpr int kJitErrorLog = 5;      // CU_JIT_ERROR_LOG_BUFFER
inline constexpr int kJitErrorLogBytes = 6; // CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES

// CUtensorMapDataType, CUtensorMapL2promotion; swizzles are 0 to 3 for none, 32,
// 64 and 128 bytes.
inline constexpr int kMapU8 = 0, kMapI32 = 3, kMapF32 = 7, kMapF64 = 8, kMapBF16 = 9;
inline constexpr int kMapPromotion256 = 3;

// X(function, exported name, arguments...)
#define TXC_CUDA_DRIVER_FUNCTIONS(X)                                                                         \
  X(init, "cuInit", unsigned flags)                                                                          \
  X(driverGetVersion, "cuDriverGetVersion", int *version)                                                    \
  X(getErrorName, "cuGetErrorName", Result error, const char **text)                                         \
  X(getErrorString, "cuGetErrorString", Result error, const char **text)                                     \
  X(deviceGetCount, "cuDeviceGetCount", int *count)                                                          \
  X(deviceGet, "cuDeviceGet", DeviceNumber *device, int ordinal)                                             \
  X(deviceGetName, "cuDeviceGetName", char *name, int length, DeviceNumber device)                           \
  X(deviceGetUuid, "cuDeviceGetUuid_v2", Uuid *uuid, DeviceNumber device)                                    \
  X(deviceGetAttribute, "cuDeviceGetAttribute", int *value, int attribute, DeviceNumber device)              \
  X(deviceTotalMem, "cuDeviceTotalMem_v2", size_t *bytes, DeviceNumber device)                               \
  X(primaryCtxRetain, "cuDevicePrimaryCtxRetain", Context *context, DeviceNumber device)                     \
  X(primaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", DeviceNumber device)                                  \
  X(ctxSetCurrent, "cuCtxSetCurrent", Context context)                                                       \
  X(memGetInfo, "cuMemGetInfo_v2", size_t *free, size_t *total)                                              \
  X(memAlloc, "cuMemAlloc_v2", Address *address, size_t bytes)                                               \
  X(memFree, "cuMemFree_v2", Address address)                                                                \
  X(memHostAlloc, "cuMemHostAlloc", void **memory, size_t bytes, unsigned flags)                             \
  X(memFreeHost, "cuMemFreeHost", void *memory)                                                              \
  X(memcpyHtoDAsync, "cuMemcpyHtoDAsync_v2", Address to, const void *from, size_t bytes, Stream stream)      \
  X(memcpyDtoHAsync, "cuMemcpyDtoHAsync_v2", void *to, Address from, size_t bytes, Stream stream)            \
  X(memcpyDtoDAsync, "cuMemcpyDtoDAsync_v2", Address to, Address from, size_t bytes, Stream stream)          \
  X(memsetD32Async, "cuMemsetD32Async", Address to, unsigned value, size_t count, Stream stream)             \
  X(memsetD8Async, "cuMemsetD8Async", Address to, unsigned char value, size_t count, Stream stream)          \
  X(ipcGetMemHandle, "cuIpcGetMemHandle", IpcHandle *handle, Address address)                                \
  X(ipcOpenMemHandle, "cuIpcOpenMemHandle_v2", Address *address, IpcHandle handle, unsigned flags)           \
  X(ipcCloseMemHandle, "cuIpcCloseMemHandle", Address address)                                               \
  X(moduleLoadDataEx, "cuModuleLoadDataEx", Module *module, const void *image, unsigned numOptions,          \
    int *options, void **values)                                                                             \
  X(moduleUnload, "cuModuleUnload", Module module)                                                           \
  X(moduleGetFunction, "cuModuleGetFunction", Function *function, Module module, const char *name)           \
  X(funcSetAttribute, "cuFuncSetAttribute", Function function, int attribute, int value)                     \
  X(launchKernel, "cuLaunchKernel", Function function, unsigned gridX, unsigned gridY, unsigned gridZ,       \
    unsigned blockX, unsigned blockY, unsigned blockZ, unsigned sharedBytes, Stream stream,                  \
    void **parameters, void **extra)                                                                         \
  X(streamCreate, "cuStreamCreate", Stream *stream, unsigned flags)                                          \
  X(streamCreateWithPriority, "cuStreamCreateWithPriority", Stream *stream, unsigned flags, int priority)    \
  X(streamDestroy, "cuStreamDestroy_v2", Stream stream)                                                      \
  X(streamSynchronize, "cuStreamSynchronize", Stream stream)                                                 \
  X(streamWaitEvent, "cuStreamWaitEvent", Stream stream, Event event, unsigned flags)                        \
  X(streamQuery, "cuStreamQuery", Stream stream)                                                             \
  X(streamWaitValue32, "cuStreamWaitValue32_v2", Stream stream, Address at, uint32_t value, unsigned flags)  \
  X(streamWriteValue32, "cuStreamWriteValue32_v2", Stream stream, Address to, uint32_t value,                \
    unsigned flags)                                                                                          \
  X(streamBeginCapture, "cuStreamBeginCapture_v2", Stream stream, unsigned mode)                             \
  X(streamEndCapture, "cuStreamEndCapture", Stream stream, Graph *graph)                                     \
  X(graphInstantiate, "cuGraphInstantiateWithFlags", GraphExec *exec, Graph graph, unsigned long long flags) \
  X(graphLaunch, "cuGraphLaunch", GraphExec exec, Stream stream)                                             \
  X(graphDestroy, "cuGraphDestroy", Graph graph)                                                             \
  X(graphExecDestroy, "cuGraphExecDestroy", GraphExec exec)                                                  \
  X(eventCreate, "cuEventCreate", Event *event, unsigned flags)                                              \
  X(eventDestroy, "cuEventDestroy_v2", Event event)                                                          \
  X(eventRecord, "cuEventRecord", Event event, Stream stream)                                                \
  X(eventRecordWithFlags, "cuEventRecordWithFlags", Event event, Stream stream, unsigned flags)              \
  X(eventQuery, "cuEventQuery", Event event)                                                                 \
  X(eventSynchronize, "cuEventSynchronize", Event event)                                                     \
  X(eventElapsedTime, "cuEventElapsedTime", float *milliseconds, Event from, Event to)                       \
  X(tensorMapEncodeTiled, "cuTensorMapEncodeTiled", TensorMap *map, int dtype, uint32_t rank, void *address, \
    const uint64_t *dims, const uint64_t *strides, const uint32_t *box, const uint32_t *elementStrides,      \
    int interleave, int swizzle, int promotion, int outOfBounds)

//===-- cuBLASLt ------------------------------------------------------------===//

using LtStatus = int; // cublasStatus_t
using LtHandle = struct LtContext *;
using LtMatmulDesc = struct LtMatmulDescHandle *;
using LtLayout = struct LtLayoutHandle *;
using LtPreference = struct LtPreferenceHandle *;

// Opaque; may be kept and used again with the same version of the library.
struct LtAlgorithm {
  uint64_t opaque[8];
};

struct LtHeuristicResult {
  LtAlgorithm algorithm;
  size_t workspaceBytes;
  LtStatus status;
  float waves;
  int reserved[4];
};
static_assert(sizeof(LtHeuristicResult) == 96);

inline constexpr int kR32F = 0, kR16BF = 14;                     // cudaDataType_t
inline constexpr int kCompute32F = 68, kCompute32FFastTf32 = 77; // cublasComputeType_t
inline constexpr int32_t kOpN = 0, kOpT = 1;                     // cublasOperation_t
inline constexpr LtStatus kLtNotSupported = 15;

// Attributes, with their types.
inline constexpr int kMatmulTransA = 3, kMatmulTransB = 4;                 // int32_t
inline constexpr int kLayoutBatchCount = 5;                                // int32_t
inline constexpr int kLayoutBatchStride = 6;                               // int64_t
inline constexpr int kPreferenceMaxWorkspaceBytes = 1;                     // size_t
inline constexpr int kPreferenceReductionMask = 3;                         // uint32_t
inline constexpr int kPreferenceAlignmentA = 5, kPreferenceAlignmentB = 6, // uint32_t
    kPreferenceAlignmentC = 7, kPreferenceAlignmentD = 8;
// cublasLtReductionScheme_t: partial sums in place, in the compute type, in the
// type of the output.
inline constexpr uint32_t kReduceInPlace = 1, kReduceComputeType = 2, kReduceOutputType = 4;

// Settings of an algorithm, cublasLtMatmulAlgoConfigAttributes_t.
inline constexpr int kConfigSwizzling = 4, kConfigCustomOption = 5; // uint32_t
inline constexpr int kConfigClusterShape = 8;                       // uint16_t
inline constexpr int kCapMostCustomOption = 7;                      // int32_t
// cublasLtClusterShape_t with up to 16 blocks: 1x1, 2x1, 4x1, 1x2, 2x2, 4x2, 1x4, 2x4, 4x4.
inline constexpr uint16_t kClusterShapes[] = {2, 3, 4, 5, 6, 7, 8, 9, 10};

#define TXC_CUBLASLT_FUNCTIONS(X)                                                                            \
  X(create, "cublasLtCreate", LtHandle *handle)                                                              \
  X(destroy, "cublasLtDestroy", LtHandle handle)                                                             \
  X(matmulDescCreate, "cublasLtMatmulDescCreate", LtMatmulDesc *desc, int compute, int scale)                \
  X(matmulDescDestroy, "cublasLtMatmulDescDestroy", LtMatmulDesc desc)                                       \
  X(matmulDescSetAttribute, "cublasLtMatmulDescSetAttribute", LtMatmulDesc desc, int attribute,              \
    const void *value, size_t bytes)                                                                         \
  X(layoutCreate, "cublasLtMatrixLayoutCreate", LtLayout *layout, int type, uint64_t rows, uint64_t columns, \
    int64_t leadingDimension)                                                                                \
  X(layoutDestroy, "cublasLtMatrixLayoutDestroy", LtLayout layout)                                           \
  X(layoutSetAttribute, "cublasLtMatrixLayoutSetAttribute", LtLayout layout, int attribute,                  \
    const void *value, size_t bytes)                                                                         \
  X(preferenceCreate, "cublasLtMatmulPreferenceCreate", LtPreference *preference)                            \
  X(preferenceDestroy, "cublasLtMatmulPreferenceDestroy", LtPreference preference)                           \
  X(preferenceSetAttribute, "cublasLtMatmulPreferenceSetAttribute", LtPreference preference, int attribute,  \
    const void *value, size_t bytes)                                                                         \
  X(algoGetHeuristic, "cublasLtMatmulAlgoGetHeuristic", LtHandle handle, LtMatmulDesc desc, LtLayout a,      \
    LtLayout b, LtLayout c, LtLayout d, LtPreference preference, int requested, LtHeuristicResult *results,  \
    int *found)                                                                                              \
  X(algoCheck, "cublasLtMatmulAlgoCheck", LtHandle handle, LtMatmulDesc desc, LtLayout a, LtLayout b,        \
    LtLayout c, LtLayout d, const LtAlgorithm *algorithm, LtHeuristicResult *result)                         \
  X(algoConfigSetAttribute, "cublasLtMatmulAlgoConfigSetAttribute", LtAlgorithm *algorithm, int attribute,   \
    const void *value, size_t bytes)                                                                         \
  X(algoCapGetAttribute, "cublasLtMatmulAlgoCapGetAttribute", const LtAlgorithm *algorithm, int attribute,   \
    void *value, size_t bytes, size_t *written)                                                              \
  X(matmul, "cublasLtMatmul", LtHandle handle, LtMatmulDesc desc, const void *alpha, const void *a,          \
    LtLayout aLayout, const void *b, LtLayout bLayout, const void *beta, const void *c, LtLayout cLayout,    \
    void *d, LtLayout dLayout, const LtAlgorithm *algorithm, void *workspace, size_t workspaceBytes,         \
    Stream stream)

} // namespace txc::cuda

#endif // TXC_RUNTIME_DEVICE_CUDA_API_H
