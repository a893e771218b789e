//===- Passes.h - The import stage -------------------------------*- C++ -*-===//
#ifndef TXC_IMPORT_PASSES_H
#define TXC_IMPORT_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace txc::import {
#define GEN_PASS_DECL
#include "txc/Import/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "txc/Import/Passes.h.inc"

/// importSpec makes the module, so that here is only the boundary verifier.
void buildPipeline(mlir::OpPassManager &pm);
} // namespace txc::import

#endif // TXC_IMPORT_PASSES_H
