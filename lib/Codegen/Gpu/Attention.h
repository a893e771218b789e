//===- Attention.h - What the attention kernels of a GPU share -------------===//
//
// bf16 with a head of a multiple of 8 elements goes to the tensor cores: to those
// of sm_90a (AttentionForward.cpp, AttentionBackward.cpp) if the head has at most
// 128, else to what all GPUs from sm_80 on have (AttentionAmpere.cpp). Everything
// else goes to AttentionPlain.cpp, which is slower and takes any head up to 256.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_GPU_ATTENTION_H
#define TXC_CODEGEN_GPU_ATTENTION_H

#include "../KernelBody.h"
#include "Hopper.h"

namespace txc::codegen::gpu {

/// Sizes of an attention and of its tiles, and where its operands are.
struct Attention {
  Attention(tx::AttentionOp op, const KernelBody &body);
  Attention(tx::AttentionVjpOp op, const KernelBody &body);

  int64_t batch, length, heads, kvHeads, headDim;
  mlir::Type element;
  double dropout;
  int32_t site;
  std::optional<unsigned> hyper;                   ///< launch arguments
  unsigned qkv = 0, output = 0, lse = 0, grad = 0; ///< likewise; a result that
  bool writesLse = true, writesOutput = true;      ///< is not yielded is not written
  unsigned qkvGrad = 0, workspace = 0;             ///< the first workspace

  /// A tx.rope of the gradients of queries and keys, in the kernel that makes them.
  struct Rotation {
    unsigned cos, sin; ///< launch arguments
    bool interleaved, inverse;
  };
  std::optional<Rotation> rotation;

  int64_t group() const { return heads / kvHeads; }
  int64_t rowHeads() const { return heads + 2 * kvHeads; } ///< of a row of qkv
  int64_t elements() const { return batch * heads * length * length; }

  //===-- Tiles of the tensor cores ----------------------------------------===//
  /// Rows of a tile of keys; T is padded to it in the workspaces.
  static constexpr int64_t tileRows = 128;
  /// The head in whole panels of 64 columns. TMA fills what is beyond the head
  /// with zeros and does not store it.
  int64_t panels() const { return headDim <= 64 ? 1 : 2; }
  int64_t padded() const { return 64 * panels(); }
  /// Steps of 16 along the head that hold something.
  int64_t headSteps() const { return (headDim + 15) / 16; }
  int64_t keyBlocks() const { return (length + tileRows - 1) / tileRows; }
  int64_t paddedLength() const { return keyBlocks() * tileRows; }

  /// Boxes of 64 columns of one head and `rows` positions.
  step::TensorMapAttr qkvMap(unsigned argument, int64_t rows) const;    ///< of [B, T, rowHeads, D]
  step::TensorMapAttr outputMap(unsigned argument, int64_t rows) const; ///< of [B, T, heads, D]

private:
  Attention(mlir::Value qkv, mlir::Value hyper, int64_t heads, int64_t kvHeads, double dropout, int32_t site);
  step::TensorMapAttr map(unsigned argument, int64_t mapHeads, int64_t rows) const;
};

enum class AttentionPath { Hopper, Ampere, Plain };
AttentionPath choosePath(const Attention &attention, const GpuTarget &target);

/// The order in which persistent blocks take tiles: `perHead` tiles of each of
/// `heads` heads, heads in groups of `groupSize` whose operands stay in L2
/// together. Within a group tile number 0 of all heads comes first.
struct Schedule {
  int64_t heads, perHead, groupSize;
  int64_t tiles() const { return heads * perHead; }
  struct Place {
    Int tile, head;
  };
  Place decode(Words &h, Int number) const;
};

/// The dot product of two rows of bf16, of which each of `lanes` adjacent lanes has
/// 16 bytes; all of them get it.
mlir::Value dotAcross(Words &h, llvm::ArrayRef<Int> x, llvm::ArrayRef<Int> y, int64_t lanes);

/// A tile as products (mma.sync, wgmma) leave it in the registers of a warp: 16
/// rows, of which a thread has r = lane / 4 (half 0) and r + 8 (half 1), and of
/// every 8 columns 2 * (lane % 4) (e = 0) and the one after it (e = 1).
struct Fragment {
  using Values = Words::Values;
  static int64_t index(int64_t half, int64_t j, int64_t e) { return 4 * j + 2 * half + e; }
  static void forEach(const Values &tile, llvm::function_ref<void(int64_t half, int64_t j, int64_t e)> visit);
  /// As the next product wants its register operand: for 16 columns, columns c,
  /// c + 1 of both rows, then columns c + 8, c + 9.
  static llvm::SmallVector<Int> pack(Words &h, const Values &tile);
  /// -infinity where row + `distance` < column, or > column: `distance` is that of
  /// the thread's first element.
  static void hideColumnsAfter(Words &h, Values &scores, Int distance);
  static void hideColumnsBefore(Words &h, Values &scores, Int distance);
};

/// The angles of a fragment that holds one head of queries or keys, as
/// `attention.rotation` says. `position` is that of the thread's upper row, `column`
/// its first column.
class Rotator {
public:
  Rotator(Words &h, const Attention &attention, Int position, Int column);
  /// Loads all angles, for many heads; else each is loaded where it is used.
  void load();
  /// Turns the rows of a tile.
  void rotate(Words::Values &tile);

private:
  using Value = mlir::Value;
  /// Cosines and sines of the pairs that a thread has among eight columns.
  struct Angles {
    llvm::SmallVector<Value, 2> cos, sin;
  };
  Angles angles(int64_t half, int64_t j);

