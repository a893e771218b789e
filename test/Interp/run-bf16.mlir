// RUN: tx-opt %s --tx-interp-run -o /dev/null | FileCheck %s
// RUN: tx-opt %s --tx-interp-run="round=false" -o /dev/null | FileCheck %s --check-prefix=EXACT

// A cast to bf16 rounds to 8 significant bits, to nearest even: 1 + 2^-8 lies
// between 1 and 1 + 2^-7 and becomes 1; 1 + 3 * 2^-8 becomes 1 + 2^-6.
func.func @forward() -> tensor<f32> {
  %down = arith.constant dense<1.00390625> : tensor<2x1xf32>
  %up = arith.constant dense<1.01171875> : tensor<2x1xf32>
  %a = tx.cast %down : tensor<2x1xf32> -> tensor<2x1xbf16>
  %b = tx.cast %up : tensor<2x1xf32> -> tensor<2x1xbf16>
  %sum = tx.add %a, %b : tensor<2x1xbf16>
  %more = tx.add %sum, %b : tensor<2x1xbf16>
  %wide = tx.cast %more : tensor<2x1xbf16> -> tensor<2x1xf32>
  %two = arith.constant dense<2.0> : tensor<f32>
  %mean = tx.mean_loss %wide, %two : tensor<2x1xf32>, tensor<f32> -> tensor<f32>
  // CHECK: forward loss 3.03125000000e+00
  // EXACT: forward loss 3.02734375000e+00
  return %mean : tensor<f32>
}
