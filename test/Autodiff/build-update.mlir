// RUN: tx-opt %s --split-input-file --verify-diagnostics --tx-autodiff-build-update | FileCheck %s

// Statistics of all gradients first, since clipping needs the norm; then each
// parameter, in the order of the module. fuse makes one op of them.
tx.param @b : tensor<4xf32> init = zeros(0.0) site = 0
tx.param @a : tensor<5x4xf32> init = normal(2.0e-02) site = 1 decay
// CHECK-LABEL: func.func @update(%{{.*}}: !tx.hyper) -> tensor<11xf32>
// CHECK-NEXT: %[[STATS:.*]] = tx.global_norm [@b, @a], %[[HYPER:.*]] : tensor<11xf32>
// CHECK-NEXT: tx.adamw [@b], %[[STATS]], %[[HYPER]] : tensor<11xf32>
// CHECK-NEXT: tx.adamw [@a], %[[STATS]], %[[HYPER]] : tensor<11xf32>
// CHECK-NEXT: return %[[STATS]]

// -----

// expected-error @+1 {{has no tx.param to update}}
module {
}
