//===- CheckKernel.h - Machine code against plain double arithmetic --------===//
#ifndef TXC_TEST_CODEGEN_CHECKKERNEL_H
#define TXC_TEST_CODEGEN_CHECKKERNEL_H

#include "KernelCase.h"

namespace txc::test {

using Sizes = std::map<std::string, int64_t>;

/// `text` with every $NAME replaced by its size.
std::string substitute(std::string text, const Sizes &sizes);

/// The levels that this machine can run.
std::vector<std::string> runnableLevels();

/// What the runtime would pass.
txc_hyper testHyper();

/// The kernel with bf16 activations; `text` itself if it has none.
std::string inBf16(const std::string &text);

/// The case of `step.kernel @k`: random inputs unless they are given, and what
/// `evaluate` computes from them.
KernelCase makeCase(const std::string &text, const Sizes &sizes, double tolerance = 3e-6,
                    const std::map<unsigned, Doubles> &given = {});

/// Checks that case; for a GPU, unless told otherwise, also in bf16.
void checkKernel(const std::string &text, const Sizes &sizes, double tolerance = 3e-6,
                 bool alsoInBf16 = true);

/// Whether tx.rope takes bf16 heads of this size: pairs that are 4 elements apart or
/// lie in groups of 4.
inline bool ropeTakesBf16(const std::string &layout, int64_t headDim) {
  return (layout.find("half") == 0 ? headDim / 2 : headDim) % 4 == 0;
}

} // namespace txc::test

#endif // TXC_TEST_CODEGEN_CHECKKERNEL_H
