//===- Emitters.h - One emitter per kind of kernel -------------------------===//
//
// `describe` says how a kernel is cut into blocks, `emit` builds one phase of it
// into a function with the arguments of txc_cpu_kernel_fn and an empty entry
// block. Both see the same cut. Kernel.h has the two of attention.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_CPU_EMITTERS_H
#define TXC_CODEGEN_CPU_EMITTERS_H

#include "../KernelBody.h"
#include "txc/Codegen/CpuBuilder.h"

namespace txc::codegen {

KernelShape describeRowWise(const KernelBody &body, const CpuTarget &target);
mlir::LogicalResult emitRowWise(mlir::func::FuncOp function, const KernelBody &body, int64_t phase,
                                const CpuTarget &target);

KernelShape describeScatter(const KernelBody &body, const CpuTarget &target);
mlir::LogicalResult emitScatter(mlir::func::FuncOp function, const KernelBody &body, const CpuTarget &target);

mlir::LogicalResult emitReduction(mlir::func::FuncOp function, const KernelBody &body,
                                  const CpuTarget &target);

KernelShape describeTable(const KernelBody &body, const CpuTarget &target);
mlir::LogicalResult emitTable(mlir::func::FuncOp function, const KernelBody &body, const CpuTarget &target);

/// init, global_norm, gradient_sums and adamw: kernels over the segments of the flat
/// arena of parameters. A block is one piece of one segment. gradient_stats is one
/// block.
KernelShape describeFlat(step::KernelOp kernel, const CpuTarget &target);
mlir::LogicalResult emitFlat(mlir::func::FuncOp function, step::KernelOp kernel, int64_t phase,
                             const CpuTarget &target);

} // namespace txc::codegen

#endif // TXC_CODEGEN_CPU_EMITTERS_H
