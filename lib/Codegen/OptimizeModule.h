//===- OptimizeModule.h - LLVM's optimisations of kernels ------------------===//
#ifndef TXC_CODEGEN_OPTIMIZE_MODULE_H
#define TXC_CODEGEN_OPTIMIZE_MODULE_H

#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/Passes/PassBuilder.h"

namespace llvm {
class TargetMachine;
}

namespace txc::codegen {

/// Runs LLVM's pipeline for -O3. The kernels are explicit vectors already, so its
/// vectorisers are off whatever `tuning` says. `library`: which library functions it
/// may recognise; without it those of the target.
void optimizeModule(llvm::Module &module, llvm::TargetMachine &machine, llvm::PipelineTuningOptions tuning,
                    const llvm::TargetLibraryInfoImpl *library = nullptr);

} // namespace txc::codegen

#endif // TXC_CODEGEN_OPTIMIZE_MODULE_H
