//===- Reference.h - The ops of a kernel in plain double arithmetic --------===//
//
// Follows the formulas of dialects/Tx, one loop each, no vectors.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_TEST_CODEGEN_REFERENCE_H
#define TXC_TEST_CODEGEN_REFERENCE_H

#include "txc/Dialect/Tx/Tx.h"
#include "txc/step_abi.h"

#include <array>
#include <vector>

namespace txc::test {

using Doubles = std::vector<double>;

/// Philox4x32-10.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, uint32_t keyLo, uint32_t keyHi);

/// The values that a kernel's block yields for these arguments (tokens as
/// doubles; the entry of a !tx.hyper argument is not used).
std::vector<Doubles> evaluate(mlir::Block &block, const std::vector<Doubles> &arguments,
                              const txc_hyper &hyper);

} // namespace txc::test

#endif // TXC_TEST_CODEGEN_REFERENCE_H
