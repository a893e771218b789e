//===- Partition.cpp - What one rank of the mesh does ----------------------===//
//
// Requires: a whole step for one rank (the autodiff stage) in which copies of
// weights are read as such (tx-shard-keep-compute-copies).
//
// With one rank nothing moves but the mark `tx.mesh`. With N ranks, each of
// which works on micro batches of its own:
//
// 1. Parameters become buckets, in the order in which the backward pass completes
//    their gradients: a block, or what lies before or after the blocks, then the
//    next, until a bucket has `bucket_mb`. In the last block, behind whose gradients
//    there is little left to compute, weight by weight, until it has a quarter; and
//    products for its weights' gradients come at the very end, so that what was before
//    them (the embedding's) is exchanged beside them.
// 2. What ranks share (`zero`): with 1 or more, parameters of two or more
//    dimensions get `shards`. Gains and biases are a rounding error in memory;
//    every rank updates them alike.
// 3. Gradients:
//    0      @micro_last, a copy of @micro for the last micro batch of an
//           iteration, sums those of a bucket over ranks (tx.all_reduce) as soon
//           as they are complete.
//    1      @micro_last gives every rank its shards of the sums (tx.reduce_scatter);
//           @update zeroes what @micro accumulated.
//    2, 3   a gradient lives only until its bucket is complete: the first
//           contribution is assigned, not added, and every micro batch adds the
//           shards of the sums to grad_shard. There is no @micro_last.
//    Those of parameters without shards are summed in @update with 1 or more.
// 4. Weights: with 1 and 2, @init and @update end by putting whole working copies
//    together (tx.all_gather), which everything else reads. With 3 no copy is kept: each bucket
//    is gathered before its weights are used, and again after those of another
//    bucket were.
// 5. Loss and targets of a micro batch or evaluation: the mean of the ranks' losses
//    and the sum of their targets. Gradient statistics from sums over ranks.
//
// Guarantees: `tx.mesh`, and for several ranks `tx.zero`; all collectives explicit,
// met by all ranks in one order, since every rank runs this module.
//
// Rejects: text that is no mesh; axes other than dp; zero with one rank; a weight
// that is read both rounded and not; a module that was partitioned before.
//
//===----------------------------------------------------------------------===//

#include "txc/Shard/Mesh.h"
#include "txc/Shard/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace txc::shard {
#define GEN_PASS_DEF_PARTITION
#include "txc/Shard/Passes.h.inc"

namespace {

/// Parameters that are exchanged together.
struct Bucket {
  std::string name;
  SmallVector<tx::ParamOp> params;
};

int64_t bytesOf(tx::ParamOp param) { return cast<RankedTensorType>(param.getType()).getNumElements() * 4; }

/// "blocks.3" of what belongs to a block, "" of anything else.
StringRef blockOf(StringRef path) {
  auto [first, rest] = path.split('.');
  StringRef number = rest.split('.').first;
  if (first != "blocks" || number.empty() || !llvm::all_of(number, llvm::isDigit))
    return "";
  return path.take_front(first.size() + 1 + number.size());
}

class Partitioner {
public:
  Partitioner(ModuleOp module, int64_t ranks, int64_t zero, int64_t bucketBytes)
      : module(module), ranks(ranks), zero(zero), bucketBytes(bucketBytes), builder(module.getContext()) {
    for (auto param : module.getOps<tx::ParamOp>())
      params[param.getSymNameAttr()] = param;
  }

  LogicalResult run() {
    deferLastWeights();
    formBuckets();
    if (zero > 0 && (failed(findReadTypes()) || failed(share())))
      return failure();
    func::FuncOp micro = find("micro");
    if (zero < 2) {
      builder.setInsertionPointAfter(micro);
      auto last = cast<func::FuncOp>(builder.clone(*micro));
      last.setSymName("micro_last");
      reduceGradients(last);
      reduceLoss(last);
    } else {
      reduceGradients(micro);
    }
    reduceLoss(micro);
    reduceLoss(find("eval"));
    if (zero > 0)
      spreadUpdate(find("update"));
    return success();
  }

