//===- BuildDecode.cpp - The forward pass as generation runs it ------------===//
//
// Requires: @forward, whose loss is the tx.cross_entropy of its logits.
//
// @decode(%tokens, %position) -> logits does for one token of each of S sequences
// what @forward does for whole sequences. S is the module's tx.decode_batch;
// without it nothing is built.
//
// 1. Copy what the logits depend on, with rows [S, 1] in place of [B, T].
//    Dropout does nothing.
// 2. What depends on the place in the sequence takes %position: the rotary
//    angles, the learned position. Its kernels work on one row, so a token costs
//    no more for being late in its sequence.
// 3. Attention reads the keys and values of earlier tokens from two tx.cache,
//    `<path>.keys` and `<path>.values`, and appends the token's own.
//
// Guarantees: @decode reads parameters, reads and writes caches, and nothing
// else; @forward is unchanged. Called for positions 0, 1, ... it gives the logits
// that @forward gives for those rows.
//
//===----------------------------------------------------------------------===//

#include "txc/Autodiff/Passes.h"
#include "txc/Dialect/Tx/StepFunctions.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace txc::autodiff {
#define GEN_PASS_DEF_BUILDDECODE
#include "txc/Autodiff/Passes.h.inc"

namespace {

class DecodeBuilder {
public:
  DecodeBuilder(func::FuncOp forward, int64_t sequences)
      : forward(forward), sequences(sequences), builder(forward.getContext()) {}

  LogicalResult build() {
    Block &body = forward.getBody().front();
    Value tokens = body.getNumArguments() ? body.getArgument(0) : Value();
    auto tokensType = tokens ? dyn_cast<RankedTensorType>(tokens.getType()) : RankedTensorType();
    if (!tokensType || tokensType.getRank() != 2)
      return forward.emitError() << "must take tokens [B, T] as its first argument to be decoded";
    auto losses = body.getOps<tx::CrossEntropyOp>();
    if (!llvm::hasSingleElement(losses))
      return forward.emitError() << "must have one tx.cross_entropy, whose logits are decoded; found "
                                 << llvm::range_size(losses);
    Value logits = (*losses.begin()).getLogits();
    batch = tokensType.getDimSize(0);
    block = tokensType.getDimSize(1);

    auto positionType = RankedTensorType::get({}, builder.getI32Type());
    auto logitsType = cast<RankedTensorType>(rowsOfOne(logits.getType())).clone(builder.getF32Type());
    builder.setInsertionPointAfter(forward);
    function = builder.create<func::FuncOp>(
        at("decode"), "decode", builder.getFunctionType({rowsOfOne(tokensType), positionType}, logitsType));
    Block *entry = function.addEntryBlock();
    builder.setInsertionPointToStart(entry);
    entry->getArgument(0).setLoc(at("tokens"));
    position = entry->getArgument(1);
    position.setLoc(at("position"));
    map(tokens, entry->getArgument(0));

    DenseSet<Operation *> needed;
    needed.insert(logits.getDefiningOp());
    for (Operation &op : llvm::reverse(body))
      if (needed.contains(&op))
        for (Value operand : op.getOperands())
          needed.insert(operand.getDefiningOp());
    for (Operation &op : body)
      if (needed.contains(&op) && failed(copy(&op)))
        return failure();
    Value result = mapping.lookupOrNull(logits);
    if (!result)
      return forward.emitError() << "has logits that no op computes";
    if (result.getType() != logitsType)
      result = builder.create<tx::CastOp>(at("decode.logits"), logitsType, result);
    builder.create<func::ReturnOp>(at("decode"), result);
    return success();
  }

private:
  Location at(const Twine &path) { return NameLoc::get(builder.getStringAttr(path)); }

  /// [B, T, ...] as [S, 1, ...].
  RankedTensorType rowsOfOne(Type type) {
    auto tensor = cast<RankedTensorType>(type);
    SmallVector<int64_t> shape(tensor.getShape());
    shape[0] = sequences;
    shape[1] = 1;
    return RankedTensorType::get(shape, tensor.getElementType());
  }

  /// `from` has rows of tokens, which `to` stands for.
  void map(Value from, Value to) {
    mapping.map(from, to);
    rows.insert(from);
  }

