//===- run_file.h - A run's JSON log, read ----------------------------------===//
//
// Reads what report/run_log.h writes, also while the run goes on (end_time is
// null then), and logs of other programs that follow the schema. A figure that
// a log does not know, or has as null, is missing here, never zero.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_COMPARE_RUN_FILE_H
#define TXC_RUNTIME_COMPARE_RUN_FILE_H

#include "support/status.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace txc::compare {

using Figure = std::optional<double>;

struct Iteration {
  double iter = 0;
  Figure loss, timeMs, lr, mfuPercent, achievedTflops, tokensPerSecond;
  Figure gradientNorm, allocatedGb, peakGb, reservedGb;
};

struct Evaluation {
  double iter = 0;
  Figure trainLoss, valLoss;
};

// One buffer of the memory plan. `entry` indexes MemoryPlan::entries; -1 lives
// in all of them, else from command `begin` to command `end`, both included.
struct PlanBuffer {
  std::string name, kind;
  double offset = 0, bytes = 0;
  int64_t entry = -1, begin = 0, end = 0;
};

struct PlanEntry {
  std::string name;
  int64_t commands = 0;
};

struct MemoryPlan {
  double arenaBytes = 0;
  Figure lowerBound;
  std::vector<PlanEntry> entries;
  std::vector<PlanBuffer> buffers;
};

// A line of the FLOP ledger, per micro batch.
struct FlopsLine {
  std::string name, op;
  double full = 0, causal = 0;
};

struct Run {
  std::string path;
  std::string name;         // run_name, or the file's name
  std::string architecture; // "" if the log does not say
  std::string startTime;    // "" likewise
  bool ended = false;
  std::optional<int64_t> exitCode, signal;
  std::string error;

  Figure parameters, tokensPerIteration, maxIters, peakTflops;
  std::string dataset, tokenizer; // "" if the log does not say
  Figure vocabulary;

  std::vector<Iteration> iterations;
  std::vector<Evaluation> evaluations;

  // Of the whole run.
  Figure bestValLoss, bestValIter, finalTrainLoss, maxPeakGb;
  // Medians over the logged iterations, which a slow start does not move; the
  // log's own means if it has no iterations.
  Figure mfuPercent, timeMs, tokensPerSecond;

  std::optional<MemoryPlan> plan;
  std::vector<FlopsLine> flops;

  // Everything that was set, by group ("config", "model", "hardware", ...).
  struct Setting {
    std::string group, key, value;
  };
  std::vector<Setting> settings;

  // "finished", "running or killed", "stopped by signal 2", "diverged", ...
  std::string state() const;
};

// The message says what the file holds instead of a run log.
Result<Run> readRun(const std::string &path);

// All of them; the message names every file that is not a run log. Runs of the
// same name, from different folders, are told apart by their paths.
Result<std::vector<Run>> readRuns(const std::vector<std::string> &paths);

} // namespace txc::compare

#endif // TXC_RUNTIME_COMPARE_RUN_FILE_H
