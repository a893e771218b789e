//===- Passes.td - The oracle ----------------------------------------------===//
include "mlir/Pass/PassBase.td"

def Run : Pass<"tx-interp-run", "::mlir::ModuleOp"> {
  let summary = "Evaluate a module in float64 and print losses and digests";
  let options = [
    Option<"steps", "steps", "int64_t", "1", "Updates to make">,
    Option<"microBatches", "micro_batches", "int64_t", "1", "Micro batches of each update, over all ranks">,
    Option<"seed", "seed", "uint64_t", "1337", "Seed of initial values and dropout">,
    Option<"dataSeed", "data_seed", "uint64_t", "1", "Seed of the tokens">,
    Option<"ignored", "ignored", "double", "0", "Share of the targets that are ignored">,
    Option<"lr", "lr", "double", "1e-3", "Learning rate">,
    Option<"beta1", "beta1", "double", "0.9", "AdamW's first decay rate">,
    Option<"beta2", "beta2", "double", "0.95", "AdamW's second decay rate">,
    Option<"eps", "eps", "double", "1e-8", "AdamW's epsilon">,
    Option<"weightDecay", "weight_decay", "double", "0.1", "Weight decay">,
    Option<"clip", "clip", "double", "1", "Limit of the gradient norm; 0: none">,
    Option<"round", "round", "bool", "true", "Round casts to bf16 and bf16 copies of weights">,
    Option<"dump", "dump", "std::string", "", "Folder for .npy files of batches, parameters and gradients">
  ];
}

def CheckGradients : Pass<"tx-interp-check-gradients", "::mlir::ModuleOp"> {
  let summary = "Compare the derivative of @forward with finite differences";
  let dependentDialects = ["::txc::tx::TxDialect"];
  let options = [
    Option<"seed", "seed", "uint64_t", "1337", "Seed of parameters and dropout">,
    Option<"dataSeed", "data_seed", "uint64_t", "1", "Seed of the tokens">,
    Option<"ignored", "ignored", "double", "0", "Share of the targets that are ignored">,
    Option<"scale", "scale", "double", "0.5", "Standard deviation of the parameters">,
    Option<"samples", "samples", "int64_t", "64", "Elements compared of each parameter">,
    Option<"width", "width", "double", "1e-5", "Step of the finite differences">,
    Option<"tolerance", "tolerance", "double", "1e-6", "Greatest error, relative to the larger of the two and 0.01">
  ];
}

def CheckDecode : Pass<"tx-interp-check-decode", "::mlir::ModuleOp"> {
  let summary = "Compare @decode, token by token, with @eval";
  let options = [
    Option<"seed", "seed", "uint64_t", "1337", "Seed of the parameters">,
    Option<"dataSeed", "data_seed", "uint64_t", "1", "Seed of the tokens">,
    Option<"scale", "scale", "double", "0.5", "Standard deviation of the parameters">,
    Option<"tolerance", "tolerance", "double", "1e-12", "Greatest difference, relative to the largest logit">
  ];
}
