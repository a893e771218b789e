// RUN: tx-opt %s --tx-autodiff-build-eval | FileCheck %s
// RUN: not tx-opt %s --tx-autodiff-differentiate --tx-autodiff-build-eval 2>&1 | FileCheck %s --check-prefix=ERROR

// ERROR: error: has no @forward to evaluate

// @forward stays as it was.
// CHECK-LABEL: func.func @forward
// CHECK: tx.dropout
// CHECK: tx.attention %{{.*}}, hyper

// In @eval nothing is dropped: attention reads the embeddings themselves.
// CHECK-LABEL: func.func @eval
// CHECK-SAME: (%[[TOKENS:.*]]: tensor<2x3xi32>, %[[HYPER:.*]]: !tx.hyper) -> tensor<f32>
// CHECK: %[[X:.*]] = tx.embedding %[[TOKENS]]
// CHECK-NEXT: tx.attention %[[X]] heads 2 kv_heads 1 :
// CHECK-NOT: hyper
// CHECK: return
tx.param @w : tensor<5x16xf32> init = normal(2.0e-02) site = 0 decay
func.func @forward(%tokens: tensor<2x3xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %count = arith.constant dense<1.0> : tensor<f32>
  %w = tx.read @w value : tensor<5x16xf32>
  %x = tx.embedding %tokens, %w : tensor<2x3xi32>, tensor<5x16xf32> -> tensor<2x3x16xf32>
  %d = tx.dropout %x, %hyper p 0.5 site 65536 : tensor<2x3x16xf32>
  %y, %lse = tx.attention %d, hyper %hyper heads 2 kv_heads 1 {dropout = 0.5 : f64, site = 65537 : i32} : tensor<2x3x16xf32> -> tensor<2x3x8xf32>, tensor<2x2x3xf32>
  %loss = tx.mean_loss %y, %count : tensor<2x3x8xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}
