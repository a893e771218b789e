//===- TxDialect.cpp - Registers the tx dialect ----------------------------===//

#include "txc/Dialect/Tx/Tx.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace txc::tx;

#include "txc/Dialect/Tx/TxDialect.cpp.inc"
#include "txc/Dialect/Tx/TxEnums.cpp.inc"
#include "txc/Dialect/Tx/TxInterfaces.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "txc/Dialect/Tx/TxTypes.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "txc/Dialect/Tx/TxAttrs.cpp.inc"

void TxDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "txc/Dialect/Tx/TxOps.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "txc/Dialect/Tx/TxTypes.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "txc/Dialect/Tx/TxAttrs.cpp.inc"
      >();
}

std::string txc::tx::getPath(Operation *op) {
  Location loc = op->getLoc();
  while (true) {
    if (auto name = dyn_cast<NameLoc>(loc))
      return name.getName().str();
    if (auto fused = dyn_cast<FusedLoc>(loc)) {
      if (fused.getLocations().empty())
        return "";
      loc = fused.getLocations().front();
      continue;
    }
    if (auto call = dyn_cast<CallSiteLoc>(loc)) {
      loc = call.getCallee();
      continue;
    }
    return "";
  }
}
