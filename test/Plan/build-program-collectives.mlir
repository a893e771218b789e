// RUN: tx-opt %s --tx-plan-build-program | FileCheck %s
// RUN: tx-opt %s --tx-plan-build-program --tx-plan-schedule-collectives --tx-plan-assign-offsets --tx-plan-verify | FileCheck %s --check-prefix=PLACED

// What one of two ranks does: shards lie in the flat arenas, whole gradients and
// copies after them, in slots with room for the padding of the last shard.

module @model attributes {tx.mesh = "dp:2", tx.zero = 1 : i64} {
  tx.param @w : tensor<10x10xf32> init = normal(0.02) site = 0 decay shards = 2
  tx.param @g : tensor<10xf32> init = ones(0.0) site = 1

  // CHECK: step.program @model num_ranks 2 zero_level 1
  // CHECK: step.alloc @w param : tensor<64xf32> bytes 256 shard_of 100
  // CHECK-NEXT: step.alloc @g param : tensor<10xf32> bytes 40
  // CHECK-NEXT: step.alloc @w.grad_shard grad_shard : tensor<64xf32> bytes 256 shard_of 100
  // CHECK-NEXT: step.alloc @g.grad grad_shard : tensor<10xf32> bytes 40
  // CHECK-NEXT: step.alloc @w.moment1 moment1 : tensor<64xf32> bytes 256 shard_of 100
  // CHECK-NEXT: step.alloc @g.moment1 moment1
  // CHECK-NEXT: step.alloc @w.moment2
  // CHECK-NEXT: step.alloc @g.moment2
  // CHECK-NEXT: step.alloc @w.grad grad : tensor<10x10xf32> bytes 400 slot 512
  // CHECK-NEXT: step.alloc @w.compute compute : tensor<10x10xf32> bytes 400 slot 512
  // Where g lies is the same in all arenas.
  // PLACED: step.alloc @w param {{.*}} offset [[W:[0-9]+]]

  // CHECK: step.kernel @{{.*}} "init" segments [0, 64, 1, 2, 0, 64, 10, 0, 1, 1] wholes [100, 0]
  // CHECK: step.entry @init
  // CHECK: step.launch "init" @{{.*}} [@hyper, @w]
  // CHECK-NEXT: step.fill "w.grad" @w.grad value 0
  // CHECK-NEXT: step.fill "w.grad_shard" @w.grad_shard value 0
  // CHECK: step.collective "weights" all_gather [@w] to [@w.compute] counts [64] event 0
  // CHECK-NEXT: step.wait 0
  func.func @init(%hyper: !tx.hyper) {
    tx.init @w, %hyper
    tx.init @g, %hyper
    %s = tx.read @w value : tensor<64xf32>
    %f = tx.all_gather "weights" (%s) over 2 : (tensor<64xf32>) -> tensor<10x10xf32>
    tx.assign @w compute, %f : tensor<10x10xf32>
    return
  }

  // One is cut, and each rank adds what the other has of its shard; of the second the
  // library sums the few numbers in place.
  // CHECK: step.kernel @shard_sum "row_wise" inplace
  // CHECK-NEXT: ^bb0(%[[OWN:.*]]: tensor<1x1x64xf32>, %[[OTHER:.*]]: tensor<1x1x64xf32>
  // CHECK-NEXT: tx.add %[[OWN]], %[[OTHER]]
  // CHECK: step.entry @micro_last
  // CHECK: step.collective "gradients" exchange [@w.grad] to [@"micro_last/gradients"] counts [64] event 0
  // CHECK-NEXT: step.wait 0
  // CHECK-NEXT: step.launch "gradients.sum" @shard_sum [@w.grad, @"micro_last/gradients", @w.grad_shard] offsets [0, 0, 0] inputs 2 rank_strides [256, 0, 0]
  // CHECK-NEXT: step.collective "gradients of vectors" all_reduce [@g.grad] to [@g.grad] counts [10] event 1
  // CHECK-NEXT: step.wait 1
  func.func @micro_last(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) {
    %g = tx.read @w grad : tensor<10x10xf32>
    %s = tx.reduce_scatter "gradients" (%g) over 2 : (tensor<10x10xf32>) -> tensor<64xf32>
    tx.assign @w grad_shard, %s : tensor<64xf32>
    %v = tx.read @g grad : tensor<10xf32>
    %r = tx.all_reduce sum "gradients of vectors" (%v) : (tensor<10xf32>) -> tensor<10xf32>
    tx.assign @g grad, %r : tensor<10xf32>
    return
  }

  // CHECK: step.kernel @gradient_sums "gradient_sums" segments [0, 64, 1, 2, 0, 64, 10, 0, 1, 1] wholes [100, 0]
  // CHECK: step.entry @update
  // CHECK-NEXT: step.launch "gradient_sums" @gradient_sums [@hyper, @w.grad_shard, @"update/gradient.sums", @"update/gradient.extrema"]
  // CHECK-NEXT: step.collective "sums" all_reduce [@"update/gradient.sums"] to [@"update/gradient.sums"] counts [4] event 0
  // CHECK: step.collective "extrema" all_reduce by min [@"update/gradient.extrema"] to [@"update/gradient.extrema"] counts [2] event 1
  // CHECK: step.launch "gradient_stats" @gradient_stats [@hyper, @"update/gradient.sums", @"update/gradient.extrema", @stats]
  // CHECK-NEXT: step.launch "adamw" @adamw [@hyper, @stats, @w, @w.grad_shard, @w.moment1, @w.moment2]
  // CHECK-NEXT: step.fill "w.grad" @w.grad value 0
  // PLACED: step.launch "gradient_sums"
  // PLACED-NEXT: step.collective "sums"
  // PLACED-NEXT: step.collective "extrema"
  // PLACED-NEXT: step.wait 0
  // PLACED-NEXT: step.wait 1
  func.func @update(%hyper: !tx.hyper) -> tensor<11xf32> {
    %sums, %extrema = tx.gradient_sums [@w, @g], %hyper : tensor<4xf64>, tensor<2xf32>
    %all = tx.all_reduce sum "sums" (%sums) : (tensor<4xf64>) -> tensor<4xf64>
    %most = tx.all_reduce min "extrema" (%extrema) : (tensor<2xf32>) -> tensor<2xf32>
    %stats = tx.gradient_stats [@w, @g], %all, %most, %hyper : tensor<4xf64>, tensor<2xf32> -> tensor<11xf32>
    tx.adamw [@w, @g], %stats, %hyper : tensor<11xf32>
    tx.clear_gradients [@w]
    return %stats : tensor<11xf32>
  }
}
