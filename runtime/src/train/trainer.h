//===- trainer.h - A training run ------------------------------------------===//
#ifndef TXC_RUNTIME_TRAIN_TRAINER_H
#define TXC_RUNTIME_TRAIN_TRAINER_H

#include "checkpoint/folder_lock.h"
#include "comm/control.h"
#include "data/dataset.h"
#include "device/device.h"
#include "loader/step_file.h"
#include "report/progress.h"
#include "report/report.h"
#include "report/run_log.h"
#include "report/terminal.h"
#include "sample/generator.h"
#include "support/philox.h"
#include "train/options.h"
#include "train/saving.h"

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace txc {

class NonfiniteSearch;

class Trainer {
public:
  // Loads the step, opens the data, takes the memory, runs `init`. Nothing is
  // printed yet.
  static Result<std::unique_ptr<Trainer>> create(const Command &command);

  using Print = Screen::Print;
  // Reports, trains and logs until max_iters, an error, or a signal; `signal`
  // is read once per entry and is the number of the signal received, or 0.
  // `terminal` is where `print` goes.
  Status train(const Print &print, const std::function<int()> &signal, const Terminal &terminal = {});

  // Asked once per iteration: whether to save a checkpoint now.
  void saveWhen(std::function<bool()> asked) { saveAsked_ = std::move(asked); }

  const RunFacts &facts() const { return facts_; }
  bool speaks() const { return facts_.rank == 0; }
  // The signal that ended it, or 0.
  int stoppedBy() const { return signal_ ? signal_() : 0; }
  const std::string &logPath() const { return log_->path(); }
  Device &device() { return *device_; }

private:
  // A result that the device was asked for.
  struct Pending {
    enum class Kind { MicroBatch, Update } kind;
    int64_t iteration, micro;
    Device::Ticket ticket;
    Device::Mark begin, end; // of the iteration
  };

  // A loss or gradient norm that is not finite.
  struct BadStep {
    int64_t iteration, micro;
    std::string reason;
    bool updateMade = false;
    const data::TokenSplit *split = nullptr; // of an evaluation, with its first bad batch
    Stream stream = Stream::Train;
    int64_t batch = 0;
    Status status = {}; // that the run ends with
  };

  Trainer(StepFile step, data::TokenDataset dataset) : step_(std::move(step)), dataset_(std::move(dataset)) {}

  // With several ranks: finds the others, and compares what must be the same.
  static Result<std::unique_ptr<Control>> meet(const StepFile &step, const RunOptions &options);
  Status compareRanks();
  // Which signal to obey, if any, and whether to save. With several ranks all take
  // part and get the same answer, one call after a signal came to one of them.
  Status agreeOnSignals();
  // That what all ranks should have alike is alike, to the bit.
  Status compareParameters();
  Status initialize();
  // The checkpoint to go on from, and the options that then hold.
  struct Resumption {
    Checkpoint checkpoint;
    RunOptions options;
    std::vector<std::string> notes;
    std::set<std::string> bad;
  };
  static Result<Resumption> findCheckpoint(const Command &command, const RunOptions &asked,
                                           const nlohmann::ordered_json &metadata, Control *control);
  // Takes over what the checkpoint, or the file of weights, has.
  Status restore();
  Status openLog(std::time_t now, const nlohmann::ordered_json &header);
  nlohmann::ordered_json manifestAt(int64_t iteration) const;
  // Saves the state after `iteration` updates, unless it is saved; waits until it is
  // written if it is the `last` of the run.
  Status save(int64_t iteration, bool last);
  // Logs the checkpoints that were written; with `fail`, one that was not is an error.
  Status takeSaved(bool fail);
  // Gives an entry what it reads. The batch is `number` of `stream`.
  Status stageHyper(const char *entry, int64_t iteration, int64_t micro);
  struct Batch {
    const int32_t *tokens, *targets;
  };
  Result<Batch> stageBatch(const char *entry, const data::TokenSplit &split, Stream stream, int64_t number);

  Status loop();
  Status submitIteration(int64_t iteration);
  // Takes results until at most `most` are missing, and more if they are there.
  Status takeResults(size_t most);
  Status takeResult(const Pending &pending);
  // Ends the run, or with halt-with-dump remembers why it has to end: all ranks must
  // have enqueued the same when they look into it.
  Status diverged(BadStep bad);
  // What the run ends with; finds the command to blame and writes a folder. This and
  // what follows is in halt_with_dump.cpp.
  Status haltWithDump();
  Result<std::string> dump(const BadStep &bad);
  Result<nlohmann::ordered_json> findFirstBad(const BadStep &bad, NonfiniteSearch &search);
  const data::TokenSplit &splitOf(const BadStep &bad) const;
  int64_t batchOf(const BadStep &bad, int64_t micro, int64_t rank) const;
  Status writeBatch(const std::string &folder, const BadStep &bad, int64_t micro, int64_t rank);
  // The path of a checkpoint, or the error that kept it from being written.
  Result<nlohmann::ordered_json> saveTo(const std::string &folder, int64_t iteration);
  // One object of every rank.
  Result<std::vector<nlohmann::ordered_json>> gather(const nlohmann::ordered_json &own);
  // `statistics` are null, and `skipped` says why, if the update was not run.
  Status report(const Pending &pending, const txc_update_result_t *statistics, const std::string &skipped);
  // Why the update of this mean loss is to be skipped, if it is: spike_zscore.
  std::string findSpike(double loss) const;
  // Mean loss over eval_iters batches; nothing if a signal came. `firstBad` is the
  // first round of batches whose loss is not finite, or negative.
  Result<std::optional<double>> evaluateSplit(const data::TokenSplit &split, Stream stream, int64_t &firstBad);
  Status evaluate(int64_t iteration);
  Status profile();
  // Generates texts with the model as it is after `iteration` updates.
  Status sample(int64_t iteration);
  void show(const char *event, const std::string &text, const nlohmann::ordered_json &record);
  // On a terminal a line that is written over.
  void showProgress(double loss);

  StepFile step_;
  data::TokenDataset dataset_;
  std::unique_ptr<Control> control_; // null for one rank; outlives the device
  std::unique_ptr<FolderLock> lock_;
  std::optional<Checkpoint> checkpoint_; // that is resumed from
  std::vector<std::string> resumeNotes_; // for the user
  std::set<std::string> badCheckpoints_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Saving> saving_;       // null if nothing is saved
  std::unique_ptr<Generator> generator_; // null if no text is asked for
  std::unique_ptr<RunLog> log_;
  RunFacts facts_;
  std::string tuned_; // what --tune did

  // Of the run under way.
  Screen screen_;
  Progress progress_;
  std::chrono::steady_clock::time_point started_;
  std::function<int()> signal_; // the agreed one
  std::function<int()> ownSignal_;
  int agreedSignal_ = 0;
  bool agreedSave_ = false;
  bool askedForSignals_ = false;
  std::function<bool()> saveAsked_;
  int64_t done_ = 0;       // updates
  int64_t saved_ = -1;     // after how many of them a checkpoint was begun,
  int64_t evaluated_ = -1; // the last evaluation was,
  int64_t sampled_ = -1;   // and texts were generated
  double valLoss_ = 0;     // of that evaluation
  std::optional<double> bestValLoss_;
  int64_t bestIteration_ = 0;
  std::deque<Pending> pending_;
  std::deque<double> lastLosses_; // of updates that were made, at most kSpikeWindow
  int64_t skippedInARow_ = 0;
  std::optional<BadStep> bad_; // with halt-with-dump: why the run will halt
  double lossSum_ = 0; // over the micro batches of the oldest unfinished iteration
  // End of the last iteration, if nothing but training was done since.
  std::optional<Device::Mark> lastEnd_;
};

} // namespace txc

#endif // TXC_RUNTIME_TRAIN_TRAINER_H
