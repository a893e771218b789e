//===- StepFunctions.h - The functions that make a step --------------------===//
//
// From autodiff to fuse a module is one whole step:
//   @init(%hyper)
//   @micro(%tokens, %targets, %hyper) -> (loss, count)
//   @update(%hyper) -> tensor<11xf32>
//   @eval(%tokens, %targets, %hyper) -> (loss, count)
// and, in a step that can also generate text,
//   @decode(%tokens, %position) -> logits
//
//===----------------------------------------------------------------------===//
#ifndef TXC_DIALECT_TX_STEPFUNCTIONS_H
#define TXC_DIALECT_TX_STEPFUNCTIONS_H

#include "mlir/IR/BuiltinOps.h"

namespace txc::tx {

/// Of the module: how many sequences @decode works on side by side (an integer).
/// Absent: the step cannot generate text and has no @decode.
constexpr llvm::StringLiteral decodeBatchAttrName = "tx.decode_batch";

/// Checks that `module` has these functions (@decode or not) and no other, of these types, each
/// one block without branches. `stage` stands in the errors, one per culprit.
mlir::LogicalResult verifyStepFunctions(mlir::ModuleOp module, llvm::StringRef stage);

} // namespace txc::tx

#endif // TXC_DIALECT_TX_STEPFUNCTIONS_H
