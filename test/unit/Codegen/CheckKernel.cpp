//===- CheckKernel.cpp - Machine code against plain double arithmetic ------===//

#include "CheckKernel.h"

#include "gtest/gtest.h"

#include <cmath>
#include <regex>

using namespace mlir;

namespace txc::test {

std::string substitute(std::string text, const Sizes &sizes) {
  // Longer names first, so that $NH is not taken for $N.
  for (auto it = sizes.rbegin(); it != sizes.rend(); ++it)
    for (size_t at; (at = text.find("$" + it->first)) != std::string::npos;)
      text.replace(at, it->first.size() + 1, std::to_string(it->second));
  return text;
}

std::string inBf16(const std::string &text) {
  if (text.find("bf16") != std::string::npos)
    return text;
  // Activations have three dimensions, caches four. Gains, biases, statistics,
  // angles and the sums for gradients of weights stay f32, tables that rows are
  // taken from do not.
  static const std::regex activation("tensor<(([^x<>]+x){3,4})f32>"), table("tensor<(([^x<>]+x)\\$Nx)f32>");
  std::string narrow = std::regex_replace(text, activation, "tensor<$1bf16>");
  if (text.find("tx.embedding ") != std::string::npos || text.find("tx.add_position") != std::string::npos)
    narrow = std::regex_replace(narrow, table, "tensor<$1bf16>");
  return narrow;
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
Filling fillingOf(BlockArgument argument) {
  auto type = cast<RankedTensorType>(argument.getType());
  Filling filling{Filling::Normal, /*seed=*/argument.getArgNumber() + 1, /*scale=*/2};
  auto extent = [](Value value, int64_t dim) {
    auto shape = cast<RankedTensorType>(value.getType()).getShape();
    return shape[dim < 0 ? shape.size() + dim : dim];
  };
  for (OpOperand &use : argument.getUses()) {
    Operation *op = use.getOwner();
    if (auto embedding = dyn_cast<tx::EmbeddingOp>(op))
      filling.limit = extent(embedding.getTable(), 0);
    if (auto embedding = dyn_cast<tx::EmbeddingVjpOp>(op))
      filling.limit = extent(embedding.getResult(), 0);
    if (auto loss = dyn_cast<tx::CrossEntropyOp>(op)) {
      filling.limit = extent(loss.getLogits(), -1);
      filling.ignored = static_cast<int64_t>(loss.getIgnoreIndex());
    }
    if (auto loss = dyn_cast<tx::CrossEntropyVjpOp>(op)) {
      filling.limit = extent(loss.getLogits(), -1);
      filling.ignored = static_cast<int64_t>(loss.getIgnoreIndex());
    }
    if (auto count = dyn_cast<tx::TargetCountOp>(op)) {
      filling.limit = 5;
      filling.ignored = count.getIgnoreIndex();
    }
    if (isa<tx::RopeTableOp>(op))
      filling.limit = 8192;
    if (auto add = dyn_cast<tx::AddPositionOp>(op); add && use.get() == add.getPosition())
      filling.limit = extent(add.getTable(), 0);
    if (auto attention = dyn_cast<tx::DecodeAttentionOp>(op);
        attention && use.get() == attention.getPosition())
      filling.limit = extent(attention.getKeys(), 2);
    bool positive = false;
    if (auto norm = dyn_cast<tx::RmsNormVjpOp>(op))
      positive = use.get() == norm.getRstd();
    if (auto norm = dyn_cast<tx::LayerNormVjpOp>(op))
      positive = use.get() == norm.getRstd();
    if (auto norm = dyn_cast<tx::NormalizedOp>(op))
      positive = use.get() == norm.getRstd();
    if (auto loss = dyn_cast<tx::MeanLossOp>(op))
      positive = use.get() == loss.getCount();
    if (auto loss = dyn_cast<tx::MeanLossVjpOp>(op))
      positive = use.get() == loss.getCount();
    if (positive)
      filling.kind = Filling::Positive;
  }
  if (type.getElementType().isInteger(32)) {
    filling.kind = Filling::Whole;
    filling.ignores = type.getRank() > 0 && llvm::none_of(argument.getUsers(), [](Operation *op) {
                        return isa<tx::EmbeddingOp, tx::EmbeddingVjpOp>(op);
                      });
  }
  return filling;
}

/// One of the last positions before `limit`.
Doubles lastPosition(int64_t limit) { return {double(std::max<int64_t>(0, limit - 1 - limit % 3))}; }

CaseBuffer::Type bufferType(Value value) {
  Type element = cast<RankedTensorType>(value.getType()).getElementType();
  return element.isInteger(32) ? CaseBuffer::I32 : element.isBF16() ? CaseBuffer::BF16 : CaseBuffer::F32;
}

std::string sizesText(const Sizes &sizes) {
  std::string text;
  for (auto &[name, size] : sizes)
    text += (text.empty() ? "" : " ") + name + std::to_string(size);
  return text;
}

/// Whether an op takes a bf16 value that another made: the evaluation in double
/// does not round that.
bool roundsOnTheWay(Block &block) {
  for (Operation &op : block)
    for (Value operand : op.getOperands())
      if (auto type = dyn_cast<RankedTensorType>(operand.getType());
          type && !op.hasTrait<OpTrait::IsTerminator>() && operand.getDefiningOp() &&
          type.getElementType().isBF16())
        return true;
  return false;
}

} // namespace

//===-- Buffers ------------------------------------------------------------===//

Bytes toBytes(const Doubles &values, CaseBuffer::Type type) {
  if (type == CaseBuffer::I32)
    return bytesOf(std::vector<int32_t>(values.begin(), values.end()));
  if (type == CaseBuffer::BF16) {
    std::vector<uint16_t> bits;
    for (double value : values)
      bits.push_back(roundToBf16(static_cast<float>(value)));
    return bytesOf(bits);
  }
  return bytesOf(std::vector<float>(values.begin(), values.end()));
}

Doubles toDoubles(const Bytes &bytes, CaseBuffer::Type type) {
  if (type == CaseBuffer::I32) {
    auto values = valuesOf<int32_t>(bytes);
    return Doubles(values.begin(), values.end());
  }
  if (type == CaseBuffer::BF16) {
    Doubles values;
    for (uint16_t bits : valuesOf<uint16_t>(bytes))
      values.push_back(llvm::bit_cast<float>(uint32_t(bits) << 16));
    return values;
  }
  auto values = valuesOf<float>(bytes);
  return Doubles(values.begin(), values.end());
}

CaseBuffer floats(const std::vector<float> &values) { return {CaseBuffer::F32, bytesOf(values)}; }
CaseBuffer filled(CaseBuffer::Type type, const Filling &filling, int64_t count) {
  return {type, toBytes(fill(filling, count), type), filling};
}
CaseBuffer hyperBuffer(const txc_hyper &hyper) {
  return {CaseBuffer::Raw, bytesOf(std::vector<txc_hyper>{hyper})};
}

//===-- Cases --------------------------------------------------------------===//

KernelCase makeCase(const std::string &text, const Sizes &sizes, double tolerance,
                    const std::map<unsigned, Doubles> &given) {
  KernelCase made;
  made.name = sizesText(sizes);
  made.text = substitute(text, sizes);
  txc_hyper hyper = testHyper();
  ParsedKernel parsed(made.text);
  if (!parsed.kernel) {
    ADD_FAILURE() << made.text << "\n" << parsed.error;
    return made;
  }
  Block &block = parsed.kernel.getBody().front();
  std::vector<Doubles> inputs;
  for (BlockArgument argument : block.getArguments()) {
    if (isa<tx::HyperType>(argument.getType())) {
      inputs.emplace_back();
      made.buffers.push_back(hyperBuffer(hyper));
    } else {
      auto own = given.find(argument.getArgNumber());
      CaseBuffer::Type type = bufferType(argument);
      Filling filling = fillingOf(argument);
      CaseBuffer buffer;
      if (own != given.end())
        buffer = {type, toBytes(own->second, type)};
      else if (cast<RankedTensorType>(argument.getType()).getRank() == 0 && type == CaseBuffer::I32)
        buffer = {type, toBytes(lastPosition(filling.limit), type)};
      else
        buffer = filled(type, filling, cast<RankedTensorType>(argument.getType()).getNumElements());
      inputs.push_back(toDoubles(buffer.data, type)); // rounded
      made.buffers.push_back(std::move(buffer));
    }
    made.shares.push_back(-1);
  }
  std::vector<Doubles> expected = evaluate(block, inputs, hyper);
  bool rounds = roundsOnTheWay(block);
  for (auto [i, value] : llvm::enumerate(block.getTerminator()->getOperands())) {
    CaseBuffer::Type type = bufferType(value);
    int64_t count = cast<RankedTensorType>(value.getType()).getNumElements();
    made.buffers.push_back({type, Bytes(count * (type == CaseBuffer::BF16 ? 2 : 4))});
    auto inplace = parsed.kernel.getInplace();
    made.shares.push_back(i < inplace.size() ? inplace[i] : -1);
    made.results.push_back({std::move(expected[i]), type == CaseBuffer::BF16 ? 4e-3
                                                    : rounds                 ? 2e-3
                                                                             : tolerance});
  }
  return made;
}

CaseSink *CaseSink::current = nullptr;

static double typicalSize(const Doubles &values) {
  double square = 0, count = 0;
  for (double value : values)
    if (!std::isnan(value))
      square += value * value, ++count;
  return std::sqrt(square / std::max(count, 1.0));
}

void checkCase(KernelCase &&c) {
  if (CaseSink::current)
    return CaseSink::current->add(std::move(c));
  std::vector<Bytes> buffers;
  for (const CaseBuffer &buffer : c.buffers)
    buffers.push_back(buffer.data);
  for (const std::string &level : runnableLevels()) {
    SCOPED_TRACE(c.text + "\nfor " + level);
    KernelRunner runner(c.text, level);
    ASSERT_TRUE(runner.ok()) << runner.error;
    std::vector<Bytes> first;
    for (auto split : {KernelRunner::Split::Once, KernelRunner::Split::OneByOne,
                       KernelRunner::Split::Backwards, KernelRunner::Split::Thirds}) {
      std::vector<Bytes> got = runner.run(buffers, c.results.size(), c.shares, split);
      ASSERT_TRUE(runner.ok()) << runner.error;
      if (first.empty())
        first = got;
      ASSERT_EQ(first, got) << "differs with the split";
    }
    size_t numInputs = buffers.size() - c.results.size();
    for (auto [i, result] : llvm::enumerate(c.results)) {
      Doubles got = toDoubles(first[numInputs + i], c.buffers[numInputs + i].type);
      double typical = result.eachAlone ? 0 : typicalSize(result.expected);
      ASSERT_EQ(got.size(), result.expected.size());
      for (auto [e, expected] : llvm::enumerate(result.expected)) {
        if (std::isnan(expected)) {
          ASSERT_TRUE(std::isnan(got[e])) << "result " << i << " element " << e << " is not to be written";
          continue;
        }
        ASSERT_LE(std::fabs(got[e] - expected), result.tolerance * (std::fabs(expected) + typical + 1e-30))
            << "result " << i << " element " << e << ": got " << got[e] << ", expected " << expected;
      }
    }
  }
}

void checkKernel(const std::string &text, const Sizes &sizes, double tolerance, bool alsoInBf16) {
  KernelCase made = makeCase(text, sizes, tolerance);
  if (testing::Test::HasFailure())
    return;
  checkCase(std::move(made));
  if (!CaseSink::current || !alsoInBf16)
    return;
  // GPUs take the same in bf16.
  std::string narrow = inBf16(text);
  if (narrow == text)
    return;
  KernelCase other = makeCase(narrow, sizes, tolerance);
  other.name += " bf16";
  checkCase(std::move(other));
}

} // namespace txc::test
