//===- Passes.td - The codegen stage ---------------------------------------===//
include "mlir/Pass/PassBase.td"

def EmitKernels : Pass<"tx-codegen-emit-kernels", "::txc::step::ProgramOp"> {
  let summary = "Compile all kernels to one object";
  let options = [
    Option<"target", "target", "std::string", /*default=*/"\"\"",
           "x86-64-v3, x86-64-v4 or an architecture of a GPU; empty: this machine's CPU">,
    Option<"emit", "emit", "std::string", /*default=*/"\"object\"",
           "what takes the bodies' place: object (on a GPU an image), or for reading: mlir (before lowering), llvm "
           "(the LLVM dialect), asm (on standard error; on a GPU PTX)">,
    Option<"ptxas", "ptxas", "std::string", /*default=*/"\"\"",
           "the ptxas to run for a GPU; empty: $TXC_PTXAS, PATH, $CUDA_HOME/bin, /usr/local/cuda/bin; none: no "
           "cubin is made">
  ];
  let statistics = [
    Statistic<"numFunctions", "functions", "Functions compiled">,
    Statistic<"numBytes", "bytes", "Bytes of the object">
  ];
}

def VerifyCodegen : Pass<"tx-codegen-verify", "::txc::step::ProgramOp"> {
  let summary = "Check that the object defines every kernel and needs nothing else";
}
