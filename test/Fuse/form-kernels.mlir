// RUN: tx-opt %s --tx-fuse-form-kernels --split-input-file | FileCheck %s --check-prefixes=CHECK,APART
// RUN: tx-opt %s --tx-fuse-form-kernels=rotate_in_attention=true --split-input-file | FileCheck %s --check-prefixes=CHECK,JOINED

// A residual addition and the norm that reads it are one pass over the rows;
// the sum is a result because something else reads it too.
tx.param @g : tensor<8xf32> init = ones(0.0) site = 0
tx.param @w : tensor<8x8xf32> init = normal(0.02) site = 1 decay
// CHECK-LABEL: func.func @residual_and_norm
func.func @residual_and_norm(%x: tensor<2x4x8xf32>, %y: tensor<2x4x8xf32>) -> tensor<2x4x8xf32> {
  // CHECK: %[[K:.*]]:2 = tx.kernel row_wise {{.*}} inplace [-1, -1]
  // CHECK: %[[H:.*]] = tx.add
  // CHECK: %[[N:.*]], %{{.*}} = tx.rms_norm %[[H]]
  // CHECK: tx.yield %[[H]], %[[N]]
  // CHECK: %[[P:.*]] = tx.kernel matrix_product {{.*}}(%[[K]]#1,
  // CHECK: tx.kernel row_wise {{.*}}(%[[P]], %[[K]]#0)
  %g = tx.read @g value : tensor<8xf32>
  %w = tx.read @w value : tensor<8x8xf32>
  %h = tx.add %x, %y : tensor<2x4x8xf32>
  %n, %r = tx.rms_norm %h, %g epsilon 1.0e-05 : tensor<2x4x8xf32>, tensor<8xf32> -> tensor<2x4xf32>
  %p = tx.linear %n, %w : tensor<2x4x8xf32>, tensor<8x8xf32> -> tensor<2x4x8xf32>
  %s = tx.add %p, %h : tensor<2x4x8xf32>
  return %s : tensor<2x4x8xf32>
}

// -----

// The gradient of a weight is added by the product that computes it.
tx.param @w : tensor<4x8xf32> init = normal(0.02) site = 0 decay
// CHECK-LABEL: func.func @accumulating_product
func.func @accumulating_product(%dy: tensor<2x3x4xf32>, %x: tensor<2x3x8xf32>) {
  // CHECK: %[[OLD:.*]] = tx.read @w grad
  // CHECK: %[[NEW:.*]] = tx.kernel matrix_product {{.*}}(%{{.*}}, %{{.*}}, %[[OLD]])
  // CHECK: tx.linear_weight_vjp
  // CHECK: tx.add
  // CHECK: tx.assign @w grad, %[[NEW]]
  %d = tx.linear_weight_vjp %dy, %x : tensor<2x3x4xf32>, tensor<2x3x8xf32> -> tensor<4x8xf32>
  %old = tx.read @w grad : tensor<4x8xf32>
  %new = tx.add %d, %old : tensor<4x8xf32>
  tx.assign @w grad, %new : tensor<4x8xf32>
  return
}

// -----

// Two row-wise ops that a product separates stay apart, even though a third
// value connects them: joining them would make a cycle.
tx.param @w : tensor<8x8xf32> init = normal(0.02) site = 0 decay
// CHECK-LABEL: func.func @no_cycle
func.func @no_cycle(%x: tensor<1x4x8xf32>) -> tensor<1x4x8xf32> {
  // CHECK: tx.kernel row_wise
  // CHECK: tx.activation
  // CHECK: tx.kernel matrix_product
  // CHECK: tx.kernel row_wise
  // CHECK: tx.add
  %w = tx.read @w value : tensor<8x8xf32>
  %a = tx.activation relu %x : tensor<1x4x8xf32>
  %p = tx.linear %a, %w : tensor<1x4x8xf32>, tensor<8x8xf32> -> tensor<1x4x8xf32>
  %s = tx.add %p, %a : tensor<1x4x8xf32>
  return %s : tensor<1x4x8xf32>
}

// -----

