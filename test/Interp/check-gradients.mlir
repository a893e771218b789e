// RUN: tx-opt %s --tx-interp-check-gradients -o /dev/null | FileCheck %s
// RUN: not tx-opt %s --tx-interp-check-gradients="tolerance=1e-16" -o /dev/null 2>&1 | FileCheck %s --check-prefix=ABOVE

// One line for each parameter; all elements, or 64 spread over them.
// CHECK: gradient of x: max error {{.*}} over 40 elements
// CHECK-NEXT: gradient of table: max error {{.*}} over 64 elements

// An error above the tolerance names the parameter and the element.
// ABOVE: error: 'tx.param' op "{{x|table}}": element {{[0-9]+}} has derivative {{.*}}, but finite differences give

tx.param @x : tensor<2x5x4xf32> init = normal(1.0) site = 0 decay
tx.param @table : tensor<25x4xf32> init = normal(1.0) site = 1 decay

func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %x = tx.read @x value : tensor<2x5x4xf32>
  %w = tx.read @table value : tensor<25x4xf32>
  %logits = tx.linear %x, %w : tensor<2x5x4xf32>, tensor<25x4xf32> -> tensor<2x5x25xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x5x25xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}
