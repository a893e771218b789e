//===- Table.cpp - Angles of the rotary position embedding -----------------===//
//
// The frequencies theta^(-2j/D) are constants of the object, in f64. Angles,
// their reduction to [-pi/4, pi/4] (Cody and Waite, pi/2 in three parts) and the
// polynomials are f64 too; only the results are rounded to f32.
//
//===----------------------------------------------------------------------===//

#include "Emitters.h"

#include <cmath>

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

/// A constant array of the object.
static Value constantArray(CpuBuilder &b, func::FuncOp function, ArrayRef<double> values) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(function);
  std::string name = (function.getName() + ".frequencies").str();
  auto type = LLVM::LLVMArrayType::get(b.getF64Type(), values.size());
  auto data = DenseElementsAttr::get(
      RankedTensorType::get({static_cast<int64_t>(values.size())}, b.getF64Type()), values);
  b.create<LLVM::GlobalOp>(type, /*isConstant=*/true, LLVM::Linkage::Internal, name, data, /*alignment=*/64);
  b.setInsertionPointToStart(&function.getBody().front());
  return b.create<LLVM::AddressOfOp>(b.ptrType(), name);
}

static Value horner(CpuBuilder &b, Value x, ArrayRef<double> coefficients) {
  Value sum = b.constant(x, coefficients.front());
  for (double c : coefficients.drop_front())
    sum = b.fma(sum, x, b.constant(x, c));
  return sum;
}

/// (sin, cos) of f64 angles below 2^30.
static std::pair<Value, Value> sinCos(CpuBuilder &b, Value angle) {
  auto c = [&](double value) { return b.constant(angle, value); };
  Value magic = c(6755399441055744.0); // 1.5 * 2^52: the sum's low bits are the nearest integer
  Value shifted = b.fma(angle, c(0.63661977236758134), magic);
  Value n = b.fsub(shifted, magic);
  Value r = b.fma(n, c(-0x1.921fb544p+0), angle);
  r = b.fma(n, c(-0x1.0b4611a6p-34), r);
  r = b.fma(n, c(-0x1.3198a2e037073p-69), r);
  Value r2 = b.fmul(r, r);
  Value s = b.fmul(r, horner(b, r2,
                             {-2.475655877198039e-8, 2.7555271893389817e-6, -0.00019841263298390508,
                              0.0083333333238781497, -0.16666666666616685, 0.99999999999999572}));
  Value co = horner(b, r2,
                    {-2.7173429841022823e-7, 2.4798928755323668e-5, -0.0013888880393776423,
                     0.041666666543911192, -0.49999999999351115, 0.99999999999994441});
  Value quarter = b.bitcast(shifted, b.getI64Type());
  auto bit = [&](Value q, int64_t mask) {
    return b.create<arith::AndIOp>(q, b.intConstant(q, mask)).getResult();
  };
  Value odd = b.icmp(arith::CmpIPredicate::ne, bit(quarter, 1), b.intConstant(quarter, 0));
  auto flip = [&](Value v, Value q) {
    Value sign = b.create<arith::ShLIOp>(bit(q, 2), b.intConstant(q, 62));
    return b.bitcast(b.create<arith::XOrIOp>(b.bitcast(v, b.getI64Type()), sign), b.getF64Type());
  };
  return {flip(b.select(odd, co, s), quarter),
          flip(b.select(odd, s, co), b.add(quarter, b.intConstant(quarter, 1)))};
}

LogicalResult emitTable(func::FuncOp function, const KernelBody &body, const CpuTarget &target) {
  CpuBuilder b(function, target);
  tx::RopeTableOp op = tableOf(body);
  int64_t half = widthOf(op.getCos()), positions = countOf(op.getCos()) / half, lanes = b.lanes / 2;
  double theta = op.getTheta().convertToDouble();
  SmallVector<double> frequencies;
  for (int64_t j = 0; j < half; ++j)
    frequencies.push_back(std::pow(theta, -static_cast<double>(j) / static_cast<double>(half)));
  Value table = constantArray(b, function, frequencies);
  Value lower = b.mul(b.begin(), b.i64(positionsPerBlock));
  Value upper = b.mins(b.mul(b.end(), b.i64(positionsPerBlock)), b.i64(positions));
  Value start = b.i64(0);
  if (auto argument = dyn_cast_or_null<BlockArgument>(op.getPosition()))
    start = b.create<arith::ExtSIOp>(
        b.getI64Type(), b.load(b.argument(argument.getArgNumber()), b.i64(0), b.getI32Type()));
  b.forLoop(lower, upper, b.i64(1), [&](Value row) {
    Value t = b.splat(b.create<arith::SIToFPOp>(b.getF64Type(), b.add(start, row)), lanes);
    b.forLoop(b.i64(0), b.i64(half), b.i64(lanes), [&](Value pair) {
      Value mask = half % lanes ? b.tailMask(lanes, b.sub(b.i64(half), pair)) : Value();
      auto [sine, cosine] = sinCos(b, b.fmul(t, b.loadVector(table, pair, b.getF64Type(), lanes, mask)));
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
