//===- AttentionTiles.h - Small products and block copies for attention ----===//
//
// Attention works on square blocks of queries and keys that lie in scratch
// memory, padded with zeros to whole vectors, so that products need no masks.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_CPU_ATTENTIONTILES_H
#define TXC_CODEGEN_CPU_ATTENTIONTILES_H

#include "txc/Codegen/CpuBuilder.h"

namespace txc::codegen {

/// Queries, and keys, per block.
constexpr int64_t attentionBlock = 64;

/// How many accumulators of a product are held in registers.
struct TileSize {
  int64_t rows, vectors;
};
TileSize getTileSize(const CpuTarget &target, int64_t vectors);

using Range = std::pair<mlir::Value, mlir::Value>;

/// c[r, n] = sum over k of a[r, k] * b[k, n], for n < width. All three lie in
/// scratch memory; a's elements are broadcast, so that it may lie in any order;
/// rows of b and c are contiguous.
struct BlockProduct {
  mlir::Value a;
  int64_t aRow, aColumn; ///< elements from a row, a column, to the next
  mlir::Value b;
  int64_t bRow;
  mlir::Value c;
  int64_t cRow;
  int64_t width; ///< a multiple of the vector
  /// The rows to compute for the columns from a given one on; multiples of 8.
  llvm::function_ref<Range(int64_t column)> rows;
  /// The k to sum over for 8 (or fewer) rows from a given one on.
  llvm::function_ref<Range(mlir::Value row)> ks;
  bool accumulate = false; ///< add to c
  mlir::Value rowScale;    ///< if given, c[r, :] is multiplied by rowScale[r] first
};
void emitBlockProduct(CpuBuilder &b, const BlockProduct &product);

/// A block of rows of a tensor in the arena: element (r, n) is
/// pointer[index + r * stride + n], rows [0, valid) exist.
struct MemoryBlock {
  mlir::Value pointer, index;
  int64_t stride;
  mlir::Value valid;
  int64_t width;
};
/// to[r, n] = block[r, n]; 0 for rows that do not exist and up to the padded width.
void emitCopyIn(CpuBuilder &b, const MemoryBlock &block, mlir::Value to);
/// to[n, r] = block[r, n] * scale, rows of `to` being attentionBlock elements.
void emitTransposeIn(CpuBuilder &b, const MemoryBlock &block, mlir::Value to, double scale = 1.0);
/// block[r, n] = or += from[r, n] * rowScale[r] for rows that exist.
void emitCopyOut(CpuBuilder &b, mlir::Value from, const MemoryBlock &block, bool accumulate,
                 mlir::Value rowScale = {});
/// pointer[0, count) = 0, `count` being a multiple of the vector.
void emitZero(CpuBuilder &b, mlir::Value pointer, int64_t count);

/// 2^x for x <= 0, 2 ulp; 0 below -125.
mlir::Value emitExp2(CpuBuilder &b, mlir::Value x);

/// Sizes of an attention and where its operands are in the launch's arguments.
struct AttentionSizes {
  int64_t batch, length, heads, kvHeads, headDim;
  int64_t padded;  ///< headDim rounded up to whole vectors
  int64_t rowSize; ///< of qkv: (heads + 2 kvHeads) * headDim
  int64_t group() const { return heads / kvHeads; }
  int64_t blocksPerHead() const { return (length + attentionBlock - 1) / attentionBlock; }
};
AttentionSizes getAttentionSizes(mlir::Value qkv, int64_t heads, int64_t kvHeads, const CpuTarget &target);

/// The place of an operand of the kernel's op, or of its result, among the
/// launch's arguments; none for a result that the kernel does not yield.
unsigned getInputArgument(mlir::Value operand);
std::optional<unsigned> getResultArgument(step::KernelOp kernel, mlir::Value result);

} // namespace txc::codegen

#endif // TXC_CODEGEN_CPU_ATTENTIONTILES_H
