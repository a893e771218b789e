//===- CompileToPtx.cpp - From the LLVM dialect to PTX ---------------------===//

#include "../EmitPhase.h"
#include "../OptimizeModule.h"

#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

#include <mutex>

using namespace mlir;

namespace txc::codegen {

static constexpr const char *triple = "nvptx64-nvidia-cuda";

static std::unique_ptr<llvm::TargetMachine> createTargetMachine(const GpuTarget &target, std::string &error) {
  static std::once_flag initialized;
  std::call_once(initialized, [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
  });
  const llvm::Target *description = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!description)
    return nullptr;
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard; // only what the builders call fma
  return std::unique_ptr<llvm::TargetMachine>(
      description->createTargetMachine(triple, target.arch, target.ptxFeatures, options, std::nullopt,
                                       std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

LogicalResult compileToPtx(ModuleOp kernels, const GpuTarget &target, llvm::SmallVectorImpl<char> &ptx) {
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine = createTargetMachine(target, error);
  if (!machine)
    return kernels.emitError() << "this LLVM cannot make code for " << target.arch << ": " << error;
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> module = translateModuleToLLVMIR(kernels, context, "kernels");
  if (!module)
    return kernels.emitError() << "the kernels could not be translated to LLVM IR";
  module->setTargetTriple(triple);
  module->setDataLayout(machine->createDataLayout());
  optimizeModule(*module, *machine, {});
  llvm::raw_svector_ostream os(ptx);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, os, nullptr, llvm::CodeGenFileType::AssemblyFile))
    return kernels.emitError() << "this LLVM cannot write PTX";
  passes.run(*module);
  return success();
}

} // namespace txc::codegen
