//===- Passes.td - The fuse stage ------------------------------------------===//
include "mlir/Pass/PassBase.td"

def ExpandAccumulations : Pass<"tx-fuse-expand-accumulations", "::mlir::ModuleOp"> {
  let summary = "Write each tx.accumulate as read, add, assign";
  let dependentDialects = ["::txc::tx::TxDialect"];
}

def FormKernels : Pass<"tx-fuse-form-kernels", "::mlir::ModuleOp"> {
  let summary = "Group ops into kernels and put the kernels in order";
  let dependentDialects = ["::txc::tx::TxDialect"];
  let statistics = [
    Statistic<"numOps", "ops", "Ops put into kernels">,
    Statistic<"numKernels", "kernels", "Kernels formed">
  ];
}

def AssignInplace : Pass<"tx-fuse-assign-inplace", "::mlir::ModuleOp"> {
  let summary = "Let results take the place of operands that die";
  let dependentDialects = ["::txc::tx::TxDialect"];
}

def MergeUpdates : Pass<"tx-fuse-merge-updates", "::mlir::ModuleOp"> {
  let summary = "Make one tx.adamw of all";
  let dependentDialects = ["::txc::tx::TxDialect"];
}

def VerifyFuse : Pass<"tx-fuse-verify", "::mlir::ModuleOp"> {
  let summary = "Check that every computation is inside a kernel";
}
