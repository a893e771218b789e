//===- VerifyFuse.cpp - Check the fuse stage's guarantee -------------------===//
//
// Every computation is inside a tx.kernel; outside are only state, updates, parts of
// tensors and constants that a function returns. An assigned gradient is written in place.
// A bf16 copy that is read is kept by @init and @update.
// The module still has the functions of a step, and no other.
//
//===----------------------------------------------------------------------===//

#include "txc/Dialect/Tx/StepFunctions.h"
#include "txc/Fuse/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace txc::fuse {
#define GEN_PASS_DEF_VERIFYFUSE
#include "txc/Fuse/Passes.h.inc"

namespace {
/// `assign` writes where its value already lies.
bool isInPlace(tx::AssignOp assign) {
  auto result = dyn_cast<OpResult>(assign.getValue());
  auto kernel = result ? dyn_cast<tx::KernelOp>(result.getOwner()) : tx::KernelOp();
  if (!kernel || kernel.getInplace()[result.getResultNumber()] < 0)
    return false;
  auto read = kernel.getInputs()[kernel.getInplace()[result.getResultNumber()]].getDefiningOp<tx::ReadOp>();
  return read && read.getParamAttr() == assign.getParamAttr() && read.getState() == assign.getState();
}

struct VerifyFuse : impl::VerifyFuseBase<VerifyFuse> {
  void runOnOperation() override {
    bool ok = true, keepsCopies = true;
    getOperation().walk([&](tx::InitOp op) { keepsCopies &= op.getCompute(); });
    getOperation().walk([&](tx::AdamwOp op) { keepsCopies &= op.getCompute(); });
    for (auto function : getOperation().getOps<func::FuncOp>())
      for (Operation &op : function.getOps()) {
        if (auto assign = dyn_cast<tx::AssignOp>(op); assign && !isInPlace(assign)) {
          assign.emitOpError() << "is not written in place after fuse";
          ok = false;
        }
        if (auto read = dyn_cast<tx::ReadOp>(op); read && read.getState() == tx::State::Compute && !keepsCopies) {
          read.emitOpError() << "reads a bf16 copy that @init and @update do not keep";
          ok = false;
        }
        if (!isa<tx::KernelOp, tx::ReadOp, tx::AssignOp, tx::InitOp, tx::GlobalNormOp, tx::AdamwOp,
                 tx::SliceRowsOp, tx::ConcatRowsOp, arith::ConstantOp, func::ReturnOp>(op)) {
          op.emitOpError() << "is outside of a tx.kernel after fuse";
          ok = false;
        }
      }
    if (!ok || failed(tx::verifyStepFunctions(getOperation(), "fuse")))
      signalPassFailure();
  }
};
} // namespace

void buildPipeline(OpPassManager &pm, const Options &options) {
  pm.addPass(createKeepComputeCopies());
  pm.addPass(createChunkLoss({options.lossChunks, options.maxLogitsBytes}));
  if (options.rematerialize)
    pm.addPass(createRematerialize());
  pm.addPass(createExpandAccumulations());
  pm.addPass(createFormKernels());
  pm.addPass(createAssignInplace());
  pm.addPass(createMergeUpdates());
  pm.addPass(createVerifyFuse());
}
} // namespace txc::fuse
