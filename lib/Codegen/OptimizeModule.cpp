//===- OptimizeModule.cpp - LLVM's optimisations of kernels ----------------===//

#include "OptimizeModule.h"

void txc::codegen::optimizeModule(llvm::Module &module, llvm::TargetMachine &machine,
                                  llvm::PipelineTuningOptions tuning,
                                  const llvm::TargetLibraryInfoImpl *library) {
  tuning.LoopVectorization = false;
  tuning.SLPVectorization = false;
  llvm::PassBuilder builder(&machine, tuning);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  if (library)
    functions.registerPass([&] { return llvm::TargetLibraryAnalysis(*library); });
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3).run(module, modules);
}
