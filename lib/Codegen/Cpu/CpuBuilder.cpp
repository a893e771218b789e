//===- CpuBuilder.cpp - Builds the body of a CPU kernel --------------------===//

#include "txc/Codegen/CpuBuilder.h"

using namespace mlir;
using namespace txc::codegen;

CpuBuilder::CpuBuilder(func::FuncOp function, const CpuTarget &target)
    : KernelBuilder(function, target.floatLanes()), target(target), function(function) {}

//===-- Arguments of the function ------------------------------------------===//

Value CpuBuilder::begin() { return function.getArgument(2); }
Value CpuBuilder::end() { return function.getArgument(3); }

Value CpuBuilder::argument(unsigned index) {
  Value offset = load(function.getArgument(1), i64(index), getI64Type());
  return address(function.getArgument(0), offset, getI8Type());
}

Value CpuBuilder::scratch(int64_t count, Type element) {
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(&function.getBody().front());
  return create<LLVM::AllocaOp>(ptrType(), element ? element : Type(getF32Type()), i64(count),
                                /*alignment=*/64);
}

Value CpuBuilder::site(int32_t site) {
  if (auto sites = function->getAttrOfType<DenseI32ArrayAttr>(sitesName))
    if (auto it = llvm::find(sites.asArrayRef(), site); it != sites.asArrayRef().end())
      return function.getArgument(4 + (it - sites.asArrayRef().begin()));
  return i32(site);
}
