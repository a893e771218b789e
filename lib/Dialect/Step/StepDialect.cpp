//===- StepDialect.cpp - Registers the step dialect ------------------------===//

#include "txc/Dialect/Step/Step.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace txc::step;

#include "txc/Dialect/Step/StepDialect.cpp.inc"
#include "txc/Dialect/Step/StepEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "txc/Dialect/Step/StepAttrs.cpp.inc"

void StepDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "txc/Dialect/Step/StepOps.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "txc/Dialect/Step/StepAttrs.cpp.inc"
      >();
}
