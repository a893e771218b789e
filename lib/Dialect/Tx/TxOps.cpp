//===- TxOps.cpp - Verifiers of the tx ops ---------------------------------===//
//
// One function per op, in the order of the .td files. Each message starts with
// the constraint's number in the op's description.
//
//===----------------------------------------------------------------------===//

#include "txc/Dialect/Tx/Tx.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/OpImplementation.h"
#include "llvm/ADT/SmallSet.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace txc::tx;

static RankedTensorType tensor(Type type) { return cast<RankedTensorType>(type); }
static RankedTensorType tensor(Value value) { return tensor(value.getType()); }
static int64_t width(Value value) { return tensor(value).getShape().back(); }
static ArrayRef<int64_t> rows(Value value) { return tensor(value).getShape().drop_back(); }

/// `vector` must be 1-D, of the innermost size of `input`.
static LogicalResult verifyColumn(Operation *op, StringRef constraint, StringRef name, Value vector,
                                  Value input) {
  if (tensor(input).getRank() == 0)
    return op->emitOpError() << constraint << ": input must have at least one dimension";
  if (tensor(vector).getRank() != 1 || tensor(vector).getDimSize(0) != width(input))
    return op->emitOpError() << constraint << ": " << name << " must be 1-D of the input's innermost size "
                             << width(input) << ", found " << vector.getType();
  return success();
}

/// `scalars` must have one element per row of `input`.
static LogicalResult verifyRowScalar(Operation *op, StringRef constraint, StringRef name, Value scalars,
                                     Value input) {
  if (tensor(scalars).getShape() != rows(input))
    return op->emitOpError() << constraint << ": " << name << " must have the shape of " << input.getType()
                             << " less its innermost dimension, found " << scalars.getType();
  return success();
}

/// What is summed over the rows of `rows`, or stands beside them as master
/// precision: f32 for bf16 rows, else their type.
static LogicalResult verifyMasterType(Operation *op, StringRef constraint, StringRef name, Value value,
                                      Value rows) {
  Type expected = tensor(rows).getElementType();
  if (expected.isBF16())
    expected = Float32Type::get(op->getContext());
  if (tensor(value).getElementType() != expected)
    return op->emitOpError() << constraint << ": " << name << " must be of " << expected << " for "
                             << rows.getType() << ", found " << value.getType();
  return success();
}

/// The named parameter, or an error.
static FailureOr<ParamOp> lookupParam(Operation *op, FlatSymbolRefAttr name, StringRef constraint) {
  auto param = SymbolTable::lookupNearestSymbolFrom<ParamOp>(op, name);
  if (!param)
    return op->emitOpError() << constraint << ": " << name << " does not name a tx.param";
  return param;
}

/// The tensor of a parameter must be of type `type`.
static LogicalResult verifyParamValue(Operation *op, FlatSymbolRefAttr name, State state, Type type) {
  FailureOr<ParamOp> param = lookupParam(op, name, "(C1)");
  if (failed(param))
    return failure();
  RankedTensorType expected = param->getStateType(state);
  bool isWide = state == State::Compute && param->getShards() && type == param->getType();
  if (expected == type || isWide)
    return success();
  InFlightDiagnostic diag = op->emitOpError() << "(C1): has type " << type << " but " << name;
  if (expected)
    diag << " has type " << expected;
  else
    diag << " has no shards";
  diag.attachNote(param->getLoc()) << "declared here";
  return diag;
}

/// Checks a read or an assignment of type `type`.
static LogicalResult verifyStateValue(Operation *op, FlatSymbolRefAttr name, State state, Type type) {
  auto cache = SymbolTable::lookupNearestSymbolFrom<CacheOp>(op, name);
  if (!cache)
    return verifyParamValue(op, name, state, type);
  if (state == State::Value && cache.getType() == type)
    return success();
  InFlightDiagnostic diag = op->emitOpError()
                            << "(C2): has state " << stringifyState(state) << " and type " << type
                            << ", but the cache " << name << " has only a value of type " << cache.getType();
  diag.attachNote(cache.getLoc()) << "declared here";
  return diag;
}

/// Whether `name` is a parameter that ranks share.
static bool hasShards(Operation *op, FlatSymbolRefAttr name) {
  auto param = SymbolTable::lookupNearestSymbolFrom<ParamOp>(op, name);
  return param && param.getShards();
}

/// Whether a list of parameters may name those that ranks share, and others.
enum class Shards { Any, Required, None };

