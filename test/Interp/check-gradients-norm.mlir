// RUN: tx-opt %s --split-input-file --tx-interp-check-gradients -o /dev/null | FileCheck %s

// Norms by input and gain, and a bias after them.

// Root mean square.
// CHECK: gradient of x: max error {{.*}} over 64 elements
// CHECK: gradient of gain: max error {{.*}} over 7 elements
tx.param @x : tensor<2x5x7xf32> init = normal(1.0) site = 0 decay
tx.param @gain : tensor<7xf32> init = ones(0.0) site = 1
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x7xf32>
  %gain = tx.read @gain value : tensor<7xf32>
  %y, %rstd = tx.rms_norm %x, %gain epsilon 1.0e-05 : tensor<2x5x7xf32>, tensor<7xf32> -> tensor<2x5xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x7xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// An epsilon of the size of the mean square: its place in the root matters.
// CHECK: gradient of x: max error {{.*}} over 64 elements
// CHECK: gradient of gain: max error {{.*}} over 7 elements
tx.param @x : tensor<2x5x7xf32> init = normal(1.0) site = 0 decay
tx.param @gain : tensor<7xf32> init = ones(0.0) site = 1
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x7xf32>
  %gain = tx.read @gain value : tensor<7xf32>
  %y, %rstd = tx.rms_norm %x, %gain epsilon 5.0e-01 : tensor<2x5x7xf32>, tensor<7xf32> -> tensor<2x5xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x7xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Mean and variance.
// CHECK: gradient of x: max error {{.*}} over 64 elements
// CHECK: gradient of gain: max error {{.*}} over 7 elements
tx.param @x : tensor<2x5x7xf32> init = normal(1.0) site = 0 decay
tx.param @gain : tensor<7xf32> init = ones(0.0) site = 1
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x7xf32>
  %gain = tx.read @gain value : tensor<7xf32>
  %y, %mean, %rstd = tx.layer_norm %x, %gain epsilon 1.0e-05 : tensor<2x5x7xf32>, tensor<7xf32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x7xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Mean and variance with a large epsilon and a bias.
// CHECK: gradient of x: max error {{.*}} over 64 elements
// CHECK: gradient of gain: max error {{.*}} over 7 elements
// CHECK: gradient of bias: max error {{.*}} over 7 elements
tx.param @x : tensor<2x5x7xf32> init = normal(1.0) site = 0 decay
tx.param @gain : tensor<7xf32> init = ones(0.0) site = 1
tx.param @bias : tensor<7xf32> init = zeros(0.0) site = 2
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x7xf32>
  %gain = tx.read @gain value : tensor<7xf32>
  %bias = tx.read @bias value : tensor<7xf32>
  %y, %mean, %rstd = tx.layer_norm %x, %gain epsilon 5.0e-01 : tensor<2x5x7xf32>, tensor<7xf32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %z = tx.add_bias %y, %bias : tensor<2x5x7xf32>, tensor<7xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %z, %targets ignore_index -1 : tensor<2x5x7xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}