  LogicalResult copy(Operation *op) {
    if (auto dropout = dyn_cast<tx::DropoutOp>(op)) {
      map(dropout.getResult(), mapping.lookup(dropout.getInput()));
      return success();
    }
    if (auto table = dyn_cast<tx::RopeTableOp>(op))
      return copyRopeTable(table);
    if (auto attention = dyn_cast<tx::AttentionOp>(op))
      return copyAttention(attention);
    if (!isa<tx::ReadOp>(op) && !isMemoryEffectFree(op))
      return op->emitOpError() << "has an effect, so that its function cannot be decoded";
    Operation *clone = builder.clone(*op, mapping);
    if (llvm::none_of(op->getOperands(), [&](Value operand) { return rows.contains(operand); }))
      return success();
    for (auto [from, to] : llvm::zip_equal(op->getResults(), clone->getResults())) {
      auto type = cast<RankedTensorType>(from.getType());
      if (type.getRank() < 2 || type.getDimSize(0) != batch || type.getDimSize(1) != block)
        return op->emitOpError() << "mixes tokens: its result " << type << " is not one of rows [" << batch
                                 << ", " << block << "]";
      to.setType(rowsOfOne(type));
      rows.insert(from);
    }
    if (auto add = dyn_cast<tx::AddPositionOp>(clone))
      add.getPositionMutable().assign(position);
    return success();
  }

  LogicalResult copyRopeTable(tx::RopeTableOp op) {
    auto type = cast<RankedTensorType>(op.getCos().getType());
    Type row = RankedTensorType::get({1, type.getDimSize(1)}, type.getElementType());
    auto table = builder.create<tx::RopeTableOp>(op.getLoc(), row, row, position, op.getThetaAttr());
    mapping.map(op.getResults(), table.getResults());
    return success();
  }

  LogicalResult copyAttention(tx::AttentionOp op) {
    Value qkv = mapping.lookup(op.getQkv());
    std::string path = tx::getPath(op);
    if (path.empty())
      return op.emitOpError() << "has no path by which its caches could be named";
    int64_t kvHeads = op.getNKvHead();
    auto cacheType = RankedTensorType::get({sequences, kvHeads, block, op.getHeadDim()},
                                           cast<RankedTensorType>(qkv.getType()).getElementType());
    std::string keys = path + ".keys", values = path + ".values";
    Value oldKeys = readCache(keys, cacheType), oldValues = readCache(values, cacheType);
    auto decode = builder.create<tx::DecodeAttentionOp>(op.getLoc(), rowsOfOne(op.getResult().getType()),
                                                        cacheType, cacheType, qkv, oldKeys, oldValues,
                                                        position, op.getNHead(), op.getNKvHead());
    builder.create<tx::AssignOp>(at(keys), keys, tx::State::Value, decode.getNewKeys());
    builder.create<tx::AssignOp>(at(values), values, tx::State::Value, decode.getNewValues());
    map(op.getResult(), decode.getResult());
    return success();
  }

  /// Declares a cache before @forward, in the order of the layers, and reads it.
  Value readCache(const std::string &name, RankedTensorType type) {
    {
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPoint(forward);
      builder.create<tx::CacheOp>(at(name), name, type);
    }
    return builder.create<tx::ReadOp>(at(name), type, name, tx::State::Value);
  }

  func::FuncOp forward, function;
  int64_t sequences, batch = 0, block = 0;
  OpBuilder builder;
  Value position;
  IRMapping mapping;
  llvm::DenseSet<Value> rows;
};

struct BuildDecode : impl::BuildDecodeBase<BuildDecode> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto sequences = module->getAttrOfType<IntegerAttr>(tx::decodeBatchAttrName);
    if (!sequences)
      return;
    auto forward = module.lookupSymbol<func::FuncOp>("forward");
    if (!forward || !forward.getBody().hasOneBlock()) {
      module.emitError() << "has no @forward of one block to decode";
      return signalPassFailure();
    }
    if (sequences.getInt() < 1) {
      module.emitError() << tx::decodeBatchAttrName << " is " << sequences.getInt()
                         << "; expected at least 1";
      return signalPassFailure();
    }
    if (failed(DecodeBuilder(forward, sequences.getInt()).build()))
      signalPassFailure();
  }
};
} // namespace
} // namespace txc::autodiff