static LogicalResult verifyParamList(Operation *op, ArrayAttr params, Shards shards) {
  llvm::StringSet<> seen;
  for (auto name : params.getAsRange<FlatSymbolRefAttr>()) {
    FailureOr<ParamOp> param = lookupParam(op, name, "(C1)");
    if (failed(param))
      return failure();
    if (!seen.insert(name.getValue()).second)
      return op->emitOpError() << "(C1): " << name << " is named twice";
    bool isShared = param->getShards().has_value();
    if (shards != Shards::Any && isShared != (shards == Shards::Required)) {
      InFlightDiagnostic diag = op->emitOpError()
                                << "(C1): " << name << (isShared ? " has shards" : " has no shards");
      diag.attachNote(param->getLoc()) << "declared here";
      return diag;
    }
  }
  if (seen.empty())
    return op->emitOpError() << "(C1): must name at least one parameter";
  return success();
}

//===-- State --------------------------------------------------------------===//

LogicalResult ParamOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || !type.hasStaticShape() || !(type.getElementType().isF32() || type.getElementType().isF64()))
    return emitOpError() << "(C1): must be a static tensor of f32, found " << getType();
  double stddev = getStddev().convertToDouble();
  if ((getInit() == Init::Normal) ? !(stddev > 0) : stddev != 0)
    return emitOpError() << "(C2): init = " << stringifyInit(getInit()) << " with stddev " << stddev
                         << "; stddev must be positive for normal and 0 otherwise";
  if (getDecay() && type.getRank() < 2)
    return emitOpError() << "(C3): weight decay needs at least two dimensions, found " << type;
  if (getShards() && *getShards() < 2)
    return emitOpError() << "(C4): shards must be 2 or more, found " << *getShards();
  return success();
}

int64_t txc::tx::getShardElements(int64_t elements, int64_t ranks) {
  return llvm::alignTo(llvm::divideCeil(elements, ranks), 64);
}

int64_t ParamOp::getShardElements() {
  return tx::getShardElements(cast<RankedTensorType>(getType()).getNumElements(), *getShards());
}

RankedTensorType ParamOp::getStateType(State state) {
  auto whole = cast<RankedTensorType>(getType());
  auto bf16 = BFloat16Type::get(getContext());
  auto shard = [&](Type element) -> RankedTensorType {
    return getShards() ? RankedTensorType::get({getShardElements()}, element) : RankedTensorType();
  };
  switch (state) {
  case State::Value:
  case State::Moment1:
  case State::Moment2:
    return getShards() ? shard(whole.getElementType()) : whole;
  case State::Grad:
    return whole;
  case State::Compute:
    return whole.clone(bf16);
  case State::GradShard:
    return shard(whole.getElementType());
  case State::ComputeShard:
    return shard(bf16);
  }
  llvm_unreachable("all states handled");
}

LogicalResult CacheOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || !type.hasStaticShape() || type.getRank() != 4 || !isa<FloatType>(type.getElementType()))
    return emitOpError() << "(C1): must be a static tensor of floats of rank 4, [S, K, T, D], found "
                         << getType();
  return success();
}

LogicalResult ReadOp::verify() {
  if (getState() == State::Compute && !hasShards(*this, getParamAttr()) &&
      !tensor(getType()).getElementType().isBF16())
    return emitOpError() << "(C3): compute must be of bf16, found " << getType();
  return verifyStateValue(*this, getParamAttr(), getState(), getType());
}
LogicalResult AssignOp::verify() {
  bool isGathered = getState() == State::Compute && hasShards(*this, getParamAttr());
  if ((getState() == State::Compute && !isGathered) || getState() == State::ComputeShard)
    return emitOpError() << "(C3): " << stringifyState(getState())
                         << " cannot be assigned; tx.init and tx.adamw keep it";
  return verifyStateValue(*this, getParamAttr(), getState(), getValue().getType());
}
LogicalResult AccumulateOp::verify() {
  return verifyParamValue(*this, getParamAttr(), State::Grad, getValue().getType());
}
LogicalResult AccumulateShardsOp::verify() {
  if (failed(verifyParamList(*this, getParams(), Shards::Required)))
    return failure();
  if (getParams().size() != getValues().size())
    return emitOpError() << "(C2): must have one value for each of " << getParams().size()
                         << " parameters, found " << getValues().size();
  for (auto [name, value] : llvm::zip(getParams().getAsRange<FlatSymbolRefAttr>(), getValues())) {
    Type expected = lookupParam(*this, name, "(C1)")->getStateType(State::GradShard);
    if (value.getType() != expected)
      return emitOpError() << "(C2): the gradient shard of " << name << " has type " << expected << ", found "
                           << value.getType();
  }
  return success();
}
LogicalResult ClearGradientsOp::verify() { return verifyParamList(*this, getParams(), Shards::Required); }
LogicalResult InitOp::verify() { return lookupParam(*this, getParamAttr(), "(C1)"); }

