// RUN: tx-opt %s --split-input-file --verify-diagnostics

// tx.cross_entropy (C1)
func.func @f(%x: tensor<2x3x5xf32>, %targets: tensor<3x2xi32>) {
  // expected-error @+1 {{(C1): logits must be [B, T, V] for targets 'tensor<3x2xi32>', found 'tensor<2x3x5xf32>'}}
  %losses, %lse = tx.cross_entropy %x, %targets ignore_index -1 : tensor<2x3x5xf32>, tensor<3x2xi32> -> tensor<2x3xf32>, tensor<2x3xf32>
  return
}

// -----

// tx.cross_entropy (C2)
func.func @f(%x: tensor<2x3x5xf32>, %targets: tensor<2x3xi32>) {
  // expected-error @+1 {{(C2): a per-token value must have the shape of 'tensor<2x3x5xf32>' less its innermost dimension, found 'tensor<6xf32>'}}
  %losses, %lse = tx.cross_entropy %x, %targets ignore_index -1 : tensor<2x3x5xf32>, tensor<2x3xi32> -> tensor<6xf32>, tensor<2x3xf32>
  return
}

// -----

// tx.cross_entropy (C2)
func.func @f(%x: tensor<2x3x5xf32>, %targets: tensor<2x3xi32>) {
  // expected-error @+1 {{(C2): lse must have the shape}}
  %losses, %lse = tx.cross_entropy %x, %targets ignore_index -1 : tensor<2x3x5xf32>, tensor<2x3xi32> -> tensor<2x3xf32>, tensor<2x5xf32>
  return
}

// -----

// tx.cross_entropy_vjp (C1)
func.func @f(%d: tensor<2x3xf32>, %x: tensor<6x5xf32>, %targets: tensor<2x3xi32>) {
  // expected-error @+1 {{(C1): logits must be [B, T, V]}}
  %dx = tx.cross_entropy_vjp %d, %x, %targets, %d ignore_index -1 : tensor<6x5xf32>, tensor<2x3xi32>, tensor<2x3xf32>
  return
}

// -----

// tx.cross_entropy_vjp (C2)
func.func @f(%d: tensor<6xf32>, %x: tensor<2x3x5xf32>, %targets: tensor<2x3xi32>) {
  // expected-error @+1 {{(C2): a per-token value must have the shape}}
  %dx = tx.cross_entropy_vjp %d, %x, %targets, %d ignore_index -1 : tensor<2x3x5xf32>, tensor<2x3xi32>, tensor<6xf32>
  return
}

// -----

// The count of targets is a 0-d tensor.
func.func @f(%losses: tensor<2x3xf32>, %count: tensor<1xf32>) {
  // expected-error @+1 {{operand #1 must be 0-d f32 tensor}}
  %loss = tx.mean_loss %losses, %count : tensor<2x3xf32>, tensor<1xf32> -> tensor<f32>
  return
}
