//===- KernelBody.h - What a kernel computes -------------------------------===//
#ifndef TXC_CODEGEN_KERNELBODY_H
#define TXC_CODEGEN_KERNELBODY_H

#include "txc/Dialect/Step/Step.h"
#include "txc/Dialect/Tx/Tx.h"

namespace txc::codegen {

/// The body of a kernel that came from a tx.kernel: arguments are the inputs,
/// the terminator's operands the results.
struct KernelBody {
  explicit KernelBody(step::KernelOp kernel)
      : kernel(kernel), block(&kernel.getBody().front()), yield(block->getTerminator()),
        shared(kernel.getInplace()) {}

  unsigned numInputs() const { return block->getNumArguments(); }
  unsigned numResults() const { return yield->getNumOperands(); }
  /// Number of the launch argument that result `i` is written to.
  unsigned resultArgument(unsigned i) const { return numInputs() + i; }
  unsigned workspaceArgument(unsigned i) const { return numInputs() + numResults() + i; }
  /// The input whose buffer result `i` shares, or -1.
  int64_t inplace(unsigned i) const { return i < shared.size() ? shared[i] : -1; }
  /// The one op of type Op, or null.
  template <typename Op> Op only() const {
    auto ops = block->getOps<Op>();
    return ops.empty() ? Op() : *ops.begin();
  }

  step::KernelOp kernel;
  mlir::Block *block;
  mlir::Operation *yield;
  llvm::ArrayRef<int64_t> shared;
};

inline int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Element type of a tensor value.
inline mlir::Type elementOf(mlir::Value value) {
  return mlir::cast<mlir::RankedTensorType>(value.getType()).getElementType();
}
/// Number of elements of a tensor value.
inline int64_t countOf(mlir::Value value) {
  return mlir::cast<mlir::RankedTensorType>(value.getType()).getNumElements();
}
/// Innermost size of a tensor value.
inline int64_t widthOf(mlir::Value value) {
  auto type = mlir::cast<mlir::RankedTensorType>(value.getType());
  return type.getRank() ? type.getShape().back() : 1;
}

} // namespace txc::codegen

#endif // TXC_CODEGEN_KERNELBODY_H
