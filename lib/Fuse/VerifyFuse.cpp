//===- VerifyFuse.cpp - Check the fuse stage's guarantee -------------------===//
//
// Every computation is inside a tx.kernel; outside are only state, updates, parts of
// tensors, what ranks exchange, and constants that a function returns. What is assigned
// is written in place, or where it belongs by the op that makes it. A bf16 copy that is
// read is kept by @init and @update.
// The module still has the functions of a step, and no other.
//
//===----------------------------------------------------------------------===//

#include "StandAlone.h"
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

/// What makes the assigned value can write it there at once: it is assigned only
/// here, and nothing is left of the old one. A collective; or a kernel that makes
/// the first contribution to a gradient of which ranks keep only shards.
bool isWrittenThere(tx::AssignOp assign) {
  auto result = dyn_cast<OpResult>(assign.getValue());
  if (!result || !result.hasOneUse())
    return false;
  if (isa<tx::AllReduceOp, tx::ReduceScatterOp, tx::AllGatherOp>(result.getOwner()))
    return true;
  auto kernel = dyn_cast<tx::KernelOp>(result.getOwner());
  auto param = SymbolTable::lookupNearestSymbolFrom<tx::ParamOp>(assign, assign.getParamAttr());
  return kernel && kernel.getInplace()[result.getResultNumber()] < 0 && assign.getState() == tx::State::Grad &&
         param && param.getShards();
}

/// `read` is of a copy that @init and @update write without being told for which
/// parameter; whole copies of what ranks share are gathered (tx-shard-verify).
bool isKept(tx::ReadOp read) {
  auto param = SymbolTable::lookupNearestSymbolFrom<tx::ParamOp>(read, read.getParamAttr());
  return read.getState() == tx::State::ComputeShard ||
         (read.getState() == tx::State::Compute && param && !param.getShards());
}

struct VerifyFuse : impl::VerifyFuseBase<VerifyFuse> {
  void runOnOperation() override {
    bool ok = true, keepsCopies = true;
    getOperation().walk([&](tx::InitOp op) { keepsCopies &= op.getCompute(); });
    getOperation().walk([&](tx::AdamwOp op) { keepsCopies &= op.getCompute(); });
    for (auto function : getOperation().getOps<func::FuncOp>())
      for (Operation &op : function.getOps()) {
        if (auto assign = dyn_cast<tx::AssignOp>(op); assign && !isInPlace(assign) && !isWrittenThere(assign)) {
          assign.emitOpError() << "is not written in place after fuse";
          ok = false;
        }
        if (auto read = dyn_cast<tx::ReadOp>(op); read && !keepsCopies && isKept(read)) {
          read.emitOpError() << "reads a bf16 copy that @init and @update do not keep";
          ok = false;
        }
        if (!mayStandAlone(&op) && !isa<tx::KernelOp, arith::ConstantOp, func::ReturnOp>(op)) {
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
  pm.addPass(createChunkLoss({options.lossChunks, options.maxLogitsBytes}));
  if (options.rematerialize)
    pm.addPass(createRematerialize());
  if (options.expandAttention)
    pm.addPass(createExpandAttention());
  pm.addPass(createExpandAccumulations());
  pm.addPass(createFormKernels({options.rotateInAttention, options.sumInProducts}));
  pm.addPass(createAssignInplace());
  pm.addPass(createMergeUpdates());
  pm.addPass(createVerifyFuse());
}
} // namespace txc::fuse