  Words &h;
  const Attention &attention;
  Int column;
  std::array<Value, 2> cos, sin; ///< rows of the tables
  llvm::SmallVector<Angles> loaded;
};

/// Maximum and total of the two rows of a thread; the total is of this thread's
/// columns only until `finish`.
struct Softmax {
  using Value = mlir::Value;
  std::array<Value, 2> maximum, total;
  std::array<Value, 2> rescale; ///< of what was summed before; empty for a first block

  /// Turns scores into probabilities, relative to the new maximum. `scale` has
  /// log2(e) in it.
  static Softmax update(Words &h, Words::Values &scores, Value scale, const Softmax *before);
  struct Ends {
    std::array<Value, 2> factor, logSum; ///< of the sums; the log-sum-exp
  };
  Ends finish(Words &h, Value scale, double dropoutScale) const;
};

/// What dropout keeps of the matrix of probabilities, element by element.
class DropoutMask {
public:
  DropoutMask(Words &h, const Attention &attention);
  explicit operator bool() const { return active; }
  double scale() const { return 1 / (1 - attention.dropout); }
  /// Number of element (row, column) of the square of head `batchHead`.
  mlir::Value element(Int batchHead, Int row, Int column);
  /// Whether the element `offset` after `element` is kept.
  mlir::Value keeps(mlir::Value element, int64_t offset);
  /// Zeroes what is not kept of probabilities whose rows are queries.
  void drop(Words::Values &probabilities, Int batchHead, Int row, Int column);

private:
  Words &h;
  const Attention &attention;
  bool active, wide;
  KernelBuilder::Generator generator;
  mlir::Value siteWord;
};

//===-- Emitters ------------------------------------------------------------===//
GpuShape describeForward(const Attention &attention, const GpuTarget &target);
void emitForward(GpuBuilder &b, const Attention &attention);
GpuShape describeBackward(const Attention &attention, const GpuTarget &target);
void emitBackward(GpuBuilder &b, const Attention &attention, int64_t phase);
GpuShape describeAmpereForward(const Attention &attention, const GpuTarget &target);
void emitAmpereForward(GpuBuilder &b, const Attention &attention);
GpuShape describeAmpereBackward(const Attention &attention, const GpuTarget &target);
void emitAmpereBackward(GpuBuilder &b, const Attention &attention, int64_t phase);
GpuShape describePlainForward(const Attention &attention);
void emitPlainForward(GpuBuilder &b, const Attention &attention);
GpuShape describePlainBackward(const Attention &attention);
void emitPlainBackward(GpuBuilder &b, const Attention &attention, int64_t phase);

} // namespace txc::codegen::gpu

#endif // TXC_CODEGEN_GPU_ATTENTION_H
