//===- Step.h - The step dialect -------------------------------------------===//
#ifndef TXC_DIALECT_STEP_STEP_H
#define TXC_DIALECT_STEP_STEP_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "txc/Dialect/Step/StepDialect.h.inc"
#include "txc/Dialect/Step/StepEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "txc/Dialect/Step/StepAttrs.h.inc"
#define GET_OP_CLASSES
#include "txc/Dialect/Step/StepOps.h.inc"

namespace txc::step {
/// The buffers that a command goes on into behind those that it names: its `covers`.
llvm::SmallVector<mlir::FlatSymbolRefAttr> getCovered(mlir::Operation *command);
} // namespace txc::step

#endif // TXC_DIALECT_STEP_STEP_H