//===-- Embeddings ---------------------------------------------------------===//

static LogicalResult verifyEmbedding(Operation *op, Value tokens, Value table, Value rowsOfC, bool isLookup) {
  auto t = tensor(tokens), w = tensor(table), r = tensor(rowsOfC);
  if (w.getRank() != 2 || r.getRank() != 3 || r.getShape().take_front(2) != t.getShape() ||
      r.getDimSize(2) != w.getDimSize(1) || (isLookup && r.getElementType() != w.getElementType()))
    return op->emitOpError() << "(C1): for tokens " << t
                             << " and a table of shape [V, C] expects [B, T, C], found " << w << " and " << r;
  return success();
}

LogicalResult EmbeddingOp::verify() {
  return verifyEmbedding(*this, getTokens(), getTable(), getResult(), /*isLookup=*/true);
}
LogicalResult EmbeddingVjpOp::verify() {
  if (failed(verifyEmbedding(*this, getTokens(), getResult(), getGrad(), /*isLookup=*/false)))
    return failure();
  return verifyMasterType(*this, "(C2)", "result", getResult(), getGrad());
}

static LogicalResult verifyPosition(Operation *op, Value input, Value table) {
  auto x = tensor(input), w = tensor(table);
  if (x.getRank() != 3 || w.getShape() != x.getShape().drop_front())
    return op->emitOpError() << "(C1): expects [B, T, C] and [T, C], found " << x << " and " << w;
  return success();
}

LogicalResult AddPositionOp::verify() {
  if (getInput().getType().getElementType() != getTable().getType().getElementType())
    return emitOpError() << "(C3): input and table must have one element type, found " << getInput().getType()
                         << " and " << getTable().getType();
  if (!getPosition())
    return verifyPosition(*this, getInput(), getTable());
  auto x = tensor(getInput()), w = tensor(getTable());
  if (x.getRank() != 3 || x.getDimSize(1) != 1 || w.getRank() != 2 || w.getDimSize(1) != x.getDimSize(2))
    return emitOpError() << "(C2): with a position expects [B, 1, C] and [P, C], found " << x << " and " << w;
  return success();
}
LogicalResult PositionVjpOp::verify() {
  if (failed(verifyPosition(*this, getGrad(), getResult())))
    return failure();
  return verifyMasterType(*this, "(C2)", "result", getResult(), getGrad());
}

//===-- Norms --------------------------------------------------------------===//

static LogicalResult verifyEpsilon(Operation *op, const APFloat &epsilon) {
  if (!(epsilon.convertToDouble() > 0))
    return op->emitOpError() << "(C3): epsilon must be positive, found " << epsilon.convertToDouble();
  return success();
}

LogicalResult RmsNormOp::verify() {
  if (failed(verifyColumn(*this, "(C1)", "gain", getGain(), getInput())) ||
      failed(verifyRowScalar(*this, "(C2)", "rstd", getRstd(), getInput())) ||
      failed(verifyEpsilon(*this, getEpsilon())))
    return failure();
  return verifyMasterType(*this, "(C4)", "gain", getGain(), getInput());
}

LogicalResult RmsNormVjpOp::verify() {
  if (failed(verifyColumn(*this, "(C1)", "gain", getGain(), getInput())) ||
      failed(verifyRowScalar(*this, "(C2)", "rstd", getRstd(), getInput())))
    return failure();
  return verifyMasterType(*this, "(C3)", "gain", getGain(), getInput());
}

LogicalResult LayerNormOp::verify() {
  if (failed(verifyColumn(*this, "(C1)", "gain", getGain(), getInput())) ||
      failed(verifyRowScalar(*this, "(C2)", "mean", getMean(), getInput())) ||
      failed(verifyRowScalar(*this, "(C2)", "rstd", getRstd(), getInput())) ||
      failed(verifyEpsilon(*this, getEpsilon())))
    return failure();
  return verifyMasterType(*this, "(C4)", "gain", getGain(), getInput());
}

LogicalResult LayerNormVjpOp::verify() {
  if (failed(verifyColumn(*this, "(C1)", "gain", getGain(), getInput())) ||
      failed(verifyRowScalar(*this, "(C2)", "mean and rstd", getRstd(), getInput())))
    return failure();
  return verifyMasterType(*this, "(C3)", "gain", getGain(), getInput());
}

