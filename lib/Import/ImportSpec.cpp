//===- ImportSpec.cpp - Build the forward pass that a spec describes ------===//
//
// One walk over the model in the order in which it computes. Each weight is
// declared where it is first used and read again at every use, so that a tied
// embedding has two reads and one tx.param. Dropout sites and init sites are
// numbered in program order.
//
//   x = wte[tokens] (+ wpe)
//   pre:  x = x + attn(norm(x));  x = x + ffn(norm(x))
//   post: x = norm(x + attn(x));  x = norm(x + ffn(x))
//   loss = mean cross-entropy of lm_head(norm(x))
//
// Precision: weights are f32. With dtype bfloat16 the activations are bf16, and
// each read of a matrix or table is cast. Gains and biases are read as they are:
// they are small, and the kernels that use them compute in f32 anyway. rope's
// tables, the statistics of norms and the losses are f32 always.
//
// Guarantees: what tx-import-verify checks; the same spec gives the same text.
//
//===----------------------------------------------------------------------===//

#include "txc/Import/ImportSpec.h"
#include "txc/Dialect/Tx/StepFunctions.h"
#include "txc/Dialect/Tx/Tx.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringSet.h"

#include <cmath>

using namespace mlir;

namespace txc::import {
namespace {

tx::ActivationKind kindOf(Activation activation) {
  switch (activation) {
  case Activation::Gelu:
    return tx::ActivationKind::Gelu;
  case Activation::GeluTanh:
    return tx::ActivationKind::GeluTanh;
  case Activation::Silu:
    return tx::ActivationKind::Silu;
  case Activation::Relu:
    return tx::ActivationKind::Relu;
  case Activation::LeakyRelu:
    return tx::ActivationKind::LeakyRelu;
  }
  llvm_unreachable("no such activation");
}

class Importer {
public:
  Importer(MLIRContext &context, const Spec &spec)
      : spec(spec), builder(&context), f32(builder.getF32Type()),
        computeType(spec.dtype == DType::BFloat16 ? Type(builder.getBF16Type()) : Type(f32)) {}

  OwningOpRef<ModuleOp> import();

private:
  Location at(const Twine &path) { return NameLoc::get(builder.getStringAttr(path)); }
  RankedTensorType tensor(ArrayRef<int64_t> shape, Type element) {
    return RankedTensorType::get(shape, element);
  }
  // [B, T, width] of the compute type.
  RankedTensorType rows(int64_t width) {
    return tensor({spec.batch_size, spec.block_size, width}, computeType);
  }
  RankedTensorType rowScalars() { return tensor({spec.batch_size, spec.block_size}, f32); }

  // Reads parameter `path`, which is declared if this is its first use.
  Value weight(const Twine &path, ArrayRef<int64_t> shape, tx::Init init, double stddev = 0);
  Value norm(Value x, const Twine &path);
  Value linear(Value x, const Twine &path, int64_t width, double stddev);
  Value dropout(Value x, const Twine &path);
  Value attention(Value x, const Twine &block);
  Value ffn(Value x, const Twine &block);
  void buildForward();
  void buildInit();

