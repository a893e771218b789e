//===- Compiler.h - The stages of txc, many times in one process -----------===//
#ifndef TXC_TEST_UNIT_COMBINATIONS_COMPILER_H
#define TXC_TEST_UNIT_COMBINATIONS_COMPILER_H

#include "txc/Import/Spec.h"
#include "txc/Pipeline/Pipeline.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

#include <string>

namespace combinations {

class Compiler {
public:
  Compiler();

  /// The spec `text` with overrides; a failure of the running test if it is wrong.
  static mlir::FailureOr<txc::import::Spec> load(llvm::StringRef text,
                                                 llvm::ArrayRef<txc::import::Override> overrides);
  /// The program after import.
  mlir::OwningOpRef<mlir::ModuleOp> import(const txc::import::Spec &spec);
  /// Runs the stages first ... last with their verifiers, for this machine's CPU.
  mlir::LogicalResult run(mlir::ModuleOp module, txc::pipeline::Stage first, txc::pipeline::Stage last);
  /// Compiles the kernels of a step.program that need not be whole.
  mlir::LogicalResult emitKernels(mlir::ModuleOp module);

private:
  mlir::DialectRegistry registry;
  mlir::MLIRContext context;
  txc::pipeline::Options options;
};

} // namespace combinations

#endif // TXC_TEST_UNIT_COMBINATIONS_COMPILER_H
