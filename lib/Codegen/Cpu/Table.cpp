//===- Table.cpp - Angles of the rotary position embedding -----------------===//
//
// A block is some positions. The arithmetic is in ../RopeTable.h.
//
//===----------------------------------------------------------------------===//

#include "../RopeTable.h"
#include "Emitters.h"

using namespace mlir;

namespace txc::codegen {

static constexpr int64_t positionsPerBlock = 64;

static tx::RopeTableOp tableOf(const KernelBody &body) { return body.only<tx::RopeTableOp>(); }

KernelShape describeTable(const KernelBody &body, const CpuTarget &target) {
  Value cos = tableOf(body).getCos();
  KernelShape shape;
  shape.blocks.push_back(ceilDiv(countOf(cos) / widthOf(cos), positionsPerBlock));
  return shape;
}

LogicalResult emitTable(func::FuncOp function, const KernelBody &body, const CpuTarget &target) {
  CpuBuilder b(function, target);
  tx::RopeTableOp op = tableOf(body);
  int64_t half = widthOf(op.getCos()), positions = countOf(op.getCos()) / half, lanes = b.lanes / 2;
  Value table = emitFrequencies(b, function, (function.getName() + ".frequencies").str(), op);
  Value lower = b.mul(b.begin(), b.i64(positionsPerBlock));
  Value upper = b.mins(b.mul(b.end(), b.i64(positionsPerBlock)), b.i64(positions));
  Value start = b.i64(0);
  if (auto argument = dyn_cast_or_null<BlockArgument>(op.getPosition()))
    start = b.create<arith::ExtSIOp>(b.getI64Type(),
                                     b.load(b.argument(argument.getArgNumber()), b.i64(0), b.getI32Type()));
  b.forLoop(lower, upper, b.i64(1), [&](Value row) {
    Value t = b.splat(b.create<arith::SIToFPOp>(b.getF64Type(), b.add(start, row)), lanes);
    b.forLoop(b.i64(0), b.i64(half), b.i64(lanes), [&](Value pair) {
      Value mask = half % lanes ? b.tailMask(lanes, b.sub(b.i64(half), pair)) : Value();
      auto [sine, cosine] = sinCosF64(b, b.fmul(t, b.loadVector(table, pair, b.getF64Type(), lanes, mask)));
      Value place = b.add(b.mul(row, b.i64(half)), pair);
      for (auto [i, yielded] : llvm::enumerate(body.yield->getOperands()))
        b.storeVector(b.truncTo(yielded == op.getSin() ? sine : cosine, b.getF32Type()),
                      b.argument(body.resultArgument(i)), place, b.getF32Type(), mask);
    });
  });
  b.create<func::ReturnOp>();
  return success();
}

} // namespace txc::codegen
