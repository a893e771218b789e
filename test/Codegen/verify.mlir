// RUN: tx-opt %s --split-input-file --verify-diagnostics --pass-pipeline='builtin.module(step.program(tx-codegen-verify))'

// expected-error @+1 {{must hold one step.object or step.image after codegen, found 0}}
step.program @none {
  step.kernel @k "row_wise" blocks [1] {
  }
}

// -----

step.program @damaged {
  // expected-error @+1 {{is not an object file}}
  step.object "x86-64-v4" "not ELF"
}
