//===- RopeTable.cpp - Angles of the rotary position embedding -------------===//

#include "RopeTable.h"

#include "KernelBody.h"

#include <cmath>

using namespace mlir;

namespace txc::codegen {

Value emitFrequencies(KernelBuilder &b, Operation *function, StringRef name, tx::RopeTableOp op,
                      unsigned space) {
  int64_t half = widthOf(op.getCos());
  double theta = op.getTheta().convertToDouble();
  SmallVector<double> values;
  for (int64_t j = 0; j < half; ++j)
    values.push_back(std::pow(theta, -static_cast<double>(j) / static_cast<double>(half)));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(function);
  auto type = LLVM::LLVMArrayType::get(b.getF64Type(), half);
  auto data = DenseElementsAttr::get(RankedTensorType::get({half}, b.getF64Type()), ArrayRef<double>(values));
  b.create<LLVM::GlobalOp>(type, /*isConstant=*/true, LLVM::Linkage::Internal, name, data, /*alignment=*/64,
                           space);
  b.setInsertionPointToStart(&function->getRegion(0).front());
  return b.create<LLVM::AddressOfOp>(LLVM::LLVMPointerType::get(b.getContext(), space), name);
}

static Value horner(KernelBuilder &b, Value x, ArrayRef<double> coefficients) {
  Value sum = b.constant(x, coefficients.front());
  for (double c : coefficients.drop_front())
    sum = b.fma(sum, x, b.constant(x, c));
  return sum;
}

std::pair<Value, Value> sinCosF64(KernelBuilder &b, Value angle) {
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

} // namespace txc::codegen
