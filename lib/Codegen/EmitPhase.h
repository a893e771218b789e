//===- EmitPhase.h - Steps of tx-codegen-emit-kernels ----------------------===//
#ifndef TXC_CODEGEN_EMITPHASE_H
#define TXC_CODEGEN_EMITPHASE_H

#include "txc/Codegen/GpuBuilder.h"
#include "txc/Codegen/Kernel.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringMap.h"

namespace txc::codegen {

/// Fills one phase of a kernel that describeKernel accepted.
mlir::LogicalResult emitPhase(mlir::func::FuncOp function, step::KernelOp kernel, int64_t phase,
                              const CpuTarget &target);

/// From func, scf, vector and arith ops to the LLVM dialect.
mlir::LogicalResult lowerToLLVM(mlir::ModuleOp kernels);

/// From the LLVM dialect to an ELF object, or to assembly text.
mlir::LogicalResult compileToObject(mlir::ModuleOp kernels, const CpuTarget &target, bool assembly,
                                    llvm::SmallVectorImpl<char> &bytes);

/// The sites of a kernel's ops, each once, in order of appearance.
llvm::SmallVector<int32_t> sitesOf(step::KernelOp kernel);
/// The same for kernels that differ only in their names and sites.
std::string fingerprint(step::KernelOp kernel, llvm::ArrayRef<int32_t> sites);

//===-- GPU ----------------------------------------------------------------===//

/// The function and the scalars of each phase, by kernel.
struct GpuFunction {
  std::string name;
  GpuPhase shape;
  llvm::SmallVector<int64_t> scalars;
};
using GpuFunctions = llvm::MapVector<step::KernelOp, llvm::SmallVector<GpuFunction, 2>>;

/// Builds an nvvm.kernel for every phase; kernels that are equal but for their
/// sites share one.
mlir::LogicalResult buildGpuFunctions(step::ProgramOp program, mlir::ModuleOp kernels,
                                      const GpuTarget &target, GpuFunctions &functions);

/// From the LLVM dialect to PTX text.
mlir::LogicalResult compileToPtx(mlir::ModuleOp kernels, const GpuTarget &target,
                                 llvm::SmallVectorImpl<char> &ptx);

/// Assembles the PTX, attaches step.image and the geometry of every kernel.
mlir::LogicalResult attachImage(step::ProgramOp program, const GpuTarget &target,
                                const GpuFunctions &functions, llvm::StringRef ptx, llvm::StringRef ptxas);

/// Runs ptxas; the cubin, and what it says about each kernel. Nothing, and a
/// warning at `loc`, if there is no ptxas.
mlir::LogicalResult runPtxas(mlir::Location loc, const GpuTarget &target, llvm::StringRef ptx,
                             llvm::StringRef ptxas, std::string &cubin,
                             llvm::StringMap<KernelResources> &resources);

/// What lowering needs of the context.
void registerLowering(mlir::DialectRegistry &registry);

} // namespace txc::codegen

#endif // TXC_CODEGEN_EMITPHASE_H
