// RUN: tx-opt %s --split-input-file --tx-fuse-rematerialize | FileCheck %s
// RUN: tx-opt %s --split-input-file --tx-fuse-rematerialize --tx-fuse-expand-accumulations --tx-fuse-form-kernels --tx-fuse-assign-inplace | FileCheck %s --check-prefix=FUSED

// %u is kept for the derivative of the activation; %h is made again beside it,
// and the gradient of the weight that reads %h comes after.
// CHECK-LABEL: module @activation
// FUSED-LABEL: module @activation
module @activation {
  tx.param @up : tensor<8x4xf32> init = normal(2.0e-02) site = 0 decay
  tx.param @down : tensor<4x8xf32> init = normal(2.0e-02) site = 1 decay
  func.func @micro(%x: tensor<2x4xf32>, %dy: tensor<2x4xf32>) -> tensor<2x8xf32> {
    %wu = tx.read @up value : tensor<8x4xf32>
    %wd = tx.read @down value : tensor<4x8xf32>
    // CHECK: %[[U:.*]] = tx.linear
    %u = tx.linear %x, %wu : tensor<2x4xf32>, tensor<8x4xf32> -> tensor<2x8xf32>
    // CHECK-NEXT: %[[H:.*]] = tx.activation gelu %[[U]]
    %h = tx.activation gelu %u : tensor<2x8xf32>
    %y = tx.linear %h, %wd : tensor<2x8xf32>, tensor<4x8xf32> -> tensor<2x4xf32>
    %z = tx.linear %y, %wu : tensor<2x4xf32>, tensor<8x4xf32> -> tensor<2x8xf32>
    %dw = tx.linear_weight_vjp %dy, %h : tensor<2x4xf32>, tensor<2x8xf32> -> tensor<4x8xf32>
    tx.accumulate @down, %dw : tensor<4x8xf32>
    // CHECK: %[[DH:.*]] = tx.linear_input_vjp
    %dh = tx.linear_input_vjp %dy, %wd : tensor<2x4xf32>, tensor<4x8xf32> -> tensor<2x8xf32>
    // CHECK-NEXT: tx.activation_vjp gelu %[[DH]], %[[U]]
    // CHECK-NEXT: %[[AGAIN:.*]] = tx.activation gelu %[[U]]
    // CHECK-NEXT: %[[DW:.*]] = tx.linear_weight_vjp %{{.*}}, %[[AGAIN]]
    // CHECK-NEXT: tx.accumulate @down, %[[DW]]
    // One kernel reads both rows and writes over both.
    // FUSED: tx.kernel row_wise {{.*}}(%[[DH:.*]], %[[U:.*]]) inplace [0, 1]
    // FUSED: tx.activation_vjp
    // FUSED: tx.activation gelu
    // FUSED: tx.yield
    %du = tx.activation_vjp gelu %dh, %u : tensor<2x8xf32>
    return %du : tensor<2x8xf32>
  }
}

// -----

// A norm and its bias are made again from the norm's statistics.
// CHECK-LABEL: module @norm
module @norm {
  tx.param @w : tensor<4x4xf32> init = normal(2.0e-02) site = 0 decay
  tx.param @gain : tensor<4xf32> init = ones(0.0) site = 1
  func.func @micro(%x: tensor<2x4xf32>, %bias: tensor<4xf32>, %dy: tensor<2x4xf32>) -> tensor<2x4xf32> {
    %w = tx.read @w value : tensor<4x4xf32>
    %gain = tx.read @gain value : tensor<4xf32>
    // CHECK: %{{.*}}, %[[MEAN:.*]], %[[RSTD:.*]] = tx.layer_norm
    %n, %mean, %rstd = tx.layer_norm %x, %gain epsilon 1.0e-05 : tensor<2x4xf32>, tensor<4xf32> -> tensor<2xf32>, tensor<2xf32>
    %h = tx.add_bias %n, %bias : tensor<2x4xf32>, tensor<4xf32>
    %y = tx.linear %h, %w : tensor<2x4xf32>, tensor<4x4xf32> -> tensor<2x4xf32>
    %z = tx.linear %y, %w : tensor<2x4xf32>, tensor<4x4xf32> -> tensor<2x4xf32>
    %dw = tx.linear_weight_vjp %dy, %h : tensor<2x4xf32>, tensor<2x4xf32> -> tensor<4x4xf32>
    tx.accumulate @w, %dw : tensor<4x4xf32>
    %dh = tx.linear_input_vjp %dy, %w : tensor<2x4xf32>, tensor<4x4xf32> -> tensor<2x4xf32>
    // CHECK: tx.layer_norm_vjp
    // CHECK-NEXT: %[[N:.*]] = tx.normalized %{{.*}}, %{{.*}} by %[[MEAN]], %[[RSTD]]
    // CHECK-NEXT: %[[H:.*]] = tx.add_bias %[[N]]
    // CHECK-NEXT: tx.linear_weight_vjp %{{.*}}, %[[H]]
    %dx, %dg = tx.layer_norm_vjp %dh, %x, %gain, %mean, %rstd : tensor<2x4xf32>, tensor<4xf32>, tensor<2xf32>
    tx.accumulate @gain, %dg : tensor<4xf32>
    return %dx : tensor<2x4xf32>
  }
}

// -----

// What the output layer reads is read again at once: nothing would be saved.
// CHECK-LABEL: module @output_layer
module @output_layer {
  tx.param @w : tensor<5x4xf32> init = normal(2.0e-02) site = 0 decay
  tx.param @gain : tensor<4xf32> init = ones(0.0) site = 1
  func.func @micro(%x: tensor<2x4xf32>, %dl: tensor<2x5xf32>) -> (tensor<2x5xf32>, tensor<2x4xf32>) {
    %w = tx.read @w value : tensor<5x4xf32>
    %gain = tx.read @gain value : tensor<4xf32>
    %h, %rstd = tx.rms_norm %x, %gain epsilon 1.0e-05 : tensor<2x4xf32>, tensor<4xf32> -> tensor<2xf32>
    %logits = tx.linear %h, %w : tensor<2x4xf32>, tensor<5x4xf32> -> tensor<2x5xf32>
    // CHECK-NOT: tx.normalized
    %dw = tx.linear_weight_vjp %dl, %h : tensor<2x5xf32>, tensor<2x4xf32> -> tensor<5x4xf32>
    tx.accumulate @w, %dw : tensor<5x4xf32>
    %dh = tx.linear_input_vjp %dl, %w : tensor<2x5xf32>, tensor<5x4xf32> -> tensor<2x4xf32>
    %dx, %dg = tx.rms_norm_vjp %dh, %x, %gain, %rstd : tensor<2x4xf32>, tensor<4xf32>, tensor<2xf32>
    tx.accumulate @gain, %dg : tensor<4xf32>
    return %logits, %dx : tensor<2x5xf32>, tensor<2x4xf32>
  }
}
