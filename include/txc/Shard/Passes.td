//===- Passes.td - The shard stage -----------------------------------------===//
include "mlir/Pass/PassBase.td"

def KeepComputeCopies : Pass<"tx-shard-keep-compute-copies", "::mlir::ModuleOp"> {
  let summary = "Read bf16 copies of weights that init and update keep";
  let dependentDialects = ["::txc::tx::TxDialect"];
}

def Partition : Pass<"tx-shard-partition", "::mlir::ModuleOp"> {
  let summary = "Turn the whole step into what one rank of the mesh does";
  let dependentDialects = ["::txc::tx::TxDialect", "::mlir::arith::ArithDialect"];
  let options = [
    Option<"mesh", "mesh", "std::string", "\"dp:1\"", "Axes and sizes, as in dp:1">,
    Option<"zero", "zero", "int64_t", "0",
           "What ranks share: 1 optimizer state, 2 and gradients, 3 and weights">,
    Option<"bucketMb", "bucket_mb", "int64_t", "25",
           "Gradients of blocks are exchanged together until they are this many MiB">
  ];
  let statistics = [
    Statistic<"numBuckets", "buckets", "Groups of parameters that are exchanged together">,
    Statistic<"numShared", "shared", "Parameters of which a rank has only a shard">
  ];
}

def VerifyShard : Pass<"tx-shard-verify", "::mlir::ModuleOp"> {
  let summary = "Check that the step is what one rank of its mesh does";
}
