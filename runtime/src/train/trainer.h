//===- trainer.h - A training run ------------------------------------------===//
#ifndef TXC_RUNTIME_TRAIN_TRAINER_H
#define TXC_RUNTIME_TRAIN_TRAINER_H

#include "data/dataset.h"
#include "device/arena.h"
#include "device/cpu_device.h"
#include "loader/step_file.h"
#include "report/report.h"
#include "report/run_log.h"
#include "train/options.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace txc {

// Which random batches: users of one seed that must not disturb each other.
enum class Stream : uint64_t { Train = 0, EvalTrain = 1, EvalVal = 2 };

class Trainer {
public:
  // Loads the step, opens the data, takes the memory, runs `init`. Nothing is
  // printed yet.
  static Result<std::unique_ptr<Trainer>> create(const Command &command);

  using Print = std::function<void(const std::string &)>;
  // Reports, trains and logs until max_iters, an error, or a signal; `signal`
  // is read once per entry and is the number of the signal received, or 0.
  Status train(const Print &print, const std::function<int()> &signal);

  const RunFacts &facts() const { return facts_; }
  const std::string &logPath() const { return log_->path(); }
  char *arena() const { return arena_.data(); }

private:
  Trainer(StepFile step, Arena arena, data::TokenDataset dataset)
      : step_(std::move(step)), arena_(std::move(arena)), dataset_(std::move(dataset)) {}

  template <typename T> T &inArena(const txc_buffer_t &buffer) {
    return *reinterpret_cast<T *>(arena_.data() + buffer.offset);
  }
  void setHyper(const char *entry, int64_t iteration, int64_t micro);
  Status loop(const Print &print, const std::function<int()> &signal);
  Status runIteration(int64_t iteration, IterationFacts &result);
  // Mean loss over eval_iters batches; nothing if a signal came.
  Result<std::optional<double>> evaluateSplit(const data::TokenSplit &split, Stream stream,
                                              const std::function<int()> &signal);
  Status evaluate(int64_t iteration, const Print &print, const std::function<int()> &signal);
  void show(const Print &print, const char *event, const std::string &text,
            const nlohmann::ordered_json &record);

  StepFile step_;
  Arena arena_;
  data::TokenDataset dataset_;
  std::unique_ptr<CpuDevice> device_;
  std::unique_ptr<RunLog> log_;
  RunFacts facts_;
};

} // namespace txc

#endif // TXC_RUNTIME_TRAIN_TRAINER_H
