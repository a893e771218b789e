//===- Passes.td - The codegen stage ---------------------------------------===//
include "mlir/Pass/PassBase.td"

def EmitKernels : Pass<"tx-codegen-emit-kernels", "::txc::step::ProgramOp"> {
  let summary = "Compile all kernels to one object";
  let options = [
    Option<"cpu", "cpu", "std::string", /*default=*/"\"\"",
           "x86-64-v3 or x86-64-v4; empty: this machine's level">,
    Option<"emit", "emit", "std::string", /*default=*/"\"object\"",
           "what takes the bodies' place: object, or for reading: mlir (before lowering), llvm (the LLVM dialect), "
           "asm (on standard error)">
  ];
  let statistics = [
    Statistic<"numFunctions", "functions", "Functions compiled">,
    Statistic<"numBytes", "bytes", "Bytes of the object">
  ];
}

def VerifyCodegen : Pass<"tx-codegen-verify", "::txc::step::ProgramOp"> {
  let summary = "Check that the object defines every kernel and needs nothing else";
}
