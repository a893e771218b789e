// RUN: tx-opt %s --split-input-file --tx-interp-check-gradients="ignored=0.3" -o /dev/null | FileCheck %s

// Cross-entropy with ignored targets.

// An ignored token of the vocabulary: its rows have no gradient.
// CHECK: gradient of x: max error {{.*}} over 40 elements
tx.param @x : tensor<2x5x4xf32> init = normal(1.0) site = 0 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x4xf32>
  %count = tx.target_count %targets ignore_index 2 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %x, %targets ignore_index 2 : tensor<2x5x4xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// An ignored number outside of the vocabulary.
// CHECK: gradient of x: max error {{.*}} over 40 elements
tx.param @x : tensor<2x5x4xf32> init = normal(1.0) site = 0 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x4xf32>
  %count = tx.target_count %targets ignore_index -100 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %x, %targets ignore_index -100 : tensor<2x5x4xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}
