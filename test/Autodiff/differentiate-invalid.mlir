// RUN: tx-opt %s --tx-autodiff-differentiate --split-input-file --verify-diagnostics

// expected-error @+1 {{has no @forward to differentiate}}
module {
}

// -----

// expected-error @+1 {{must return the loss, a 0-d tensor of floats, as its first result}}
func.func @forward(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

// -----

// expected-error @+1 {{must return the loss, a 0-d tensor of floats, as its first result}}
func.func @forward(%x: tensor<i32>) -> tensor<i32> {
  return %x : tensor<i32>
}

// -----

// expected-error @+1 {{must have a body without branches, found 0 blocks}}
func.func private @forward() -> tensor<f32>

// -----

// An op without a rule is named, and so is what makes its derivative needed.
tx.param @x : tensor<f32> init = ones(0.0) site = 0
func.func @forward() -> tensor<f32> {
  // expected-note @+1 {{a parameter reaches it here}}
  %x = tx.read @x value : tensor<f32>
  // expected-error @+1 {{'arith.mulf' op has no derivative, but the loss depends on it}}
  %loss = arith.mulf %x, %x {tag} : tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Statistics are for the backward pass.
tx.param @x : tensor<2x4xf32> init = normal(2.0e-02) site = 0 decay
func.func @forward(%g: tensor<4xf32>, %count: tensor<f32>) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x4xf32>
  // expected-error @+1 {{has no derivative of result 1, which is there for the backward pass only}}
  %y, %rstd = tx.rms_norm %x, %g epsilon 1.0e-05 : tensor<2x4xf32>, tensor<4xf32> -> tensor<2xf32>
  // expected-note @+1 {{the loss depends on it here}}
  %loss = tx.mean_loss %rstd, %count : tensor<2xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}
