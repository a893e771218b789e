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
