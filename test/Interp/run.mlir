// RUN: tx-opt %s --tx-autodiff-build-eval --tx-autodiff-differentiate --tx-autodiff-build-update \
// RUN:   --tx-interp-run="steps=2 micro_batches=2 seed=7 data_seed=3 lr=0.01" -o /dev/null | FileCheck %s
// RUN: tx-opt %s --tx-interp-run="seed=7 data_seed=3" -o /dev/null | FileCheck %s --check-prefix=FORWARD
// RUN: tx-opt %s --tx-autodiff-build-eval --tx-autodiff-differentiate --tx-autodiff-build-update \
// RUN:   --tx-interp-run="steps=1 dump=%t" -o /dev/null
// RUN: ls %t | FileCheck %s --check-prefix=DUMP

tx.param @w : tensor<5x4xf32> init = normal(5.0e-01) site = 0 decay
tx.param @gain : tensor<4xf32> init = ones(0.0) site = 1

func.func @init(%hyper: !tx.hyper) {
  tx.init @w, %hyper
  tx.init @gain, %hyper
  return
}

// A tied embedding with dropout: the smallest program that has every kind of
// state.
func.func @forward(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper)
    -> (tensor<f32>, tensor<f32>) {
  %w = tx.read @w value : tensor<5x4xf32>
  %gain = tx.read @gain value : tensor<4xf32>
  %x = tx.embedding %tokens, %w : tensor<2x3xi32>, tensor<5x4xf32> -> tensor<2x3x4xf32>
  %d = tx.dropout %x, %hyper p 0.25 site 7 : tensor<2x3x4xf32>
  %n, %rstd = tx.rms_norm %d, %gain epsilon 1.0e-05 : tensor<2x3x4xf32>, tensor<4xf32> -> tensor<2x3xf32>
  %logits = tx.linear %n, %w : tensor<2x3x4xf32>, tensor<5x4xf32> -> tensor<2x3x5xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x3xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x3x5xf32>, tensor<2x3xi32> -> tensor<2x3xf32>, tensor<2x3xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x3xf32>, tensor<f32> -> tensor<f32>
  return %loss, %count : tensor<f32>, tensor<f32>
}

// The losses are those of a separate program in another language.
// FORWARD: forward loss 2.12908794585e+00 targets 6

// Gradients are summed over micro batches and scaled by the update.
// CHECK: step 1 micro 0 loss 2.12908794585e+00 targets 6
// CHECK-NEXT: step 1 micro 1 loss 1.60280917950e+00 targets 6
// CHECK-NEXT: gradient w: norm 1.47578300971e+00 sum {{.*}} first
// CHECK-NEXT: gradient gain: norm 6.98236094995e-01
// CHECK-NEXT: step 1 gradients norm 8.16313226664e-01 clip_scale 1.00000000000e+00
// CHECK-NEXT: step 2 micro 0 loss
// CHECK-NEXT: step 2 micro 1 loss
// CHECK: after 2 steps
// CHECK-NEXT: value w: norm
// CHECK-NEXT: value gain: norm
// CHECK-NEXT: eval loss {{.*}} targets 6

// DUMP: gain.grad.1.npy
// DUMP: gain.initial.npy
// DUMP: gain.value.npy
// DUMP: targets.0.npy
// DUMP: tokens.0.npy
// DUMP: w.grad.1.npy
// DUMP: w.initial.npy
// DUMP: w.value.npy
