//===- Ranks.cpp - All ranks of a step, side by side -----------------------===//

#include "txc/Interp/Ranks.h"

#include "txc/Shard/Mesh.h"
#include "txc/Shard/Passes.h"

using namespace mlir;

namespace txc::interp {
namespace {

double combine(tx::Reduction reduction, double a, double b) {
  switch (reduction) {
  case tx::Reduction::Sum:
    return a + b;
  case tx::Reduction::Min:
    return std::min(a, b);
  case tx::Reduction::Max:
    return std::max(a, b);
  }
  llvm_unreachable("all reductions handled");
}

/// `value` of all ranks, combined in their order.
Tensor reduce(tx::Reduction reduction, Value value, ArrayRef<Frame> frames) {
  Tensor result = frames.front().get(value);
  for (const Frame &frame : frames.drop_front())
    for (auto [to, from] : llvm::zip_equal(result.data, frame.get(value).data))
      to = combine(reduction, to, from);
  return result;
}

bool isCollective(Operation &op) { return isa<tx::AllReduceOp, tx::ReduceScatterOp, tx::AllGatherOp>(op); }

LogicalResult exchangeValues(Operation &op, MutableArrayRef<Frame> frames) {
  if (auto ranks = op.getAttrOfType<IntegerAttr>("ranks"); ranks && ranks.getInt() != int64_t(frames.size()))
    return op.emitOpError() << "is over " << ranks.getInt() << " ranks, but the mesh has " << frames.size();
  for (auto [input, result] : llvm::zip_equal(op.getOperands(), op.getResults())) {
    if (isa<tx::AllGatherOp>(op)) {
      std::vector<double> whole;
      for (Frame &frame : frames)
        llvm::append_range(whole, frame.get(input).data);
      whole.resize(cast<RankedTensorType>(result.getType()).getNumElements());
      for (Frame &frame : frames)
        frame.create(result).data = whole;
      continue;
    }
    auto allReduce = dyn_cast<tx::AllReduceOp>(op);
    Tensor sum = reduce(allReduce ? allReduce.getReduction() : tx::Reduction::Sum, input, frames);
    for (auto [rank, frame] : llvm::enumerate(frames)) {
      Tensor &part = frame.create(result);
      int64_t first = allReduce ? 0 : rank * part.size();
      for (int64_t e = 0; e < part.size(); ++e)
        part[e] = first + e < sum.size() ? sum[first + e] : 0;
    }
  }
  return success();
}

} // namespace

FailureOr<Ranks> Ranks::create(ModuleOp module, bool rounds) {
  int64_t number = 1;
  if (auto text = module->getAttrOfType<StringAttr>(shard::meshAttrName)) {
    auto mesh = shard::parseMesh(text, [&] { return module.emitError(); });
    if (failed(mesh))
      return failure();
    number = mesh->getNumRanks();
  }
  auto zero = module->getAttrOfType<IntegerAttr>(shard::zeroAttrName);
  Ranks ranks(module, zero ? zero.getInt() : 0);
  for (int64_t rank = 0; rank < number; ++rank)
    ranks.states.emplace_back(module, rounds, rank);
  return ranks;
}

LogicalResult Ranks::call(func::FuncOp function, ArrayRef<SmallVector<Datum>> arguments,
                          SmallVectorImpl<SmallVector<Datum>> &results) {
  if (failed(checkCallable(function, arguments.front().size())))
    return failure();
  Block &block = function.getBody().front();
  std::vector<Frame> frames;
  for (auto [state, values] : llvm::zip_equal(states, arguments)) {
    frames.emplace_back(state);
    for (auto [argument, datum] : llvm::zip_equal(block.getArguments(), values))
      frames.back().set(argument, datum);
  }
  for (Operation &op : block.without_terminator()) {
    if (isCollective(op)) {
      if (failed(exchangeValues(op, frames)))
        return failure();
      continue;
    }
    for (Frame &frame : frames)
      if (failed(frame.interpret(op)))
        return failure();
  }
  results.assign(frames.size(), {});
  for (auto [frame, values] : llvm::zip_equal(frames, results))
    for (Value result : block.getTerminator()->getOperands())
      values.push_back(frame.getDatum(result));
  return success();
}

/// The shards of all ranks, without padding.
Tensor Ranks::join(StringAttr name, tx::State state) {
  Tensor whole(cast<RankedTensorType>(states.front().getParam(name).getType()).getShape());
  for (State &rank : states) {
    auto [first, count] = rank.getOwned(name);
    std::copy_n(rank.get(name, state).data.begin(), count, whole.data.begin() + first);
  }
  return whole;
}

Tensor Ranks::getWhole(StringAttr name, tx::State state) {
  return states.front().getParam(name).getShards() ? join(name, state) : states.front().get(name, state);
}

Tensor Ranks::getGradient(StringAttr name) {
  if (states.front().getParam(name).getShards())
    return join(name, tx::State::GradShard);
  Tensor sum = states.front().get(name, tx::State::Grad);
  // With zero 1 and more, @update sums them.
  if (zero > 0)
    for (State &rank : llvm::drop_begin(states))
      for (auto [to, from] : llvm::zip_equal(sum.data, rank.get(name, tx::State::Grad).data))
        to += from;
  return sum;
}

LogicalResult Ranks::checkEqual() {
  for (StringAttr name : getNames()) {
    bool isShared = states.front().getParam(name).getShards().has_value();
    for (auto [number, rank] : llvm::enumerate(states)) {
      auto differs = [&](tx::State state) { return rank.get(name, state).data != states.front().get(name, state).data; };
      bool isDifferent = differs(tx::State::Compute);
      for (tx::State state : {tx::State::Value, tx::State::Moment1, tx::State::Moment2}) {
        isDifferent |= !isShared && differs(state);
        if (!llvm::all_of(ArrayRef(rank.get(name, state).data).drop_front(rank.getOwned(name).second),
                          [](double element) { return element == 0; }))
          return module.emitError() << "rank " << number << " has padding of '" << name.getValue()
                                    << "' that is not zero";
      }
      if (isDifferent)
        return module.emitError() << "ranks 0 and " << number << " have different copies of '" << name.getValue()
                                  << "'";
    }
  }
  return success();
}

} // namespace txc::interp
