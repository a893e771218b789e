//===- Partition.cpp - What one rank of the mesh does ----------------------===//
//
// Requires: a whole step for one rank (the autodiff stage).
//
// The module is marked with its mesh (`tx.mesh`). With one rank, what that rank
// does is the whole step, and nothing moves.
//
// This is where a mesh of several ranks will be spread: a batch axis sums the
// gradients of all ranks between @micro and @update and scales them by the
// number of ranks; a tensor axis splits weights and sums partial products. No
// such collective exists in tx yet, so a mesh of more than one rank is rejected
// here, before a step that would train wrongly can be made.
//
// Guarantees: `tx.mesh`; all collectives explicit (with one rank, none).
//
// Rejects: text that is no mesh; more than one rank; a module that was
// partitioned before.
//
//===----------------------------------------------------------------------===//

#include "txc/Shard/Mesh.h"
#include "txc/Shard/Passes.h"

using namespace mlir;

namespace txc::shard {
#define GEN_PASS_DEF_PARTITION
#include "txc/Shard/Passes.h.inc"

namespace {
struct Partition : impl::PartitionBase<Partition> {
  using PartitionBase::PartitionBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (Attribute old = module->getAttr(meshAttrName)) {
      module.emitError() << "is partitioned already, over " << old;
      return signalPassFailure();
    }
    FailureOr<Mesh> parsed = parseMesh(mesh, [&] { return module.emitError(); });
    if (failed(parsed))
      return signalPassFailure();
    if (parsed->getNumRanks() != 1) {
      module.emitError() << "mesh \"" << mesh << "\" has " << parsed->getNumRanks()
                         << " ranks; steps over several ranks are not built yet; use mesh dp:1";
      return signalPassFailure();
    }
    module->setAttr(meshAttrName, StringAttr::get(&getContext(), mesh.getValue()));
  }
};
} // namespace
} // namespace txc::shard
