//===- Comparison.h - A compiled step beside the oracle --------------------===//
#ifndef TXC_TEST_UNIT_COMBINATIONS_COMPARISON_H
#define TXC_TEST_UNIT_COMBINATIONS_COMPARISON_H

#include "Compiler.h"

#include <map>
#include <string>

namespace combinations {

/// How a run of training is done.
struct Recipe {
  int64_t updates = 2, microBatches = 2;
  float gradClip = 1;
  bool ignoreSome = false; ///< a third of the targets is ignore_index
};

/// The greatest difference seen of each figure, and where.
class Differences {
public:
  /// Fails the running test if |found - expected| > tolerance * scale.
  void compare(const std::string &figure, const std::string &where, double found, double expected,
               double scale, double tolerance);
  void print() const;

private:
  struct Worst {
    double difference = -1;
    std::string where;
  };
  std::map<std::string, Worst> worst;
};

/// Compiles `spec` to a step.so, loads it as txrun does and trains with it on the
/// CPU; the oracle evaluates the functions that autodiff made, in float64, with the
/// same batches, hyperparameters and random numbers. Compares initial parameters,
/// losses, gradients, their statistics, updated parameters and moments, the loss of
/// eval, and the logits of decode.
void compareWithOracle(Compiler &compiler, const txc::import::Spec &spec, const Recipe &recipe,
                       Differences &differences);

} // namespace combinations

#endif // TXC_TEST_UNIT_COMBINATIONS_COMPARISON_H
