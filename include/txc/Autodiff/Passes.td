//===- Passes.td - The autodiff stage --------------------------------------===//
include "mlir/Pass/PassBase.td"

def BuildEval : Pass<"tx-autodiff-build-eval", "::mlir::ModuleOp"> {
  let summary = "Copy @forward to @eval, without dropout";
  let dependentDialects = ["::txc::tx::TxDialect"];
}

def BuildDecode : Pass<"tx-autodiff-build-decode", "::mlir::ModuleOp"> {
  let summary = "Copy @forward to @decode: one token per sequence, with caches";
  let dependentDialects = ["::txc::tx::TxDialect"];
}

def Differentiate : Pass<"tx-autodiff-differentiate", "::mlir::ModuleOp"> {
  let summary = "Turn @forward into @micro, which also accumulates all gradients";
  let dependentDialects = ["::txc::tx::TxDialect"];
}

def BuildUpdate : Pass<"tx-autodiff-build-update", "::mlir::ModuleOp"> {
  let summary = "Build @update: global norm and AdamW of every parameter";
  let dependentDialects = ["::txc::tx::TxDialect"];
}

def VerifyAutodiff : Pass<"tx-autodiff-verify", "::mlir::ModuleOp"> {
  let summary = "Check that the whole step is there and every gradient is accumulated";
}
