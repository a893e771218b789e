//===- MergeUpdates.cpp - Make one tx.adamw of all -------------------------===//
//
// Requires: @update holds tx.adamw ops that share statistics and hyper.
//
// The parameters, their gradients and moments lie in one flat arena each, so
// one kernel updates them all.
//
// Guarantees: a function holds at most one tx.adamw per statistics value.
//
//===----------------------------------------------------------------------===//

#include "txc/Fuse/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;

namespace txc::fuse {
#define GEN_PASS_DEF_MERGEUPDATES
#include "txc/Fuse/Passes.h.inc"

namespace {
struct MergeUpdates : impl::MergeUpdatesBase<MergeUpdates> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      llvm::MapVector<Value, SmallVector<tx::AdamwOp>> byStats;
      function.walk([&](tx::AdamwOp op) { byStats[op.getStats()].push_back(op); });
      for (auto &[stats, ops] : byStats) {
        SmallVector<Attribute> params;
        for (tx::AdamwOp op : ops)
          llvm::append_range(params, op.getParams());
        ops.back().setParamsAttr(ArrayAttr::get(&getContext(), params));
        for (tx::AdamwOp op : ArrayRef(ops).drop_back())
          op.erase();
      }
    }
  }
};
} // namespace
} // namespace txc::fuse
