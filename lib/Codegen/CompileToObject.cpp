//===- CompileToObject.cpp - From the LLVM dialect to an ELF object --------===//
//
// Unrolling stays off: it would only grow the code. Calls to library functions are
// not recognised and not made: the object must not need a C library.
//
//===----------------------------------------------------------------------===//

#include "EmitPhase.h"
#include "OptimizeModule.h"

#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

#include <mutex>

using namespace mlir;

static constexpr const char *triple = "x86_64-unknown-linux-gnu";

static std::unique_ptr<llvm::TargetMachine> createTargetMachine(const txc::codegen::CpuTarget &target,
                                                                std::string &error) {
  static std::once_flag initialized;
  std::call_once(initialized, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
  });
  const llvm::Target *description = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!description)
    return nullptr;
  llvm::TargetOptions options;
  return std::unique_ptr<llvm::TargetMachine>(description->createTargetMachine(
      triple, target.level, "", options, llvm::Reloc::PIC_, std::nullopt, llvm::CodeGenOptLevel::Default));
}

static void setAttributes(llvm::Module &module, const txc::codegen::CpuTarget &target) {
  std::string bits = std::to_string(target.vectorBytes * 8);
  for (llvm::Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("prefer-vector-width", bits);
    function.addFnAttr("min-legal-vector-width", bits);
    function.addFnAttr("no-builtins");
    function.addFnAttr("target-cpu", target.level);
    function.addFnAttr(llvm::Attribute::NoUnwind);
  }
}

LogicalResult txc::codegen::compileToObject(ModuleOp kernels, const CpuTarget &target, bool assembly,
                                            llvm::SmallVectorImpl<char> &bytes) {
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine = createTargetMachine(target, error);
  if (!machine)
    return kernels.emitError() << "this LLVM cannot make code for " << triple << ": " << error;
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> module = translateModuleToLLVMIR(kernels, context, "kernels");
  if (!module)
    return failure();
  module->setTargetTriple(triple);
  module->setDataLayout(machine->createDataLayout());
  setAttributes(*module, target);
  llvm::TargetLibraryInfoImpl library((llvm::Triple(triple)));
  library.disableAllFunctions();
  llvm::PipelineTuningOptions tuning;
  tuning.LoopUnrolling = false;
  tuning.LoopInterleaving = false;
  optimizeModule(*module, *machine, tuning, &library);

  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  passes.add(new llvm::TargetLibraryInfoWrapperPass(library));
  if (machine->addPassesToEmitFile(passes, stream, nullptr,
                                   assembly ? llvm::CodeGenFileType::AssemblyFile
                                            : llvm::CodeGenFileType::ObjectFile))
    return kernels.emitError() << "this LLVM cannot write object files for " << triple;
  passes.run(*module);
  return success();
}