LogicalResult NormalizedOp::verify() {
  if (failed(verifyColumn(*this, "(C1)", "gain", getGain(), getInput())))
    return failure();
  if (getStatistics().empty() || getStatistics().size() > 2)
    return emitOpError() << "(C2): statistics must be mean and rstd, or rstd, found "
                         << getStatistics().size() << " values";
  for (Value value : getStatistics())
    if (failed(verifyRowScalar(*this, "(C2)", "each of the statistics", value, getInput())))
      return failure();
  return verifyMasterType(*this, "(C3)", "gain", getGain(), getInput());
}

//===-- Matrix products ----------------------------------------------------===//

static LogicalResult verifyLinear(Operation *op, Value input, Value weight, Value result, bool transposed) {
  auto w = tensor(weight);
  if (tensor(input).getRank() < 1 || w.getRank() != 2 || w.getDimSize(transposed ? 0 : 1) != width(input))
    return op->emitOpError() << "(C1): weight must be [out, in] with " << (transposed ? "out" : "in")
                             << " the innermost size of " << input.getType() << ", found " << w;
  if (tensor(result).getRank() < 1 || rows(result) != rows(input) ||
      width(result) != w.getDimSize(transposed ? 1 : 0))
    return op->emitOpError() << "(C2): result must have the shape of " << input.getType() << " with "
                             << w.getDimSize(transposed ? 1 : 0) << " innermost, found " << result.getType();
  Type element = tensor(input).getElementType();
  if (w.getElementType() != element || tensor(result).getElementType() != element)
    return op->emitOpError() << "(C3): rows, weight and result must have one element type, found "
                             << input.getType() << ", " << w << " and " << result.getType();
  return success();
}

LogicalResult LinearOp::verify() { return verifyLinear(*this, getInput(), getWeight(), getResult(), false); }
LogicalResult LinearInputVjpOp::verify() {
  return verifyLinear(*this, getGrad(), getWeight(), getResult(), true);
}

LogicalResult LinearWeightVjpOp::verify() {
  if (tensor(getGrad()).getRank() < 1 || tensor(getInput()).getRank() < 1 ||
      rows(getGrad()) != rows(getInput()))
    return emitOpError() << "(C1): grad and input must have the same leading dimensions, found "
                         << getGrad().getType() << " and " << getInput().getType();
  if (tensor(getResult()).getShape() != ArrayRef<int64_t>{width(getGrad()), width(getInput())})
    return emitOpError() << "(C2): result must be [" << width(getGrad()) << ", " << width(getInput())
                         << "], found " << getResult().getType();
  if (tensor(getGrad()).getElementType() != tensor(getInput()).getElementType())
    return emitOpError() << "(C3): grad and input must have one element type, found " << getGrad().getType()
                         << " and " << getInput().getType();
  return verifyMasterType(*this, "(C4)", "result", getResult(), getGrad());
}

LogicalResult AddBiasOp::verify() {
  if (failed(verifyColumn(*this, "(C1)", "bias", getBias(), getInput())))
    return failure();
  return verifyMasterType(*this, "(C2)", "bias", getBias(), getInput());
}
LogicalResult BiasVjpOp::verify() {
  if (failed(verifyColumn(*this, "(C1)", "result", getResult(), getGrad())))
    return failure();
  return verifyMasterType(*this, "(C2)", "result", getResult(), getGrad());
}

//===-- Attention ----------------------------------------------------------===//

static LogicalResult verifyRopeTable(Operation *op, StringRef constraint, Value cos, int64_t block,
                                     int64_t half) {
  auto type = tensor(cos);
  if (type.getRank() != 2 || type.getDimSize(0) != block || type.getDimSize(1) != half)
    return op->emitOpError() << constraint << ": cos and sin must be [" << block << ", " << half
                             << "], found " << type;
  return success();
}

LogicalResult RopeTableOp::verify() {
  if (tensor(getCos()).getRank() != 2 || getCos().getType() != getSin().getType())
    return emitOpError() << "(C1): both results must be [T, D/2], found " << getCos().getType() << " and "
                         << getSin().getType();
  if (!(getTheta().convertToDouble() > 0))
    return emitOpError() << "(C2): theta must be positive, found " << getTheta().convertToDouble();
  return success();
}

LogicalResult RopeOp::verify() {
  auto type = tensor(getInput());
  int64_t heads = getHeads(), dim = getHeadDim();
  if (type.getRank() != 3 || dim <= 0 || dim % 2 || width(getInput()) % dim || heads < 0 ||
      heads * dim > width(getInput()))
    return emitOpError()
           << "(C1): expects [B, T, N] with an even head_dim that divides N and heads * head_dim <= N, "
           << "found " << type << ", heads " << heads << ", head_dim " << dim;
  return verifyRopeTable(*this, "(C2)", getCos(), type.getDimSize(1), dim / 2);
}

