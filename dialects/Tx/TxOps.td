//===- TxOps.td - All tx ops, by theme -------------------------------------===//
#ifndef TXC_TX_OPS
#define TXC_TX_OPS

include "Tx/StateOps.td"
include "Tx/EmbeddingOps.td"
include "Tx/NormOps.td"
include "Tx/LinearOps.td"
include "Tx/AttentionOps.td"
include "Tx/PointwiseOps.td"
include "Tx/LossOps.td"
include "Tx/OptimizerOps.td"
include "Tx/RowsOps.td"
include "Tx/CollectiveOps.td"
include "Tx/KernelOps.td"

#endif // TXC_TX_OPS
