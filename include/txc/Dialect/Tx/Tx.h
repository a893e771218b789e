//===- Tx.h - The tx dialect -----------------------------------------------===//
#ifndef TXC_DIALECT_TX_TX_H
#define TXC_DIALECT_TX_TX_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace txc::interp {
class Frame;
} // namespace txc::interp

namespace txc::tx {
/// How a row-wise kernel touches a tensor while it works on row r.
enum class RowAccess {
  Row,       ///< row r, all columns
  RowScalar, ///< element r: one value for the row
  Column,    ///< a 1-D tensor of the row's width, the same for all rows
  Scalar,    ///< a 0-d tensor
  Periodic,  ///< row r mod T of a [T, N] tensor
  Gather,    ///< a row chosen by an index that belongs to row r
  ColumnSum, ///< result only: a 1-D sum over all rows
  Hyper      ///< the runtime's values
};

/// Elements of each rank's shard of a tensor of `elements` over `ranks`.
int64_t getShardElements(int64_t elements, int64_t ranks);

/// The path of the object that `op` computes, from its location ("blocks.3.attn.qkv").
std::string getPath(mlir::Operation *op);
} // namespace txc::tx

#include "txc/Dialect/Tx/TxDialect.h.inc"
#include "txc/Dialect/Tx/TxEnums.h.inc"
#include "txc/Dialect/Tx/TxInterfaces.h.inc"
#define GET_TYPEDEF_CLASSES
#include "txc/Dialect/Tx/TxTypes.h.inc"
#define GET_ATTRDEF_CLASSES
#include "txc/Dialect/Tx/TxAttrs.h.inc"
#define GET_OP_CLASSES
#include "txc/Dialect/Tx/TxOps.h.inc"

#endif // TXC_DIALECT_TX_TX_H
