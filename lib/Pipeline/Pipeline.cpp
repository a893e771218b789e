//===- Pipeline.cpp - The stages as pass pipelines -------------------------===//

#include "txc/Pipeline/Pipeline.h"

#include "txc/Autodiff/Passes.h"
#include "txc/Codegen/Passes.h"
#include "txc/Dialect/Step/Step.h"
#include "txc/Dialect/Tx/Tx.h"
#include "txc/Fuse/Passes.h"
#include "txc/Import/Passes.h"
#include "txc/Interp/Passes.h"
#include "txc/Plan/Passes.h"
#include "txc/Shard/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace txc::pipeline {

void buildStage(OpPassManager &pm, Stage stage, const Options &options) {
  switch (stage) {
  case Stage::Import:
    return import::buildPipeline(pm);
  case Stage::Autodiff:
    return autodiff::buildPipeline(pm);
  case Stage::Shard:
    return shard::buildPipeline(pm, options.shard);
  case Stage::Codegen:
    return codegen::buildPipeline(pm, {options.target});
  case Stage::Link:
    return;
  case Stage::Fuse:
    return fuse::buildPipeline(pm, options.fuse);
  case Stage::Plan:
    return plan::buildPipeline(pm, options.target);
  }
}

void buildVerifier(OpPassManager &pm, Stage stage) {
  switch (stage) {
  case Stage::Import:
    return pm.addPass(import::createVerifyImport());
  case Stage::Autodiff:
    return pm.addPass(autodiff::createVerifyAutodiff());
  case Stage::Shard:
    return pm.addPass(shard::createVerifyShard());
  case Stage::Fuse:
    return pm.addPass(fuse::createVerifyFuse());
  case Stage::Plan:
    return pm.addPass(plan::createVerifyPlan());
  case Stage::Codegen:
    return pm.addNestedPass<step::ProgramOp>(codegen::createVerifyCodegen());
  case Stage::Link:
    return;
  }
}

void registerDialects(DialectRegistry &registry) {
  registry.insert<tx::TxDialect, step::StepDialect, arith::ArithDialect, func::FuncDialect>();
  autodiff::registerExternalModels(registry);
  interp::registerExternalModels(registry);
}

void registerPasses() {
  import::registerImportPasses();
  autodiff::registerAutodiffPasses();
  fuse::registerFusePasses();
  interp::registerInterpPasses();
  plan::registerPlanPasses();
  codegen::registerCodegenPasses();
  shard::registerShardPasses();
}

} // namespace txc::pipeline