  ArrayRef<Bucket> getBuckets() const { return buckets; }

private:
  func::FuncOp find(StringRef name) { return module.lookupSymbol<func::FuncOp>(name); }
  FlatSymbolRefAttr symbol(tx::ParamOp param) { return FlatSymbolRefAttr::get(param.getSymNameAttr()); }
  ArrayAttr symbols(ArrayRef<tx::ParamOp> list) {
    return builder.getArrayAttr(
        llvm::map_to_vector(list, [&](tx::ParamOp p) -> Attribute { return symbol(p); }));
  }
  SmallVector<tx::ParamOp> withShards(const Bucket &bucket, bool has) {
    SmallVector<tx::ParamOp> list;
    llvm::copy_if(bucket.params, std::back_inserter(list),
                  [&](tx::ParamOp param) { return param.getShards().has_value() == has; });
    return list;
  }
  Value read(tx::ParamOp param, tx::State state, Type type) {
    return builder.create<tx::ReadOp>(param.getLoc(), type, param.getSymName(), state);
  }
  void assign(tx::ParamOp param, tx::State state, Value value) {
    builder.create<tx::AssignOp>(param.getLoc(), param.getSymName(), state, value);
  }
  Location named(const Twine &name) { return NameLoc::get(builder.getStringAttr(name)); }

  /// Parameters by their last accumulation in @micro.
  SmallVector<StringAttr> orderOfGradients() {
    SmallVector<StringAttr> order;
    for (Operation &op : llvm::reverse(find("micro").getBody().front()))
      if (auto accumulate = dyn_cast<tx::AccumulateOp>(op))
        if (StringAttr name = accumulate.getParamAttr().getAttr(); !llvm::is_contained(order, name))
          order.push_back(name);
    std::reverse(order.begin(), order.end());
    return order;
  }

  /// "blocks.0", or "" if there are no blocks.
  StringRef lastBlockOf(ArrayRef<StringAttr> order) {
    for (StringAttr name : llvm::reverse(order))
      if (StringRef block = blockOf(name); !block.empty())
        return block;
    return "";
  }

  /// Computes the gradients of the last block's weights, which nothing else needs, after
  /// those of what comes before it (the embedding), which have still to be exchanged;
  /// the smallest last.
  void deferLastWeights() {
    SmallVector<StringAttr> order = orderOfGradients();
    StringRef last = lastBlockOf(order);
    SmallVector<std::pair<tx::AccumulateOp, tx::LinearWeightVjpOp>> deferred;
    Block &body = find("micro").getBody().front();
    if (!last.empty() && blockOf(order.back()) != last)
      for (auto accumulate : body.getOps<tx::AccumulateOp>())
        if (blockOf(accumulate.getParam()) == last)
          if (auto product = accumulate.getValue().getDefiningOp<tx::LinearWeightVjpOp>();
              product && product->hasOneUse())
            deferred.push_back({accumulate, product});
    llvm::stable_sort(deferred, [&](auto a, auto b) {
      return bytesOf(params[a.first.getParamAttr().getAttr()]) >
             bytesOf(params[b.first.getParamAttr().getAttr()]);
    });
    for (auto [accumulate, product] : deferred) {
      product->moveBefore(body.getTerminator());
      accumulate->moveBefore(body.getTerminator());
    }
  }

  void formBuckets() {
    SmallVector<StringAttr> order = orderOfGradients();
    // Little is left to compute while the last block's gradients are exchanged, so they
    // are exchanged in smaller parts, as they come.
    StringRef lastBlock = lastBlockOf(order);
    int64_t bytes = 0, enough = bucketBytes;
    StringRef group, first;
    llvm::StringSet<> named;
    for (StringAttr name : order) {
      tx::ParamOp param = params[name];
      StringRef block = blockOf(name);
      bool isNew = buckets.empty() || block != group, isLast = !block.empty() && block == lastBlock;
      if (isLast)
        enough = bucketBytes / 4;
      StringRef label = block.empty() ? name.getValue().split('.').first : block;
      if (!named.insert(label).second && isLast)
        label = name.getValue().rsplit('.').first;
      if (buckets.empty() || ((isNew || (isLast && enough > 0)) && bytes >= enough)) {
        first = label;
        buckets.push_back({label.str(), {}});
        bytes = 0;
      } else if (isNew) {
        buckets.back().name = (first + ".." + label).str();
      }
      group = block;
      buckets.back().params.push_back(param);
      bytes += bytesOf(param);
    }
  }

