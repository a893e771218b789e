// RUN: tx-opt %s --tx-autodiff-differentiate | FileCheck %s

// In bf16 the gradient of a weight is f32 from the product on: it passes the cast
// of the weight unrounded. Gradients of activations are bf16.
tx.param @w : tensor<5x4xf32> init = normal(2.0e-02) site = 0 decay
tx.param @gain : tensor<4xf32> init = ones(0.0) site = 1
tx.param @bias : tensor<5xf32> init = zeros(0.0) site = 2
// CHECK-LABEL: func.func @micro
func.func @forward(%tokens: tensor<2x3xi32>, %count: tensor<f32>) -> tensor<f32> {
  %a = tx.read @w value : tensor<5x4xf32>
  %ab = tx.cast %a : tensor<5x4xf32> -> tensor<5x4xbf16>
  %x = tx.embedding %tokens, %ab : tensor<2x3xi32>, tensor<5x4xbf16> -> tensor<2x3x4xbf16>
  %gain = tx.read @gain value : tensor<4xf32>
  %n, %rstd = tx.rms_norm %x, %gain epsilon 1.0e-05 : tensor<2x3x4xbf16>, tensor<4xf32> -> tensor<2x3xf32>
  %c = tx.read @w value : tensor<5x4xf32>
  %cb = tx.cast %c : tensor<5x4xf32> -> tensor<5x4xbf16>
  %y = tx.linear %n, %cb : tensor<2x3x4xbf16>, tensor<5x4xbf16> -> tensor<2x3x5xbf16>
  %bias = tx.read @bias value : tensor<5xf32>
  %z = tx.add_bias %y, %bias : tensor<2x3x5xbf16>, tensor<5xf32>
  %f = tx.cast %z : tensor<2x3x5xbf16> -> tensor<2x3x5xf32>
  // CHECK: %[[LOSS:.*]] = tx.mean_loss
  %loss = tx.mean_loss %f, %count : tensor<2x3x5xf32>, tensor<f32> -> tensor<f32>
  // CHECK: tx.cast %{{.*}} : tensor<2x3x5xf32> -> tensor<2x3x5xbf16>
  // CHECK-NEXT: %[[DB:.*]] = tx.bias_vjp %{{.*}} : tensor<2x3x5xbf16> -> tensor<5xf32>
  // CHECK-NEXT: tx.accumulate @bias, %[[DB]]
  // CHECK-NEXT: %[[DW:.*]] = tx.linear_weight_vjp %{{.*}} : tensor<2x3x5xbf16>, tensor<2x3x4xbf16> -> tensor<5x4xf32>
  // CHECK-NEXT: tx.accumulate @w, %[[DW]]
  // CHECK-NEXT: tx.linear_input_vjp {{.*}} -> tensor<2x3x4xbf16>
  // CHECK-NEXT: %{{.*}}, %[[DG:.*]] = tx.rms_norm_vjp {{.*}} : tensor<2x3x4xbf16>, tensor<4xf32>
  // CHECK-NEXT: tx.accumulate @gain, %[[DG]] : tensor<4xf32>
  // CHECK-NEXT: %[[DE:.*]] = tx.embedding_vjp {{.*}} -> tensor<5x4xf32>
  // CHECK-NEXT: tx.accumulate @w, %[[DE]] : tensor<5x4xf32>
  // CHECK-NEXT: return %[[LOSS]]
  return %loss : tensor<f32>
}
