//===- Frame.cpp - Values and state of an evaluation -----------------------===//

#include "txc/Interp/Frame.h"
#include "txc/Interp/Philox.h"

using namespace mlir;

namespace txc::interp {

double roundToBFloat16(double value) {
  bool losesInfo;
  APFloat number(value);
  number.convert(APFloat::BFloat(), APFloat::rmNearestTiesToEven, &losesInfo);
  number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &losesInfo);
  return number.convertToDouble();
}

State::State(ModuleOp module, bool rounds, int64_t rank) : rounds(rounds), rank(rank) {
  for (auto op : module.getOps<tx::ParamOp>()) {
    names.push_back(op.getSymNameAttr());
    Param &param = params[op.getSymNameAttr()];
    param.op = op;
    for (auto [state, tensor] : llvm::enumerate(param.tensors))
      if (RankedTensorType type = op.getStateType(static_cast<tx::State>(state)))
        tensor = Tensor(type.getShape());
  }
  for (auto op : module.getOps<tx::CacheOp>())
    params[op.getSymNameAttr()].tensors[static_cast<int>(tx::State::Value)] =
        Tensor(cast<RankedTensorType>(op.getType()).getShape());
}

std::pair<int64_t, int64_t> State::getOwned(StringAttr name) {
  tx::ParamOp op = params[name].op;
  int64_t elements = cast<RankedTensorType>(op.getType()).getNumElements();
  if (!op.getShards())
    return {0, elements};
  int64_t first = rank * op.getShardElements();
  return {first, std::clamp<int64_t>(elements - first, 0, op.getShardElements())};
}

void State::keepCompute(StringAttr name) {
  bool isShared = params[name].op.getShards().has_value();
  Tensor &compute = get(name, isShared ? tx::State::ComputeShard : tx::State::Compute);
  compute = get(name, tx::State::Value);
  if (rounds)
    for (double &element : compute.data)
      element = roundToBFloat16(element);
}

void State::initialise(StringAttr name, uint64_t seed) {
  Param &param = params[name];
  for (Tensor &tensor : param.tensors)
    std::fill(tensor.data.begin(), tensor.data.end(), 0.0);
  Tensor &value = param.tensors[static_cast<int>(tx::State::Value)];
  double stddev = param.op.getStddev().convertToDouble();
  auto [first, count] = getOwned(name);
  for (int64_t e = 0; e < count; ++e)
    switch (param.op.getInit()) {
    case tx::Init::Zeros:
      value[e] = 0;
      break;
    case tx::Init::Ones:
      value[e] = 1;
      break;
    case tx::Init::Normal:
      value[e] = stddev * normal(seed, first + e, param.op.getSite(), 0xffffffffu);
      break;
    }
}

void State::randomise(uint64_t seed, double scale) {
  for (auto [site, name] : llvm::enumerate(names)) {
    Param &param = params[name];
    double base = param.op.getInit() == tx::Init::Ones ? 1 : 0;
    Tensor &value = param.tensors[static_cast<int>(tx::State::Value)];
    auto [first, count] = getOwned(name);
    for (int64_t e = 0; e < count; ++e)
      value[e] = base + scale * normal(seed, first + e, site, 0xffffffffu);
  }
}

Tensor &Frame::create(Value result) {
  auto tensor = std::make_shared<Tensor>(cast<RankedTensorType>(result.getType()).getShape());
  Tensor &reference = *tensor;
  values[result] = std::shared_ptr<const Tensor>(std::move(tensor));
  return reference;
}

LogicalResult Frame::run(Block &block, ArrayRef<Datum> arguments, SmallVectorImpl<Datum> &results) {
  for (auto [argument, datum] : llvm::zip_equal(block.getArguments(), arguments))
    values[argument] = datum;
  for (Operation &op : block.without_terminator())
    if (failed(interpret(op)))
      return failure();
  for (Value result : block.getTerminator()->getOperands())
    results.push_back(values.at(result));
  return success();
}

LogicalResult Frame::interpret(Operation &op) {
  auto interpretable = dyn_cast<tx::InterpretableOpInterface>(op);
  if (!interpretable)
    return op.emitOpError() << "has no rule in the oracle; write one in lib/Interp/Rules";
  return interpretable.interpret(*this);
}

LogicalResult checkCallable(func::FuncOp function, size_t arguments) {
  if (function.isExternal())
    return function.emitOpError() << "has no body to evaluate";
  if (!function.getBody().hasOneBlock())
    return function.emitOpError() << "has several blocks; the oracle evaluates straight-line programs";
  if (function.getNumArguments() != arguments)
    return function.emitOpError() << "takes " << function.getNumArguments() << " arguments; expected "
                                  << arguments;
  return success();
}

LogicalResult call(func::FuncOp function, State &state, ArrayRef<Datum> arguments,
                   SmallVectorImpl<Datum> &results) {
  if (failed(checkCallable(function, arguments.size())))
    return failure();
  return Frame(state).run(function.getBody().front(), arguments, results);
}

} // namespace txc::interp
