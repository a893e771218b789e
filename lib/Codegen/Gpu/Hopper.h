//===- Hopper.h - What only sm_90a can do ----------------------------------===//
//
// Kernels for Hopper are written as a few warpgroups (128 threads) with roles:
// one copies tiles from global to shared memory with the copy engine (TMA), the
// others multiply them with wgmma. They meet at mbarriers in shared memory.
//
// A tile of bf16 lies as panels of 64 columns: a row of a panel is 128 bytes, whose
// eight 16-byte chunks are exchanged by "chunk ^ (row % 8)" (the 128-byte swizzle
// of TMA and wgmma). Panels lie one after the other and start at a multiple of 1024
// bytes.
//
// PTX ISA, chapters "mbarrier", "cp.async.bulk" and "wgmma".
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_GPU_HOPPER_H
#define TXC_CODEGEN_GPU_HOPPER_H

#include "Words.h"

namespace txc::codegen {

/// Operands of a matrix product that are read across the rows of their tile.
struct Transposed {
  bool a = false, b = false;
};

class Hopper : public Words {
public:
  using Words::Words;
  static constexpr int64_t warpgroup = 128;

  //===-- Barriers ---------------------------------------------------------===//
  void initBarrier(Int barrier, int64_t arrivals);
  void fenceBarrierInit(); ///< makes new barriers known to the copy engine
  void wait(Int barrier, Int parity);
  void arrive(Int barrier);
  void arriveIf(Int barrier, Int condition);
  /// Arrives, and lets the phase end after that many copied bytes as well.
  void arriveExpecting(Int barrier, int64_t bytes);
  /// Named barriers 1 to 15 of the block.
  void syncNamed(Int name, int64_t threads);
  void arriveNamed(Int name, int64_t threads);
  /// Shared memory written by stores is read by wgmma or the copy engine next.
  void fenceSharedForAsync();
  /// The same for global memory.
  void fenceGlobalForAsync();
  /// Gives registers back (raise: takes them), all threads of a warpgroup.
  void setRegisters(int64_t count, bool raise);

  //===-- The copy engine --------------------------------------------------===//
  void loadTile(Int to, Value map, llvm::ArrayRef<Int> coordinates, Int barrier);
  void storeTile(Int from, Value map, llvm::ArrayRef<Int> coordinates);
  void loadBytes(Int to, Value from, int64_t bytes, Int barrier);
  void storeBytes(Value to, Int from, int64_t bytes);
  void addFloats(Value to, Int from, int64_t bytes); ///< to[i] += from[i] in L2
  void commitStores();
  /// Until at most `pending` groups are not done (`read`: still read memory).
  void waitStores(int64_t pending, bool read);

  //===-- Between blocks and threads ---------------------------------------===//
  void waitForFlag(Value pointer, Int wanted); ///< acquire
  void releaseFlag(Value pointer, Int word);
  /// Four 8 x 8 matrices of bf16, one row address per lane.
  void storeMatrices(Int address, llvm::ArrayRef<Int> four);

  //===-- wgmma ------------------------------------------------------------===//
  /// Describes a swizzled operand in shared memory. `leading` is the distance of
  /// panels of an operand that is read across its rows (transposed), in bytes.
  Value descriptor(Int address, int64_t leading = 16);
  Value advance(Value descriptor, int64_t bytes);
  void wgmmaFence();
  void wgmmaCommit();
  /// sums[64, n] += a[64, 16] * b[16, n]: a from shared memory or, four words
  /// each thread, from registers. Empty sums are zeros. A thread has rows
  /// 16 * warp + lane / 4 (+ 8) and of every 8 columns lane % 4 * 2 (+ 1):
  /// element 4 * (column / 8) + 2 * (row is the upper) + column % 2.
  Values wgmma(int64_t n, mlir::ValueRange sums, Value a, Value b, Transposed transposed = {});
  Values wgmma(int64_t n, mlir::ValueRange sums, llvm::ArrayRef<Int> a, Value b, Transposed transposed = {});
  /// Until at most `pending` committed groups are not done. Returns `values`,
  /// which are not touched before that; `held` stay alive until then.
  Values wgmmaWait(int64_t pending, mlir::ValueRange values, llvm::ArrayRef<Int> held = {});

private:
  Values multiply(int64_t n, mlir::ValueRange sums, mlir::ValueRange a, Value b, Transposed transposed);
};

/// A ring of `stages` buffers: the present one and the parity of its barriers.
struct Ring {
  Int stage, parity;
  Ring next(Hopper &h, int64_t stages) const;
};

} // namespace txc::codegen

#endif // TXC_CODEGEN_GPU_HOPPER_H
