//===- BuildUpdate.cpp - Clip and optimizer --------------------------------===//
//
// Requires: tx.param symbols.
//
// Guarantees: @update(%hyper) computes the statistics of all gradients, updates
// every parameter by AdamW, in the order of the parameters, and returns the
// statistics.
//
//===----------------------------------------------------------------------===//

#include "txc/Autodiff/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace txc::autodiff {
#define GEN_PASS_DEF_BUILDUPDATE
#include "txc/Autodiff/Passes.h.inc"

namespace {
struct BuildUpdate : impl::BuildUpdateBase<BuildUpdate> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<tx::ParamOp> params(module.getOps<tx::ParamOp>());
    if (params.empty()) {
      module.emitError() << "has no tx.param to update";
      return signalPassFailure();
    }
    OpBuilder builder(&getContext());
    builder.setInsertionPointToEnd(module.getBody());
    Location loc = NameLoc::get(builder.getStringAttr("update"));
    auto hyperType = tx::HyperType::get(&getContext());
    auto statsType = RankedTensorType::get({11}, builder.getF32Type());
    auto function =
        builder.create<func::FuncOp>(loc, "update", builder.getFunctionType({hyperType}, {statsType}));
    Block *body = function.addEntryBlock();
    builder.setInsertionPointToStart(body);
    Value hyper = body->getArgument(0);
    SmallVector<Attribute> names = llvm::map_to_vector(
        params, [](tx::ParamOp p) -> Attribute { return FlatSymbolRefAttr::get(p.getSymNameAttr()); });
    Value stats = builder.create<tx::GlobalNormOp>(loc, statsType, builder.getArrayAttr(names), hyper);
    for (auto [param, name] : llvm::zip(params, names))
      builder.create<tx::AdamwOp>(param.getLoc(), builder.getArrayAttr(name), stats, hyper);
    builder.create<func::ReturnOp>(loc, stats);
  }
};
} // namespace
} // namespace txc::autodiff