template <typename Op> static LogicalResult verifyAttention(Op op, Value output, Value lse) {
  int64_t heads = op.getNHead(), kvHeads = op.getNKvHead();
  if (heads <= 0 || kvHeads <= 0 || heads % kvHeads)
    return op.emitOpError() << "(C1): kv_heads must divide heads, found " << kvHeads << " and " << heads;
  auto type = tensor(op.getQkv());
  int64_t packed = heads + 2 * kvHeads;
  if (type.getRank() != 3 || type.getDimSize(2) % packed)
    return op.emitOpError() << "(C2): qkv must be [B, T, (heads + 2 kv_heads) * D], found " << type << " for "
                            << heads << " heads and " << kvHeads << " kv_heads";
  int64_t b = type.getDimSize(0), t = type.getDimSize(1), d = type.getDimSize(2) / packed;
  if (tensor(output).getShape() != ArrayRef<int64_t>{b, t, heads * d} ||
      tensor(lse).getShape() != ArrayRef<int64_t>{b, heads, t})
    return op.emitOpError() << "(C3): expects an output of [" << b << ", " << t << ", " << heads * d
                            << "] and lse of [" << b << ", " << heads << ", " << t << "], found "
                            << output.getType() << " and " << lse.getType();
  double p = op.getDropout().convertToDouble();
  if (!(p >= 0 && p < 1) || (p > 0) != static_cast<bool>(op.getHyper()))
    return op.emitOpError()
           << "(C4): dropout must be in [0, 1) and hyper given if and only if it is positive, "
           << "found dropout " << p << (op.getHyper() ? " with" : " without") << " hyper";
  return success();
}

LogicalResult AttentionOp::verify() { return verifyAttention(*this, getResult(), getLse()); }
LogicalResult AttentionVjpOp::verify() { return verifyAttention(*this, getOutput(), getLse()); }

/// B, T, H and D of an op on packed heads; fails with (C1).
namespace {
struct PackedHeads {
  int64_t b = 0, t = 0, h = 0, d = 0;
  Type element;
  RankedTensorType matrices() const { return RankedTensorType::get({b, h, t, t}, element); }
  RankedTensorType rows() const { return RankedTensorType::get({b, t, h * d}, element); }
};
} // namespace

template <typename Op> static FailureOr<PackedHeads> packedHeads(Op op) {
  int64_t heads = op.getNHead(), kvHeads = op.getNKvHead();
  auto type = tensor(op.getQkv());
  if (heads <= 0 || kvHeads <= 0 || heads % kvHeads || type.getRank() != 3 ||
      type.getDimSize(2) % (heads + 2 * kvHeads)) {
    op.emitOpError() << "(C1): kv_heads must divide heads and qkv be [B, T, (heads + 2 kv_heads) * D], found "
                     << type << " for " << heads << " heads and " << kvHeads << " kv_heads";
    return failure();
  }
  return PackedHeads{type.getDimSize(0), type.getDimSize(1), heads, type.getDimSize(2) / (heads + 2 * kvHeads),
                     type.getElementType()};
}

/// (C2): `value` is of type `expected`.
static LogicalResult verifyAttentionPart(Operation *op, StringRef name, Value value, RankedTensorType expected) {
  if (tensor(value) == expected)
    return success();
  return op->emitOpError() << "(C2): expects " << name << " of " << expected << ", found " << value.getType();
}

LogicalResult AttentionScoresOp::verify() {
  FailureOr<PackedHeads> heads = packedHeads(*this);
  return failed(heads) ? failure() : verifyAttentionPart(*this, "a result", getResult(), heads->matrices());
}

LogicalResult AttentionMixOp::verify() {
  FailureOr<PackedHeads> heads = packedHeads(*this);
  if (failed(heads) || failed(verifyAttentionPart(*this, "probabilities", getProbabilities(), heads->matrices())))
    return failure();
  return verifyAttentionPart(*this, "a result", getResult(), heads->rows());
}

LogicalResult AttentionMixVjpOp::verify() {
  FailureOr<PackedHeads> heads = packedHeads(*this);
  if (failed(heads) || failed(verifyAttentionPart(*this, "a gradient", getGrad(), heads->rows())))
    return failure();
  return verifyAttentionPart(*this, "a result", getResult(), heads->matrices());
}

