// RUN: tx-opt %s --split-input-file --tx-fuse-chunk-loss="chunks=2" | FileCheck %s
// RUN: tx-opt %s --split-input-file --tx-fuse-chunk-loss="max_logits_bytes=60" | FileCheck %s
// RUN: tx-opt %s --split-input-file --tx-fuse-chunk-loss | FileCheck %s --check-prefix=OFF
// OFF-NOT: tx.slice_rows
// RUN: not tx-opt %s --split-input-file --tx-fuse-chunk-loss="chunks=-1" 2>&1 | FileCheck %s --check-prefix=NEGATIVE
// NEGATIVE: error: chunks and max_logits_bytes must not be negative, found -1 and 0

// Six rows of five logits: 120 bytes in f32. Each half has its logits, their
// gradient and both products before the next begins; the mean comes last.
// CHECK-LABEL: module @micro
module @micro {
  tx.param @w : tensor<5x4xf32> init = normal(2.0e-02) site = 0 decay
  // CHECK: func.func @micro(%[[X:.*]]: tensor<2x3x4xf32>, %[[TARGETS:.*]]: tensor<2x3xi32>, %[[COUNT:.*]]: tensor<f32>)
  func.func @micro(%x: tensor<2x3x4xf32>, %targets: tensor<2x3xi32>, %count: tensor<f32>) -> (tensor<f32>, tensor<2x3x4xf32>) {
    // CHECK-NEXT: %[[W:.*]] = tx.read @w
    %w = tx.read @w value : tensor<5x4xf32>
    // CHECK-NEXT: %[[ONE:.*]] = arith.constant
    // CHECK-NEXT: %[[X0:.*]] = tx.slice_rows %[[X]] from 0 : tensor<2x3x4xf32> -> tensor<1x3x4xf32>
    // CHECK-NEXT: %[[T0:.*]] = tx.slice_rows %[[TARGETS]] from 0 : tensor<2x3xi32> -> tensor<1x3xi32>
    // CHECK-NEXT: %[[L0:.*]] = tx.linear %[[X0]], %[[W]]
    // CHECK-NEXT: %[[LOSS0:.*]], %[[LSE0:.*]] = tx.cross_entropy %[[L0]], %[[T0]]
    // CHECK-NEXT: %[[G0:.*]] = tx.mean_loss_vjp %[[ONE]], %[[COUNT]] : tensor<f32>, tensor<f32> -> tensor<1x3xf32>
    // CHECK-NEXT: %[[DL0:.*]] = tx.cross_entropy_vjp %[[G0]], %[[L0]], %[[T0]], %[[LSE0]]
    // CHECK-NEXT: %[[DW0:.*]] = tx.linear_weight_vjp %[[DL0]], %[[X0]]
    // CHECK-NEXT: tx.accumulate @w, %[[DW0]]
    // CHECK-NEXT: %[[DX0:.*]] = tx.linear_input_vjp %[[DL0]], %[[W]]
    // CHECK-NEXT: tx.slice_rows %[[X]] from 3
    // CHECK: tx.accumulate @w
    // CHECK-NEXT: %[[DX1:.*]] = tx.linear_input_vjp
    // CHECK-NEXT: %[[LOSSES:.*]] = tx.concat_rows %[[LOSS0]], %{{.*}} : tensor<1x3xf32>, tensor<1x3xf32> -> tensor<2x3xf32>
    // CHECK-NEXT: %[[DX:.*]] = tx.concat_rows %[[DX0]], %[[DX1]] : tensor<1x3x4xf32>, tensor<1x3x4xf32> -> tensor<2x3x4xf32>
    // CHECK-NEXT: %[[MEAN:.*]] = tx.mean_loss %[[LOSSES]], %[[COUNT]]
    // CHECK-NEXT: return %[[MEAN]], %[[DX]]
    %logits = tx.linear %x, %w : tensor<2x3x4xf32>, tensor<5x4xf32> -> tensor<2x3x5xf32>
    %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x3x5xf32>, tensor<2x3xi32> -> tensor<2x3xf32>, tensor<2x3xf32>
    %loss = tx.mean_loss %losses, %count : tensor<2x3xf32>, tensor<f32> -> tensor<f32>
    %one = arith.constant dense<1.0> : tensor<f32>
    %g = tx.mean_loss_vjp %one, %count : tensor<f32>, tensor<f32> -> tensor<2x3xf32>
    %dl = tx.cross_entropy_vjp %g, %logits, %targets, %lse ignore_index -1 : tensor<2x3x5xf32>, tensor<2x3xi32>, tensor<2x3xf32>
    %dw = tx.linear_weight_vjp %dl, %x : tensor<2x3x5xf32>, tensor<2x3x4xf32> -> tensor<5x4xf32>
    tx.accumulate @w, %dw : tensor<5x4xf32>
    %dx = tx.linear_input_vjp %dl, %w : tensor<2x3x5xf32>, tensor<5x4xf32> -> tensor<2x3x4xf32>
    return %loss, %dx : tensor<f32>, tensor<2x3x4xf32>
  }
}

// -----

// Evaluation has logits and losses only.
// CHECK-LABEL: module @eval
module @eval {
  // CHECK-COUNT-2: tx.cross_entropy
  // CHECK: tx.concat_rows
  // CHECK-NEXT: tx.mean_loss
  func.func @eval(%x: tensor<2x3x4xf32>, %w: tensor<5x4xf32>, %targets: tensor<2x3xi32>, %count: tensor<f32>) -> tensor<f32> {
    %logits = tx.linear %x, %w : tensor<2x3x4xf32>, tensor<5x4xf32> -> tensor<2x3x5xf32>
    %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x3x5xf32>, tensor<2x3xi32> -> tensor<2x3xf32>, tensor<2x3xf32>
    %loss = tx.mean_loss %losses, %count : tensor<2x3xf32>, tensor<f32> -> tensor<f32>
    return %loss : tensor<f32>
  }
}

// -----

// Logits that somebody else reads stay whole.
// CHECK-LABEL: module @read_twice
module @read_twice {
  // CHECK-NOT: tx.slice_rows
  func.func @eval(%x: tensor<2x3x4xf32>, %w: tensor<5x4xf32>, %targets: tensor<2x3xi32>) -> (tensor<2x3xf32>, tensor<2x3x5xf32>) {
    %logits = tx.linear %x, %w : tensor<2x3x4xf32>, tensor<5x4xf32> -> tensor<2x3x5xf32>
    %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x3x5xf32>, tensor<2x3xi32> -> tensor<2x3xf32>, tensor<2x3xf32>
    return %losses, %logits : tensor<2x3xf32>, tensor<2x3x5xf32>
  }
}
