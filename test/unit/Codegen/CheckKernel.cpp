//===- CheckKernel.cpp - Machine code against plain double arithmetic ------===//

#include "CheckKernel.h"

#include "gtest/gtest.h"

#include <cmath>
#include <random>

using namespace mlir;

namespace txc::test {

std::string substitute(std::string text, const Sizes &sizes) {
  // Longer names first, so that $NH is not taken for $N.
  for (auto it = sizes.rbegin(); it != sizes.rend(); ++it)
    for (size_t at; (at = text.find("$" + it->first)) != std::string::npos;)
      text.replace(at, it->first.size() + 1, std::to_string(it->second));
  return text;
}

std::vector<std::string> runnableLevels() {
  std::string error;
  auto host = codegen::getCpuTarget("", error);
  if (failed(host))
    return {};
  if (host->level == "x86-64-v4")
    return {"x86-64-v3", "x86-64-v4"};
  return {"x86-64-v3"};
}

txc_hyper testHyper() {
  txc_hyper hyper = {};
  hyper.learning_rate = 1e-2f;
  hyper.beta1 = 0.9f;
  hyper.beta2 = 0.95f;
  hyper.epsilon = 1e-8f;
  hyper.weight_decay = 0.1f;
  hyper.grad_clip = 1.0f;
  hyper.grad_scale = 0.25f;
  hyper.bias_correction1 = 0.271f;
  hyper.bias_correction2 = 0.142625f;
  hyper.seed_lo = 0x12345678;
  hyper.seed_hi = 0x9abcdef0;
  hyper.step_lo = 77;
  return hyper;
}

namespace {

/// Random contents for an argument, as the ops that read it need them.
Doubles randomInput(BlockArgument argument, std::mt19937 &generator) {
  auto type = cast<RankedTensorType>(argument.getType());
  Doubles values(type.getNumElements());
  std::normal_distribution<double> normal(0, 2);
  int64_t limit = 0, ignore = -1;
  bool positive = false;
  for (OpOperand &use : argument.getUses()) {
    Operation *op = use.getOwner();
    if (auto embedding = dyn_cast<tx::EmbeddingOp>(op))
      limit = cast<RankedTensorType>(embedding.getTable().getType()).getDimSize(0);
    if (auto embedding = dyn_cast<tx::EmbeddingVjpOp>(op))
      limit = cast<RankedTensorType>(embedding.getType()).getDimSize(0);
    if (auto loss = dyn_cast<tx::CrossEntropyOp>(op)) {
      limit = cast<RankedTensorType>(loss.getLogits().getType()).getShape().back();
      ignore = static_cast<int64_t>(loss.getIgnoreIndex());
    }
    if (auto loss = dyn_cast<tx::CrossEntropyVjpOp>(op)) {
      limit = cast<RankedTensorType>(loss.getLogits().getType()).getShape().back();
      ignore = static_cast<int64_t>(loss.getIgnoreIndex());
    }
    if (auto count = dyn_cast<tx::TargetCountOp>(op)) {
      limit = 5;
      ignore = count.getIgnoreIndex();
    }
    if (auto table = dyn_cast<tx::RopeTableOp>(op))
      limit = 8192;
    if (auto add = dyn_cast<tx::AddPositionOp>(op); add && use.get() == add.getPosition())
      limit = cast<RankedTensorType>(add.getTable().getType()).getDimSize(0);
    if (auto attention = dyn_cast<tx::DecodeAttentionOp>(op);
        attention && use.get() == attention.getPosition())
      limit = cast<RankedTensorType>(attention.getKeys().getType()).getDimSize(2);
    if (auto norm = dyn_cast<tx::RmsNormVjpOp>(op))
      positive |= use.get() == norm.getRstd();
    if (auto norm = dyn_cast<tx::LayerNormVjpOp>(op))
      positive |= use.get() == norm.getRstd();
    if (auto loss = dyn_cast<tx::MeanLossOp>(op))
      positive |= use.get() == loss.getCount();
    if (auto loss = dyn_cast<tx::MeanLossVjpOp>(op))
      positive |= use.get() == loss.getCount();
  }
  bool mayIgnore = llvm::none_of(argument.getUsers(),
                                 [](Operation *op) { return isa<tx::EmbeddingOp, tx::EmbeddingVjpOp>(op); });
  for (double &value : values) {
    if (type.getElementType().isInteger(32) && type.getRank() == 0) {
      // A position: one of the last.
      value = std::max<int64_t>(0, limit - 1 - generator() % 3);
      continue;
    }
    if (type.getElementType().isInteger(32)) {
      value = generator() % limit;
      if (mayIgnore && generator() % 4 == 0)
        value = ignore;
      continue;
    }
    value = static_cast<float>(normal(generator));
    if (positive)
      value = static_cast<float>(0.1 + std::fabs(value) / 4);
  }
  return values;
}

Bytes toBytes(const Doubles &values, Type element) {
  if (element.isInteger(32))
    return bytesOf(std::vector<int32_t>(values.begin(), values.end()));
  if (element.isBF16()) {
    std::vector<uint16_t> bits;
    for (double value : values)
      bits.push_back(llvm::bit_cast<uint32_t>(static_cast<float>(value)) >> 16);
    return bytesOf(bits);
  }
  return bytesOf(std::vector<float>(values.begin(), values.end()));
}

Doubles toDoubles(const Bytes &bytes, Type element) {
  if (element.isInteger(32)) {
    auto values = valuesOf<int32_t>(bytes);
    return Doubles(values.begin(), values.end());
  }
  if (element.isBF16()) {
    Doubles values;
    for (uint16_t bits : valuesOf<uint16_t>(bytes))
      values.push_back(llvm::bit_cast<float>(uint32_t(bits) << 16));
    return values;
  }
  auto values = valuesOf<float>(bytes);
  return Doubles(values.begin(), values.end());
}

Type elementType(Value value) { return cast<RankedTensorType>(value.getType()).getElementType(); }

} // namespace

void checkKernel(const std::string &text, const Sizes &sizes, double tolerance) {
  std::string kernel = substitute(text, sizes);
  txc_hyper hyper = testHyper();
  for (const std::string &level : runnableLevels()) {
    SCOPED_TRACE(kernel + "\nfor " + level);
    KernelRunner runner(kernel, level);
    ASSERT_TRUE(runner.ok()) << runner.error;
    Block &block = runner.kernel().getBody().front();
    Operation *yield = block.getTerminator();

    std::mt19937 generator(1);
    std::vector<Doubles> inputs;
    std::vector<Bytes> buffers;
    std::vector<int> shares;
    for (BlockArgument argument : block.getArguments()) {
      if (isa<tx::HyperType>(argument.getType())) {
        inputs.emplace_back();
        buffers.push_back(bytesOf(std::vector<txc_hyper>{hyper}));
      } else {
        inputs.push_back(randomInput(argument, generator));
        if (elementType(argument).isBF16())
          inputs.back() = toDoubles(toBytes(inputs.back(), elementType(argument)), elementType(argument));
        buffers.push_back(toBytes(inputs.back(), elementType(argument)));
      }
      shares.push_back(-1);
    }
    for (auto [i, value] : llvm::enumerate(yield->getOperands())) {
      buffers.push_back(Bytes(cast<RankedTensorType>(value.getType()).getNumElements() *
                              elementType(value).getIntOrFloatBitWidth() / 8));
      auto inplace = runner.kernel().getInplace();
      shares.push_back(i < inplace.size() ? inplace[i] : -1);
    }
    std::vector<Doubles> expected = evaluate(block, inputs, hyper);

    std::vector<Bytes> first;
    for (auto split : {KernelRunner::Split::Once, KernelRunner::Split::OneByOne,
                       KernelRunner::Split::Backwards, KernelRunner::Split::Thirds}) {
      std::vector<Bytes> got = runner.run(buffers, yield->getNumOperands(), shares, split);
      ASSERT_TRUE(runner.ok()) << runner.error;
      if (first.empty())
        first = got;
      ASSERT_EQ(first, got) << "differs with the split";
    }
    for (unsigned i = 0; i < yield->getNumOperands(); ++i) {
      Type element = elementType(yield->getOperand(i));
      Doubles got = toDoubles(first[inputs.size() + i], element);
      double square = 0;
      for (double value : expected[i])
        square += value * value / expected[i].size();
      double allowed = element.isBF16() ? 4e-3 : tolerance;
      ASSERT_EQ(got.size(), expected[i].size());
      for (size_t e = 0; e < got.size(); ++e)
        ASSERT_LE(std::fabs(got[e] - expected[i][e]),
                  allowed * (std::fabs(expected[i][e]) + std::sqrt(square) + 1e-30))
            << "result " << i << " element " << e << ": got " << got[e] << ", expected " << expected[i][e];
    }
  }
}

} // namespace txc::test
