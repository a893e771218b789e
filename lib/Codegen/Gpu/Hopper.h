//===- Hopper.h - What only sm_90a can do, and words of 32 bits ------------===//
//
// Kernels for Hopper are written as a few warpgroups (128 threads) with roles:
// one copies tiles from global to shared memory with the copy engine (TMA), the
// others multiply them with wgmma. They meet at mbarriers in shared memory.
//
// Shared memory is addressed by 32-bit byte addresses (Int). A tile of bf16 lies
// as panels of 64 columns: a row of a panel is 128 bytes, whose eight 16-byte
// chunks are exchanged by "chunk ^ (row % 8)" (the 128-byte swizzle of TMA and
// wgmma). Panels lie one after the other and start at a multiple of 1024 bytes.
//
// What MLIR 19 has no op for, or an op that costs registers, is inline assembly
// here. PTX ISA, chapters "mbarrier", "cp.async.bulk" and "wgmma".
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_GPU_HOPPER_H
#define TXC_CODEGEN_GPU_HOPPER_H

#include "txc/Codegen/GpuBuilder.h"

namespace txc::codegen {

/// An i32 of each thread with the operators of C; division, remainder and right
/// shift are unsigned.
struct Int {
  GpuBuilder *b = nullptr;
  mlir::Value value;
  operator mlir::Value() const { return value; }
  mlir::Value eq(Int other) const, ult(Int other) const, slt(Int other) const, sgt(Int other) const;
  mlir::Value eq(int64_t other) const, ult(int64_t other) const, slt(int64_t other) const;
};
#define TXC_INT_OPERATOR(op) Int operator op(Int a, Int b), operator op(Int a, int64_t b);
TXC_INT_OPERATOR(+)
TXC_INT_OPERATOR(-)
TXC_INT_OPERATOR(*)
TXC_INT_OPERATOR(/)
TXC_INT_OPERATOR(%)
TXC_INT_OPERATOR(&)
TXC_INT_OPERATOR(|)
TXC_INT_OPERATOR(^)
TXC_INT_OPERATOR(<<)
TXC_INT_OPERATOR(>>)
#undef TXC_INT_OPERATOR

/// Operands of a matrix product that are read across the rows of their tile.
struct Transposed {
  bool a = false, b = false;
};

class Hopper {
public:
  using Value = mlir::Value;
  using Type = mlir::Type;
  using Values = llvm::SmallVector<Value>;

  explicit Hopper(GpuBuilder &b) : b(b) {}
  GpuBuilder &b;
  static constexpr int64_t warpgroup = 128;

  //===-- Words and floats -------------------------------------------------===//
  Int constant(int64_t value);
  Int word(Value value) { return {&b, value}; }
  Int asWord(Value condition); ///< 1 or 0
  Int select(Value condition, Int a, Int b);
  Int both(Value condition, Value other); ///< 1 if both hold, else 0
  Value negative();                       ///< -infinity
  Value add(Value a, Value b), sub(Value a, Value b), mul(Value a, Value b);
  Value max(Value a, Value b);
  Value exp2(Value x), log2(Value x), reciprocal(Value x); ///< approximate, 2 ulp
  Int packBf16(Value low, Value high);
  std::pair<Value, Value> unpackBf16(Int pair);

  //===-- Where this thread is ---------------------------------------------===//
  Int thread(), blockX(), blockY(), gridX();
  /// `value`, which all lanes of the warp share, as ptxas likes to know it.
  Int uniform(Int value);
  Value shuffleXor(Value value, int64_t mask) { return b.shuffleXor(value, mask); }
  /// `value` of lane `lane`.
  Value shuffleFrom(Value value, Int lane);
  /// Ends blocks for which the condition (1 or 0) holds.
  void exitIf(Int condition);

  //===-- Control ----------------------------------------------------------===//
  void ifElse(Value condition, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise);
  /// Both branches return the values of the if.
  Values ifElse(Value condition, mlir::TypeRange types, llvm::function_ref<Values()> then,
                llvm::function_ref<Values()> otherwise);
  /// Loops over `carried` while `before` holds, returns what is then carried.
  Values whileLoop(mlir::ValueRange carried, llvm::function_ref<Value(mlir::ValueRange)> before,
                   llvm::function_ref<Values(mlir::ValueRange)> body);
  /// The same where `before` also says what `body` gets, and the loop returns.
  Values whileLoop(mlir::ValueRange carried, mlir::TypeRange passed,
                   llvm::function_ref<std::pair<Value, Values>(mlir::ValueRange)> before,
                   llvm::function_ref<Values(mlir::ValueRange)> body);

  //===-- Shared memory ----------------------------------------------------===//
  Int dynamicShared(); ///< its first byte
  std::array<Int, 4> loadWords(Int address);
  void storeWords(Int address, std::array<Int, 4> words);
  std::pair<Value, Value> loadFloats(Int address, int64_t offset);
  void storeFloats(Int address, int64_t offset, mlir::ValueRange four);
  /// Four 8 x 8 matrices of bf16, one row address per lane.
  void storeMatrices(Int address, llvm::ArrayRef<Int> four);

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

  //===-- Global memory between blocks -------------------------------------===//
  /// Address of byte `offset` (i64).
  Value at(Value pointer, Value offset);
  Value at(Value pointer, Int index, int64_t elementBytes);
  /// 16 bytes, or 4, that nobody writes; zeros if the condition is 0.
  llvm::SmallVector<Int> loadWordsIf(Value pointer, Int condition);
  Value loadFloatIf(Value pointer, Int condition);
  Int fetchAdd(Value pointer, int64_t amount);
  void storeWord(Value pointer, Int word);
  void waitForFlag(Value pointer, Int wanted); ///< acquire
  void releaseFlag(Value pointer, Int word);

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
  Values assembly(const llvm::Twine &text, const llvm::Twine &constraints, mlir::ValueRange operands,
                  mlir::TypeRange results = {}, bool memory = true);
  Values multiply(int64_t n, mlir::ValueRange sums, mlir::ValueRange a, Value b, Transposed transposed);
};

/// Values that a loop carries: `state.values()` lists where they are kept.
template <typename State> Hopper::Values pack(State state) {
  Hopper::Values packed;
  for (mlir::Value *value : state.values())
    packed.push_back(*value);
  return packed;
}
template <typename State> State unpack(State like, mlir::ValueRange packed) {
  for (auto [place, value] : llvm::zip_equal(like.values(), packed))
    *place = value;
  return like;
}

/// A ring of `stages` buffers: the present one and the parity of its barriers.
struct Ring {
  Int stage, parity;
  Ring next(Hopper &h, int64_t stages) const;
};

} // namespace txc::codegen

#endif // TXC_CODEGEN_GPU_HOPPER_H
