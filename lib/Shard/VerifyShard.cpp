//===- VerifyShard.cpp - Check the shard stage's guarantee -----------------===//
//
// The module names a mesh that this compiler can build a step for, and is a whole
// step. Of several ranks, as docs/parallel.md says what each level of `zero` keeps:
// 1. Parameters of two or more dimensions have shards over all ranks with zero 1
//    or more, no other has.
// 2. Every gradient is reduced over ranks exactly once in an iteration, where its
//    level says, after the last contribution to it.
// 3. Nobody reads or keeps more of a parameter with shards than its level allows:
//    no gradient outlives @micro with zero 2 and 3, no whole copy is kept with 3.
//    A whole copy that is read is gathered by @init and by @update.
// 4. What the functions return is of all ranks.
//
//===----------------------------------------------------------------------===//

#include "txc/Autodiff/Passes.h"
#include "txc/Dialect/Tx/StateAccess.h"
#include "txc/Shard/Mesh.h"
#include "txc/Shard/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace txc::shard {
#define GEN_PASS_DEF_VERIFYSHARD
#include "txc/Shard/Passes.h.inc"

namespace {

/// One error for each broken promise of several ranks.
class Check {
public:
  Check(ModuleOp module, int64_t ranks, int64_t zero) : module(module), ranks(ranks), zero(zero) {}

  LogicalResult run() {
    bool hasLast = static_cast<bool>(find("micro_last"));
    if (hasLast != (zero < 2))
      error(module) << (hasLast ? "has @micro_last" : "has no @micro_last") << ", but zero is " << zero;
    for (auto param : module.getOps<tx::ParamOp>()) {
      checkShards(param);
      checkReduction(param);
      if (param.getShards())
        checkCopies(param);
    }
    for (StringRef name : {"micro", "micro_last", "eval"})
      if (func::FuncOp function = find(name))
        checkResults(function);
    find("update").walk([&](tx::AdamwOp op) {
      auto stats = op.getStats().getDefiningOp<tx::GradientStatsOp>();
      if (zero > 0 &&
          !(stats && isReduced(stats.getSums(), tx::Reduction::Sum) && isReduced(stats.getExtrema(), tx::Reduction::Min)))
        error(op) << "reads statistics that are not of all ranks";
    });
    return result;
  }

private:
  func::FuncOp find(StringRef name) { return module.lookupSymbol<func::FuncOp>(name); }
  InFlightDiagnostic error(Operation *op) {
    result = failure();
    return op->emitError();
  }
  static bool isReduced(Value value, tx::Reduction reduction) {
    auto op = value.getDefiningOp<tx::AllReduceOp>();
    return op && op.getReduction() == reduction;
  }

  void checkShards(tx::ParamOp param) {
    bool expected = zero > 0 && cast<RankedTensorType>(param.getType()).getRank() >= 2;
    if (param.getShards().value_or(1) != (expected ? static_cast<uint64_t>(ranks) : 1))
      error(param) << "parameter '" << param.getSymName() << "' has " << param.getShards().value_or(1)
                   << " shards; expected " << (expected ? ranks : 1) << " with zero " << zero << " over "
                   << ranks << " ranks";
  }

  /// Where gradients are reduced: the function that does it for `param`.
  StringRef reducer(tx::ParamOp param) {
    if (zero > 0 && !param.getShards())
      return "update";
    return zero < 2 ? "micro_last" : "micro";
  }

