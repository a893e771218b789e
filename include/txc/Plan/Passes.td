//===- Passes.td - The plan stage ------------------------------------------===//
include "mlir/Pass/PassBase.td"

def BuildProgram : Pass<"tx-plan-build-program", "::mlir::ModuleOp"> {
  let summary = "Turn functions of kernels into a step.program of buffers and commands";
  let dependentDialects = ["::txc::step::StepDialect", "::txc::tx::TxDialect"];
}

def OverwriteGradients : Pass<"tx-plan-overwrite-gradients", "::mlir::ModuleOp"> {
  let summary = "Let the first product of a gradient overwrite it in the first micro batch";
  let dependentDialects = ["::txc::step::StepDialect"];
  let statistics = [Statistic<"numProducts", "products", "Products that overwrite">];
}

def ScheduleCollectives : Pass<"tx-plan-schedule-collectives", "::mlir::ModuleOp"> {
  let summary = "Start collectives as early and wait for them as late as buffers allow";
}

def SizeWorkspaces : Pass<"tx-plan-size-workspaces", "::mlir::ModuleOp"> {
  let summary = "Cut kernels into blocks and give launches their workspaces";
  let dependentDialects = ["::txc::step::StepDialect"];
  let options = [
    Option<"target", "target", "std::string", "\"\"",
           "x86-64-v3 or x86-64-v4; empty: the level of this machine">,
    Option<"libraryWorkspace", "library_workspace", "int64_t", "-1",
           "Bytes of scratch that all matrix products share; -1: what the target's library wants">
  ];
}

def AssignOffsets : Pass<"tx-plan-assign-offsets", "::mlir::ModuleOp"> {
  let summary = "Give every buffer its place in the arena";
}

def VerifyPlan : Pass<"tx-plan-verify", "::mlir::ModuleOp"> {
  let summary = "Check lifetimes: overlaps, reads before writes, buffers of collectives under way";
}
