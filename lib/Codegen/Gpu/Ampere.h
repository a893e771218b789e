//===- Ampere.h - What tensor cores from sm_80 on can do -------------------===//
//
// Products of small matrices by the threads of one warp (mma.sync), their operands
// read from shared memory as 8 x 8 matrices (ldmatrix), which copies without
// registers fill (cp.async).
//
// A tile of bf16 lies row by row, each followed by 16 bytes: as rows are whole
// 32 bytes, the same chunk of eight rows is then in different banks.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_GPU_AMPERE_H
#define TXC_CODEGEN_GPU_AMPERE_H

#include "Words.h"

namespace txc::codegen {

class Ampere : public Words {
public:
  using Words::Words;

  //===-- Copies from global to shared memory ------------------------------===//
  /// Starts to copy 16, or 4, bytes; `bytes` of them are read, the others are 0.
  void copyChunk(Int to, int64_t toOffset, Value from, int64_t fromOffset, Int bytes);
  /// The same if the condition (1 or 0) holds. No branch: a warp that parted there
  /// would have to meet again before its next product.
  void copyChunkIf(Int condition, Int to, int64_t toOffset, Value from, int64_t fromOffset, Int bytes);
  void copyFloat(Int to, Value from, Int bytes);
  void commitCopies();
  /// Until this thread's copies are done but for the last `pending` commits.
  void waitCopies(int64_t pending);

  //===-- Shared memory ----------------------------------------------------===//
  void storeShared(Int address, int64_t offset, Int word);
  /// Four 8 x 8 matrices of bf16: lane l gives the address of row l % 8 of matrix
  /// l / 8 and gets elements 2 * (l % 4) and the next of row l / 4 of each, or of
  /// column l / 4 (transposed).
  std::array<Int, 4> loadMatrices(Int address, int64_t offset, bool transposed);

  //===-- Products ---------------------------------------------------------===//
  /// sums[16, 8] += a[16, 16] * b[16, 8]; sums are four values of a Fragment, a is
  /// four words of Fragment::pack, b two matrices along its 16 rows.
  void multiply(llvm::MutableArrayRef<Value> sums, llvm::ArrayRef<Int> a, Int b0, Int b1);
};

} // namespace txc::codegen

#endif // TXC_CODEGEN_GPU_AMPERE_H
