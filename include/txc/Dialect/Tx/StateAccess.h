//===- StateAccess.h - Which tensors of parameters an op touches -----------===//
#ifndef TXC_DIALECT_TX_STATEACCESS_H
#define TXC_DIALECT_TX_STATEACCESS_H

#include "txc/Dialect/Tx/Tx.h"

namespace txc::tx {

/// Calls `visit` for every tensor of a parameter or cache that `op` reads or
/// writes; for one that it adds to, once, as a write.
void visitStateAccesses(mlir::Operation *op,
                        llvm::function_ref<void(mlir::FlatSymbolRefAttr, State, bool isWrite)> visit);

/// The gradient that the update of a parameter reads: grad_shard if ranks share it.
State getReducedGradient(mlir::Operation *op, mlir::FlatSymbolRefAttr param);

} // namespace txc::tx

#endif // TXC_DIALECT_TX_STATEACCESS_H
