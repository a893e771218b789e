//===- Embedding.cpp - Rules of tokens and positions -----------------------===//

#include "RowKernel.h"

using namespace mlir;

namespace txc::codegen {

LogicalResult emit(RowKernel &k, tx::EmbeddingOp op) {
  Value token = k.b.create<arith::ExtSIOp>(k.b.getI64Type(), k.scalar(op.getTokens()));
  k.define(op.getResult(), k.tableRow(op.getTable(), token));
  return success();
}

LogicalResult emit(RowKernel &k, tx::AddPositionOp op) {
  RowKernel::RowMemory position;
  if (op.getPosition())
    position = k.tableRow(op.getTable(),
                          k.b.create<arith::ExtSIOp>(k.b.getI64Type(), k.scalar(op.getPosition())));
  else
    position = k.periodic(op.getTable());
  k.define(op.getResult(), [&k, op, position](Chunk &chunk, int64_t shift) mutable {
    return k.b.fadd(k.at(op.getInput(), chunk, shift), k.load(position, chunk, shift));
  });
  return success();
}

} // namespace txc::codegen
