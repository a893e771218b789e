//===- CheckKernel.h - Machine code against plain double arithmetic --------===//
#ifndef TXC_TEST_CODEGEN_CHECKKERNEL_H
#define TXC_TEST_CODEGEN_CHECKKERNEL_H

#include "KernelRunner.h"
#include "Reference.h"

namespace txc::test {

using Sizes = std::map<std::string, int64_t>;

/// `text` with every $NAME replaced by its size.
std::string substitute(std::string text, const Sizes &sizes);

/// The levels that this machine can run.
std::vector<std::string> runnableLevels();

/// What the runtime would pass.
txc_hyper testHyper();

/// Compiles `step.kernel @k` for each level that this machine runs, calls it
/// with random inputs in several splits, and expects what `evaluate` computes,
/// within `tolerance` of the result's typical size; bitwise the same for all
/// splits.
void checkKernel(const std::string &text, const Sizes &sizes, double tolerance = 3e-6);

} // namespace txc::test

#endif // TXC_TEST_CODEGEN_CHECKKERNEL_H
