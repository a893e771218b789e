//===- GpuBuilder.h - Builds the body of a GPU kernel ----------------------===//
//
// A kernel phase is one llvm.func with nvvm.kernel. Its parameters are, in this
// order (txc_kernel_t): tensor maps, one address per launch argument (inputs,
// results, workspaces), and i32 scalars: the sites of its dropout, if kernels
// that differ in them share it.
//
// Pointers to global memory are !llvm.ptr<1>, to shared memory !llvm.ptr<3>.
// Thread and block numbers are i64, as all indices.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_GPUBUILDER_H
#define TXC_CODEGEN_GPUBUILDER_H

#include "txc/Codegen/Kernel.h"
#include "txc/Codegen/KernelBuilder.h"

namespace txc::codegen {

class GpuBuilder : public KernelBuilder {
public:
  /// Builds at the end of the entry block of `function`, which has `numMaps`
  /// tensor maps, `numArguments` addresses, then sites.
  GpuBuilder(mlir::LLVM::LLVMFuncOp function, const GpuTarget &target, unsigned numMaps,
             unsigned numArguments);

  static constexpr int64_t warpSize = 32;
  const GpuTarget target;
  mlir::LLVM::LLVMFuncOp function;

  //===-- Arguments and places ---------------------------------------------===//
  Value argument(unsigned index) override;
  Value tensorMap(unsigned index);
  Value site(int32_t site) override;
  Value thread(); ///< in the block, i64
  Value block();  ///< blockIdx.x, i64
  Value blocks(); ///< gridDim.x, i64
  Value lane();   ///< thread % 32
  Value warp();   ///< thread / 32
  /// Ends the kernel.
  void finish();

  //===-- Shared memory ----------------------------------------------------===//
  Type sharedPtrType();
  /// Static memory of the block, aligned to 16 bytes or more.
  Value shared(int64_t bytes, unsigned alignment = 16);
  /// The dynamic part, whose size is the launch's, aligned to 1024 bytes.
  Value dynamicShared();

  //===-- Across threads ---------------------------------------------------===//
  /// Waits for the block; memory written before it is seen after it.
  void barrier();
  /// Waits for the warp.
  void warpBarrier();
  /// `value` (32 or 64 bits) of lane (lane ^ mask).
  Value shuffleXor(Value value, int64_t mask);
  enum class Fold { Sum, Max, Min };
  Value fold(Fold fold, Value a, Value b);
  /// Folds a scalar over the lanes of the warp; all lanes get the result, in an
  /// order that does not depend on anything.
  Value warpFold(Fold fold, Value scalar);
  /// The same over the `threads` of the block, which must all be here. Uses
  /// shared memory of its own.
  llvm::SmallVector<Value> blockFold(llvm::ArrayRef<Fold> folds, llvm::ArrayRef<Value> scalars,
                                     int64_t threads);

  //===-- What the GPU does better -----------------------------------------===//
  Value fdiv(Value a, Value b) override; ///< f32: 2 ulp; 0 if |b| >= 2^126
  Value exp(Value x) override;           ///< 2 ulp for |x| < 1, |x| ulp beyond
  Value roundToBf16(Value a) override;
  /// One access of up to 16 bytes; `index` is a multiple of `lanes`, and so is the
  /// start of what it is in. `mask` must be null unless the target is a gather.
  Value loadVector(Value pointer, Value index, Type element, int64_t lanes, Value mask = {}) override;
  void storeVector(Value value, Value pointer, Value index, Type element, Value mask = {}) override;

  /// `lanes` (even) bf16 as they lie in memory, two in each i32.
  Value loadPairs(Value pointer, Value index, int64_t lanes);
  /// What loadPairs loaded, as f32.
  Value unpackPairs(Value words);
  /// The same value, of which nothing is known: what is computed from it is not
  /// computed from earlier uses.
  Value opaque(Value words);

  /// A call of an LLVM intrinsic by name.
  Value intrinsic(llvm::StringRef name, Type result, mlir::ValueRange operands);
  /// Applies `work` to each lane.
  Value perLane(Value a, llvm::function_ref<Value(Value)> work);

protected:
  std::pair<Value, Value> multiplyWide(Value a, uint32_t factor) override;

private:
  Value packBf16(Value low, Value high); ///< two f32 to i32
  const unsigned numMaps, numArguments;
  unsigned numShared = 0;
};

/// How one phase is launched.
struct GpuPhase {
  llvm::SmallVector<int64_t, 3> grid = {1, 1, 1}; ///< grid[0] of 0: one block per multiprocessor
  llvm::SmallVector<int64_t, 3> block = {128, 1, 1};
  int64_t shared = 0; ///< dynamic, bytes
  llvm::SmallVector<step::TensorMapAttr> maps;
  int64_t minBlocks = 0; ///< per multiprocessor, for the register allocator; 0: no wish
};

/// All phases of a kernel and the scratch memory they share.
struct GpuShape {
  llvm::SmallVector<GpuPhase, 2> phases;
  llvm::SmallVector<int64_t, 2> workspaceBytes;
};
mlir::FailureOr<GpuShape> describeGpuKernel(step::KernelOp kernel, const GpuTarget &target);
mlir::LogicalResult emitGpuPhase(GpuBuilder &b, step::KernelOp kernel, int64_t phase);

/// What ptxas says about a kernel.
struct KernelResources {
  int64_t registers = -1, spillBytes = -1, sharedBytes = -1;
};

} // namespace txc::codegen

#endif // TXC_CODEGEN_GPUBUILDER_H
