// RUN: tx-opt %s --split-input-file --verify-diagnostics --tx-fuse-expand-attention | FileCheck %s

// Scores, softmax and dropout of the forward pass are what the backward pass reads.
// CHECK-LABEL: func.func @micro
// CHECK-SAME: %[[QKV:.*]]: tensor<1x5x16xf32>, %[[GRAD:.*]]: tensor<1x5x8xf32>, %[[HYPER:.*]]: !tx.hyper
// CHECK-NEXT: %[[S:.*]] = tx.attention_scores %[[QKV]] heads 2 kv_heads 1
// CHECK-NEXT: %[[P:.*]] = tx.causal_softmax %[[S]] scale 5.000000e-01
// CHECK-NEXT: %[[KEPT:.*]] = tx.dropout %[[P]], %[[HYPER]] p 1.000000e-01 site 7
// CHECK-NEXT: %[[OUT:.*]] = tx.attention_mix %[[KEPT]], %[[QKV]] heads 2 kv_heads 1
// CHECK-NEXT: %[[SUM:.*]] = tx.add %[[GRAD]], %[[OUT]]
// CHECK-NEXT: %[[DP:.*]] = tx.attention_mix_vjp %[[SUM]], %[[QKV]] heads 2 kv_heads 1
// CHECK-NEXT: %[[DK:.*]] = tx.dropout %[[DP]], %[[HYPER]] p 1.000000e-01 site 7
// CHECK-NEXT: %[[DS:.*]] = tx.causal_softmax_vjp %[[DK]], %[[P]] scale 5.000000e-01
// CHECK-NEXT: %[[R:.*]] = tx.attention_scores_vjp %[[DS]], %[[KEPT]], %[[SUM]], %[[QKV]] heads 2 kv_heads 1
// CHECK-NEXT: return %[[R]]
func.func @micro(%qkv: tensor<1x5x16xf32>, %grad: tensor<1x5x8xf32>, %hyper: !tx.hyper) -> tensor<1x5x16xf32> {
  %o, %lse = tx.attention %qkv, hyper %hyper heads 2 kv_heads 1 {dropout = 0.1, site = 7 : i32} : tensor<1x5x16xf32> -> tensor<1x5x8xf32>, tensor<1x2x5xf32>
  %sum = tx.add %grad, %o : tensor<1x5x8xf32>
  %r = tx.attention_vjp %sum, %qkv, %o, %lse, hyper %hyper heads 2 kv_heads 1 {dropout = 0.1, site = 7 : i32} : tensor<1x5x16xf32>, tensor<1x5x8xf32>, tensor<1x2x5xf32>
  return %r : tensor<1x5x16xf32>
}

// -----

func.func @micro(%qkv: tensor<1x5x16xf32>, %o: tensor<1x5x8xf32>, %lse: tensor<1x2x5xf32>) -> tensor<1x5x16xf32> {
  // expected-error @+1 {{has an lse that no tx.attention before it computes}}
  %r = tx.attention_vjp %o, %qkv, %o, %lse heads 2 kv_heads 1 : tensor<1x5x16xf32>, tensor<1x5x8xf32>, tensor<1x2x5xf32>
  return %r : tensor<1x5x16xf32>
}
