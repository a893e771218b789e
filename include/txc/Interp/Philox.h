//===- Philox.h - The counter-based generator, as the oracle has it --------===//
//
// Philox4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3,
// SC11), written apart from the runtime's and the kernels' so that it can judge
// them.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_INTERP_PHILOX_H
#define TXC_INTERP_PHILOX_H

#include <array>
#include <cstdint>

namespace txc::interp {

/// The block for `key` and the counter (element_lo, element_hi, site, step).
std::array<uint32_t, 4> philox(uint64_t key, uint64_t element, uint32_t site, uint32_t step);

/// Uniform in [0, 1), from word 0 of the block.
double uniform(uint64_t key, uint64_t element, uint32_t site, uint32_t step);

/// Standard normal by Box-Muller, from words 0 and 1 of the block.
double normal(uint64_t key, uint64_t element, uint32_t site, uint32_t step);

} // namespace txc::interp

#endif // TXC_INTERP_PHILOX_H
