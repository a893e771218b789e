//===- Passes.td - The fuse stage ------------------------------------------===//
include "mlir/Pass/PassBase.td"

def ChunkLoss : Pass<"tx-fuse-chunk-loss", "::mlir::ModuleOp"> {
  let summary = "Compute logits, loss and their gradients for some tokens at a time";
  let dependentDialects = ["::txc::tx::TxDialect"];
  let options = [
    Option<"chunks", "chunks", "int64_t", "0", "Ranges of tokens; 0: see max_logits_bytes">,
    Option<"maxLogitsBytes", "max_logits_bytes", "int64_t", "0",
           "With chunks=0, the most bytes of logits at once; 0: all of them">
  ];
}

def Rematerialize : Pass<"tx-fuse-rematerialize", "::mlir::ModuleOp"> {
  let summary = "Make results of norms and activations again in the backward pass";
  let dependentDialects = ["::txc::tx::TxDialect"];
  let statistics = [Statistic<"numValues", "values", "Values made again">];
}

def ExpandAttention : Pass<"tx-fuse-expand-attention", "::mlir::ModuleOp"> {
  let summary = "Take attention apart into products and softmax";
  let dependentDialects = ["::txc::tx::TxDialect", "::mlir::arith::ArithDialect"];
}

def ExpandAccumulations : Pass<"tx-fuse-expand-accumulations", "::mlir::ModuleOp"> {
  let summary = "Write each tx.accumulate as read, add, assign";
  let dependentDialects = ["::txc::tx::TxDialect"];
}

def FormKernels : Pass<"tx-fuse-form-kernels", "::mlir::ModuleOp"> {
  let summary = "Group ops into kernels and put the kernels in order";
  let dependentDialects = ["::txc::tx::TxDialect"];
  let options = [
    Option<"rotateInAttention", "rotate_in_attention", "bool", "false",
           "Put the rotation of attention's gradients into attention's kernel">,
    Option<"sumInProducts", "sum_in_products", "bool", "false",
           "Put residuals into the products that they are added to">
  ];
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
