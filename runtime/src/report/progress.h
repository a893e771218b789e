//===- progress.h - How far a run is, and how long it will take ------------===//
#ifndef TXC_RUNTIME_REPORT_PROGRESS_H
#define TXC_RUNTIME_REPORT_PROGRESS_H

#include <cstdint>
#include <optional>
#include <string>

namespace txc {

// Time remaining is iterations left times their recent duration, and evaluations
// left times theirs. Recent means a moving average over about 20 of them; the
// first iteration, which warms up, counts only until the second is there.
class Progress {
public:
  Progress() = default;
  Progress(int64_t maxIters, int64_t evalInterval) : maxIters_(maxIters), evalInterval_(evalInterval) {}

  void addIteration(double seconds);
  void addEvaluation(double seconds);

  int64_t done() const { return iterations_; }
  // Nothing before the first iteration.
  std::optional<double> secondsLeft() const;
  // "Progress 10 of 1,000 │ 1.0% │ 0:00:03 elapsed │ 0:04:57 left"
  std::string text(double secondsElapsed) const;

private:
  int64_t maxIters_ = 0, evalInterval_ = 0;
  int64_t iterations_ = 0, evaluations_ = 0;
  double iterationSeconds_ = 0, evaluationSeconds_ = 0;
};

// 3661.5 -> "1:01:01"; from a day on "2d 03:04:05".
std::string durationText(double seconds);

} // namespace txc

#endif // TXC_RUNTIME_REPORT_PROGRESS_H