LogicalResult AttentionScoresVjpOp::verify() {
  FailureOr<PackedHeads> heads = packedHeads(*this);
  if (failed(heads) || failed(verifyAttentionPart(*this, "scores_grad", getScoresGrad(), heads->matrices())) ||
      failed(verifyAttentionPart(*this, "probabilities", getProbabilities(), heads->matrices())))
    return failure();
  return verifyAttentionPart(*this, "a gradient", getGrad(), heads->rows());
}

template <typename Op> static LogicalResult verifyCausalSoftmax(Op op) {
  auto type = tensor(op.getResult());
  if (type.getRank() != 4 || type.getDimSize(2) != type.getDimSize(3))
    return op.emitOpError() << "(C1): expects [B, H, T, T], found " << type;
  if (!(op.getScale().convertToDouble() > 0))
    return op.emitOpError() << "(C2): scale must be positive, found " << op.getScale().convertToDouble();
  return success();
}
LogicalResult CausalSoftmaxOp::verify() { return verifyCausalSoftmax(*this); }
LogicalResult CausalSoftmaxVjpOp::verify() { return verifyCausalSoftmax(*this); }

template <typename Op> static int64_t headDim(Op op) {
  return width(op.getQkv()) / (op.getNHead() + 2 * op.getNKvHead());
}
int64_t AttentionOp::getHeadDim() { return headDim(*this); }
int64_t AttentionVjpOp::getHeadDim() { return headDim(*this); }
int64_t AttentionScoresOp::getHeadDim() { return headDim(*this); }
int64_t AttentionMixOp::getHeadDim() { return headDim(*this); }
int64_t AttentionMixVjpOp::getHeadDim() { return headDim(*this); }
int64_t AttentionScoresVjpOp::getHeadDim() { return headDim(*this); }

LogicalResult DecodeAttentionOp::verify() {
  int64_t heads = getNHead(), kvHeads = getNKvHead();
  if (heads <= 0 || kvHeads <= 0 || heads % kvHeads)
    return emitOpError() << "(C1): kv_heads must divide heads, found " << kvHeads << " and " << heads;
  auto type = tensor(getQkv());
  int64_t packed = heads + 2 * kvHeads;
  if (type.getRank() != 3 || type.getDimSize(1) != 1 || type.getDimSize(2) % packed)
    return emitOpError() << "(C2): qkv must be [S, 1, (heads + 2 kv_heads) * D], found " << type << " for "
                         << heads << " heads and " << kvHeads << " kv_heads";
  int64_t s = type.getDimSize(0), d = type.getDimSize(2) / packed;
  for (Value cache : {getKeys(), getValues()}) {
    auto cached = tensor(cache);
    if (cached.getRank() != 4 || cached.getDimSize(0) != s || cached.getDimSize(1) != kvHeads ||
        cached.getDimSize(3) != d || cached.getElementType() != type.getElementType() ||
        cached != tensor(getKeys()))
      return emitOpError() << "(C3): keys and values must be of one type, [" << s << ", " << kvHeads
                           << ", T, " << d << "] of " << type.getElementType() << ", found "
                           << getKeys().getType() << " and " << getValues().getType();
  }
  if (tensor(getResult()) != RankedTensorType::get({s, 1, heads * d}, type.getElementType()))
    return emitOpError() << "(C4): expects a result of [" << s << ", 1, " << heads * d << "] of "
                         << type.getElementType() << ", found " << getResult().getType();
  return success();
}
int64_t DecodeAttentionOp::getHeadDim() { return headDim(*this); }

//===-- Pointwise ----------------------------------------------------------===//

static LogicalResult verifySwiglu(Operation *op, Value wide, Value narrow) {
  if (tensor(narrow).getRank() < 1 || tensor(wide).getRank() < 1 || rows(wide) != rows(narrow) ||
      width(wide) != 2 * width(narrow) || tensor(wide).getElementType() != tensor(narrow).getElementType())
    return op->emitOpError() << "(C1): input must be twice as wide as the gated row, found " << wide.getType()
                             << " and " << narrow.getType();
  return success();
}

LogicalResult SwigluOp::verify() { return verifySwiglu(*this, getInput(), getResult()); }
LogicalResult SwigluVjpOp::verify() { return verifySwiglu(*this, getInput(), getGrad()); }

LogicalResult DropoutOp::verify() {
  double p = getP().convertToDouble();
  if (!(p > 0 && p < 1))
    return emitOpError() << "(C1): p must be between 0 and 1, found " << p;
  return success();
}