  /// What the program reads of each weight.
  LogicalResult findReadTypes() {
    WalkResult result = module.walk([&](tx::ReadOp op) {
      if (op.getState() != tx::State::Value && op.getState() != tx::State::Compute)
        return WalkResult::advance();
      if (!params.count(op.getParamAttr().getAttr()))
        return WalkResult::advance(); // a cache
      RankedTensorType &type = readTypes[op.getParamAttr().getAttr()];
      if (type && type != op.getType()) {
        op.emitOpError() << "reads " << op.getType() << ", but another op reads " << type
                         << "; ranks gather a weight in one precision";
        return WalkResult::interrupt();
      }
      type = cast<RankedTensorType>(op.getType());
      return WalkResult::advance();
    });
    return failure(result.wasInterrupted());
  }

  bool isRounded(tx::ParamOp param) {
    RankedTensorType type = readTypes.lookup(param.getSymNameAttr());
    return type && type.getElementType().isBF16();
  }

  /// Gives parameters shards, and everyone who reads their values whole copies.
  LogicalResult share() {
    for (auto param : module.getOps<tx::ParamOp>())
      if (cast<RankedTensorType>(param.getType()).getRank() >= 2)
        param.setShards(ranks);
    for (StringRef name : {"micro", "eval", "decode"})
      if (func::FuncOp function = find(name))
        zero == 3 ? gatherBeforeUse(function) : readCopies(function);
    if (zero < 3) {
      gatherCopies(find("init"));
      gatherCopies(find("update"));
    }
    return success();
  }

  void readCopies(func::FuncOp function) {
    function.walk([&](tx::ReadOp op) {
      auto param = params.lookup(op.getParamAttr().getAttr());
      if (param && param.getShards() && op.getState() == tx::State::Value)
        op.setState(tx::State::Compute);
    });
  }

  /// Reads this rank's shards and puts the whole tensors together.
  ValueRange gather(const Bucket &bucket, ArrayRef<tx::ParamOp> list) {
    SmallVector<Value> shards;
    SmallVector<Type> types;
    Location loc = named(bucket.name);
    for (tx::ParamOp param : list) {
      tx::State state = isRounded(param) ? tx::State::ComputeShard : tx::State::Value;
      shards.push_back(read(param, state, param.getStateType(state)));
      types.push_back(readTypes.lookup(param.getSymNameAttr()));
    }
    return builder.create<tx::AllGatherOp>(loc, types, "weights/" + bucket.name, shards, ranks).getResults();
  }

  /// At the end: the copies that all other functions read.
  void gatherCopies(func::FuncOp function) {
    builder.setInsertionPoint(function.getBody().front().getTerminator());
    // The forward pass needs the last bucket's first.
    for (const Bucket &bucket : llvm::reverse(buckets)) {
      SmallVector<tx::ParamOp> shared = withShards(bucket, true);
      llvm::erase_if(shared, [&](tx::ParamOp param) { return !readTypes.contains(param.getSymNameAttr()); });
      if (shared.empty())
        continue;
      for (auto [param, whole] : llvm::zip(shared, gather(bucket, shared)))
        assign(param, tx::State::Compute, whole);
    }
  }

  void gatherBeforeUse(func::FuncOp function) {
    DenseMap<StringAttr, const Bucket *> bucketOf;
    for (const Bucket &bucket : buckets)
      for (tx::ParamOp param : bucket.params)
        if (param.getShards())
          bucketOf[param.getSymNameAttr()] = &bucket;
    // Runs of uses of one bucket, and what each uses.
    struct Run {
      const Bucket *bucket;
      Operation *first;
      llvm::MapVector<StringAttr, SmallVector<OpOperand *>> uses;
    };
    SmallVector<Run> runs;
    SmallVector<tx::ReadOp> reads;
    for (Operation &op : function.getBody().front()) {
      if (auto read = dyn_cast<tx::ReadOp>(op); read && bucketOf.count(read.getParamAttr().getAttr())) {
        reads.push_back(read);
        continue;
      }
      for (OpOperand &operand : op.getOpOperands()) {
        auto read = operand.get().getDefiningOp<tx::ReadOp>();
        const Bucket *bucket = read ? bucketOf.lookup(read.getParamAttr().getAttr()) : nullptr;
        if (!bucket)
          continue;
        if (runs.empty() || runs.back().bucket != bucket)
          runs.push_back({bucket, &op, {}});
        runs.back().uses[read.getParamAttr().getAttr()].push_back(&operand);
      }
    }
    for (Run &run : runs) {
      builder.setInsertionPoint(run.first);
      SmallVector<tx::ParamOp> list =
          llvm::map_to_vector(run.uses, [&](auto &use) { return params.lookup(use.first); });
      for (auto [use, whole] : llvm::zip(run.uses, gather(*run.bucket, list)))
        for (OpOperand *operand : use.second)
          operand->set(whole);
    }
    for (tx::ReadOp read : reads)
      read.erase();
  }

