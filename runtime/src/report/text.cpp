//===- text.cpp - The report of an iteration, of an evaluation, of the end -===//
#include "report/report.h"

#include "support/text.h"

#include <cmath>

namespace txc {

using Json = nlohmann::ordered_json;

// In TF from 1 TF on, so that runs on GPUs compare at a glance; else in GF, MF.
static std::string flops(double tflops) {
  return tflops >= 1 ? format(tflops < 10 ? "%.3f TF" : "%.1f TF", tflops)
                     : withPrefix(tflops * 1e12, 1) + "F";
}

static double gigabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e9; }

std::string iterationText(const IterationFacts &it, const RunFacts &facts) {
  std::string out =
      format("Iter %lld │ Loss %.4f │ Time %.*f ms │ LR %.2e\n", static_cast<long long>(it.iteration),
             it.loss, it.seconds < 0.1 ? 2 : 0, it.seconds * 1e3, it.learningRate);
  if (!it.skipped.empty())
    out += "Skipped  " + it.skipped + "\n";
  const bool known = it.peakTflops > 0;
  out += (known ? format("MFU %.2f%%", mfuPercent(it)) : "MFU unknown") +
         format(" │ Achieved %s │ Peak %s │ Tokens/s %s │ FLOPs/token %sF\n",
                flops(it.achievedTflops).c_str(), known ? flops(it.peakTflops).c_str() : "unknown",
                withCommas(static_cast<uint64_t>(it.tokensPerSecond)).c_str(),
                withPrefix(static_cast<double>(facts.flops.perTokenFull), 1).c_str());
  out += format("Memory %.2f GB in use │ %.2f GB peak │ %.2f GB reserved\n", gigabytes(it.memory.inUseBytes),
                gigabytes(it.memory.peakBytes), gigabytes(it.memory.reservedBytes));
  if (const auto &g = it.gradients; g && it.showGradients)
    out += format("Gradients norm %.4f │ mean %.2e │ std %.2e\n", g->grad_norm, g->grad_mean, g->grad_std);
  return out;
}

std::string evaluationText(const EvaluationFacts &e) {
  std::string best = e.bestIteration == e.iteration ? "best so far"
                                                    : format("best %.4f at %lld", e.bestValLoss,
                                                             static_cast<long long>(e.bestIteration));
  return format("Eval at %lld │ train loss %.4f │ val loss %.4f │ perplexity %.2f │ %.1f s │ %s\n",
                static_cast<long long>(e.iteration), e.trainLoss, e.valLoss, std::exp(e.valLoss), e.seconds,
                best.c_str());
}

std::string endText(const Json &summary) {
  auto number = [&](const char *key, const char *pattern) {
    return summary[key].is_number() ? format(pattern, summary[key].get<double>()) : std::string("-");
  };
  std::string best = number("best_val_loss", "%.4f");
  if (summary["best_val_iter"].is_number())
    best += " at " + number("best_val_iter", "%.0f");
  return "\nDone   " + number("total_iterations", "%.0f") + " logged iterations │ final loss " +
         number("final_train_loss", "%.4f") + " │ best val loss " + best + "\n       " +
         number("avg_time_ms", "%.1f") + " ms and " + number("avg_mfu", "%.2f") + "% MFU on average\n";
}

} // namespace txc
