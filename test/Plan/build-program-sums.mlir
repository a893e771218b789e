// RUN: tx-opt %s --tx-plan-build-program | FileCheck %s
// RUN: tx-opt %s --tx-plan-build-program --tx-plan-schedule-collectives --tx-plan-assign-offsets --tx-plan-verify | FileCheck %s --check-prefix=PLACED

// Without shards, ranks still share the work of a sum: of gradients that lie together
// each rank adds a third, then all gather the sums, in place.

module @model attributes {tx.mesh = "dp:3", tx.zero = 0 : i64} {
  tx.param @a : tensor<10x10xf32> init = normal(0.02) site = 0 decay
  tx.param @b : tensor<10xf32> init = ones(0.0) site = 1
  tx.param @c : tensor<8x8xf32> init = normal(0.02) site = 2 decay
  tx.param @d : tensor<8x8xf32> init = normal(0.02) site = 3 decay

  // a and b together are 128 + 32 elements, a third of that is 64: 192 with the padding
  // behind b, in all arenas alike. c is not summed with what lies beside it.
  // CHECK: step.alloc @a param : tensor<10x10xf32> bytes 400 slot 512
  // CHECK-NEXT: step.alloc @b param : tensor<10xf32> bytes 40 slot 256
  // CHECK-NEXT: step.alloc @c param : tensor<8x8xf32> bytes 256
  // CHECK: step.alloc @a.grad grad : tensor<10x10xf32> bytes 400 slot 512
  // CHECK-NEXT: step.alloc @b.grad grad : tensor<10xf32> bytes 40 slot 256
  // CHECK: step.alloc @b.moment1 moment1 : tensor<10xf32> bytes 40 slot 256

  func.func @init(%hyper: !tx.hyper) {
    tx.init @a, %hyper
    tx.init @b, %hyper
    tx.init @c, %hyper
    tx.init @d, %hyper
    return
  }

  // CHECK: step.entry @micro_last
  // CHECK-NEXT: step.collective "gradients/ab" exchange [@a.grad] to [@"micro_last/gradients/ab"] counts [64] event 0 covers [@b.grad]
  // CHECK-NEXT: step.wait 0
  // What the second and the third rank have comes in their order from this one on.
  // CHECK-NEXT: step.launch "gradients/ab.sum" @{{.*}} [@a.grad, @"micro_last/gradients/ab", @"micro_last/gradients/ab", @a.grad] offsets [0, 0, 256, 0] inputs 3 rank_strides [256, 0, 0, 256] covers [@b.grad]
  // CHECK-NEXT: step.collective "gradients/ab.sums" all_gather [@a.grad] to [@a.grad] counts [64] event 1 covers [@b.grad]
  // CHECK-NEXT: step.wait 1
  // CHECK-NEXT: step.collective "gradients/c" exchange [@c.grad]

  // The first is summed while the second is exchanged.
  // PLACED: step.entry @micro_last
  // PLACED-NEXT: step.collective "gradients/ab" exchange
  // PLACED-NEXT: step.collective "gradients/c" exchange
  // PLACED-NEXT: step.wait 0
  // PLACED-NEXT: step.launch "gradients/ab.sum"
  // PLACED-NEXT: step.collective "gradients/ab.sums" all_gather
  // PLACED-NEXT: step.wait 2
  // PLACED-NEXT: step.launch "gradients/c.sum"
  // PLACED-NEXT: step.collective "gradients/c.sums" all_gather
  // PLACED-NEXT: step.wait 1
  // PLACED-NEXT: step.wait 3
  func.func @micro_last(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) {
    %gb = tx.read @b grad : tensor<10xf32>
    %ga = tx.read @a grad : tensor<10x10xf32>
    %s:2 = tx.all_reduce sum "gradients/ab" (%gb, %ga) : (tensor<10xf32>, tensor<10x10xf32>) -> (tensor<10xf32>, tensor<10x10xf32>)
    tx.assign @b grad, %s#0 : tensor<10xf32>
    tx.assign @a grad, %s#1 : tensor<10x10xf32>
    %gc = tx.read @c grad : tensor<8x8xf32>
    %t = tx.all_reduce sum "gradients/c" (%gc) : (tensor<8x8xf32>) -> tensor<8x8xf32>
    tx.assign @c grad, %t : tensor<8x8xf32>
    return
  }
}