  void checkReduction(tx::ParamOp param) {
    StringAttr name = param.getSymNameAttr();
    SmallVector<Operation *> found;
    for (auto function : module.getOps<func::FuncOp>())
      function.walk([&](Operation *op) {
        if (!isa<tx::AllReduceOp, tx::ReduceScatterOp>(op))
          return;
        for (Value input : op->getOperands())
          if (auto read = input.getDefiningOp<tx::ReadOp>();
              read && read.getState() == tx::State::Grad && read.getParamAttr().getAttr() == name)
            found.push_back(op);
      });
    StringRef where = reducer(param);
    bool isRight = found.size() == 1 && found[0]->getParentOfType<func::FuncOp>().getSymName() == where &&
                   isa<tx::ReduceScatterOp>(found[0]) == param.getShards().has_value();
    if (!isRight) {
      InFlightDiagnostic diag = error(param)
                                << "the gradient of '" << name.getValue()
                                << "' must be reduced over ranks exactly once, by "
                                << (param.getShards() ? "tx.reduce_scatter" : "tx.all_reduce") << " in @" << where
                                << ", found " << found.size() << " reductions";
      for (Operation *op : found)
        diag.attachNote(op->getLoc()) << "in @" << op->getParentOfType<func::FuncOp>().getSymName();
      return;
    }
    // With zero 2 and 3 the first access in @micro is an assignment: nothing is left over.
    bool isFirst = true, ok = true;
    for (Operation &op : *found[0]->getBlock()) {
      tx::visitStateAccesses(&op, [&](FlatSymbolRefAttr accessed, tx::State state, bool isWrite) {
        if (accessed.getAttr() != name || state != tx::State::Grad)
          return;
        if (isFirst && where == "micro" && !isa<tx::AssignOp>(op)) {
          error(&op) << "adds to a gradient of '" << name.getValue() << "' that does not outlive @micro with zero "
                     << zero;
          ok = false;
        }
        isFirst = false;
        if (ok && isWrite && isa<tx::AccumulateOp>(op) && found[0]->isBeforeInBlock(&op))
          error(&op) << "adds to the gradient of '" << name.getValue() << "' after it was reduced";
      });
    }
  }

  void checkCopies(tx::ParamOp param) {
    StringAttr name = param.getSymNameAttr();
    Operation *reader = nullptr;
    llvm::StringSet<> gathered;
    for (auto function : module.getOps<func::FuncOp>())
      function.walk([&](Operation *op) {
        auto read = dyn_cast<tx::ReadOp>(op);
        if (read && read.getParamAttr().getAttr() == name && read.getState() == tx::State::Compute)
          reader = op;
        auto assign = dyn_cast<tx::AssignOp>(op);
        if (assign && assign.getParamAttr().getAttr() == name && assign.getState() == tx::State::Compute &&
            assign.getValue().getDefiningOp<tx::AllGatherOp>())
          gathered.insert(function.getSymName());
      });
    if (reader && zero == 3)
      error(reader) << "reads a whole copy of '" << name.getValue() << "', which zero 3 does not keep";
    else if (reader && !(gathered.contains("init") && gathered.contains("update")))
      error(reader) << "reads a copy of '" << name.getValue() << "' that @"
                    << (gathered.contains("init") ? "update" : "init") << " does not gather";
  }

  void checkResults(func::FuncOp function) {
    for (Value value : function.getBody().front().getTerminator()->getOperands())
      if (!isReduced(value, tx::Reduction::Sum))
        error(function) << "@" << function.getSymName() << " returns " << value.getType()
                        << " of this rank alone; expected the sum over ranks";
  }

  ModuleOp module;
  int64_t ranks, zero;
  LogicalResult result = success();
};

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
    if (failed(autodiff::verifyWholeStep(module, "shard")))
      return signalPassFailure();
    int64_t ranks = parsed->getNumRanks();
    auto zero = module->getAttrOfType<IntegerAttr>(zeroAttrName);
    if (ranks > 1 && !zero) {
      module.emitError() << "mesh " << mesh << " has " << ranks << " ranks, but the module has no "
                         << zeroAttrName;
      return signalPassFailure();
    }
    if (ranks > 1 && failed(Check(module, ranks, zero.getInt()).run()))
      signalPassFailure();
  }
};
} // namespace

void buildPipeline(OpPassManager &pm, const Options &options) {
  pm.addPass(createKeepComputeCopies());
  PartitionOptions partition;
  partition.mesh = options.mesh;
  partition.zero = options.zero;
  partition.bucketMb = options.bucketMb;
  pm.addPass(createPartition(partition));
  pm.addPass(createVerifyShard());
}
} // namespace txc::shard
