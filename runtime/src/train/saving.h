//===- saving.h - Checkpoints of a run under way ----------------------------===//
//
// Training waits only until the state is copied: on a CPU for the copy itself, on
// a GPU the copy is one more thing in the stream. A thread then hashes, writes and
// flushes. A checkpoint that cannot be written is reported and training goes on,
// older ones being untouched; only the last one of a run fails the run.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_TRAIN_SAVING_H
#define TXC_RUNTIME_TRAIN_SAVING_H

#include "checkpoint/background_writer.h"
#include "checkpoint/checkpoint.h"
#include "train/run_state.h"

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace txc {

class Saving {
public:
  struct Options {
    std::string outDir;
    int64_t keep = 2;
    int64_t rank = 0, numRanks = 1;
    std::set<std::string> bad; // checkpoints that are known to be damaged
  };
  // `device` outlives this. Deletes what an interrupted save left.
  static Result<std::unique_ptr<Saving>> create(const StepFile &step, const nlohmann::ordered_json &metadata,
                                                Device &device, Options options);

  struct Outcome {
    Status status;
    nlohmann::ordered_json record; // as given, with the path
    WrittenCheckpoint written;
  };
  // Copies the state as it is after what was enqueued, once the checkpoint before
  // is written. Fails if there is no memory for the copy.
  Status begin(int64_t iteration, const nlohmann::ordered_json &manifest,
               const nlohmann::ordered_json &record);
  void wait() { writer_.wait(); }
  // Those written, or not, since the last call.
  std::vector<Outcome> finished();

private:
  Saving(Device &device, Options options)
      : device_(device), options_(std::move(options)), folder_(options_.outDir + "/checkpoints") {}
  void write(CheckpointContent content, Outcome &outcome);

  Device &device_;
  Options options_;
  CheckpointFolder folder_;
  SavedTensors tensors_;
  uint64_t nextSequence_ = 1;
  std::mutex mutex_;
  std::vector<Outcome> finished_;
  BackgroundWriter writer_; // last: its thread uses the rest
};

// How the options of a checkpoint's step and of `step` differ. Fails, key by key, if
// it is another model; else what keeps the run from going on to the bit, if anything.
Result<std::string> compareSteps(const nlohmann::ordered_json &saved, const nlohmann::ordered_json &step,
                                 const std::string &checkpoint, const std::string &stepPath);

} // namespace txc

#endif // TXC_RUNTIME_TRAIN_SAVING_H
