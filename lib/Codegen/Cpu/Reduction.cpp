//===- Reduction.cpp - The mean loss and the number of targets -------------===//
//
// One block each: a sequence per batch is small beside what made it.
//
//===----------------------------------------------------------------------===//

#include "Emitters.h"

using namespace mlir;

namespace txc::codegen {

LogicalResult emitReduction(func::FuncOp function, const KernelBody &body, const CpuTarget &target) {
  CpuBuilder b(function, target);
  Value out = b.argument(body.resultArgument(0));
  auto argument = [&](Value value) { return b.argument(cast<BlockArgument>(value).getArgNumber()); };
  int64_t lanes = b.lanes;
  // Vectors from 0 on, the last one masked if need be.
  auto fold = [&](int64_t count, Value init,
                  llvm::function_ref<Value(Value sum, Value index, Value mask)> step) {
    int64_t full = count / lanes * lanes;
    Value sum = b.forLoop(b.i64(0), b.i64(full), b.i64(lanes), init, [&](Value index, ValueRange carried) {
      return SmallVector<Value>{step(carried[0], index, Value())};
    })[0];
    return count > full ? step(sum, b.i64(full), b.tailMask(lanes, count - full)) : sum;
  };
  // Blocks are counted from 0, so this runs once in all.
  b.ifThen(b.icmp(arith::CmpIPredicate::slt, b.begin(), b.end()), [&] {
    if (auto op = body.only<tx::MeanLossOp>()) {
      Value losses = argument(op.getLosses());
      Value sums =
          fold(countOf(op.getLosses()), b.splat(b.f64(0), lanes), [&](Value sum, Value index, Value mask) {
            Value loss = b.loadVector(losses, index, b.getF32Type(), lanes, mask);
            return b.fadd(sum, b.extendTo(loss, b.getF64Type()));
          });
      // A constant where the mean over ranks is taken.
      auto constant = op.getCount().getDefiningOp<arith::ConstantOp>();
      Value count =
          constant ? b.f32(cast<DenseFPElementsAttr>(constant.getValue()).getSplatValue<APFloat>().convertToFloat())
                   : b.load(argument(op.getCount()), b.i64(0), b.getF32Type());
      count = b.extendTo(count, b.getF64Type());
      b.store(b.truncTo(b.fdiv(b.reduceAdd(sums), count), b.getF32Type()), out, b.i64(0));
      return;
    }
    auto op = body.only<tx::TargetCountOp>();
    Value targets = argument(op.getTargets());
    Value sums =
        fold(countOf(op.getTargets()), b.splat(b.i32(0), lanes), [&](Value sum, Value index, Value mask) {
          Value target = b.loadVector(targets, index, b.getI32Type(), lanes, mask);
          Value counted =
              b.icmp(arith::CmpIPredicate::ne, target, b.intConstant(target, op.getIgnoreIndex()));
          if (mask)
            counted = b.create<arith::AndIOp>(counted, mask);
          return b.add(sum, b.extendTo(counted, b.getI32Type()));
        });
    Value count = b.maxs(b.reduceAdd(sums), b.i32(1));
    b.store(b.create<arith::SIToFPOp>(b.getF32Type(), count), out, b.i64(0));
  });
  b.create<func::ReturnOp>();
  return success();
}

} // namespace txc::codegen
