// RUN: tx-opt %s --tx-fuse-expand-accumulations | FileCheck %s

tx.param @w : tensor<4x8xf32> init = normal(2.0e-02) site = 0 decay

// An accumulation is a read, an addition and an assignment, in this order.
// CHECK-LABEL: func.func @micro
// CHECK-SAME: (%[[G:.*]]: tensor<4x8xf32>)
func.func @micro(%g: tensor<4x8xf32>) {
  // CHECK: %[[OLD:.*]] = tx.read @w grad : tensor<4x8xf32>
  // CHECK: %[[NEW:.*]] = tx.add %[[G]], %[[OLD]] : tensor<4x8xf32>
  // CHECK: tx.assign @w grad, %[[NEW]] : tensor<4x8xf32>
  // CHECK-NOT: tx.accumulate
  tx.accumulate @w, %g : tensor<4x8xf32>
  return
}

// The read comes before the op that computes the gradient, the second one after
// the first assignment.
// CHECK-LABEL: func.func @twice
func.func @twice(%dy: tensor<2x3x4xf32>, %x: tensor<2x3x8xf32>) {
  // CHECK: %[[OLD:.*]] = tx.read @w grad
  // CHECK-NEXT: %[[D:.*]] = tx.linear_weight_vjp
  // CHECK-NEXT: %[[NEW:.*]] = tx.add %[[D]], %[[OLD]]
  // CHECK-NEXT: tx.assign @w grad, %[[NEW]]
  // CHECK-NEXT: %[[OLD2:.*]] = tx.read @w grad
  // CHECK-NEXT: %[[NEW2:.*]] = tx.add %[[D]], %[[OLD2]]
  // CHECK-NEXT: tx.assign @w grad, %[[NEW2]]
  %d = tx.linear_weight_vjp %dy, %x : tensor<2x3x4xf32>, tensor<2x3x8xf32> -> tensor<4x8xf32>
  tx.accumulate @w, %d : tensor<4x8xf32>
  tx.accumulate @w, %d : tensor<4x8xf32>
  return
}
