//===- progress.cpp - How far a run is, and how long it will take ----------===//
#include "report/progress.h"

#include "support/text.h"

#include <algorithm>
#include <cmath>

namespace txc {

static constexpr double kNewest = 0.05; // weight of the newest in the average

// `count` of them are in the average before this one.
static void addToAverage(double &average, int64_t count, double value) {
  average += std::max(kNewest, 1 / static_cast<double>(count + 1)) * (value - average);
}

void Progress::addIteration(double seconds) {
  addToAverage(iterationSeconds_, std::max<int64_t>(iterations_ - 1, 0), seconds);
  ++iterations_;
}

void Progress::addEvaluation(double seconds) {
  addToAverage(evaluationSeconds_, evaluations_, seconds);
  ++evaluations_;
}

std::optional<double> Progress::secondsLeft() const {
  if (iterations_ == 0)
    return std::nullopt;
  const int64_t left = std::max<int64_t>(maxIters_ - iterations_, 0);
  // At every multiple of the interval below max_iters, and one after the end.
  const int64_t evaluations = evalInterval_ > 0 ? std::max<int64_t>(maxIters_ - 1, 0) / evalInterval_ + 1 : 0;
  const int64_t evaluationsLeft = std::max<int64_t>(evaluations - evaluations_, 0);
  return static_cast<double>(left) * iterationSeconds_ +
         static_cast<double>(evaluationsLeft) * evaluationSeconds_;
}

std::string Progress::text(double secondsElapsed) const {
  std::string out = "Progress " + withCommas(static_cast<uint64_t>(iterations_)) + " of " +
                    withCommas(static_cast<uint64_t>(maxIters_));
  if (maxIters_ > 0)
    out += format(" │ %.1f%%", 100 * static_cast<double>(iterations_) / static_cast<double>(maxIters_));
  out += " │ " + durationText(secondsElapsed) + " elapsed";
  if (std::optional<double> left = secondsLeft())
    out += " │ " + durationText(*left) + " left";
  return out;
}

std::string durationText(double seconds) {
  if (!(seconds >= 0) || seconds > 1e12)
    return "?";
  const long long whole = std::llround(seconds);
  const long long days = whole / 86400, hours = whole / 3600 % 24, minutes = whole / 60 % 60;
  return (days ? format("%lldd %02lld", days, hours) : format("%lld", hours)) +
         format(":%02lld:%02lld", minutes, whole % 60);
}

} // namespace txc
