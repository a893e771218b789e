//===- report.h - What a run tells its user --------------------------------===//
//
// The figures of a run, and their forms as text and as JSON. Nothing here
// measures or computes what a step does; trainer.cpp does.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_REPORT_REPORT_H
#define TXC_RUNTIME_REPORT_REPORT_H

#include "loader/step_file.h"
#include "report/hardware.h"
#include "train/options.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace txc {

// FLOPs per token, forward and backward. "Full" counts attention over the whole
// T x T square, "causal" over the visible pairs.
struct FlopSummary {
  uint64_t perTokenFull = 0, perTokenCausal = 0;
};

// All that does not change during a run.
struct RunFacts {
  const StepFile *step = nullptr;
  nlohmann::ordered_json metadata; // of the step
  RunOptions options;
  FlopSummary flops;
  Hardware hardware;
  int threads = 1;
  double peakFlops = 0; // per second; measured on a CPU
  std::string peakSource, library;
  std::string datasetName, datasetDirectory, tokenizer;
  uint64_t datasetVocab = 0, trainTokens = 0, valTokens = 0;

  std::string architectureName() const;
  // A value of the metadata by its path, e.g. "/parameters/total"; null if the
  // compiler did not write it.
  nlohmann::ordered_json known(const char *path) const;
  int64_t tokensPerIteration() const;
};

struct IterationFacts {
  int64_t iteration = 0;
  double loss = 0, seconds = 0, learningRate = 0;
  double tokensPerSecond = 0;
  double achievedTflops = 0; // FLOPs per token (full) x tokens per second, / 1e12
  double peakTflops = 0;
  ProcessMemory memory;
  uint64_t reservedBytes = 0;
  std::optional<txc_update_result_t> gradients;
  bool showGradients = false; // in the text
};
// Fills in what follows from loss, time and facts.
void completeIteration(IterationFacts &iteration, const RunFacts &facts);

struct EvaluationFacts {
  int64_t iteration = 0;
  double trainLoss = 0, valLoss = 0, learningRate = 0, seconds = 0;
};

std::string startupText(const RunFacts &facts);
std::string iterationText(const IterationFacts &iteration, const RunFacts &facts);
std::string evaluationText(const EvaluationFacts &evaluation);

// config and startup_info of the log.
nlohmann::ordered_json headerJson(const RunFacts &facts, const std::string &time);
nlohmann::ordered_json iterationJson(const IterationFacts &iteration, const RunFacts &facts);
nlohmann::ordered_json evaluationJson(const EvaluationFacts &evaluation, const std::string &time);

} // namespace txc

#endif // TXC_RUNTIME_REPORT_REPORT_H
