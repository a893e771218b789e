//===- Passes.h - The oracle's passes --------------------------------------===//
#ifndef TXC_INTERP_PASSES_H
#define TXC_INTERP_PASSES_H

#include "txc/Dialect/Tx/Tx.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace txc::interp {
#define GEN_PASS_DECL
#include "txc/Interp/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "txc/Interp/Passes.h.inc"

/// Attaches the interpreter rules (lib/Interp/Rules) to the tx ops.
void registerExternalModels(mlir::DialectRegistry &registry);
} // namespace txc::interp

#endif // TXC_INTERP_PASSES_H
