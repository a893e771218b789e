// RUN: tx-opt %s --split-input-file --verify-diagnostics --pass-pipeline='builtin.module(step.program(tx-codegen-emit-kernels{target=x86-64-v4}))'
// RUN: not tx-opt %s --pass-pipeline='builtin.module(step.program(tx-codegen-emit-kernels{target=x86-64-v2}))' 2>&1 | FileCheck %s
// CHECK: unknown CPU level 'x86-64-v2', expected x86-64-v3 or x86-64-v4

step.program @wrong_cut {
  // expected-error @+1 {{was planned with blocks [7] and workspaces [], but x86-64-v4 takes [1] and []; plan and codegen must be given the same target}}
  step.kernel @add "row_wise" inplace [0] blocks [7] {
  ^bb0(%x: tensor<2x3x40xf32>, %y: tensor<2x3x40xf32>):
    %r = tx.add %x, %y : tensor<2x3x40xf32>
    tx.yield %r : tensor<2x3x40xf32>
  }
}

// -----

step.program @kind {
  // expected-error @+1 {{has kind matrix_product, expected row_wise, attention}}
  step.kernel @k "matrix_product" {
  }
}

// -----

step.program @body {
  // expected-error @+1 {{has no body that ends in tx.yield; was it compiled before?}}
  step.kernel @k "row_wise" {
  }
}

// -----

step.program @segments {
  // expected-error @+1 {{of kind adamw needs five numbers per segment, found 0}}
  step.kernel @k "adamw" {
  }
}

// -----

step.program @twice {
  // expected-error @+1 {{is there already; the kernels were compiled before}}
  step.object "x86-64-v4" ""
}

// -----

step.program @double {
  step.kernel @add "row_wise" inplace [0] blocks [1] {
  ^bb0(%x: tensor<2x3x40xf64>, %y: tensor<2x3x40xf64>):
    // expected-error @+1 {{kernels compute in f32}}
    %r = tx.add %x, %y : tensor<2x3x40xf64>
    tx.yield %r : tensor<2x3x40xf64>
  }
}
