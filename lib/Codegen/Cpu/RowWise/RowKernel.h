//===- RowKernel.h - Builds one row of a row-wise kernel -------------------===//
//
// The function loops over rows; within a row, the ops of the body are visited
// in program order, each by its rule (emit, below):
//
// - A row value is not computed when its op is visited. It is a closure from a
//   chunk of columns to a vector. Ops compose closures, so a chain of pointwise
//   ops becomes one expression per chunk.
// - A reduction needs all columns now: its loop is emitted at once. Rows that it
//   reads and that are needed again after it are pinned: the loop also writes
//   them to memory, and the closure becomes a load.
// - At the end of the row one loop stores all row results. In each chunk all
//   loads come before all stores, so a result may share an operand's buffer.
// - A sum over rows is a closure too; the last loop adds it to this block's row
//   of a workspace, and the second phase of the kernel adds the blocks in order.
//
// Rows of width 2F that tx.swiglu takes apart are visited as two segments: a
// chunk of columns below F together with the chunk `shift` = F further on.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_CPU_ROWWISE_ROWKERNEL_H
#define TXC_CODEGEN_CPU_ROWWISE_ROWKERNEL_H

#include "../Emitters.h"

namespace txc::codegen {

/// Adjacent columns that are computed as one vector.
struct Chunk {
  Chunk(mlir::Value column, int64_t lanes, mlir::Value mask = {})
      : column(column), lanes(lanes), mask(mask) {}
  mlir::Value column; ///< the first, i64
  int64_t lanes;
  mlir::Value mask; ///< null if all lanes are columns
  llvm::DenseMap<std::pair<mlir::Value, int64_t>, mlir::Value> cache;
};

/// How a row-wise kernel is laid out; depends on its body and the target only.
struct RowPlan {
  RowPlan(const KernelBody &body, const CpuTarget &target);

  int64_t rows = 0;
  int64_t rowsPerBlock = 0;
  int64_t blocks = 0;
  int64_t lanes = 0;                            ///< of a chunk
  llvm::DenseMap<int64_t, int64_t> segments;    ///< width of a gated row -> width of its halves
  llvm::SmallVector<mlir::OpResult> columnSums; ///< one workspace each
  llvm::SmallVector<unsigned> columnResults;    ///< results made by the second phase
  /// Width of the columns that one chunk loop visits for rows `width` wide.
  int64_t baseOf(int64_t width) const;
};

/// True for sums over rows and for what is added to them.
bool isColumnValue(mlir::Value value);

class RowKernel {
public:
  using Value = mlir::Value;
  using Closure = std::function<Value(Chunk &, int64_t shift)>;
  struct RowMemory {
    Value pointer; ///< column 0 of this row
    mlir::Type element;
  };
  enum class Fold { Sum, Max };

  RowKernel(CpuBuilder &builder, const KernelBody &body, const RowPlan &plan);

  /// Emits the work on all rows of blocks [begin, end).
  mlir::LogicalResult emitRows();

  //===-- For the rules ----------------------------------------------------===//
  CpuBuilder &b;

  /// A row value at columns chunk.column + shift on.
  Value at(Value value, Chunk &chunk, int64_t shift = 0);
  /// A 1-D operand at the same columns.
  Value columnAt(Value value, Chunk &chunk, int64_t shift = 0);
  /// A value of one element per row, or of one element; a scalar.
  Value scalar(Value value);
  /// A scalar as a vector.
  Value spread(Value scalar, const Chunk &chunk) { return b.splat(scalar, chunk.lanes); }
  /// Makes sure that a row lies in memory.
  RowMemory inMemory(Value value);
  /// This row of an operand with RowAccess::Periodic.
  RowMemory periodic(Value value);
  /// Row `index` (i64) of an operand with RowAccess::Gather.
  RowMemory tableRow(Value value, Value index);
  /// Number of the row, i64.
  Value rowIndex() { return row; }
  CpuBuilder::Generator generator(Value hyper) { return generators.lookup(hyper); }
  Value load(const RowMemory &memory, Chunk &chunk, int64_t shift);

