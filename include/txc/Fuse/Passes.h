//===- Passes.h - The fuse stage -------------------------------------------===//
#ifndef TXC_FUSE_PASSES_H
#define TXC_FUSE_PASSES_H

#include "txc/Dialect/Tx/Tx.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace txc::fuse {
#define GEN_PASS_DECL
#include "txc/Fuse/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "txc/Fuse/Passes.h.inc"

/// From a sharded step to one in which every computation is inside a tx.kernel.
void buildPipeline(mlir::OpPassManager &pm);
} // namespace txc::fuse

#endif // TXC_FUSE_PASSES_H
