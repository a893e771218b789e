//===- Emitters.h - One emitter per kind of kernel -------------------------===//
//
// `describe` says how a kernel is cut into blocks, `emit` builds one phase of it
// into a function with the arguments of txc_cpu_kernel_fn and an empty entry
// block. Both see the same cut. Kernel.h has the two of attention.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_CPU_EMITTERS_H
#define TXC_CODEGEN_CPU_EMITTERS_H

#include "txc/Codegen/CpuBuilder.h"

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

KernelShape describeRowWise(const KernelBody &body, const CpuTarget &target);
mlir::LogicalResult emitRowWise(mlir::func::FuncOp function, const KernelBody &body, int64_t phase,
                                const CpuTarget &target);

KernelShape describeScatter(const KernelBody &body, const CpuTarget &target);
mlir::LogicalResult emitScatter(mlir::func::FuncOp function, const KernelBody &body, const CpuTarget &target);

mlir::LogicalResult emitReduction(mlir::func::FuncOp function, const KernelBody &body,
                                  const CpuTarget &target);

KernelShape describeTable(const KernelBody &body, const CpuTarget &target);
mlir::LogicalResult emitTable(mlir::func::FuncOp function, const KernelBody &body, const CpuTarget &target);

/// init, global_norm and adamw: kernels over the segments of the flat arena of
/// parameters. A block is one piece of one segment.
KernelShape describeFlat(step::KernelOp kernel, const CpuTarget &target);
mlir::LogicalResult emitFlat(mlir::func::FuncOp function, step::KernelOp kernel, int64_t phase,
                             const CpuTarget &target);

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

#endif // TXC_CODEGEN_CPU_EMITTERS_H
