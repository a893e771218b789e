// RUN: tx-opt %s --split-input-file --tx-interp-check-gradients -o /dev/null | FileCheck %s

// Tokens and positions.

// Rows of the table that several tokens use.
// CHECK: gradient of table: max error {{.*}} over 48 elements
// CHECK: gradient of head: max error {{.*}} over 48 elements
tx.param @table : tensor<6x8xf32> init = normal(1.0) site = 0 decay
tx.param @head : tensor<6x8xf32> init = normal(1.0) site = 1 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %table = tx.read @table value : tensor<6x8xf32>
  %head = tx.read @head value : tensor<6x8xf32>
  %x = tx.embedding %tokens, %table : tensor<2x5xi32>, tensor<6x8xf32> -> tensor<2x5x8xf32>
  %logits = tx.linear %x, %head : tensor<2x5x8xf32>, tensor<6x8xf32> -> tensor<2x5x6xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x5x6xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Learned positions, summed over the batch.
// CHECK: gradient of x: max error {{.*}} over 60 elements
// CHECK: gradient of table: max error {{.*}} over 30 elements
tx.param @x : tensor<2x5x6xf32> init = normal(1.0) site = 0 decay
tx.param @table : tensor<5x6xf32> init = normal(1.0) site = 1 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x6xf32>
  %table = tx.read @table value : tensor<5x6xf32>
  %y = tx.add_position %x, %table : tensor<2x5x6xf32>, tensor<5x6xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x6xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// A tied embedding: one table, two uses, two accumulations.
// CHECK: gradient of table: max error {{.*}} over 48 elements
tx.param @table : tensor<6x8xf32> init = normal(1.0) site = 0 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %table = tx.read @table value : tensor<6x8xf32>
  %x = tx.embedding %tokens, %table : tensor<2x5xi32>, tensor<6x8xf32> -> tensor<2x5x8xf32>
  %logits = tx.linear %x, %table : tensor<2x5x8xf32>, tensor<6x8xf32> -> tensor<2x5x6xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x5x6xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}