  void define(Value result, Closure closure) { closures[result] = std::move(closure); }
  void define(Value result, RowMemory memory) { memories[result] = memory; }
  void defineScalar(Value result, Value scalar) { scalars[result] = scalar; }
  void defineColumnSum(Value result, Closure closure) { columnSums.push_back({result, std::move(closure)}); }

  /// Folds all columns of rows `width` wide. `step` gets one accumulator per
  /// element of `folds` and returns the next ones. `again`: row values that
  /// `step` reads and that later ops read again.
  llvm::SmallVector<Value>
  reduce(int64_t width, llvm::ArrayRef<Fold> folds, llvm::ArrayRef<Value> again,
         llvm::function_ref<llvm::SmallVector<Value>(Chunk &, int64_t shift, mlir::ValueRange)> step);

private:
  using ChunkBody =
      llvm::function_ref<void(Chunk &, unsigned unrolled, llvm::SmallVectorImpl<Value> &carried)>;
  /// Visits columns [0, base) in chunks.
  llvm::SmallVector<Value> forChunks(int64_t base, unsigned unroll, mlir::ValueRange init, ChunkBody body);
  void readArguments();
  mlir::LogicalResult emitRow();
  void storeResults();
  /// Where a pinned row is kept; this row of a result, if that is safe.
  RowMemory pinTarget(Value value);
  Value rowAddress(Value pointer, Value index, Value value);

  const KernelBody &body;
  const RowPlan &plan;
  Value row, block;
  llvm::SmallVector<Value> arguments; ///< pointers, by argument number
  llvm::DenseMap<Value, CpuBuilder::Generator> generators;
  llvm::DenseMap<Value, Value> buffers;   ///< scratch rows, by pinned value
  llvm::DenseMap<Value, Value> constants; ///< scalars, the same for all rows
  // Of the current row:
  llvm::DenseMap<Value, Closure> closures;
  llvm::DenseMap<Value, RowMemory> memories;
  llvm::DenseMap<Value, Value> scalars;
  llvm::SmallVector<std::pair<Value, Closure>> columnSums;
  llvm::SmallVector<bool> stored; ///< by result: already written
};

//===-- Rules, one per op --------------------------------------------------===//
mlir::LogicalResult emit(RowKernel &k, tx::AddOp op);
mlir::LogicalResult emit(RowKernel &k, tx::AddBiasOp op);
mlir::LogicalResult emit(RowKernel &k, tx::BiasVjpOp op);
mlir::LogicalResult emit(RowKernel &k, tx::ActivationOp op);
mlir::LogicalResult emit(RowKernel &k, tx::ActivationVjpOp op);
mlir::LogicalResult emit(RowKernel &k, tx::SwigluOp op);
mlir::LogicalResult emit(RowKernel &k, tx::SwigluVjpOp op);
mlir::LogicalResult emit(RowKernel &k, tx::DropoutOp op);
mlir::LogicalResult emit(RowKernel &k, tx::CastOp op);
mlir::LogicalResult emit(RowKernel &k, tx::RmsNormOp op);
mlir::LogicalResult emit(RowKernel &k, tx::RmsNormVjpOp op);
mlir::LogicalResult emit(RowKernel &k, tx::LayerNormOp op);
mlir::LogicalResult emit(RowKernel &k, tx::LayerNormVjpOp op);
mlir::LogicalResult emit(RowKernel &k, tx::EmbeddingOp op);
mlir::LogicalResult emit(RowKernel &k, tx::AddPositionOp op);
mlir::LogicalResult emit(RowKernel &k, tx::RopeOp op);
mlir::LogicalResult emit(RowKernel &k, tx::CrossEntropyOp op);
mlir::LogicalResult emit(RowKernel &k, tx::CrossEntropyVjpOp op);
mlir::LogicalResult emit(RowKernel &k, tx::MeanLossVjpOp op);

/// Lanes with which tx.rope works without gathers, at most `most`; 0 if none.
int64_t ropeLanes(tx::RopeOp op, int64_t most);

} // namespace txc::codegen

#endif // TXC_CODEGEN_CPU_ROWWISE_ROWKERNEL_H
