//===- trainer.cpp - A training run ----------------------------------------===//
//
// Iteration i, in 0 ... max_iters - 1:
//   micro batches i * steps ... i * steps + steps - 1 of the data stream, each
//   through `micro`, which adds to the gradients; then `update`.
// Evaluation after every eval_interval iterations and after the last, on the
// same batches each time, so that its losses can be compared.
//
// A batch depends on (seed, stream, number) only, and evaluation has streams of
// its own: with or without it, training sees the same batches.
//
//===----------------------------------------------------------------------===//
#include "train/trainer.h"

#include "support/text.h"
#include "train/dump_tensors.h"
#include "train/schedule.h"

#include <chrono>
#include <cmath>
#include <cstring>

namespace txc {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

static double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Result<std::unique_ptr<Trainer>> Trainer::create(const Command &command) {
  Result<StepFile> step = StepFile::load(command.stepPath, {});
  if (!step.ok())
    return step.status();
  Json metadata = Json::parse(step->step().metadata, nullptr, false);
  if (!metadata.is_object())
    return Status::failed(command.stepPath +
                          ": inconsistent step: its metadata is not a JSON object; this is a fault "
                          "of the txc that wrote it");
  Result<RunOptions> options = resolveOptions(metadata.value("config", Json::object()), command);
  if (!options.ok())
    return options.status();

  Result<data::TokenDataset> dataset = data::TokenDataset::open(options->dataset, {});
  if (!dataset.ok())
    return dataset.status();
  if (Status status = data::checkFits(*dataset, step->step().vocab_size, step->step().block_size);
      !status.ok())
    return status;

  Result<Arena> arena = Arena::allocate(step->step().arena_bytes);
  if (!arena.ok())
    return arena.status();
  Result<std::unique_ptr<CpuDevice>> device = CpuDevice::create(static_cast<int>(options->threads));
  if (!device.ok())
    return device.status();

  std::unique_ptr<Trainer> trainer(new Trainer(std::move(*step), std::move(*arena), std::move(*dataset)));
  trainer->device_ = std::move(*device);
  RunFacts &facts = trainer->facts_;
  facts.step = &trainer->step_;
  facts.metadata = std::move(metadata);
  facts.options = std::move(*options);
  facts.flops = {trainer->step_.step().flops_per_token_full, trainer->step_.step().flops_per_token_causal};
  facts.hardware = detectHardware();
  facts.threads = trainer->device_->threads();
  facts.options.threads = facts.threads;
  facts.peakFlops = trainer->device_->matrixProducts().measurePeak();
  facts.peakSource = format("measured: fp32 matrix product [%d, %d] x [%d, %d]", int(MatrixProducts::kPeakSize),
                            int(MatrixProducts::kPeakDepth), int(MatrixProducts::kPeakDepth),
                            int(MatrixProducts::kPeakSize));
  facts.library = trainer->device_->matrixProducts().libraryName();
  facts.datasetName = facts.options.dataset;
  facts.datasetDirectory = trainer->dataset_.directory();
  facts.tokenizer = trainer->dataset_.tokenizerName();
  facts.datasetVocab = trainer->dataset_.vocabSize();
  facts.trainTokens = trainer->dataset_.train().size();
  facts.valTokens = trainer->dataset_.val().size();

  trainer->setHyper("init", 0, 0);
  if (Status status = trainer->device_->run(trainer->step_.entry("init"), trainer->arena_.data());
      !status.ok())
    return status;
  if (!facts.options.dump_tensors.empty())
    if (Status status = dumpParameters(facts.options.dump_tensors, trainer->step_, trainer->arena_.data());
        !status.ok())
      return status;
  return trainer;
}

void Trainer::setHyper(const char *entry, int64_t iteration, int64_t micro) {
  inArena<txc_hyper_t>(step_.buffer(TXC_BUFFER_HYPER, entry)) = hyperAt(facts_.options, iteration, micro);
}

void Trainer::show(const Print &print, const char *event, const std::string &text, const Json &record) {
  if (facts_.options.json) {
    Json line = {{"event", event}};
    line.update(record);
    print(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  } else if (!facts_.options.quiet) {
    print(text);
  }
}

static Status diverged(int64_t iteration, const std::string &what, double learningRate) {
  return {Code::Diverged,
          format("iteration %lld: %s at learning rate %.3g: training has diverged; try a lower "
                 "--learning_rate, a longer --warmup_iters or --grad_clip=1",
                 static_cast<long long>(iteration), what.c_str(), learningRate)};
}

Status Trainer::runIteration(int64_t iteration, IterationFacts &result) {
  const RunOptions &options = facts_.options;
  const txc_step_t &step = step_.step();
  const txc_buffer_t &tokens = step_.buffer(TXC_BUFFER_TOKENS, "micro");
  const txc_buffer_t &targets = step_.buffer(TXC_BUFFER_TARGETS, "micro");
  const txc_buffer_t &lossBuffer = step_.buffer(TXC_BUFFER_LOSS, "micro");
  const bool dump = !options.dump_tensors.empty();
  auto start = Clock::now();
  double sum = 0;
  result.iteration = iteration;
  result.learningRate = learningRateAt(options, iteration);
  for (int64_t micro = 0; micro < options.gradient_accumulation_steps; ++micro) {
    data::sampleBatch(
        dataset_.train(), static_cast<uint64_t>(options.seed), static_cast<uint64_t>(Stream::Train),
        static_cast<uint64_t>(iteration * options.gradient_accumulation_steps + micro), step.batch_size,
        step.block_size, &inArena<int32_t>(tokens), &inArena<int32_t>(targets));
    if (dump)
      if (Status status = dumpBatch(options.dump_tensors, step_, arena_.data(), iteration, micro);
          !status.ok())
        return status;
    setHyper("micro", iteration, micro);
    if (Status status = device_->run(step_.entry("micro"), arena_.data()); !status.ok())
      return status;
    float loss = inArena<txc_loss_result_t>(lossBuffer).loss;
    if (!std::isfinite(loss))
      return diverged(iteration,
                      format("the loss of micro batch %lld is %f", static_cast<long long>(micro), loss),
                      result.learningRate);
    sum += loss;
  }
  if (dump) {
    float scale = hyperAt(options, iteration, 0).grad_scale;
    if (Status status = dumpGradients(options.dump_tensors, step_, arena_.data(), iteration, scale);
        !status.ok())
      return status;
  }
  setHyper("update", iteration, options.gradient_accumulation_steps - 1);
  if (Status status = device_->run(step_.entry("update"), arena_.data()); !status.ok())
    return status;
  const auto &stats = inArena<txc_update_result_t>(step_.buffer(TXC_BUFFER_STATS, "update"));
  if (!std::isfinite(stats.grad_norm))
    return diverged(iteration, format("the gradient norm is %f", stats.grad_norm), result.learningRate);
  result.loss = sum / static_cast<double>(options.gradient_accumulation_steps);
  // The step computes them in any case; the text shows them now and then.
  if (options.gradient_log_interval > 0) {
    result.gradients = stats;
    result.showGradients = iteration % options.gradient_log_interval == 0;
  }
  result.seconds = secondsSince(start);
  return {};
}

Result<std::optional<double>> Trainer::evaluateSplit(const data::TokenSplit &split, Stream stream,
                                                     const std::function<int()> &signal) {
  const RunOptions &options = facts_.options;
  const txc_step_t &step = step_.step();
  const txc_buffer_t &tokens = step_.buffer(TXC_BUFFER_TOKENS, "eval");
  const txc_buffer_t &targets = step_.buffer(TXC_BUFFER_TARGETS, "eval");
  const txc_buffer_t &lossBuffer = step_.buffer(TXC_BUFFER_LOSS, "eval");
  double sum = 0, count = 0;
  for (int64_t batch = 0; batch < options.eval_iters; ++batch) {
    if (signal())
      return std::optional<double>();
    data::sampleBatch(split, static_cast<uint64_t>(options.seed), static_cast<uint64_t>(stream),
                      static_cast<uint64_t>(batch), step.batch_size, step.block_size,
                      &inArena<int32_t>(tokens), &inArena<int32_t>(targets));
    setHyper("eval", 0, 0);
    if (Status status = device_->run(step_.entry("eval"), arena_.data()); !status.ok())
      return status;
    const auto &loss = inArena<txc_loss_result_t>(lossBuffer);
    sum += static_cast<double>(loss.loss) * loss.target_count;
    count += loss.target_count;
  }
  return std::optional<double>(count > 0 ? sum / count : 0);
}

Status Trainer::evaluate(int64_t iteration, const Print &print, const std::function<int()> &signal) {
  auto start = Clock::now();
  EvaluationFacts result;
  result.iteration = iteration;
  result.learningRate = learningRateAt(facts_.options, iteration);
  for (bool train : {true, false}) {
    auto loss = evaluateSplit(train ? dataset_.train() : dataset_.val(),
                              train ? Stream::EvalTrain : Stream::EvalVal, signal);
    if (!loss.ok())
      return loss.status();
    if (!*loss)
      return {};
    if (!std::isfinite(**loss))
      return diverged(iteration,
                      format("the %s loss of the evaluation is %f", train ? "train" : "val", **loss),
                      result.learningRate);
    (train ? result.trainLoss : result.valLoss) = **loss;
  }
  result.seconds = secondsSince(start);
  Json record = evaluationJson(result, timestamp(std::time(nullptr)));
  show(print, "evaluation", evaluationText(result), record);
  return log_->addEvaluation(record);
}

Status Trainer::loop(const Print &print, const std::function<int()> &signal) {
  const RunOptions &options = facts_.options;
  if (options.eval_only)
    return evaluate(0, print, signal);
  for (int64_t iteration = 0; iteration < options.max_iters && !signal(); ++iteration) {
    if (options.eval_interval > 0 && iteration > 0 && iteration % options.eval_interval == 0)
      if (Status status = evaluate(iteration, print, signal); !status.ok())
        return status;
    if (signal())
      break;
    IterationFacts result;
    if (Status status = runIteration(iteration, result); !status.ok())
      return status;
    if (iteration % options.log_interval != 0 && iteration + 1 != options.max_iters && !signal())
      continue;
    completeIteration(result, facts_);
    result.memory = processMemory();
    result.reservedBytes = arena_.bytes();
    Json record = iterationJson(result, facts_);
    show(print, "iteration", iterationText(result, facts_), record);
    if (Status status = log_->addIteration(record); !status.ok())
      return status;
  }
  if (options.eval_interval > 0 && !signal())
    return evaluate(options.max_iters, print, signal);
  return {};
}

Status Trainer::train(const Print &print, const std::function<int()> &signal) {
  std::time_t now = std::time(nullptr);
  Json header = headerJson(facts_, timestamp(now));
  Result<std::unique_ptr<RunLog>> log = RunLog::create(facts_.options.out_dir, now, header);
  if (!log.ok())
    return log.status();
  log_ = std::move(*log);
  show(print, "start", startupText(facts_) + "Log    " + log_->path() + "\n\n", header);

  Status status = loop(print, signal);
  Json metadata = {
      {"exit_code", status.ok() ? (signal() ? 128 + signal() : 0) : static_cast<int>(status.code())},
      {"error", status.ok() ? Json() : Json(status.message())},
      {"signal", signal() ? Json(signal()) : Json()}};
  Status written = log_->finish(metadata);
  Json summary = log_->summary();
  auto number = [&](const char *key, const char *pattern) {
    return summary[key].is_number() ? format(pattern, summary[key].get<double>()) : std::string("-");
  };
  show(print, "end",
       "\nDone   " + number("total_iterations", "%.0f") + " logged iterations │ final loss " +
           number("final_train_loss", "%.4f") + " │ best val loss " + number("best_val_loss", "%.4f") +
           " │ " + number("avg_time_ms", "%.1f") + " ms and " + number("avg_mfu", "%.2f") +
           "% MFU on average\n",
       {{"summary", summary}});
  return status.ok() ? written : status;
}

} // namespace txc