  /// Reads whole gradients.
  SmallVector<Value> readGradients(ArrayRef<tx::ParamOp> list) {
    return llvm::map_to_vector(
        list, [&](tx::ParamOp param) { return read(param, tx::State::Grad, param.getType()); });
  }

  /// Sums the gradients of `list` at the insertion point; every rank has all.
  void allReduce(StringRef name, ArrayRef<tx::ParamOp> list) {
    if (list.empty())
      return;
    SmallVector<Value> gradients = readGradients(list);
    auto op = builder.create<tx::AllReduceOp>(named(name), ValueRange(gradients).getTypes(),
                                              tx::Reduction::Sum, name, gradients);
    for (auto [param, sum] : llvm::zip(list, op.getResults()))
      assign(param, tx::State::Grad, sum);
  }

  void reduceGradients(func::FuncOp function) {
    DenseMap<StringAttr, SmallVector<tx::AccumulateOp>> accumulations;
    function.walk([&](tx::AccumulateOp op) { accumulations[op.getParamAttr().getAttr()].push_back(op); });
    for (const Bucket &bucket : buckets) {
      // With shards, the others are summed in @update.
      SmallVector<tx::ParamOp> list = withShards(bucket, zero > 0);
      Operation *last = nullptr;
      for (tx::ParamOp param : list)
        for (tx::AccumulateOp op : accumulations[param.getSymNameAttr()])
          if (!last || last->isBeforeInBlock(op))
            last = op;
      if (!last)
        continue;
      builder.setInsertionPointAfter(last);
      std::string name = "gradients/" + bucket.name;
      if (zero == 0)
        allReduce(name, list);
      else
        reduceScatter(name, list);
      if (zero < 2)
        continue;
      for (tx::ParamOp param : list) {
        tx::AccumulateOp first = accumulations[param.getSymNameAttr()].front();
        OpBuilder(first).create<tx::AssignOp>(first.getLoc(), first.getParam(), tx::State::Grad,
                                              first.getValue());
        first.erase();
      }
    }
  }

  void reduceScatter(StringRef name, ArrayRef<tx::ParamOp> list) {
    SmallVector<Type> types = llvm::map_to_vector(
        list, [](tx::ParamOp param) -> Type { return param.getStateType(tx::State::GradShard); });
    auto op =
        builder.create<tx::ReduceScatterOp>(named(name), types, name, readGradients(list), ranks);
    if (zero > 1) {
      builder.create<tx::AccumulateShardsOp>(op.getLoc(), symbols(list), op.getResults());
      return;
    }
    for (auto [param, shard] : llvm::zip(list, op.getResults()))
      assign(param, tx::State::GradShard, shard);
  }

  void reduceLoss(func::FuncOp function) {
    Operation *end = function.getBody().front().getTerminator();
    builder.setInsertionPoint(end);
    Value loss = end->getOperand(0), count = end->getOperand(1);
    Location loc = named("loss");
    auto type = cast<RankedTensorType>(loss.getType());
    Value number = builder.create<arith::ConstantOp>(
        loc, DenseElementsAttr::get(type, builder.getFloatAttr(type.getElementType(), ranks)));
    Value share = builder.create<tx::MeanLossOp>(loc, type, loss, number);
    auto op = builder.create<tx::AllReduceOp>(loc, TypeRange{type, count.getType()}, tx::Reduction::Sum,
                                              "loss", ValueRange{share, count});
    end->setOperands(op.getResults());
  }

