//===- Comparison.cpp - A compiled step beside the oracle ------------------===//
//
// Adam divides a gradient by its size, so that rounding alone decides the update
// where a gradient is zero in exact arithmetic (a key's bias does not change a
// softmax). The recipe's epsilon is therefore large: what is compared stays a smooth
// function of the gradients.
//
//===----------------------------------------------------------------------===//

#include "Comparison.h"

#include "TempFolder.h"
#include "device/device.h"
#include "loader/step_file.h"
#include "txc/Interp/Frame.h"
#include "txc/Interp/Philox.h"
#include "txc/Link/Link.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

using namespace mlir;
using namespace txc;
using interp::Datum;
using interp::IntTensor;
using interp::Tensor;
using pipeline::Stage;

namespace combinations {

//===----------------------------------------------------------------------===//
// Differences
//===----------------------------------------------------------------------===//

void Differences::compare(const std::string &figure, const std::string &where, double found, double expected,
                          double scale, double tolerance) {
  double difference = std::fabs(found - expected) / scale;
  Worst &now = worst[figure];
  if (!(difference <= now.difference))
    now = {difference, where};
  // Written so that NaN fails too.
  EXPECT_TRUE(difference <= tolerance) << figure << " of " << where << ": found " << found << ", expected "
                                       << expected << " within " << tolerance << " of " << scale;
}

void Differences::print() const {
  for (const auto &[figure, now] : worst)
    std::printf("worst %s: %.2g (%s)\n", figure.c_str(), now.difference, now.where.c_str());
}

namespace {

//===----------------------------------------------------------------------===//
// Both sides
//===----------------------------------------------------------------------===//

constexpr uint64_t seed = 0x123456789abcdef;

txc_hyper_t hyperAt(const Recipe &recipe, int64_t update, int64_t microBatch) {
  txc_hyper_t hyper = {};
  hyper.learning_rate = 0.02f;
  hyper.beta1 = 0.9f;
  hyper.beta2 = 0.95f;
  hyper.epsilon = 1e-2f;
  hyper.weight_decay = 0.1f;
  hyper.grad_clip = recipe.gradClip;
  hyper.grad_scale = 1.0f / recipe.microBatches;
  hyper.bias_correction1 = 1 - std::pow(hyper.beta1, update + 1);
  hyper.bias_correction2 = 1 - std::pow(hyper.beta2, update + 1);
  hyper.seed_lo = static_cast<uint32_t>(seed);
  hyper.seed_hi = seed >> 32;
  hyper.step_lo = update * recipe.microBatches + microBatch;
  hyper.accumulated = microBatch;
  return hyper;
}

/// The same numbers, rounding included.
interp::Hyper widen(const txc_hyper_t &hyper) {
  interp::Hyper wide;
  wide.learningRate = hyper.learning_rate;
  wide.beta1 = hyper.beta1;
  wide.beta2 = hyper.beta2;
  wide.epsilon = hyper.epsilon;
  wide.weightDecay = hyper.weight_decay;
  wide.gradClip = hyper.grad_clip;
  wide.gradScale = hyper.grad_scale;
  wide.biasCorrection1 = hyper.bias_correction1;
  wide.biasCorrection2 = hyper.bias_correction2;
  wide.seed = hyper.seed_lo | uint64_t(hyper.seed_hi) << 32;
  wide.step = hyper.step_lo;
  return wide;
}

struct Batch {
  std::vector<int32_t> tokens, targets;
};

/// Batch number `number`; any numbers do, as long as both sides see the same.
Batch makeBatch(const import::Spec &spec, const Recipe &recipe, uint32_t number) {
  Batch batch;
  for (int64_t i = 0; i < spec.batch_size * spec.block_size; ++i) {
    auto words = interp::philox(7, i, 0, number);
    batch.tokens.push_back(words[0] % spec.vocab_size);
    bool ignored = recipe.ignoreSome && words[2] % 3 == 0;
    batch.targets.push_back(ignored ? spec.ignore_index : words[1] % spec.vocab_size);
  }
  return batch;
}

Datum toDatum(ArrayRef<int32_t> values, ArrayRef<int64_t> shape) {
  auto tensor = std::make_shared<IntTensor>(shape);
  llvm::copy(values, tensor->data.begin());
  return std::shared_ptr<const IntTensor>(std::move(tensor));
}

//===----------------------------------------------------------------------===//
// One comparison
//===----------------------------------------------------------------------===//

class Pair {
public:
  Pair(const import::Spec &spec, const Recipe &recipe, ModuleOp oracle, StepFile &step, Device &device,
       Differences &differences)
      : spec(spec), recipe(recipe), oracle(oracle), state(oracle), step(step), device(device),
        differences(differences) {}

