//===- ExpandAccumulations.cpp - Write accumulation as an addition ---------===//
//
// Requires: gradients are added by tx.accumulate only.
//
//   %g = ...               becomes   %old = tx.read @w grad
//   tx.accumulate @w, %g             %g = ...
//                                    %new = tx.add %g, %old
//                                    tx.assign @w grad, %new
//
// so that tx-fuse-form-kernels can put the addition into the kernel that
// computes %g. The read comes before the op that computes %g, so that it does
// not delay that kernel; unless the same gradient is assigned in between, then
// right before the addition.
//
// Guarantees: no tx.accumulate is left.
//
//===----------------------------------------------------------------------===//

#include "txc/Fuse/Passes.h"

using namespace mlir;

namespace txc::fuse {
#define GEN_PASS_DEF_EXPANDACCUMULATIONS
#include "txc/Fuse/Passes.h.inc"

namespace {

/// Where the old gradient is read.
Operation *readPoint(tx::AccumulateOp op) {
  Operation *producer = op.getValue().getDefiningOp();
  if (!producer || producer->getBlock() != op->getBlock())
    return op;
  for (Operation *between = producer; between != op; between = between->getNextNode())
    if (auto assign = dyn_cast<tx::AssignOp>(between); assign && assign.getParamAttr() == op.getParamAttr())
      return op;
  return producer;
}

struct ExpandAccumulations : impl::ExpandAccumulationsBase<ExpandAccumulations> {
  void runOnOperation() override {
    getOperation().walk([](tx::AccumulateOp op) {
      OpBuilder builder(op);
      Location loc = op.getLoc();
      FlatSymbolRefAttr param = op.getParamAttr();
      Type type = op.getValue().getType();
      auto state = tx::StateAttr::get(op.getContext(), tx::State::Grad);
      builder.setInsertionPoint(readPoint(op));
      Value old = builder.create<tx::ReadOp>(loc, type, param, state);
      builder.setInsertionPoint(op);
      Value sum = builder.create<tx::AddOp>(loc, type, op.getValue(), old);
      builder.create<tx::AssignOp>(loc, param, state, sum);
      op.erase();
    });
  }
};
} // namespace
} // namespace txc::fuse
