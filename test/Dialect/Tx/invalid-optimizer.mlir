// RUN: tx-opt %s --split-input-file --verify-diagnostics

// tx.global_norm (C1)
func.func @f(%hyper: !tx.hyper) {
  // expected-error @+1 {{(C1): @w does not name a tx.param}}
  %stats = tx.global_norm [@w], %hyper : tensor<11xf32>
  return
}

// -----

// tx.global_norm (C1): a gradient counts once.
tx.param @w : tensor<4xf32> init = ones(0.0) site = 0
func.func @f(%hyper: !tx.hyper) {
  // expected-error @+1 {{(C1): @w is named twice}}
  %stats = tx.global_norm [@w, @w], %hyper : tensor<11xf32>
  return
}

// -----

// tx.global_norm (C1)
func.func @f(%hyper: !tx.hyper) {
  // expected-error @+1 {{(C1): must name at least one parameter}}
  %stats = tx.global_norm [], %hyper : tensor<11xf32>
  return
}

// -----

// tx.global_norm (C2)
tx.param @w : tensor<4xf32> init = ones(0.0) site = 0
func.func @f(%hyper: !tx.hyper) {
  // expected-error @+1 {{(C2): statistics must have 11 elements, found 'tensor<2xf32>'}}
  %stats = tx.global_norm [@w], %hyper : tensor<2xf32>
  return
}

// -----

// tx.adamw (C1)
tx.param @w : tensor<4xf32> init = ones(0.0) site = 0
func.func @f(%stats: tensor<11xf32>, %hyper: !tx.hyper) {
  // expected-error @+1 {{(C1): @w is named twice}}
  tx.adamw [@w, @w], %stats, %hyper : tensor<11xf32>
  return
}

// -----

// tx.adamw (C2)
tx.param @w : tensor<4xf32> init = ones(0.0) site = 0
func.func @f(%stats: tensor<3x3xf32>, %hyper: !tx.hyper) {
  // expected-error @+1 {{(C2): statistics must have 11 elements, found 'tensor<3x3xf32>'}}
  tx.adamw [@w], %stats, %hyper : tensor<3x3xf32>
  return
}

// -----

// tx.global_norm (C1): a rank has only its shard.
// expected-note @+1 {{declared here}}
tx.param @w : tensor<4x4xf32> init = zeros(0.0) site = 0 shards = 2
func.func @f(%hyper: !tx.hyper) {
  // expected-error @+1 {{(C1): @w has shards}}
  %stats = tx.global_norm [@w], %hyper : tensor<11xf32>
  return
}

// -----

// tx.gradient_sums (C1)
func.func @f(%hyper: !tx.hyper) {
  // expected-error @+1 {{(C1): @w does not name a tx.param}}
  %sums, %extrema = tx.gradient_sums [@w], %hyper : tensor<3xf64>, tensor<2xf32>
  return
}

// -----

// tx.gradient_sums (C2)
tx.param @w : tensor<4x4xf32> init = zeros(0.0) site = 0 shards = 2
func.func @f(%hyper: !tx.hyper) {
  // expected-error @+1 {{(C2): expects tensor<3xf64> and tensor<2xf32>, found 'tensor<2xf32>' and 'tensor<2xf32>'}}
  %sums, %extrema = tx.gradient_sums [@w], %hyper : tensor<2xf32>, tensor<2xf32>
  return
}

// -----

// tx.gradient_stats (C1)
func.func @f(%sums: tensor<2xf64>, %extrema: tensor<2xf32>, %hyper: !tx.hyper) {
  // expected-error @+1 {{(C1): must name at least one parameter}}
  %stats = tx.gradient_stats [], %sums, %extrema, %hyper : tensor<2xf64>, tensor<2xf32> -> tensor<11xf32>
  return
}

// -----

// tx.gradient_stats (C2)
tx.param @w : tensor<4xf32> init = ones(0.0) site = 0
func.func @f(%sums: tensor<3xf64>, %extrema: tensor<2xf32>, %hyper: !tx.hyper) {
  // expected-error @+1 {{(C2): statistics must have 11 elements, found 'tensor<8xf32>'}}
  %stats = tx.gradient_stats [@w], %sums, %extrema, %hyper : tensor<3xf64>, tensor<2xf32> -> tensor<8xf32>
  return
}

// -----

// tx.gradient_stats (C3)
tx.param @w : tensor<4xf32> init = ones(0.0) site = 0
func.func @f(%sums: tensor<4xf64>, %extrema: tensor<2xf32>, %hyper: !tx.hyper) {
  // expected-error @+1 {{(C3): expects tensor<3xf64> and tensor<2xf32>, found 'tensor<4xf64>' and 'tensor<2xf32>'}}
  %stats = tx.gradient_stats [@w], %sums, %extrema, %hyper : tensor<4xf64>, tensor<2xf32> -> tensor<11xf32>
  return
}