LogicalResult CastOp::verify() {
  auto from = tensor(getInput()), to = tensor(getResult());
  if (from.getShape() != to.getShape() || from.getElementType() == to.getElementType())
    return emitOpError() << "(C1): expects the same shape and different element types, found " << from
                         << " and " << to;
  return success();
}

//===-- Loss ---------------------------------------------------------------===//

static LogicalResult verifyCrossEntropy(Operation *op, Value logits, Value targets, Value perRow) {
  auto type = tensor(logits);
  if (type.getRank() != 3 || type.getShape().take_front(2) != tensor(targets).getShape())
    return op->emitOpError() << "(C1): logits must be [B, T, V] for targets " << targets.getType()
                             << ", found " << type;
  return verifyRowScalar(op, "(C2)", "a per-token value", perRow, logits);
}

LogicalResult CrossEntropyOp::verify() {
  if (failed(verifyCrossEntropy(*this, getLogits(), getTargets(), getLoss())))
    return failure();
  return verifyRowScalar(*this, "(C2)", "lse", getLse(), getLogits());
}
LogicalResult CrossEntropyVjpOp::verify() {
  return verifyCrossEntropy(*this, getLogits(), getTargets(), getLse());
}

//===-- Optimizer ----------------------------------------------------------===//

static LogicalResult verifyStatistics(Operation *op, ArrayAttr params, Shards shards, Value stats) {
  if (failed(verifyParamList(op, params, shards)))
    return failure();
  if (tensor(stats).getShape() != ArrayRef<int64_t>{11})
    return op->emitOpError() << "(C2): statistics must have 11 elements, found " << stats.getType();
  return success();
}

/// What gradient statistics of `params` are made of.
static LogicalResult verifySums(Operation *op, StringRef constraint, ArrayAttr params, Value sums,
                                Value extrema) {
  auto s = tensor(sums), e = tensor(extrema);
  int64_t expected = 2 + static_cast<int64_t>(params.size());
  if (!s.getElementType().isF64() || s.getShape() != ArrayRef<int64_t>{expected} ||
      !e.getElementType().isF32() || e.getShape() != ArrayRef<int64_t>{2})
    return op->emitOpError() << constraint << ": expects tensor<" << expected
                             << "xf64> and tensor<2xf32>, found " << s << " and " << e;
  return success();
}

LogicalResult GlobalNormOp::verify() {
  return verifyStatistics(*this, getParams(), Shards::None, getStats());
}
LogicalResult GradientSumsOp::verify() {
  if (failed(verifyParamList(*this, getParams(), Shards::Any)))
    return failure();
  return verifySums(*this, "(C2)", getParams(), getSums(), getExtrema());
}
LogicalResult GradientStatsOp::verify() {
  if (failed(verifyStatistics(*this, getParams(), Shards::Any, getStats())))
    return failure();
  return verifySums(*this, "(C3)", getParams(), getSums(), getExtrema());
}
LogicalResult AdamwOp::verify() { return verifyStatistics(*this, getParams(), Shards::Any, getStats()); }

//===-- Collectives --------------------------------------------------------===//

LogicalResult AllReduceOp::verify() {
  if (getInputs().empty() || getInputs().getTypes() != getResults().getTypes())
    return emitOpError() << "(C1): the results must have the types of the inputs, at least one";
  return success();
}

/// Each tensor of `shards` is 1-D, of the elements of a shard of that of `wholes`.
static LogicalResult verifyShards(Operation *op, ValueRange wholes, ValueRange shards, int64_t ranks) {
  if (wholes.empty() || wholes.size() != shards.size())
    return op->emitOpError() << "(C1): must have one result for each input, at least one, found "
                             << op->getNumResults() << " for " << op->getNumOperands();
  for (auto [whole, shard] : llvm::zip(wholes, shards)) {
    if (tensor(whole).getElementType() != tensor(shard).getElementType())
      return op->emitOpError() << "(C1): a tensor and its shard must have one element type, found "
                               << whole.getType() << " and " << shard.getType();
    int64_t expected = ranks > 1 ? getShardElements(tensor(whole).getNumElements(), ranks) : 0;
    if (tensor(shard).getShape() != ArrayRef<int64_t>{expected})
      return op->emitOpError() << "(C2): the shard of " << whole.getType() << " over " << ranks
                               << " ranks has " << expected << " elements, found " << shard.getType();
  }
  return success();
}

LogicalResult ReduceScatterOp::verify() { return verifyShards(*this, getInputs(), getResults(), getRanks()); }
LogicalResult AllGatherOp::verify() { return verifyShards(*this, getResults(), getInputs(), getRanks()); }

//===-- Parts --------------------------------------------------------------===//