// Loss and its gradient are one pass over the logits; the seed of the backward
// pass is a constant inside the kernel.
// CHECK-LABEL: func.func @loss
func.func @loss(%x: tensor<1x4x8xf32>, %t: tensor<1x4xi32>, %n: tensor<f32>) -> (tensor<1x4xf32>, tensor<1x4x8xf32>) {
  // CHECK: %[[K:.*]]:2 = tx.kernel row_wise
  // CHECK: arith.constant
  // CHECK: tx.cross_entropy
  // CHECK: tx.mean_loss_vjp
  // CHECK: tx.cross_entropy_vjp
  // CHECK: tx.yield
  // CHECK: return %[[K]]#0, %[[K]]#1
  %one = arith.constant dense<1.0> : tensor<f32>
  %l, %lse = tx.cross_entropy %x, %t ignore_index -1 : tensor<1x4x8xf32>, tensor<1x4xi32> -> tensor<1x4xf32>, tensor<1x4xf32>
  %g = tx.mean_loss_vjp %one, %n : tensor<f32>, tensor<f32> -> tensor<1x4xf32>
  %d = tx.cross_entropy_vjp %g, %x, %t, %lse ignore_index -1 : tensor<1x4x8xf32>, tensor<1x4xi32>, tensor<1x4xf32>
  return %l, %d : tensor<1x4xf32>, tensor<1x4x8xf32>
}

// -----

// A sum over all rows is complete only after its kernel, so its accumulation
// joins but nothing else that reads it does.
tx.param @b : tensor<8xf32> init = zeros(0.0) site = 0
// CHECK-LABEL: func.func @bias_gradient
func.func @bias_gradient(%dy: tensor<1x4x8xf32>, %x: tensor<1x4x8xf32>) -> tensor<1x4x8xf32> {
  // CHECK: tx.read @b grad
  // CHECK: tx.kernel row_wise
  // CHECK: tx.activation_vjp
  // CHECK: tx.bias_vjp
  // CHECK: tx.add
  // CHECK: tx.assign
  %d = tx.activation_vjp gelu %dy, %x : tensor<1x4x8xf32>
  %s = tx.bias_vjp %d : tensor<1x4x8xf32> -> tensor<8xf32>
  %old = tx.read @b grad : tensor<8xf32>
  %new = tx.add %s, %old : tensor<8xf32>
  tx.assign @b grad, %new : tensor<8xf32>
  return %d : tensor<1x4x8xf32>
}

// -----

// The rotation of the gradients of queries and keys joins attention's kernel where
// the target's kernel can do it.
// CHECK-LABEL: func.func @rotated_gradients
func.func @rotated_gradients(%g: tensor<1x4x32xbf16>, %q: tensor<1x4x96xbf16>, %o: tensor<1x4x32xbf16>, %l: tensor<1x2x4xf32>, %c: tensor<4x8xf32>, %s: tensor<4x8xf32>) -> tensor<1x4x96xbf16> {
  // JOINED: %[[K:.*]] = tx.kernel attention {{.*}}(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) inplace [-1]
  // APART: tx.kernel attention
  // CHECK: %[[D:.*]] = tx.attention_vjp
  // APART: tx.kernel row_wise
  // CHECK: tx.rope
  // JOINED: return %[[K]]
  %d = tx.attention_vjp %g, %q, %o, %l heads 2 kv_heads 2 : tensor<1x4x96xbf16>, tensor<1x4x32xbf16>, tensor<1x2x4xf32>
  %r = tx.rope %d, %c, %s half inverse heads 4 head_dim 16 : tensor<1x4x96xbf16>, tensor<4x8xf32>
  return %r : tensor<1x4x96xbf16>
}

// -----

// Not where values are rotated too, or if something else reads the gradient.
// CHECK-LABEL: func.func @rotations_apart
func.func @rotations_apart(%g: tensor<1x4x32xbf16>, %q: tensor<1x4x96xbf16>, %o: tensor<1x4x32xbf16>, %l: tensor<1x2x4xf32>, %c: tensor<4x8xf32>, %s: tensor<4x8xf32>) -> (tensor<1x4x96xbf16>, tensor<1x4x96xbf16>, tensor<1x4x96xbf16>) {
  // CHECK: tx.kernel attention
  // CHECK: tx.attention_vjp
  // CHECK: tx.kernel row_wise
  // CHECK: tx.rope
  // CHECK: tx.kernel attention
  // CHECK: tx.attention_vjp
  // CHECK: tx.kernel row_wise
  // CHECK: tx.rope
  %d = tx.attention_vjp %g, %q, %o, %l heads 2 kv_heads 2 : tensor<1x4x96xbf16>, tensor<1x4x32xbf16>, tensor<1x2x4xf32>
  %r = tx.rope %d, %c, %s half inverse heads 6 head_dim 16 : tensor<1x4x96xbf16>, tensor<4x8xf32>
  %e = tx.attention_vjp %g, %q, %o, %l heads 2 kv_heads 2 : tensor<1x4x96xbf16>, tensor<1x4x32xbf16>, tensor<1x2x4xf32>
  %t = tx.rope %e, %c, %s half inverse heads 4 head_dim 16 : tensor<1x4x96xbf16>, tensor<4x8xf32>
  return %r, %t, %e : tensor<1x4x96xbf16>, tensor<1x4x96xbf16>, tensor<1x4x96xbf16>
}