  void spreadUpdate(func::FuncOp update) {
    Block &body = update.getBody().front();
    builder.setInsertionPointToStart(&body);
    SmallVector<tx::ParamOp> whole, shared;
    for (auto param : module.getOps<tx::ParamOp>())
      (param.getShards() ? shared : whole).push_back(param);
    allReduce("gradients/replicated", whole);
    SmallVector<tx::GlobalNormOp> norms(body.getOps<tx::GlobalNormOp>());
    for (tx::GlobalNormOp norm : norms) {
      builder.setInsertionPoint(norm);
      Location loc = norm.getLoc();
      auto sumsType = RankedTensorType::get({2 + static_cast<int64_t>(norm.getParams().size())},
                                            builder.getF64Type());
      auto extremaType = RankedTensorType::get({2}, builder.getF32Type());
      auto parts = builder.create<tx::GradientSumsOp>(loc, sumsType, extremaType, norm.getParams(),
                                                      norm.getHyper());
      auto sums = builder.create<tx::AllReduceOp>(loc, TypeRange{sumsType}, tx::Reduction::Sum, "statistics/sums",
                                                  ValueRange{parts.getSums()});
      auto extrema = builder.create<tx::AllReduceOp>(loc, TypeRange{extremaType}, tx::Reduction::Min,
                                                     "statistics/extrema", ValueRange{parts.getExtrema()});
      Value stats = builder.create<tx::GradientStatsOp>(loc, norm.getStats().getType(), norm.getParams(),
                                                        sums.getResult(0), extrema.getResult(0),
                                                        norm.getHyper());
      norm.getStats().replaceAllUsesWith(stats);
      norm.erase();
    }
    if (zero == 1 && !shared.empty()) {
      builder.setInsertionPoint(body.getTerminator());
      builder.create<tx::ClearGradientsOp>(named("update"), symbols(shared));
    }
  }

  ModuleOp module;
  int64_t ranks, zero, bucketBytes;
  OpBuilder builder;
  DenseMap<StringAttr, tx::ParamOp> params;
  DenseMap<StringAttr, RankedTensorType> readTypes;
  SmallVector<Bucket> buckets;
};

struct Partition : impl::PartitionBase<Partition> {
  using PartitionBase::PartitionBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (Attribute old = module->getAttr(meshAttrName)) {
      module.emitError() << "is partitioned already, over " << old;
      return signalPassFailure();
    }
    if (failed(checkOptions()))
      return signalPassFailure();
    int64_t ranks = parseMesh(mesh, [&] { return module.emitError(); })->getNumRanks();
    module->setAttr(meshAttrName, StringAttr::get(&getContext(), mesh.getValue()));
    if (ranks == 1)
      return;
    module->setAttr(zeroAttrName, IntegerAttr::get(IntegerType::get(&getContext(), 64), zero));
    Partitioner partitioner(module, ranks, zero, bucketMb << 20);
    if (failed(partitioner.run()))
      return signalPassFailure();
    numBuckets = partitioner.getBuckets().size();
    numShared = llvm::count_if(module.getOps<tx::ParamOp>(),
                               [](tx::ParamOp param) { return param.getShards().has_value(); });
  }

  LogicalResult checkOptions() {
    ModuleOp module = getOperation();
    FailureOr<Mesh> parsed = parseMesh(mesh, [&] { return module.emitError(); });
    if (failed(parsed))
      return failure();
    for (const Mesh::Axis &axis : parsed->axes)
      if (axis.name != "dp" && axis.size != 1)
        return module.emitError() << "mesh \"" << mesh << "\": axis " << axis.name << " has " << axis.size
                                  << " ranks; only dp, data-parallel ranks, can have more than 1";
    if (zero < 0 || zero > 3 || bucketMb < 0 || bucketMb > 1 << 20)
      return module.emitError() << "zero must be 0 to 3 and bucket_mb 0 to 1048576, found " << int64_t(zero)
                                << " and " << int64_t(bucketMb);
    if (zero > 0 && parsed->getNumRanks() == 1)
      return module.emitError() << "zero " << int64_t(zero) << " shares state among ranks, but mesh \"" << mesh
                                << "\" has 1 rank; use zero 0, or more ranks, as in dp:2";
    if (parsed->getNumRanks() > 1)
      for (StringRef name : {"init", "micro", "update", "eval"})
        if (!module.lookupSymbol<func::FuncOp>(name))
          return module.emitError() << "has no @" << name << " to spread over ranks";
    return success();
  }
};
} // namespace
} // namespace txc::shard
