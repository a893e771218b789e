//===- Scatter.cpp - Gradients of embedding tables -------------------------===//
//
// embedding_vjp: a block owns a strip of columns and visits all tokens in order,
// so no two blocks write one element and the sum is the same on every run.
// position_vjp: a block owns rows of the table and adds the batches in order.
//
// The gradient that the body adds, if any, is where the sums start.
//
//===----------------------------------------------------------------------===//

#include "Emitters.h"

using namespace mlir;

namespace txc::codegen {

static constexpr int64_t stripColumns = 32;

namespace {
/// The parts of a scatter kernel, which yields one tensor.
struct Scatter {
  explicit Scatter(const KernelBody &body)
      : embedding(body.only<tx::EmbeddingVjpOp>()), position(body.only<tx::PositionVjpOp>()) {
    Value sum = embedding ? embedding.getResult() : position.getResult();
    grad = embedding ? embedding.getGrad() : position.getGrad();
    if (auto add = body.yield->getOperand(0).getDefiningOp<tx::AddOp>())
      start = dyn_cast<BlockArgument>(add.getLhs() == sum ? add.getRhs() : add.getLhs());
    columns = widthOf(sum);
    tableRows = countOf(sum) / columns;
  }
  tx::EmbeddingVjpOp embedding;
  tx::PositionVjpOp position;
  Value grad;
  BlockArgument start; ///< null if the sums start at 0
  int64_t columns, tableRows;

  int64_t rowsPerBlock() const { return std::max<int64_t>(1, 8192 / columns); }
};
} // namespace

KernelShape describeScatter(const KernelBody &body, const CpuTarget &target) {
  Scatter scatter(body);
  KernelShape shape;
  shape.blocks.push_back(scatter.embedding ? ceilDiv(scatter.columns, stripColumns)
                                           : ceilDiv(scatter.tableRows, scatter.rowsPerBlock()));
  return shape;
}

LogicalResult emitScatter(func::FuncOp function, const KernelBody &body, const CpuTarget &target) {
  Scatter scatter(body);
  CpuBuilder b(function, target);
  Value result = body.yield->getOperand(0);
  if (!elementOf(result).isF32() || !elementOf(scatter.grad).isF32())
    return body.kernel->emitOpError() << "sums gradients in f32 on the CPU, found " << result.getType();
  Type f32 = b.getF32Type();
  auto argument = [&](Value value) { return b.argument(cast<BlockArgument>(value).getArgNumber()); };
  Value grad = argument(scatter.grad), out = b.argument(body.resultArgument(0));
  Value start = scatter.start ? argument(scatter.start) : Value();
  bool startsInPlace = scatter.start && body.inplace(0) == scatter.start.getArgNumber();
  int64_t columns = scatter.columns;
  Value width = b.i64(columns), one = b.i64(1), lanes = b.i64(b.lanes);
  auto maskAt = [&](Value column) {
    return columns % b.lanes ? b.tailMask(b.lanes, b.sub(width, column)) : Value();
  };
  Value zero = b.splat(b.f32(0), b.lanes);

  if (scatter.position) {
    int64_t rows = scatter.tableRows, batches = countOf(scatter.grad) / (rows * columns);
    Value lower = b.mul(b.begin(), b.i64(scatter.rowsPerBlock()));
    Value upper = b.mins(b.mul(b.end(), b.i64(scatter.rowsPerBlock())), b.i64(rows));
    b.forLoop(lower, upper, one, [&](Value row) {
      b.forLoop(b.i64(0), width, lanes, [&](Value column) {
        Value mask = maskAt(column), place = b.add(b.mul(row, width), column);
        Value sum = b.forLoop(b.i64(0), b.i64(batches), one, zero, [&](Value batch, ValueRange s) {
          Value index = b.add(b.mul(batch, b.i64(rows * columns)), place);
          return SmallVector<Value>{b.fadd(s[0], b.loadVector(grad, index, f32, b.lanes, mask))};
        })[0];
        if (start)
          sum = b.fadd(sum, b.loadVector(start, place, f32, b.lanes, mask));
        b.storeVector(sum, out, place, f32, mask);
      });
    });
    b.create<func::ReturnOp>();
    return success();
  }

  Value tokens = argument(scatter.embedding.getTokens());
  int64_t numTokens = countOf(scatter.embedding.getTokens());
  b.forLoop(b.begin(), b.end(), one, [&](Value block) {
    Value first = b.mul(block, b.i64(stripColumns));
    Value last = b.mins(b.add(first, b.i64(stripColumns)), width);
    auto forStrip = [&](Value row, llvm::function_ref<void(Value place, Value column, Value mask)> work) {
      Value base = b.mul(row, width);
      b.forLoop(first, last, lanes, [&](Value column) { work(b.add(base, column), column, maskAt(column)); });
    };
    if (!startsInPlace)
      b.forLoop(b.i64(0), b.i64(scatter.tableRows), one, [&](Value row) {
        forStrip(row, [&](Value place, Value, Value mask) {
          b.storeVector(start ? b.loadVector(start, place, f32, b.lanes, mask) : zero, out, place, f32, mask);
        });
      });
    b.forLoop(b.i64(0), b.i64(numTokens), one, [&](Value token) {
      Value row = b.create<arith::ExtSIOp>(b.getI64Type(), b.load(tokens, token, b.getI32Type()));
      Value source = b.mul(token, width);
      forStrip(row, [&](Value place, Value column, Value mask) {
        Value g = b.loadVector(grad, b.add(source, column), f32, b.lanes, mask);
        b.storeVector(b.fadd(b.loadVector(out, place, f32, b.lanes, mask), g), out, place, f32, mask);
      });
    });
  });
  b.create<func::ReturnOp>();
  return success();
}

} // namespace txc::codegen
