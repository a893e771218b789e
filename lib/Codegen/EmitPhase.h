//===- EmitPhase.h - Steps of tx-codegen-emit-kernels ----------------------===//
#ifndef TXC_CODEGEN_EMITPHASE_H
#define TXC_CODEGEN_EMITPHASE_H

#include "txc/Codegen/Kernel.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallString.h"

namespace txc::codegen {

/// Fills one phase of a kernel that describeKernel accepted.
mlir::LogicalResult emitPhase(mlir::func::FuncOp function, step::KernelOp kernel, int64_t phase,
                              const CpuTarget &target);

/// From func, scf, vector and arith ops to the LLVM dialect.
mlir::LogicalResult lowerToLLVM(mlir::ModuleOp kernels);

/// From the LLVM dialect to an ELF object, or to assembly text.
mlir::LogicalResult compileToObject(mlir::ModuleOp kernels, const CpuTarget &target, bool assembly,
                                    llvm::SmallVectorImpl<char> &bytes);

/// What the two above need of the context.
void registerLowering(mlir::DialectRegistry &registry);

} // namespace txc::codegen

#endif // TXC_CODEGEN_EMITPHASE_H