static int64_t tokens(Value value) { return tensor(value).getDimSize(0) * tensor(value).getDimSize(1); }

/// `part` must be [1, N, ...] of the row type of `whole`.
static LogicalResult verifyPart(Operation *op, Value part, Value whole) {
  auto p = tensor(part), w = tensor(whole);
  if (p.getElementType() != w.getElementType() || p.getRank() != w.getRank() || p.getDimSize(0) != 1 ||
      p.getShape().drop_front(2) != w.getShape().drop_front(2))
    return op->emitOpError() << "(C1): a part of " << w << " must be rows of it, [1, N, ...], found " << p;
  return success();
}

LogicalResult SliceRowsOp::verify() {
  if (failed(verifyPart(*this, getResult(), getInput())))
    return failure();
  int64_t from = getFrom(), count = tokens(getResult());
  if (from < 0 || from + count > tokens(getInput()))
    return emitOpError() << "(C2): rows " << from << " to " << from + count << " are not all in the "
                         << tokens(getInput()) << " rows of " << getInput().getType();
  return success();
}

LogicalResult ConcatRowsOp::verify() {
  int64_t count = 0;
  for (Value part : getParts()) {
    if (failed(verifyPart(*this, part, getResult())))
      return failure();
    count += tokens(part);
  }
  if (count != tokens(getResult()))
    return emitOpError() << "(C2): the parts have " << count << " rows, " << getResult().getType() << " has "
                         << tokens(getResult());
  return success();
}

//===-- Kernels ------------------------------------------------------------===//

/// Whether `kind` may hold `op`; the terminator is checked elsewhere.
static bool kindAllows(KernelKind kind, Operation &op) {
  switch (kind) {
  case KernelKind::RowWise:
    return isa<RowWiseOpInterface>(op);
  case KernelKind::MatrixProduct:
    return isa<LinearOp, LinearInputVjpOp, LinearWeightVjpOp, AddOp>(op);
  case KernelKind::Attention:
    return isa<AttentionOp, AttentionVjpOp, DecodeAttentionOp>(op) ||
           (isa<RopeOp>(op) && isa_and_nonnull<AttentionVjpOp>(op.getOperand(0).getDefiningOp()));
  case KernelKind::AttentionProduct:
    return isa<AttentionScoresOp, AttentionMixOp, AttentionMixVjpOp, AttentionScoresVjpOp>(op);
  case KernelKind::Scatter:
    return isa<EmbeddingVjpOp, PositionVjpOp, AddOp>(op);
  case KernelKind::Reduction:
    return isa<MeanLossOp, TargetCountOp>(op);
  case KernelKind::Table:
    return isa<RopeTableOp>(op);
  }
  llvm_unreachable("all kinds handled");
}

LogicalResult KernelOp::verify() {
  Block &body = getBody().front();
  if (body.getArgumentTypes() != getInputs().getTypes())
    return emitOpError() << "(C1): body arguments must have the types of the operands";
  if (body.getTerminator()->getOperandTypes() != getResultTypes())
    return emitOpError() << "(C1): yielded values must have the types of the results";
  unsigned adds = 0, others = 0;
  for (Operation &op : body.without_terminator()) {
    if (op.hasTrait<OpTrait::ConstantLike>())
      continue;
    if (!kindAllows(getKind(), op)) {
      InFlightDiagnostic diag = emitOpError() << "(C2): a " << stringifyKernelKind(getKind())
                                              << " kernel cannot hold this op";
      diag.attachNote(op.getLoc()) << "see " << op.getName();
      return diag;
    }
    ++(isa<AddOp, RopeOp>(op) ? adds : others);
  }
  if (getKind() != KernelKind::RowWise && (others != 1 || adds > 1))
    return emitOpError() << "(C2): a " << stringifyKernelKind(getKind())
                         << " kernel holds exactly one op and at most one addition or rotation, found " << others
                         << " and " << adds;
  if (getInplace().size() != getNumResults())
    return emitOpError() << "(C3): inplace must have " << getNumResults() << " elements, found "
                         << getInplace().size();
  llvm::SmallSet<int64_t, 4> taken;
  for (auto [i, operand] : llvm::enumerate(getInplace())) {
    if (operand == -1)
      continue;
    if (operand < 0 || operand >= static_cast<int64_t>(getInputs().size()) ||
        getInputs()[operand].getType() != getResult(i).getType() || !taken.insert(operand).second)
      return emitOpError() << "(C3): result " << i << " cannot be written over operand " << operand;
  }
  return success();
}

#define GET_OP_CLASSES
#include "txc/Dialect/Tx/TxOps.cpp.inc"
