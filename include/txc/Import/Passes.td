//===- Passes.td - The import stage ----------------------------------------===//
include "mlir/Pass/PassBase.td"

def VerifyImport : Pass<"tx-import-verify", "::mlir::ModuleOp"> {
  let summary = "Check that a module is a forward pass whose every value has a name";
}
