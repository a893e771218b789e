//===- Kernel.h - From a step.kernel to functions of machine code ----------===//
//
// On the CPU every kernel phase becomes one function of type txc_cpu_kernel_fn:
//     (%arena: !llvm.ptr, %offsets: !llvm.ptr, %begin: i64, %end: i64)
// `offsets` holds one arena offset (u64) per launch argument. The function does
// blocks [begin, end) of the phase.
//
// On a GPU it becomes one kernel; its parameters are its tensor maps, one
// address per launch argument, and the sites of its dropout (GpuBuilder.h).
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_KERNEL_H
#define TXC_CODEGEN_KERNEL_H

#include "txc/Codegen/Target.h"
#include "txc/Dialect/Step/Step.h"
#include "txc/Dialect/Tx/Tx.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace txc::codegen {

/// How a kernel is cut into blocks and what scratch memory it asks for. Depends
/// on the kernel only, never on the number of threads, so that results do not.
struct KernelShape {
  llvm::SmallVector<int64_t, 2> blocks;         ///< per phase
  llvm::SmallVector<int64_t, 2> workspaceBytes; ///< per workspace
};
mlir::FailureOr<KernelShape> describeKernel(step::KernelOp kernel, const Target &target);

/// Emit the body of one phase into `function`, whose entry block has the four
/// arguments above and no terminator yet (emit the func.return too).
mlir::LogicalResult emitAttention(mlir::func::FuncOp function, step::KernelOp kernel, tx::AttentionOp op,
                                  int64_t phase, const CpuTarget &target);
mlir::LogicalResult emitAttentionVjp(mlir::func::FuncOp function, step::KernelOp kernel,
                                     tx::AttentionVjpOp op, int64_t phase, const CpuTarget &target);
mlir::LogicalResult emitDecodeAttention(mlir::func::FuncOp function, step::KernelOp kernel,
                                        tx::DecodeAttentionOp op, const CpuTarget &target);
/// Blocks and workspaces of the attention kernels.
KernelShape describeAttention(tx::AttentionOp op, const CpuTarget &target);
KernelShape describeAttentionVjp(tx::AttentionVjpOp op, const CpuTarget &target);
KernelShape describeDecodeAttention(tx::DecodeAttentionOp op);

} // namespace txc::codegen

#endif // TXC_CODEGEN_KERNEL_H
