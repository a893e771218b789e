//===- VerifyShard.cpp - Check the shard stage's guarantee -----------------===//
//
// The module names a mesh that this compiler can build a step for. With its one
// rank, the module is a whole step, as autodiff made it.
//
//===----------------------------------------------------------------------===//

#include "txc/Autodiff/Passes.h"
#include "txc/Shard/Mesh.h"
#include "txc/Shard/Passes.h"

using namespace mlir;

namespace txc::shard {
#define GEN_PASS_DEF_VERIFYSHARD
#include "txc/Shard/Passes.h.inc"

namespace {
struct VerifyShard : impl::VerifyShardBase<VerifyShard> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    ModuleOp module = getOperation();
    auto mesh = module->getAttrOfType<StringAttr>(meshAttrName);
    if (!mesh) {
      module.emitError() << "has no " << meshAttrName << " after shard";
      return signalPassFailure();
    }
    FailureOr<Mesh> parsed = parseMesh(mesh, [&] { return module.emitError(); });
    if (failed(parsed))
      return signalPassFailure();
    if (parsed->getNumRanks() != 1) {
      module.emitError() << "mesh " << mesh << " has " << parsed->getNumRanks()
                         << " ranks, but the step has no collectives";
      return signalPassFailure();
    }
    if (failed(autodiff::verifyWholeStep(module, "shard")))
      signalPassFailure();
  }
};
} // namespace

void buildPipeline(OpPassManager &pm, StringRef mesh) {
  PartitionOptions options;
  options.mesh = mesh.str();
  pm.addPass(createPartition(options));
  pm.addPass(createVerifyShard());
}
} // namespace txc::shard
