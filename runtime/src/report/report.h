//===- report.h - What a run tells its user --------------------------------===//
//
// The figures of a run (facts.cpp), their form as text (start_up_text.cpp,
// text.cpp) and as JSON (json.cpp, described by docs/run-log.md). Nothing here
// measures or computes what a step does; trainer.cpp does.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_REPORT_REPORT_H
#define TXC_RUNTIME_REPORT_REPORT_H

#include "device/device.h"
#include "loader/step_file.h"
#include "report/hardware.h"
#include "train/options.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace txc {

// FLOPs per token, forward and backward. "Full" counts attention over the whole
// T x T square, "causal" over the visible pairs.
struct FlopSummary {
  uint64_t perTokenFull = 0, perTokenCausal = 0;
};

// The share of one kind of work in them.
struct FlopGroup {
  std::string name;
  uint64_t full = 0, causal = 0; // per token
};

// A part of the arena. Parts are disjoint and sum to the arena.
struct MemoryPart {
  std::string name;
  uint64_t bytes = 0;
};

// All that does not change during a run.
struct RunFacts {
  const StepFile *step = nullptr;
  nlohmann::ordered_json metadata; // of the step
  RunOptions options;
  FlopSummary flops;
  Hardware hardware; // the machine
  DeviceInfo device; // that runs the step
  PeakRate peak;
  int64_t ranks = 1, rank = 0;
  std::string launcher;               // of several ranks
  std::vector<std::string> rankHosts; // of each
  std::string datasetName, datasetDirectory, tokenizer;
  uint64_t datasetVocab = 0, trainTokens = 0, valTokens = 0;

  std::string architectureName() const;
  // A value of the metadata by its path, e.g. "/parameters/total"; null if the
  // compiler did not write it.
  nlohmann::ordered_json known(const char *path) const;
  int64_t tokensPerIteration() const; // over all ranks
  // "bfloat16" if any value of the step is, else "float32".
  std::string precision() const;
  std::string parallelism() const;
  // Tokens per second of the whole run at half of the peak rate; 0 if unknown.
  double tokensPerSecondAtHalf() const;
};

// Attention products, attention, feed-forward, logits and what else there is.
// The groups sum to FlopSummary exactly.
std::vector<FlopGroup> flopGroups(const txc_step_t &step);
std::vector<MemoryPart> memoryParts(const txc_step_t &step);

struct IterationFacts {
  int64_t iteration = 0;
  double loss = 0, seconds = 0, learningRate = 0;
  double tokensPerSecond = 0;
  double achievedTflops = 0; // FLOPs per token (full) x tokens per second, / 1e12
  double peakTflops = 0;     // of all ranks; 0: unknown
  DeviceMemory memory;
  std::optional<txc_update_result_t> gradients;
  std::string skipped;        // why the update was not made, if it was not
  bool showGradients = false; // in the text
};
// Fills in what follows from loss, time and facts.
void completeIteration(IterationFacts &iteration, const RunFacts &facts);
// A measured peak that an iteration exceeded was measured too low. Makes it what the
// iteration achieved, unless `again`, a new measurement, is more; returns what to
// tell the user, nothing if the peak stays.
std::string raisePeak(RunFacts &facts, const IterationFacts &iteration, const PeakRate &again);
double mfuPercent(const IterationFacts &iteration);

struct EvaluationFacts {
  int64_t iteration = 0;
  double trainLoss = 0, valLoss = 0, learningRate = 0, seconds = 0;
  // The least val loss so far, this one included, and where it was.
  double bestValLoss = 0;
  int64_t bestIteration = 0;
};

// At most 80 columns wide. `color`: with the escape sequences of a terminal.
std::string startupText(const RunFacts &facts, bool color = false);
std::string iterationText(const IterationFacts &iteration, const RunFacts &facts);
std::string evaluationText(const EvaluationFacts &evaluation);
// `summary` of the log.
std::string endText(const nlohmann::ordered_json &summary);

// config, startup_info and metadata of the log.
// The word that txc's metadata uses for a txc_buffer_kind_t.
const char *bufferKindName(uint32_t kind);
nlohmann::ordered_json headerJson(const RunFacts &facts, const std::string &time);
nlohmann::ordered_json iterationJson(const IterationFacts &iteration, const RunFacts &facts);
nlohmann::ordered_json evaluationJson(const EvaluationFacts &evaluation, const std::string &time);

} // namespace txc

#endif // TXC_RUNTIME_REPORT_REPORT_H
