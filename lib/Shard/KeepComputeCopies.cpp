//===- KeepComputeCopies.cpp - Cast weights when they change, not when read ===//
//
// Requires: @init and @update cover all parameters.
//
// A matrix or table that is read and cast to bf16 is the same in every micro
// batch between two updates, forward and backward. So its bf16 copy is state:
//
//   %w = tx.read @w value : tensor<..xf32>      becomes
//   %c = tx.cast %w                             %c = tx.read @w compute : tensor<..xbf16>
//
// and tx.init and tx.adamw, which have the value in registers anyway, write the
// copy. They do so for all parameters at once, since they run over flat arenas.
// Costs 2 bytes per parameter of memory and of writes per update; saves reading
// 4 and writing 2 per use.
//
// It stands before tx-shard-partition because with ZeRO the copy is what ranks
// gather: there precision is decided here, and only here.
//
// Guarantees: no tx.read of a value is cast to bf16; a module that casts no
// weight is unchanged.
//
//===----------------------------------------------------------------------===//

#include "txc/Shard/Passes.h"

using namespace mlir;

namespace txc::shard {
#define GEN_PASS_DEF_KEEPCOMPUTECOPIES
#include "txc/Shard/Passes.h.inc"

namespace {
struct KeepComputeCopies : impl::KeepComputeCopiesBase<KeepComputeCopies> {
  void runOnOperation() override {
    bool found = false;
    getOperation().walk([&](tx::CastOp op) {
      auto read = op.getInput().getDefiningOp<tx::ReadOp>();
      if (!read || read.getState() != tx::State::Value || !op.getType().getElementType().isBF16())
        return;
      OpBuilder builder(op);
      Value copy = builder.create<tx::ReadOp>(
          read.getLoc(), op.getType(), read.getParamAttr(),
          tx::StateAttr::get(op.getContext(), tx::State::Compute));
      op.getResult().replaceAllUsesWith(copy);
      op.erase();
      if (read.use_empty())
        read.erase();
      found = true;
    });
    if (!found)
      return;
    getOperation().walk([](tx::InitOp op) { op.setCompute(true); });
    getOperation().walk([](tx::AdamwOp op) { op.setCompute(true); });
  }
};
} // namespace
} // namespace txc::shard