  const Spec &spec;
  OpBuilder builder;
  FloatType f32;
  Type computeType;
  ModuleOp module;
  SmallVector<tx::ParamOp> params;
  llvm::StringSet<> declared;
  Value hyper, ropeCos, ropeSin;
  int32_t dropoutSites = 0;
};

Value Importer::weight(const Twine &path, ArrayRef<int64_t> shape, tx::Init init, double stddev) {
  std::string name = path.str();
  Location loc = at(name);
  RankedTensorType type = tensor(shape, f32);
  if (declared.insert(name).second) {
    if (stddev == 0 && init == tx::Init::Normal)
      init = tx::Init::Zeros;
    OpBuilder::InsertionGuard guard(builder);
    if (params.empty())
      builder.setInsertionPointToStart(module.getBody());
    else
      builder.setInsertionPointAfter(params.back());
    params.push_back(builder.create<tx::ParamOp>(loc, name, type, init, llvm::APFloat(stddev),
                                                 static_cast<uint32_t>(params.size()),
                                                 /*decay=*/shape.size() >= 2, /*shards=*/IntegerAttr()));
  }
  Value value = builder.create<tx::ReadOp>(loc, type, name, tx::State::Value);
  if (computeType != f32 && shape.size() >= 2)
    value = builder.create<tx::CastOp>(loc, type.clone(computeType), value);
  return value;
}

Value Importer::norm(Value x, const Twine &path) {
  std::string name = path.str();
  Location loc = at(name);
  Value gain = weight(name + ".weight", {spec.n_embd}, tx::Init::Ones);
  llvm::APFloat epsilon(spec.norm_eps);
  if (spec.normalization == Normalization::RmsNorm)
    return builder.create<tx::RmsNormOp>(loc, x.getType(), rowScalars(), x, gain, epsilon).getResult();
  Value result =
      builder.create<tx::LayerNormOp>(loc, x.getType(), rowScalars(), rowScalars(), x, gain, epsilon)
          .getResult();
  if (spec.normalization == Normalization::LayerNorm) {
    Value bias = weight(name + ".bias", {spec.n_embd}, tx::Init::Zeros);
    result = builder.create<tx::AddBiasOp>(at(name + ".bias"), x.getType(), result, bias);
  }
  return result;
}

Value Importer::linear(Value x, const Twine &path, int64_t width, double stddev) {
  std::string name = path.str();
  int64_t inputWidth = cast<RankedTensorType>(x.getType()).getShape().back();
  Value matrix = weight(name + ".weight", {width, inputWidth}, tx::Init::Normal, stddev);
  Value result = builder.create<tx::LinearOp>(at(name), rows(width), x, matrix);
  if (spec.bias) {
    Value bias = weight(name + ".bias", {width}, tx::Init::Zeros);
    result = builder.create<tx::AddBiasOp>(at(name + ".bias"), result.getType(), result, bias);
  }
  return result;
}

Value Importer::dropout(Value x, const Twine &path) {
  if (spec.dropout == 0)
    return x;
  return builder.create<tx::DropoutOp>(at(path), x.getType(), x, hyper, llvm::APFloat(spec.dropout),
                                       dropoutSites++);
}

Value Importer::attention(Value x, const Twine &block) {
  std::string path = (block + ".attn").str();
  Value qkv = linear(x, path + ".qkv", spec.queryWidth() + 2 * spec.kvWidth(), spec.init_std);
  if (spec.position_encoding == PositionEncoding::Rope) {
    // Queries and keys are the leading heads; values stay.
    auto layout =
        spec.rope_layout == RopeLayout::Interleaved ? tx::RopeLayout::Interleaved : tx::RopeLayout::Half;
    qkv = builder.create<tx::RopeOp>(at(path + ".rope"), qkv.getType(), qkv, ropeCos, ropeSin,
                                     spec.n_head + spec.n_kv_head, spec.head_dim, layout, /*inverse=*/false);
  }
  bool drops = spec.dropout != 0;
  auto lseType = tensor({spec.batch_size, spec.n_head, spec.block_size}, f32);
  Value mixed = builder
                    .create<tx::AttentionOp>(at(path), rows(spec.queryWidth()), lseType, qkv,
                                             drops ? hyper : Value(), spec.n_head, spec.n_kv_head,
                                             llvm::APFloat(spec.dropout), drops ? dropoutSites++ : 0)
                    .getResult();
  Value result = linear(mixed, path + ".proj", spec.n_embd, spec.init_std / std::sqrt(2.0 * spec.n_layer));
  return dropout(result, path + ".dropout");
}

Value Importer::ffn(Value x, const Twine &block) {
  std::string path = (block + ".ffn").str();
  Value hidden;
  if (spec.ffn_type == FfnType::SwiGlu) {
    Value gateUp = linear(x, path + ".gate_up", 2 * spec.d_ff, spec.init_std);
    hidden = builder.create<tx::SwigluOp>(at(path + ".swiglu"), rows(spec.d_ff), gateUp);
  } else {
    Value up = linear(x, path + ".up", spec.d_ff, spec.init_std);
    hidden =
        builder.create<tx::ActivationOp>(at(path + ".activation"), up.getType(), up, kindOf(spec.activation));
  }
  Value result = linear(hidden, path + ".down", spec.n_embd, spec.init_std / std::sqrt(2.0 * spec.n_layer));
  return dropout(result, path + ".dropout");
}

void Importer::buildForward() {
  RankedTensorType tokensType = tensor({spec.batch_size, spec.block_size}, builder.getI32Type());
  RankedTensorType scalar = tensor({}, f32);
  auto hyperType = tx::HyperType::get(builder.getContext());
  auto function = builder.create<func::FuncOp>(
      at("forward"), "forward",
      builder.getFunctionType({tokensType, tokensType, hyperType}, {scalar, scalar}));
  Block *body = function.addEntryBlock();
  builder.setInsertionPointToStart(body);
  Value tokens = body->getArgument(0), targets = body->getArgument(1);
  const StringRef names[] = {"tokens", "targets", "hyper"};
  for (auto [argument, name] : llvm::zip_equal(body->getArguments(), names))
    argument.setLoc(at(name));
  hyper = body->getArgument(2);

  if (spec.position_encoding == PositionEncoding::Rope) {
    RankedTensorType tableType = tensor({spec.block_size, spec.head_dim / 2}, f32);
    auto table =
        builder.create<tx::RopeTableOp>(at("rope"), tableType, tableType, llvm::APFloat(spec.rope_theta));
    ropeCos = table.getCos();
    ropeSin = table.getSin();
  }

  auto tokenTable = [&] {
    return weight("wte.weight", {spec.vocab_size, spec.n_embd}, tx::Init::Normal, spec.init_std);
  };
  Value table = tokenTable();
  Value x = builder.create<tx::EmbeddingOp>(at("wte"), rows(spec.n_embd), tokens, table);
  if (spec.position_encoding == PositionEncoding::LearnedAbsolute) {
    Value positions = weight("wpe.weight", {spec.block_size, spec.n_embd}, tx::Init::Normal, spec.init_std);
    x = builder.create<tx::AddPositionOp>(at("wpe"), x.getType(), x, positions);
  }
  x = dropout(x, "wte.dropout");

  bool preNorm = spec.norm_position == NormPosition::Pre;
  for (int64_t i = 0; i < spec.n_layer; ++i) {
    std::string block = "blocks." + std::to_string(i);
    auto residual = [&](StringRef part, llvm::function_ref<Value(Value)> compute) {
      Value input = preNorm ? norm(x, block + "." + part + "_norm") : x;
      Value sum =
          builder.create<tx::AddOp>(at(block + "." + part + ".residual"), x.getType(), x, compute(input));
      x = preNorm ? sum : norm(sum, block + "." + part + "_norm");
    };
    residual("attn", [&](Value input) { return attention(input, block); });
    residual("ffn", [&](Value input) { return ffn(input, block); });
  }
  x = norm(x, "final_norm");

  Value head = spec.weight_tying ? tokenTable()
                                 : weight("lm_head.weight", {spec.vocab_size, spec.n_embd}, tx::Init::Normal,
                                          spec.init_std);
  Value logits = builder.create<tx::LinearOp>(at("lm_head"), rows(spec.vocab_size), x, head);
  Value count = builder.create<tx::TargetCountOp>(at("loss.count"), scalar, targets, spec.ignore_index);
  Value losses = builder
                     .create<tx::CrossEntropyOp>(at("loss"), rowScalars(), rowScalars(), logits, targets,
                                                 spec.ignore_index)
                     .getLoss();
  Value loss = builder.create<tx::MeanLossOp>(at("loss.mean"), scalar, losses, count);
  builder.create<func::ReturnOp>(at("forward"), ValueRange{loss, count});
}

void Importer::buildInit() {
  builder.setInsertionPointAfter(params.back());
  auto function = builder.create<func::FuncOp>(
      at("init"), "init", builder.getFunctionType({tx::HyperType::get(builder.getContext())}, {}));
  Block *body = function.addEntryBlock();
  body->getArgument(0).setLoc(at("hyper"));
  builder.setInsertionPointToStart(body);
  for (tx::ParamOp param : params)
    builder.create<tx::InitOp>(param.getLoc(), param.getSymName(), body->getArgument(0));
  builder.create<func::ReturnOp>(at("init"));
}

OwningOpRef<ModuleOp> Importer::import() {
  OwningOpRef<ModuleOp> result = ModuleOp::create(at(spec.name), StringRef(spec.name));
  module = *result;
  std::string config;
  llvm::raw_string_ostream(config) << llvm::json::Value(spec.toJson());
  module->setAttr(configAttrName, builder.getStringAttr(config));
  module->setAttr(architectureAttrName, builder.getStringAttr(spec.architectureName()));
  if (spec.decode)
    module->setAttr(tx::decodeBatchAttrName, builder.getI64IntegerAttr(spec.decode_batch));
  builder.setInsertionPointToEnd(module.getBody());
  buildForward();
  buildInit();
  return result;
}

} // namespace

OwningOpRef<ModuleOp> importSpec(MLIRContext &context, const Spec &spec) {
  context.loadDialect<tx::TxDialect, func::FuncDialect>();
  return Importer(context, spec).import();
}

} // namespace txc::import
