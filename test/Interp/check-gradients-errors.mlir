// RUN: tx-opt %s --tx-interp-check-gradients --split-input-file --verify-diagnostics -o /dev/null > %t
// RUN: FileCheck %s < %t

// expected-error @+1 {{has no @forward whose derivative could be checked}}
module {
}

// -----

// expected-error @+1 {{has no tx.param to differentiate by}}
module {
  func.func @forward() -> tensor<f32> {
    %c = arith.constant dense<1.0> : tensor<f32>
    return %c : tensor<f32>
  }
}

// -----

// A parameter that the loss does not depend on would pass whatever the rules say.
// CHECK: gradient of w: max error 0.0e+00 over 4 elements
// expected-error @+1 {{"w" has derivative 0 in all compared elements, so nothing was checked; let the loss depend on it}}
tx.param @w : tensor<4xf32> init = ones(0.0) site = 0
func.func @forward() -> tensor<f32> {
  %c = arith.constant dense<1.0> : tensor<f32>
  return %c : tensor<f32>
}

// -----

// The statistics of a norm have no derivative; the error is that of autodiff.
tx.param @x : tensor<1x2x4xf32> init = normal(1.0) site = 0 decay
tx.param @g : tensor<4xf32> init = ones(0.0) site = 1
func.func @forward(%targets: tensor<1x2xi32>) -> tensor<f32> {
  %x = tx.read @x value : tensor<1x2x4xf32>
  %g = tx.read @g value : tensor<4xf32>
  %loss, %lse = tx.cross_entropy %x, %targets ignore_index -1 : tensor<1x2x4xf32>, tensor<1x2xi32> -> tensor<1x2xf32>, tensor<1x2xf32>
  // expected-error @+1 {{has no derivative of result 1, which is there for the backward pass only}}
  %y, %rstd = tx.rms_norm %x, %g epsilon 1.0e-05 : tensor<1x2x4xf32>, tensor<4xf32> -> tensor<1x2xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<1x2xi32> -> tensor<f32>
  // expected-note @+1 {{the loss depends on it here}}
  %l = tx.mean_loss %rstd, %count : tensor<1x2xf32>, tensor<f32> -> tensor<f32>
  return %l : tensor<f32>
}
