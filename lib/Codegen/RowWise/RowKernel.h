//===- RowKernel.h - Builds one row of a row-wise kernel -------------------===//
//
// The ops of the body are visited in program order, each by its rule (emit,
// below), for one row:
//
// - A row value is not computed when its op is visited. It is a closure from a
//   chunk of columns to a vector. Ops compose closures, so a chain of pointwise
//   ops becomes one expression per chunk.
// - A reduction needs all columns now: its loop is emitted at once.
// - A sum over rows is a closure too; partial sums of some rows go to a
//   workspace, and the second phase of the kernel adds those in order.
//
// How rows and columns are spread over threads, and where rows stay that are
// needed again after a reduction, is the target's part: Cpu/RowWise.cpp,
// Gpu/RowWise.cpp.
//
// Rows of width 2F that tx.swiglu takes apart are visited as two segments: a
// chunk of columns below F together with the chunk `shift` = F further on.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_ROWWISE_ROWKERNEL_H
#define TXC_CODEGEN_ROWWISE_ROWKERNEL_H

#include "../KernelBody.h"
#include "txc/Codegen/KernelBuilder.h"

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

/// The rows and columns of a kernel, whatever the target.
struct RowLayout {
  explicit RowLayout(const KernelBody &body);

  int64_t rows = 0;
  llvm::DenseMap<int64_t, int64_t> segments;    ///< width of a gated row -> width of its halves
  llvm::SmallVector<mlir::OpResult> columnSums; ///< one workspace each
  llvm::SmallVector<unsigned> columnResults;    ///< results made by the second phase
  /// Width of the columns that one chunk loop visits for rows `width` wide.
  int64_t baseOf(int64_t width) const;
};

/// How an operand is read and a result written.
tx::RowAccess accessOf(mlir::OpOperand &use);
tx::RowAccess accessOf(mlir::OpResult result);

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

  virtual ~RowKernel() = default;

  //===-- For the rules ----------------------------------------------------===//
  KernelBuilder &b;

  /// A row value at columns chunk.column + shift on.
  Value at(Value value, Chunk &chunk, int64_t shift = 0);
  /// A 1-D operand at the same columns.
  Value columnAt(Value value, Chunk &chunk, int64_t shift = 0);
  /// A value of one element per row, or of one element; a scalar.
  Value scalar(Value value);
  /// A scalar as a vector.
  Value spread(Value scalar, const Chunk &chunk) { return b.splat(scalar, chunk.lanes); }
  /// Makes sure that a row lies in memory.
  virtual RowMemory inMemory(Value value) = 0;
  /// The same, where it stays until the last result of the row is computed.
  virtual RowMemory inStableMemory(Value value) { return inMemory(value); }
  /// This row of an operand with RowAccess::Periodic.
  RowMemory periodic(Value value);
  /// Row `index` (i64) of an operand with RowAccess::Gather.
  RowMemory tableRow(Value value, Value index);
  /// Number of the row, i64.
  Value rowIndex() { return row; }
  KernelBuilder::Generator generator(Value hyper) { return generators.lookup(hyper); }
  virtual Value load(const RowMemory &memory, Chunk &chunk, int64_t shift);

  void define(Value result, Closure closure) { closures[result] = std::move(closure); }
  void define(Value result, RowMemory memory) { memories[result] = memory; }
  void defineScalar(Value result, Value scalar) { scalars[result] = scalar; }
  void defineColumnSum(Value result, Closure closure) { columnSums.push_back({result, std::move(closure)}); }

  /// Folds all columns of rows `width` wide. `step` gets one accumulator per
  /// element of `folds` and returns the next ones. `again`: row values that
  /// `step` reads and that later ops read again.
  virtual llvm::SmallVector<Value>
  reduce(int64_t width, llvm::ArrayRef<Fold> folds, llvm::ArrayRef<Value> again,
         llvm::function_ref<llvm::SmallVector<Value>(Chunk &, int64_t shift, mlir::ValueRange)> step) = 0;

  /// log(sum(exp(row))), a scalar.
  virtual Value logSumExp(Value value);

protected:
  RowKernel(KernelBuilder &builder, const KernelBody &body, const RowLayout &layout);

  /// Reads what is the same for all rows.
  mlir::LogicalResult readConstants();
  /// Visits the ops of the body for `row`.
  mlir::LogicalResult visitRow();
  Value rowAddress(Value pointer, Value index, Value value);

  const KernelBody &body;
  const RowLayout &layout;
  Value row;
  llvm::SmallVector<Value> arguments; ///< pointers, by argument number
  // Of the current row:
  llvm::DenseMap<Value, RowMemory> memories;
  llvm::DenseMap<Value, Value> scalars;
  llvm::SmallVector<std::pair<Value, Closure>> columnSums;

private:
  void readArguments();

  llvm::DenseMap<Value, KernelBuilder::Generator> generators;
  llvm::DenseMap<Value, Value> constants;  ///< scalars, the same for all rows
  llvm::DenseMap<Value, Closure> closures; ///< of the current row
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
mlir::LogicalResult emit(RowKernel &k, tx::NormalizedOp op);
mlir::LogicalResult emit(RowKernel &k, tx::EmbeddingOp op);
mlir::LogicalResult emit(RowKernel &k, tx::AddPositionOp op);
mlir::LogicalResult emit(RowKernel &k, tx::RopeOp op);
mlir::LogicalResult emit(RowKernel &k, tx::CrossEntropyOp op);
mlir::LogicalResult emit(RowKernel &k, tx::CrossEntropyVjpOp op);
mlir::LogicalResult emit(RowKernel &k, tx::MeanLossVjpOp op);
mlir::LogicalResult emit(RowKernel &k, tx::CausalSoftmaxOp op);
mlir::LogicalResult emit(RowKernel &k, tx::CausalSoftmaxVjpOp op);

/// Lanes with which tx.rope works without gathers, at most `most`; 0 if none.
int64_t ropeLanes(tx::RopeOp op, int64_t most);

} // namespace txc::codegen

#endif // TXC_CODEGEN_ROWWISE_ROWKERNEL_H
