//===- Compiler.cpp - The stages of txc, many times in one process ---------===//

#include "Compiler.h"

#include "txc/Codegen/Passes.h"
#include "txc/Codegen/Target.h"
#include "txc/Dialect/Step/Step.h"
#include "txc/Import/ImportSpec.h"

#include "mlir/Pass/PassManager.h"

#include <gtest/gtest.h>

using namespace mlir;
using txc::pipeline::Stage;

namespace combinations {

static DialectRegistry makeRegistry() {
  DialectRegistry registry;
  txc::pipeline::registerDialects(registry);
  return registry;
}

Compiler::Compiler() : registry(makeRegistry()), context(registry, MLIRContext::Threading::DISABLED) {
  std::string error;
  FailureOr<txc::codegen::Target> target = txc::codegen::getTarget("", error);
  EXPECT_TRUE(succeeded(target)) << error;
  if (succeeded(target))
    options.target = target->isa().str();
}

FailureOr<txc::import::Spec> Compiler::load(StringRef text, ArrayRef<txc::import::Override> overrides) {
  std::string errors;
  llvm::raw_string_ostream os(errors);
  txc::import::Spec spec;
  if (txc::import::parseSpec(text, "t.yaml", overrides, os, spec) != txc::import::LoadStatus::Ok) {
    ADD_FAILURE() << errors;
    return failure();
  }
  spec.dtype = txc::import::DType::Float32; // what auto means on a CPU
  return spec;
}

OwningOpRef<ModuleOp> Compiler::import(const txc::import::Spec &spec) {
  return txc::import::importSpec(context, spec);
}

LogicalResult Compiler::run(ModuleOp module, Stage first, Stage last) {
  PassManager pm(&context);
  for (const txc::pipeline::StageInfo &info : txc::pipeline::getStages())
    if (info.stage >= first && info.stage <= last)
      txc::pipeline::buildStage(pm, info.stage, options);
  return pm.run(module);
}

LogicalResult Compiler::emitKernels(ModuleOp module) {
  PassManager pm(&context);
  txc::codegen::EmitKernelsOptions emit;
  emit.target = options.target;
  pm.addNestedPass<txc::step::ProgramOp>(txc::codegen::createEmitKernels(emit));
  return pm.run(module);
}

} // namespace combinations
