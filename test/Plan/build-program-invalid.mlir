// RUN: tx-opt %s --tx-plan-build-program --split-input-file --verify-diagnostics

// expected-error @+1 {{must have a body of one block to become an entry}}
func.func private @declaration(tensor<1x4xi32>)

// -----

// expected-error @+1 {{an entry returns loss and count, or statistics, or logits (@decode), or nothing}}
func.func @returns_rows(%t: tensor<1x4xi32>) -> tensor<1x4xi32> {
  return %t : tensor<1x4xi32>
}

// -----

tx.param @w : tensor<4x8xf32> init = normal(0.02) site = 0 decay
func.func @not_in_place(%t: tensor<1x4xi32>) {
  %w = tx.read @w value : tensor<4x8xf32>
  // expected-error @+1 {{is not written in place; run tx-fuse-assign-inplace first}}
  tx.assign @w grad, %w : tensor<4x8xf32>
  return
}

// -----

func.func @not_fused() {
  // expected-error @+1 {{cannot be planned; run the fuse stage first}}
  %x = arith.constant dense<0.0> : tensor<1x4x8xf32>
  return
}
