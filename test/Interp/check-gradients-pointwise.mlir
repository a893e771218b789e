// RUN: tx-opt %s --split-input-file --tx-interp-check-gradients -o /dev/null | FileCheck %s

// Activations, gates, dropout and casts.

// Activation gelu.
// CHECK: gradient of x: max error {{.*}} over 60 elements
// CHECK: gradient of weight: max error {{.*}} over 36 elements
tx.param @x : tensor<2x5x6xf32> init = normal(1.0) site = 0 decay
tx.param @weight : tensor<6x6xf32> init = normal(1.0) site = 1 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x6xf32>
  %weight = tx.read @weight value : tensor<6x6xf32>
  %h = tx.linear %x, %weight : tensor<2x5x6xf32>, tensor<6x6xf32> -> tensor<2x5x6xf32>
  %y = tx.activation gelu %h : tensor<2x5x6xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x6xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Activation gelu_tanh.
// CHECK: gradient of x: max error {{.*}} over 60 elements
// CHECK: gradient of weight: max error {{.*}} over 36 elements
tx.param @x : tensor<2x5x6xf32> init = normal(1.0) site = 0 decay
tx.param @weight : tensor<6x6xf32> init = normal(1.0) site = 1 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x6xf32>
  %weight = tx.read @weight value : tensor<6x6xf32>
  %h = tx.linear %x, %weight : tensor<2x5x6xf32>, tensor<6x6xf32> -> tensor<2x5x6xf32>
  %y = tx.activation gelu_tanh %h : tensor<2x5x6xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x6xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Activation silu.
// CHECK: gradient of x: max error {{.*}} over 60 elements
// CHECK: gradient of weight: max error {{.*}} over 36 elements
tx.param @x : tensor<2x5x6xf32> init = normal(1.0) site = 0 decay
tx.param @weight : tensor<6x6xf32> init = normal(1.0) site = 1 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x6xf32>
  %weight = tx.read @weight value : tensor<6x6xf32>
  %h = tx.linear %x, %weight : tensor<2x5x6xf32>, tensor<6x6xf32> -> tensor<2x5x6xf32>
  %y = tx.activation silu %h : tensor<2x5x6xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x6xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Activation relu.
// CHECK: gradient of x: max error {{.*}} over 60 elements
// CHECK: gradient of weight: max error {{.*}} over 36 elements
tx.param @x : tensor<2x5x6xf32> init = normal(1.0) site = 0 decay
tx.param @weight : tensor<6x6xf32> init = normal(1.0) site = 1 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x6xf32>
  %weight = tx.read @weight value : tensor<6x6xf32>
  %h = tx.linear %x, %weight : tensor<2x5x6xf32>, tensor<6x6xf32> -> tensor<2x5x6xf32>
  %y = tx.activation relu %h : tensor<2x5x6xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x6xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Activation leaky_relu.
// CHECK: gradient of x: max error {{.*}} over 60 elements
// CHECK: gradient of weight: max error {{.*}} over 36 elements
tx.param @x : tensor<2x5x6xf32> init = normal(1.0) site = 0 decay
tx.param @weight : tensor<6x6xf32> init = normal(1.0) site = 1 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x6xf32>
  %weight = tx.read @weight value : tensor<6x6xf32>
  %h = tx.linear %x, %weight : tensor<2x5x6xf32>, tensor<6x6xf32> -> tensor<2x5x6xf32>
  %y = tx.activation leaky_relu %h : tensor<2x5x6xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x6xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// A gate of both halves of a row.
// CHECK: gradient of x: max error {{.*}} over 64 elements
tx.param @x : tensor<2x5x12xf32> init = normal(1.0) site = 0 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x12xf32>
  %y = tx.swiglu %x : tensor<2x5x12xf32> -> tensor<2x5x6xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x6xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// The backward pass drops what the forward pass dropped.
// CHECK: gradient of x: max error {{.*}} over 60 elements
tx.param @x : tensor<2x5x6xf32> init = normal(1.0) site = 0 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x6xf32>
  %y = tx.dropout %x, %hyper p 3.0e-01 site 5 : tensor<2x5x6xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x6xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// A cast there and back.
// CHECK: gradient of x: max error {{.*}} over 60 elements
tx.param @x : tensor<2x5x6xf32> init = normal(1.0) site = 0 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x6xf32>
  %h = tx.cast %x : tensor<2x5x6xf32> -> tensor<2x5x6xbf16>
  %y = tx.cast %h : tensor<2x5x6xbf16> -> tensor<2x5x6xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %y, %targets ignore_index -1 : tensor<2x5x6xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}
