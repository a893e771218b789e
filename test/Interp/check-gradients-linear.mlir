// RUN: tx-opt %s --split-input-file --tx-interp-check-gradients -o /dev/null | FileCheck %s

// Matrix products, biases and sums.

// A product by input and weight.
// CHECK: gradient of x: max error {{.*}} over 40 elements
// CHECK: gradient of weight: max error {{.*}} over 24 elements
tx.param @x : tensor<2x5x4xf32> init = normal(1.0) site = 0 decay
tx.param @weight : tensor<6x4xf32> init = normal(1.0) site = 1 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x4xf32>
  %weight = tx.read @weight value : tensor<6x4xf32>
  %y = tx.linear %x, %weight : tensor<2x5x4xf32>, tensor<6x4xf32> -> tensor<2x5x6xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x6xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// A bias, summed over all rows.
// CHECK: gradient of x: max error {{.*}} over 60 elements
// CHECK: gradient of bias: max error {{.*}} over 6 elements
tx.param @x : tensor<2x5x6xf32> init = normal(1.0) site = 0 decay
tx.param @bias : tensor<6xf32> init = zeros(0.0) site = 1
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x6xf32>
  %bias = tx.read @bias value : tensor<6xf32>
  %y = tx.add_bias %x, %bias : tensor<2x5x6xf32>, tensor<6xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x6xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// A value that is used twice gets the sum of both gradients.
// CHECK: gradient of x: max error {{.*}} over 60 elements
// CHECK: gradient of weight: max error {{.*}} over 36 elements
tx.param @x : tensor<2x5x6xf32> init = normal(1.0) site = 0 decay
tx.param @weight : tensor<6x6xf32> init = normal(1.0) site = 1 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x6xf32>
  %weight = tx.read @weight value : tensor<6x6xf32>
  %y = tx.linear %x, %weight : tensor<2x5x6xf32>, tensor<6x6xf32> -> tensor<2x5x6xf32>
  %z = tx.linear %y, %weight : tensor<2x5x6xf32>, tensor<6x6xf32> -> tensor<2x5x6xf32>
  %s = tx.add %y, %z : tensor<2x5x6xf32>
  %logits = tx.add %s, %x : tensor<2x5x6xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x5x6xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// A value added to itself.
// CHECK: gradient of x: max error {{.*}} over 60 elements
// CHECK: gradient of weight: max error {{.*}} over 36 elements
tx.param @x : tensor<2x5x6xf32> init = normal(1.0) site = 0 decay
tx.param @weight : tensor<6x6xf32> init = normal(1.0) site = 1 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x6xf32>
  %weight = tx.read @weight value : tensor<6x6xf32>
  %y = tx.linear %x, %weight : tensor<2x5x6xf32>, tensor<6x6xf32> -> tensor<2x5x6xf32>
  %logits = tx.add %y, %y : tensor<2x5x6xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x5x6xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}
