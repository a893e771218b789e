//===- Reduction.cpp - Mean loss, number of targets, angles ----------------===//
//
// Small kernels: one block for a sum over the tokens of a batch, one thread per
// angle of the rotary position embedding.
//
//===----------------------------------------------------------------------===//

#include "../RopeTable.h"
#include "Emitters.h"

using namespace mlir;

namespace txc::codegen::gpu {

static constexpr int64_t threads = 1024, tableThreads = 128;

GpuShape describeReduction(const KernelBody &) {
  GpuPhase phase;
  phase.block[0] = threads;
  GpuShape shape;
  shape.phases.push_back(phase);
  return shape;
}

LogicalResult emitReduction(GpuBuilder &b, const KernelBody &body) {
  Value out = b.argument(body.resultArgument(0));
  auto argument = [&](Value value) { return b.argument(cast<BlockArgument>(value).getArgNumber()); };
  auto sum = [&](int64_t count, Value zero, llvm::function_ref<Value(Value index)> element) {
    Value own = b.forLoop(b.thread(), b.i64(count), b.i64(threads), zero, [&](Value index, ValueRange old) {
      return SmallVector<Value>{b.fold(GpuBuilder::Fold::Sum, old[0], element(index))};
    })[0];
    return b.blockFold(GpuBuilder::Fold::Sum, own, threads)[0];
  };
  Value result;
  if (auto op = body.only<tx::MeanLossOp>()) {
    Value losses = argument(op.getLosses());
    Value total = sum(countOf(op.getLosses()), b.f64(0), [&](Value index) {
      return b.extendTo(b.load(losses, index, b.getF32Type()), b.getF64Type());
    });
    // A constant where the mean over ranks is taken.
    auto constant = op.getCount().getDefiningOp<arith::ConstantOp>();
    Value count =
        constant ? b.f32(cast<DenseFPElementsAttr>(constant.getValue()).getSplatValue<APFloat>().convertToFloat())
                 : b.load(argument(op.getCount()), b.i64(0), b.getF32Type());
    count = b.extendTo(count, b.getF64Type());
    result = b.truncTo(b.fdiv(total, count), b.getF32Type());
  } else {
    auto count = body.only<tx::TargetCountOp>();
    Value targets = argument(count.getTargets());
    Value total = sum(countOf(count.getTargets()), b.i32(0), [&](Value index) {
      Value target = b.load(targets, index, b.getI32Type());
      Value counted = b.icmp(arith::CmpIPredicate::ne, target, b.i32(count.getIgnoreIndex()));
      return b.extendTo(counted, b.getI32Type());
    });
    result = b.create<arith::SIToFPOp>(b.getF32Type(), b.maxs(total, b.i32(1)));
  }
  b.ifThen(b.icmp(arith::CmpIPredicate::eq, b.thread(), b.i64(0)), [&] { b.store(result, out, b.i64(0)); });
  b.finish();
  return success();
}

GpuShape describeTable(const KernelBody &body) {
  GpuPhase phase;
  phase.block[0] = tableThreads;
  phase.grid[0] = ceilDiv(countOf(body.only<tx::RopeTableOp>().getCos()), tableThreads);
  GpuShape shape;
  shape.phases.push_back(phase);
  return shape;
}

LogicalResult emitTable(GpuBuilder &b, const KernelBody &body) {
  auto op = body.only<tx::RopeTableOp>();
  int64_t half = widthOf(op.getCos());
  Value frequencies =
      emitFrequencies(b, b.function, (b.function.getName() + "_frequencies").str(), op, /*space=*/1);
  Value index = b.add(b.mul(b.block(), b.i64(tableThreads)), b.thread());
  b.ifThen(b.icmp(arith::CmpIPredicate::ult, index, b.i64(countOf(op.getCos()))), [&] {
    Value row = b.divu(index, b.i64(half));
    if (auto argument = dyn_cast_or_null<BlockArgument>(op.getPosition())) {
      Value first = b.load(b.argument(argument.getArgNumber()), b.i64(0), b.getI32Type());
      row = b.add(row, b.create<arith::ExtSIOp>(b.getI64Type(), first));
    }
    Value position = b.create<arith::SIToFPOp>(b.getF64Type(), row);
    Value frequency = b.load(frequencies, b.remu(index, b.i64(half)), b.getF64Type());
    auto [sine, cosine] = sinCosF64(b, b.fmul(position, frequency));
    for (auto [i, yielded] : llvm::enumerate(body.yield->getOperands()))
      b.store(b.truncTo(yielded == op.getSin() ? sine : cosine, b.getF32Type()),
              b.argument(body.resultArgument(i)), index);
  });
  b.finish();
  return success();
}

} // namespace txc::codegen::gpu
