// RUN: tx-opt %s --tx-fuse-form-kernels --tx-fuse-assign-inplace --split-input-file | FileCheck %s

// The gradient of the logits is written over the logits: they are rows that a
// kernel computed, every op is pointwise, and nothing reads them afterwards.
tx.param @w : tensor<8x8xf32> init = normal(0.02) site = 0 decay
// CHECK-LABEL: func.func @over_the_logits
func.func @over_the_logits(%x: tensor<1x4x8xf32>, %t: tensor<1x4xi32>, %g: tensor<1x4xf32>) -> tensor<8x8xf32> {
  %w = tx.read @w value : tensor<8x8xf32>
  %logits = tx.linear %x, %w : tensor<1x4x8xf32>, tensor<8x8xf32> -> tensor<1x4x8xf32>
  // CHECK: tx.kernel row_wise {{.*}}(%[[LOGITS:.*]], %{{.*}}, %{{.*}}) inplace [0]
  %l, %lse = tx.cross_entropy %logits, %t ignore_index -1 : tensor<1x4x8xf32>, tensor<1x4xi32> -> tensor<1x4xf32>, tensor<1x4xf32>
  %d = tx.cross_entropy_vjp %g, %logits, %t, %lse ignore_index -1 : tensor<1x4x8xf32>, tensor<1x4xi32>, tensor<1x4xf32>
  %dw = tx.linear_weight_vjp %d, %x : tensor<1x4x8xf32>, tensor<1x4x8xf32> -> tensor<8x8xf32>
  return %dw : tensor<8x8xf32>
}

// -----

// An operand that is read later keeps its place, an argument of the function too.
tx.param @w : tensor<8x8xf32> init = normal(0.02) site = 0 decay
// CHECK-LABEL: func.func @read_later
func.func @read_later(%x: tensor<1x4x8xf32>) -> tensor<1x4x8xf32> {
  %w = tx.read @w value : tensor<8x8xf32>
  // CHECK: tx.kernel row_wise {{.*}} inplace [-1]
  // CHECK: tx.activation relu
  %a = tx.activation relu %x : tensor<1x4x8xf32>
  %p = tx.linear %a, %w : tensor<1x4x8xf32>, tensor<8x8xf32> -> tensor<1x4x8xf32>
  // CHECK: tx.kernel row_wise {{.*}} inplace [-1]
  // CHECK: tx.activation silu
  %q = tx.activation silu %p : tensor<1x4x8xf32>
  %r = tx.linear %q, %w : tensor<1x4x8xf32>, tensor<8x8xf32> -> tensor<1x4x8xf32>
  // CHECK: tx.kernel row_wise {{.*}} inplace [0]
  // CHECK: tx.add
  %u = tx.add %r, %p : tensor<1x4x8xf32>
  return %u : tensor<1x4x8xf32>
}

// -----

// Rotation mixes columns; codegen reads the whole row first.
tx.param @w : tensor<8x8xf32> init = normal(0.02) site = 0 decay
// CHECK-LABEL: func.func @rotation
func.func @rotation(%x: tensor<1x4x8xf32>, %c: tensor<4x2xf32>, %s: tensor<4x2xf32>) -> tensor<1x4x8xf32> {
  %w = tx.read @w value : tensor<8x8xf32>
  %p = tx.linear %x, %w : tensor<1x4x8xf32>, tensor<8x8xf32> -> tensor<1x4x8xf32>
  // CHECK: tx.kernel row_wise {{.*}} inplace [0]
  %r = tx.rope %p, %c, %s half heads 1 head_dim 4 : tensor<1x4x8xf32>, tensor<4x2xf32>
  return %r : tensor<1x4x8xf32>
}

// -----

// A gradient that is added to is written where it was read.
tx.param @w : tensor<4x8xf32> init = normal(0.02) site = 0 decay
// CHECK-LABEL: func.func @accumulation
func.func @accumulation(%dy: tensor<2x3x4xf32>, %x: tensor<2x3x8xf32>) {
  // CHECK: tx.kernel matrix_product {{.*}} inplace [2]
  %d = tx.linear_weight_vjp %dy, %x : tensor<2x3x4xf32>, tensor<2x3x8xf32> -> tensor<4x8xf32>
  %old = tx.read @w grad : tensor<4x8xf32>
  %new = tx.add %d, %old : tensor<4x8xf32>
  tx.assign @w grad, %new : tensor<4x8xf32>
  return
}
