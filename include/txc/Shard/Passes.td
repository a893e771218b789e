//===- Passes.td - The shard stage -----------------------------------------===//
include "mlir/Pass/PassBase.td"

def Partition : Pass<"tx-shard-partition", "::mlir::ModuleOp"> {
  let summary = "Turn the whole step into what one rank of the mesh does";
  let options = [
    Option<"mesh", "mesh", "std::string", "\"dp:1\"", "Axes and sizes, as in dp:1">
  ];
}

def VerifyShard : Pass<"tx-shard-verify", "::mlir::ModuleOp"> {
  let summary = "Check that the step is what one rank of its mesh does";
}
