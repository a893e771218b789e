//===- ExpandAccumulations.cpp - Write accumulation as an addition ---------===//
//
// Requires: gradients are added by tx.accumulate only.
//
//   tx.accumulate @w, %g   becomes   %old = tx.read @w grad
//                                    %new = tx.add %g, %old
//                                    tx.assign @w grad, %new
//
// so that tx-fuse-form-kernels can put the addition into the kernel that
// computes %g.
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
struct ExpandAccumulations : impl::ExpandAccumulationsBase<ExpandAccumulations> {
  void runOnOperation() override {
    getOperation().walk([](tx::AccumulateOp op) {
      OpBuilder builder(op);
      Location loc = op.getLoc();
      FlatSymbolRefAttr param = op.getParamAttr();
      Type type = op.getValue().getType();
      auto state = tx::StateAttr::get(op.getContext(), tx::State::Grad);
      Value old = builder.create<tx::ReadOp>(loc, type, param, state);
      Value sum = builder.create<tx::AddOp>(loc, type, op.getValue(), old);
      builder.create<tx::AssignOp>(loc, param, state, sum);
      op.erase();
    });
  }
};
} // namespace
} // namespace txc::fuse
