// RUN: tx-opt %s --tx-fuse-form-kernels=sum_in_products=true | FileCheck %s

// A residual joins the product, and not the norm that follows; one that is added to a
// product with a bias, to a part of a tensor, or to a product that somebody else reads,
// does not.
// CHECK-LABEL: module @residuals
module @residuals {
  tx.param @w : tensor<4x4xf32> init = normal(2.0e-02) site = 0 decay
  tx.param @b : tensor<4xf32> init = zeros(0.0) site = 1
  tx.param @g : tensor<4xf32> init = ones(0.0) site = 2
  func.func @eval(%x: tensor<1x4x4xf32>) -> (tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x2x4xf32>) {
    // CHECK: tx.kernel matrix_product
    // CHECK: %[[Y:.*]] = tx.linear
    // CHECK-NEXT: %[[Z:.*]] = tx.add %{{.*}}, %[[Y]]
    // CHECK-NEXT: tx.yield %[[Z]]
    // CHECK: tx.kernel row_wise
    // CHECK: tx.rms_norm
    %w = tx.read @w value : tensor<4x4xf32>
    %b = tx.read @b value : tensor<4xf32>
    %g = tx.read @g value : tensor<4xf32>
    %y = tx.linear %x, %w : tensor<1x4x4xf32>, tensor<4x4xf32> -> tensor<1x4x4xf32>
    %z = tx.add %x, %y : tensor<1x4x4xf32>
    %n, %r = tx.rms_norm %z, %g epsilon 1.0e-05 : tensor<1x4x4xf32>, tensor<4xf32> -> tensor<1x4xf32>
    // CHECK: tx.kernel matrix_product
    // CHECK: tx.kernel row_wise
    // CHECK: %[[B:.*]] = tx.add_bias
    // CHECK-NEXT: tx.add %[[B]], %{{.*}}
    %y2 = tx.linear %n, %w : tensor<1x4x4xf32>, tensor<4x4xf32> -> tensor<1x4x4xf32>
    %b2 = tx.add_bias %y2, %b : tensor<1x4x4xf32>, tensor<4xf32>
    %z2 = tx.add %b2, %z : tensor<1x4x4xf32>
    // CHECK: tx.kernel matrix_product
    // CHECK: tx.kernel row_wise
    // CHECK: tx.add
    %y3 = tx.linear %z2, %w : tensor<1x4x4xf32>, tensor<4x4xf32> -> tensor<1x4x4xf32>
    %z3 = tx.add %z2, %y3 : tensor<1x4x4xf32>
    // CHECK: tx.kernel matrix_product
    // CHECK: tx.kernel row_wise
    // CHECK: tx.add
    %part = tx.slice_rows %z3 from 1 : tensor<1x4x4xf32> -> tensor<1x2x4xf32>
    %other = tx.slice_rows %z3 from 0 : tensor<1x4x4xf32> -> tensor<1x2x4xf32>
    %y4 = tx.linear %other, %w : tensor<1x2x4xf32>, tensor<4x4xf32> -> tensor<1x2x4xf32>
    %z4 = tx.add %part, %y4 : tensor<1x2x4xf32>
    return %z2, %y3, %z3, %z4 : tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x2x4xf32>
  }
}
