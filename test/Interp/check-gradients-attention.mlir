// RUN: tx-opt %s --split-input-file --tx-interp-check-gradients -o /dev/null | FileCheck %s

// Rotary positions and attention. `x` is a packed qkv.

// Interleaved pairs, all of the row.
// CHECK: gradient of x: max error {{.*}} over 64 elements
tx.param @x : tensor<2x5x12xf32> init = normal(1.0) site = 0 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x12xf32>
  %cos, %sin = tx.rope_table theta 1.0e+04 : tensor<5x2xf32>, tensor<5x2xf32>
  %r = tx.rope %x, %cos, %sin interleaved heads 3 head_dim 4 : tensor<2x5x12xf32>, tensor<5x2xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %r, %targets ignore_index -1 : tensor<2x5x12xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Pairs from the two halves of a head; the last head is copied.
// CHECK: gradient of x: max error {{.*}} over 64 elements
tx.param @x : tensor<2x5x12xf32> init = normal(1.0) site = 0 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x12xf32>
  %cos, %sin = tx.rope_table theta 1.0e+04 : tensor<5x2xf32>, tensor<5x2xf32>
  %r = tx.rope %x, %cos, %sin half heads 2 head_dim 4 : tensor<2x5x12xf32>, tensor<5x2xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %r, %targets ignore_index -1 : tensor<2x5x12xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// The inverse rotation.
// CHECK: gradient of x: max error {{.*}} over 64 elements
tx.param @x : tensor<2x5x12xf32> init = normal(1.0) site = 0 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x12xf32>
  %cos, %sin = tx.rope_table theta 1.0e+04 : tensor<5x2xf32>, tensor<5x2xf32>
  %r = tx.rope %x, %cos, %sin half inverse heads 2 head_dim 4 : tensor<2x5x12xf32>, tensor<5x2xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %r, %targets ignore_index -1 : tensor<2x5x12xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// As many key/value heads as query heads.
// CHECK: gradient of x: max error {{.*}} over 64 elements
tx.param @x : tensor<2x5x24xf32> init = normal(1.0) site = 0 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x24xf32>
  %y, %l = tx.attention %x heads 2 kv_heads 2 : tensor<2x5x24xf32> -> tensor<2x5x8xf32>, tensor<2x2x5xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x8xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Grouped queries: two query heads share a key/value head.
// CHECK: gradient of x: max error {{.*}} over 64 elements
tx.param @x : tensor<2x5x32xf32> init = normal(1.0) site = 0 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x32xf32>
  %y, %l = tx.attention %x heads 4 kv_heads 2 : tensor<2x5x32xf32> -> tensor<2x5x16xf32>, tensor<2x4x5xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x16xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// All query heads share one key/value head.
// CHECK: gradient of x: max error {{.*}} over 64 elements
tx.param @x : tensor<2x5x20xf32> init = normal(1.0) site = 0 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x20xf32>
  %y, %l = tx.attention %x heads 3 kv_heads 1 : tensor<2x5x20xf32> -> tensor<2x5x12xf32>, tensor<2x3x5xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x12xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Dropout of the attention weights.
// CHECK: gradient of x: max error {{.*}} over 64 elements
tx.param @x : tensor<2x5x32xf32> init = normal(1.0) site = 0 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x32xf32>
  %y, %l = tx.attention %x, hyper %hyper heads 4 kv_heads 2 {dropout = 2.5e-01 : f64, site = 3 : i32} : tensor<2x5x32xf32> -> tensor<2x5x16xf32>, tensor<2x4x5xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x16xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Rotated queries and keys, interleaved, then grouped attention.
// CHECK: gradient of x: max error {{.*}} over 64 elements
tx.param @x : tensor<2x5x32xf32> init = normal(1.0) site = 0 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x32xf32>
  %cos, %sin = tx.rope_table theta 1.0e+04 : tensor<5x2xf32>, tensor<5x2xf32>
  %r = tx.rope %x, %cos, %sin interleaved heads 6 head_dim 4 : tensor<2x5x32xf32>, tensor<5x2xf32>
  %y, %l = tx.attention %r heads 4 kv_heads 2 : tensor<2x5x32xf32> -> tensor<2x5x16xf32>, tensor<2x4x5xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x16xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Rotated queries and keys by halves, then grouped attention with dropout.
// CHECK: gradient of x: max error {{.*}} over 64 elements
tx.param @x : tensor<2x5x32xf32> init = normal(1.0) site = 0 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x32xf32>
  %cos, %sin = tx.rope_table theta 1.0e+04 : tensor<5x2xf32>, tensor<5x2xf32>
  %r = tx.rope %x, %cos, %sin half heads 6 head_dim 4 : tensor<2x5x32xf32>, tensor<5x2xf32>
  %y, %l = tx.attention %r, hyper %hyper heads 4 kv_heads 2 {dropout = 2.5e-01 : f64, site = 3 : i32} : tensor<2x5x32xf32> -> tensor<2x5x16xf32>, tensor<2x4x5xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x16xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}
