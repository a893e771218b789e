// RUN: tx-opt %s --tx-fuse-merge-updates | FileCheck %s

tx.param @a : tensor<4x8xf32> init = normal(0.02) site = 0 decay
tx.param @b : tensor<8xf32> init = ones(0.0) site = 1

// CHECK-LABEL: func.func @update
func.func @update(%hyper: !tx.hyper) -> tensor<11xf32> {
  %stats = tx.global_norm [@a, @b], %hyper : tensor<11xf32>
  // CHECK-COUNT-1: tx.adamw [@a, @b]
  // CHECK-NOT: tx.adamw
  tx.adamw [@a], %stats, %hyper : tensor<11xf32>
  tx.adamw [@b], %stats, %hyper : tensor<11xf32>
  return %stats : tensor<11xf32>
}
