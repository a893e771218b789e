// RUN: tx-opt %s --split-input-file --tx-shard-keep-compute-copies | FileCheck %s

// A table that is cast wherever it is read is kept in bf16, by whoever changes
// it. Another read in f32 stays.
// CHECK-LABEL: module @cast
module @cast {
  tx.param @w : tensor<5x4xf32> init = normal(2.0e-02) site = 0 decay
  tx.param @gain : tensor<4xf32> init = ones(0.0) site = 1
  // CHECK: func.func @init
  func.func @init(%hyper: !tx.hyper) {
    // CHECK-NEXT: tx.init @w, %{{.*}} compute
    tx.init @w, %hyper
    // CHECK-NEXT: tx.init @gain, %{{.*}} compute
    tx.init @gain, %hyper
    return
  }
  // CHECK: func.func @eval
  func.func @eval(%tokens: tensor<2x3xi32>) -> tensor<2x3x5xbf16> {
    // CHECK-NEXT: %[[A:.*]] = tx.read @w compute : tensor<5x4xbf16>
    %a = tx.read @w value : tensor<5x4xf32>
    %b = tx.cast %a : tensor<5x4xf32> -> tensor<5x4xbf16>
    // CHECK-NEXT: %[[X:.*]] = tx.embedding %{{.*}}, %[[A]]
    %x = tx.embedding %tokens, %b : tensor<2x3xi32>, tensor<5x4xbf16> -> tensor<2x3x4xbf16>
    // CHECK-NEXT: tx.read @gain value : tensor<4xf32>
    %gain = tx.read @gain value : tensor<4xf32>
    %y, %rstd = tx.rms_norm %x, %gain epsilon 1.0e-05 : tensor<2x3x4xbf16>, tensor<4xf32> -> tensor<2x3xf32>
    // CHECK: tx.read @w compute
    %c = tx.read @w value : tensor<5x4xf32>
    %d = tx.cast %c : tensor<5x4xf32> -> tensor<5x4xbf16>
    // CHECK-NEXT: tx.linear
    %z = tx.linear %y, %d : tensor<2x3x4xbf16>, tensor<5x4xbf16> -> tensor<2x3x5xbf16>
    return %z : tensor<2x3x5xbf16>
  }
  // CHECK: func.func @update
  func.func @update(%hyper: !tx.hyper) -> tensor<11xf32> {
    %stats = tx.global_norm [@w, @gain], %hyper : tensor<11xf32>
    // CHECK: tx.adamw [@w, @gain], %{{.*}}, %{{.*}} compute
    tx.adamw [@w, @gain], %stats, %hyper : tensor<11xf32>
    return %stats : tensor<11xf32>
  }
}

// -----

// Without a cast weight nothing is kept.
// CHECK-LABEL: module @f32
module @f32 {
  tx.param @w : tensor<5x4xf32> init = normal(2.0e-02) site = 0 decay
  func.func @init(%hyper: !tx.hyper) {
    // CHECK: tx.init @w, %{{[a-z0-9]*$}}
    tx.init @w, %hyper
    return
  }
  func.func @eval(%x: tensor<2x3x4xf32>) -> tensor<2x3x5xf32> {
    // CHECK: tx.read @w value
    %w = tx.read @w value : tensor<5x4xf32>
    %z = tx.linear %x, %w : tensor<2x3x4xf32>, tensor<5x4xf32> -> tensor<2x3x5xf32>
    return %z : tensor<2x3x5xf32>
  }
}
