//===- run_log.h - The JSON log of a run -----------------------------------===//
//
// Two files in out_dir:
//   run_YYYYmmdd_HHMMSS.json    one document, complete at every instant
//   run_YYYYmmdd_HHMMSS.jsonl   one line per event, for streaming readers
//
// How the document stays complete, also when the process is killed between any
// two instructions, without being written anew each time:
//
// There are two copies of it, the visible one and a hidden one beside it
// (.run_....json.next), which lacks the newest record. A record is written to
// the hidden copy, together with the one before which that copy lacks, over
// the closing part of the document, which follows anew. Then the two files
// exchange names, which the kernel does atomically (renameat2 with
// RENAME_EXCHANGE). So the visible file is never written to, and a record
// costs its own length, not that of the document. A hidden copy that somebody
// opened while it was visible, and still reads, is left to them: a new one takes
// its place.
//
// Only the end changes what stands before the records: then the document is
// written anew and takes the place of the visible one by one rename.
//
// File systems that cannot exchange names (some network ones) get the record
// and the closing part by one write to the visible file; there, and only
// there, a kill in the middle of that write can leave the document cut.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_REPORT_RUN_LOG_H
#define TXC_RUNTIME_REPORT_RUN_LOG_H

#include "support/status.h"

#include <cstdint>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace txc {

class RunLog {
public:
  // Makes the folder if needed. `header` has what comes before the iterations
  // (config, startup_info, metadata); run_name and start_time are put before it.
  static Result<std::unique_ptr<RunLog>> create(const std::string &outDir, std::time_t start,
                                                const nlohmann::ordered_json &header);
  // Keeps the figures and writes no file: of ranks other than 0.
  static Result<std::unique_ptr<RunLog>> createNowhere();
  // Goes on with the log of a run that ended: `position` bytes of its .jsonl hold,
  // what follows them, after the checkpoint that is resumed from, is dropped.
  static Result<std::unique_ptr<RunLog>> resume(const std::string &outDir, const std::string &runName,
                                                uint64_t position);
  RunLog(const RunLog &) = delete;
  RunLog &operator=(const RunLog &) = delete;
  ~RunLog();

  // A record of training_iterations or eval_steps.
  Status addIteration(const nlohmann::ordered_json &record);
  Status addEvaluation(const nlohmann::ordered_json &record);
  // A record of checkpoints.
  Status addCheckpoint(const nlohmann::ordered_json &record);
  // That the run goes on from a checkpoint: a line of the .jsonl only.
  Status addResume(const nlohmann::ordered_json &record);
  // A generated text: a line of the .jsonl only.
  Status addSample(const nlohmann::ordered_json &record);
  // end_time and how the run ended, which joins `metadata`.
  Status finish(const nlohmann::ordered_json &ending);

  const std::string &path() const { return path_; }
  const std::string &runName() const { return runName_; }
  // Bytes of the .jsonl so far.
  uint64_t position() const { return position_; }
  // The least val_loss so far and its iteration; null before an evaluation.
  const nlohmann::ordered_json &bestValLoss() const { return bestValLoss_; }
  const nlohmann::ordered_json &bestValIteration() const { return bestValIteration_; }
  // Totals and means of what was added so far.
  nlohmann::ordered_json summary() const;

private:
  struct Copy {
    int fd = -1;
    uint64_t bodyEnd = 0; // where the closing part begins
    std::string pending;  // records that this copy lacks
  };
  RunLog() = default;
  // Writes both copies for the first time.
  Status writeCopies(const std::string &body);
  // Counts a record and gives its text in the document.
  std::string countIteration(const nlohmann::ordered_json &record);
  void countEvaluation(const nlohmann::ordered_json &record);
  void countCheckpoint(const nlohmann::ordered_json &record);
  Status commit(const std::string &text);
  // Makes another hidden copy, for somebody reads this one.
  Status replaceHidden();
  // Writes the document anew with the head as it is now, and replaces it.
  Status rewrite();
  Status appendLine(const char *event, const nlohmann::ordered_json &record);
  std::string closingPart() const;
  Status failure(const char *what) const;

  std::string runName_, path_, hiddenPath_;
  Copy visible_, hidden_;
  uint64_t headEnd_ = 0; // where the records begin, in both copies
  bool exchange_ = true, nowhere_ = false;
  int linesFd_ = -1;

  uint64_t iterations_ = 0, skipped_ = 0;
  double timeSum_ = 0, mfuSum_ = 0;
  uint64_t mfuCount_ = 0;
  nlohmann::ordered_json lastIteration_, lastLoss_, bestValLoss_, bestValIteration_, endTime_;
  nlohmann::ordered_json head_; // all that stands before the iterations
  std::string evaluations_;     // records as text, joined
  uint64_t evaluationCount_ = 0;
  std::string checkpoints_;
  uint64_t checkpointCount_ = 0;
  uint64_t position_ = 0;
};

// Local time as 2025-01-03T14:30:22+0100.
std::string timestamp(std::time_t time);

} // namespace txc

#endif // TXC_RUNTIME_REPORT_RUN_LOG_H
