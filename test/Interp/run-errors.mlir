// RUN: tx-opt %s --tx-interp-run --split-input-file --verify-diagnostics -o /dev/null

// expected-error @+1 {{has neither @forward nor @micro to evaluate}}
module {
}

// -----

func.func @forward() -> tensor<f32> {
  %c = arith.constant dense<1.0> : tensor<f32>
  // expected-error @+1 {{has no rule in the oracle; write one in lib/Interp/Rules}}
  %d = arith.addf %c, %c : tensor<f32>
  return %d : tensor<f32>
}

// -----

// expected-error @+1 {{argument 0 is 'tensor<4xf32>'; the oracle supplies tokens and targets (i32 tensors of [B, T]) and !tx.hyper}}
func.func @forward(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

// -----

// expected-error @+1 {{takes tokens, but the module has neither a tx.embedding nor a tx.cross_entropy that tells the vocabulary}}
func.func @forward(%tokens: tensor<1x4xi32>) -> tensor<f32> {
  %c = tx.target_count %tokens ignore_index -1 : tensor<1x4xi32> -> tensor<f32>
  return %c : tensor<f32>
}

// -----

// expected-error @+1 {{must return the loss, a 0-d tensor, as its first result}}
func.func @forward() {
  return
}