  void run();

private:
  /// Runs an entry on both sides; the oracle's results.
  SmallVector<Datum> run(const char *entry, ArrayRef<Datum> arguments);
  void stage(txc_buffer_kind_t kind, const char *entry, const void *data, size_t bytes);
  Datum stageHyper(const char *entry, int64_t update, int64_t microBatch);
  /// "micro" or "eval" on a batch.
  void compareLoss(const char *entry, int64_t update, int64_t microBatch, const std::string &where);
  void compareState(const std::string &figure, const std::string &when, txc_buffer_kind_t kind,
                    tx::State which, double tolerance);
  void compareStatistics(ArrayRef<Datum> results, const std::string &when);
  void compareDecode();
  std::vector<float> read(const txc_buffer_t &buffer);

  const import::Spec &spec;
  const Recipe &recipe;
  ModuleOp oracle;
  interp::State state;
  StepFile &step;
  Device &device;
  Differences &differences;
};

const Tensor &tensorOf(const Datum &datum) { return *std::get<std::shared_ptr<const Tensor>>(datum); }

std::vector<float> Pair::read(const txc_buffer_t &buffer) {
  std::vector<float> values(buffer.bytes / sizeof(float));
  Status status = device.read(buffer.offset, values.data(), buffer.bytes);
  EXPECT_TRUE(status.ok()) << status.message();
  return values;
}

void Pair::stage(txc_buffer_kind_t kind, const char *entry, const void *data, size_t bytes) {
  const txc_buffer_t &buffer = step.buffer(kind, entry);
  ASSERT_EQ(buffer.bytes, bytes);
  Result<char *> memory = device.stage(buffer);
  ASSERT_TRUE(memory.ok()) << memory.status().message();
  std::memcpy(*memory, data, bytes);
}

Datum Pair::stageHyper(const char *entry, int64_t update, int64_t microBatch) {
  txc_hyper_t hyper = hyperAt(recipe, update, microBatch);
  stage(TXC_BUFFER_HYPER, entry, &hyper, sizeof(hyper));
  return widen(hyper);
}

SmallVector<Datum> Pair::run(const char *entry, ArrayRef<Datum> arguments) {
  Status status = device.run(step.entry(entry));
  EXPECT_TRUE(status.ok()) << status.message();
  SmallVector<Datum> results;
  EXPECT_TRUE(succeeded(interp::call(oracle.lookupSymbol<func::FuncOp>(entry), state, arguments, results)));
  return results;
}

void Pair::compareState(const std::string &figure, const std::string &when, txc_buffer_kind_t kind,
                        tx::State which, double tolerance) {
  // All kinds are in the order of the parameters, whose names they share.
  std::vector<const txc_buffer_t *> names = step.buffers(TXC_BUFFER_PARAM), buffers = step.buffers(kind);
  ASSERT_EQ(buffers.size(), state.getNames().size());
  for (auto [name, buffer] : llvm::zip_equal(names, buffers)) {
    const Tensor &expected = state.get(StringAttr::get(oracle.getContext(), name->name), which);
    std::vector<float> found = read(*buffer);
    ASSERT_EQ(static_cast<int64_t>(found.size()), expected.size()) << name->name;
    double largest = 0;
    for (double value : expected.data)
      largest = std::max(largest, std::fabs(value));
    for (int64_t i = 0; i < expected.size(); ++i) {
      differences.compare(figure, std::string(name->name) + "[" + std::to_string(i) + "] " + when, found[i],
                          expected[i], std::max(largest, 1e-3), tolerance);
      if (testing::Test::HasFailure())
        return; // the first difference says enough
    }
  }
}

void Pair::compareLoss(const char *entry, int64_t update, int64_t microBatch, const std::string &where) {
  Batch batch = makeBatch(spec, recipe, update * recipe.microBatches + microBatch);
  size_t bytes = batch.tokens.size() * sizeof(int32_t);
  stage(TXC_BUFFER_TOKENS, entry, batch.tokens.data(), bytes);
  stage(TXC_BUFFER_TARGETS, entry, batch.targets.data(), bytes);
  Datum hyper = stageHyper(entry, update, microBatch);
  int64_t shape[] = {spec.batch_size, spec.block_size};
  SmallVector<Datum> results =
      run(entry, {toDatum(batch.tokens, shape), toDatum(batch.targets, shape), hyper});
  ASSERT_EQ(results.size(), 2u);
  std::vector<float> loss = read(step.buffer(TXC_BUFFER_LOSS, entry));
  double expected = tensorOf(results[0])[0];
  differences.compare("loss", where, loss[0], expected, expected, 2e-6);
  EXPECT_EQ(loss[1], tensorOf(results[1])[0]) << where;
}

void Pair::compareStatistics(ArrayRef<Datum> results, const std::string &when) {
  ASSERT_EQ(results.size(), 1u);
  const Tensor &expected = tensorOf(results[0]);
  std::vector<float> found = read(step.buffer(TXC_BUFFER_STATS, "update"));
  ASSERT_EQ(expected.size(), 11);
  differences.compare("gradient norm", when, found[0], expected[0], expected[0], 1e-5);
  differences.compare("clip scale", when, found[1], expected[1], expected[1], 1e-5);
  double deviation = expected[3];
  // A mean may be any small difference of large numbers.
  static const char *const names[] = {"mean", "std", "min", "max"};
  for (int i = 0; i < 4; ++i)
    differences.compare("gradient figures", names[i] + (" " + when), found[2 + i], expected[2 + i],
                        std::max(deviation, std::fabs(expected[2 + i])), 3e-5);
  for (int i = 6; i < 9; ++i)
    differences.compare("tensor norms", when, found[i], expected[i], expected[0], 1e-5);
  // Elements that are not finite, and whether the update is skipped.
  EXPECT_EQ(found[9], expected[9]) << when;
  EXPECT_EQ(found[10], expected[10]) << when;
}

void Pair::compareDecode() {
  auto decode = oracle.lookupSymbol<func::FuncOp>("decode");
  ASSERT_TRUE(decode && step.hasDecode());
  Batch batch = makeBatch(spec, recipe, 99);
  // As many sequences as decode takes; the batch has enough tokens for more.
  for (int64_t position = 0; position < spec.block_size; ++position) {
    std::vector<int32_t> tokens;
    for (int64_t s = 0; s < spec.decode_batch; ++s)
      tokens.push_back(batch.tokens[(s * 5 + position) % batch.tokens.size()]);
    txc_decode_state_t where = {};
    where.position = static_cast<int32_t>(position);
    stage(TXC_BUFFER_DECODE_TOKENS, "decode", tokens.data(), tokens.size() * sizeof(int32_t));
    stage(TXC_BUFFER_DECODE_STATE, "decode", &where, sizeof(where));
    int64_t shape[] = {spec.decode_batch, 1};
    SmallVector<Datum> results =
        run("decode", {toDatum(tokens, shape), toDatum({where.position}, ArrayRef<int64_t>())});
    ASSERT_EQ(results.size(), 1u);
    const Tensor &expected = tensorOf(results[0]);
    std::vector<float> found = read(step.buffer(TXC_BUFFER_LOGITS, "decode"));
    ASSERT_EQ(static_cast<int64_t>(found.size()), expected.size());
    double largest = 0;
    for (double value : expected.data)
      largest = std::max(largest, std::fabs(value));
    for (int64_t i = 0; i < expected.size(); ++i) {
      differences.compare("logits of decode", "position " + std::to_string(position), found[i], expected[i],
                          largest, 2e-5);
      if (testing::Test::HasFailure())
        return;
    }
  }
}

void Pair::run() {
  run("init", stageHyper("init", 0, 0));
  compareState("initial parameter", "", TXC_BUFFER_PARAM, tx::State::Value, 2e-6);
  for (int64_t update = 0; update < recipe.updates; ++update) {
    std::string when = "update " + std::to_string(update + 1);
    for (int64_t microBatch = 0; microBatch < recipe.microBatches; ++microBatch)
      compareLoss("micro", update, microBatch, when + " micro batch " + std::to_string(microBatch));
    compareState("gradient", when, TXC_BUFFER_GRAD, tx::State::Grad, 1e-4);
    compareStatistics(run("update", stageHyper("update", update, recipe.microBatches - 1)), when);
    compareState("parameter", when, TXC_BUFFER_PARAM, tx::State::Value, 1e-5);
    compareState("first moment", when, TXC_BUFFER_MOMENT1, tx::State::Moment1, 1e-4);
    compareState("second moment", when, TXC_BUFFER_MOMENT2, tx::State::Moment2, 1e-4);
    if (testing::Test::HasFailure())
      return;
  }
  compareLoss("eval", recipe.updates, 0, "eval");
  if (spec.decode)
    compareDecode();
}

} // namespace

void compareWithOracle(Compiler &compiler, const import::Spec &spec, const Recipe &recipe,
                       Differences &differences) {
  OwningOpRef<ModuleOp> module = compiler.import(spec);
  ASSERT_TRUE(succeeded(compiler.run(*module, Stage::Import, Stage::Autodiff)));
  OwningOpRef<ModuleOp> oracle = module->clone();
  ASSERT_TRUE(succeeded(compiler.run(*module, Stage::Shard, Stage::Codegen)));
  FailureOr<std::string> bytes = link::linkProgram(*module);
  ASSERT_TRUE(succeeded(bytes));
  TempFolder folder;
  folder.write("step.so", *bytes);
  Result<StepFile> step = StepFile::load(folder.file("step.so"));
  ASSERT_TRUE(step.ok()) << step.status().message();
  DeviceOptions options;
  options.threads = 2;
  Result<std::unique_ptr<Device>> device = openDevice(*step, options);
  ASSERT_TRUE(device.ok()) << device.status().message();
  Pair(spec, recipe, *oracle, *step, **device, differences).run();
}

} // namespace combinations
