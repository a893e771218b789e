//===- Gradients.h - Who sets a gradient to zero ---------------------------===//
//
// Set by tx-plan-overwrite-gradients, read by codegen and link.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_DIALECT_STEP_GRADIENTS_H
#define TXC_DIALECT_STEP_GRADIENTS_H

#include "txc/Dialect/Step/Step.h"

namespace txc::step {

/// Flags of a segment of a flat kernel, the third of its five numbers.
constexpr int64_t decays = 1;          ///< weight decay applies
constexpr int64_t leavesGradient = 2;  ///< adamw does not zero the gradient

/// On an accumulating step.gemm: in the first micro batch of an update it
/// overwrites. A unit attribute.
constexpr llvm::StringLiteral afterFirstAttrName = "after_first";

} // namespace txc::step

#endif // TXC_DIALECT_STEP_GRADIENTS_H
