// RUN: tx-opt %s --tx-plan-build-program | FileCheck %s

// Parameters get four buffers each: all values, then all gradients, and so on,
// so that each state is one flat arena. A gradient has no other buffer: the
// product adds to it in place. Products are library calls, with their FLOPs on
// them; two equal kernels are one. Loss and count are fields of one result.

module @model {
  tx.param @w : tensor<8x8xf32> init = normal(0.02) site = 0 decay
  tx.param @g : tensor<8xf32> init = ones(0.0) site = 1

  // CHECK: step.program @model
  // CHECK: step.alloc @hyper hyper : tensor<64xi8> bytes 64
  // CHECK: step.alloc @loss loss : tensor<2xf32> bytes 8
  // CHECK: step.alloc @stats stats : tensor<11xf32> bytes 44
  // CHECK: step.alloc @tokens tokens : tensor<2x3xi32> bytes 24
  // CHECK: step.alloc @targets targets : tensor<2x3xi32> bytes 24
  // CHECK: step.alloc @w param
  // CHECK-NEXT: step.alloc @g param
  // CHECK-NEXT: step.alloc @w.grad grad
  // CHECK-NEXT: step.alloc @g.grad grad
  // CHECK-NEXT: step.alloc @w.moment1 moment1
  // CHECK-NEXT: step.alloc @g.moment1 moment1
  // CHECK-NEXT: step.alloc @w.moment2 moment2
  // CHECK-NEXT: step.alloc @g.moment2 moment2
  // CHECK-NEXT: step.alloc @"micro/x" activation : tensor<2x3x8xf32> bytes 192 in @micro
  // CHECK-NEXT: step.alloc @"micro/p" activation : tensor<2x3x8xf32> bytes 192 in @micro
  // CHECK-NEXT: step.alloc @"micro/l" activation : tensor<2x3xf32> bytes 24 in @micro

  // @w is at element 0 and has 64; @g follows.
  // CHECK: step.kernel @[[INIT:.*]] "init"
  // CHECK-SAME: segments [0, 64, 1, 2, 0, 64, 8, 0, 1, 1]
  // CHECK-SAME: stddevs [2.000000e-02, 0.000000e+00]
  // CHECK: step.entry @init
  // CHECK: step.launch "init" @[[INIT]] [@hyper, @w] offsets [0, 0] inputs 1
  // CHECK: step.fill "w.grad" @w.grad value 0
  func.func @init(%hyper: !tx.hyper) {
    tx.init @w, %hyper
    tx.init @g, %hyper
    return
  }

  // CHECK: step.kernel @embedding "row_wise" inplace [-1]
  // CHECK: step.kernel @[[NORM:rms_norm.*]] "row_wise" inplace [0]
  // CHECK-NOT: step.kernel @rms_norm{{.*}}
  // CHECK: step.entry @micro
  func.func @micro(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %w = tx.read @w value : tensor<8x8xf32>
    %old = tx.read @w grad : tensor<8x8xf32>
    %g = tx.read @g value : tensor<8xf32>
    // Of the table only the rows that are looked up count: 24 + 192 + 192 bytes.
    // CHECK: step.launch "x" @embedding [@tokens, @w, @"micro/x"] offsets [0, 0, 0] inputs 2 {bytes = 408
    %x = tx.kernel row_wise "x" (%tokens, %w) inplace [-1] : (tensor<2x3xi32>, tensor<8x8xf32>) -> tensor<2x3x8xf32> {
    ^bb0(%a0: tensor<2x3xi32>, %a1: tensor<8x8xf32>):
      %r = tx.embedding %a0, %a1 : tensor<2x3xi32>, tensor<8x8xf32> -> tensor<2x3x8xf32> loc("x")
      tx.yield %r : tensor<2x3x8xf32>
    }
    // CHECK: step.gemm "p" @"micro/x", @w transposed, @"micro/p" m 6 n 8 k 8
    // CHECK-SAME: bytes = 640
    // CHECK-SAME: flops_causal = 768
    // CHECK-SAME: flops_full = 768
    // CHECK-SAME: op = "linear"
    %p = tx.kernel matrix_product "p" (%x, %w) inplace [-1] : (tensor<2x3x8xf32>, tensor<8x8xf32>) -> tensor<2x3x8xf32> {
    ^bb0(%a0: tensor<2x3x8xf32>, %a1: tensor<8x8xf32>):
      %r = tx.linear %a0, %a1 : tensor<2x3x8xf32>, tensor<8x8xf32> -> tensor<2x3x8xf32> loc("p")
      tx.yield %r : tensor<2x3x8xf32>
    }
    // CHECK: step.launch "n" @[[NORM]] [@"micro/p", @g, @"micro/p"]
    %n = tx.kernel row_wise "n" (%p, %g) inplace [0] : (tensor<2x3x8xf32>, tensor<8xf32>) -> tensor<2x3x8xf32> {
    ^bb0(%a0: tensor<2x3x8xf32>, %a1: tensor<8xf32>):
      %r, %s = tx.rms_norm %a0, %a1 epsilon 1.0e-05 : tensor<2x3x8xf32>, tensor<8xf32> -> tensor<2x3xf32> loc("n")
      tx.yield %r : tensor<2x3x8xf32>
    }
    // CHECK: step.launch "m" @[[NORM]] [@"micro/p", @g, @"micro/p"]
    %m = tx.kernel row_wise "m" (%n, %g) inplace [0] : (tensor<2x3x8xf32>, tensor<8xf32>) -> tensor<2x3x8xf32> {
    ^bb0(%a0: tensor<2x3x8xf32>, %a1: tensor<8xf32>):
      %r, %s = tx.rms_norm %a0, %a1 epsilon 1.0e-05 : tensor<2x3x8xf32>, tensor<8xf32> -> tensor<2x3xf32> loc("m")
      tx.yield %r : tensor<2x3x8xf32>
    }
    // CHECK: step.gemm "d" @"micro/p" transposed, @"micro/x", @w.grad accumulate m 8 n 8 k 6
    %d = tx.kernel matrix_product "d" (%m, %x, %old) inplace [2] : (tensor<2x3x8xf32>, tensor<2x3x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32> {
    ^bb0(%a0: tensor<2x3x8xf32>, %a1: tensor<2x3x8xf32>, %a2: tensor<8x8xf32>):
      %r = tx.linear_weight_vjp %a0, %a1 : tensor<2x3x8xf32>, tensor<2x3x8xf32> -> tensor<8x8xf32> loc("d")
      %s = tx.add %r, %a2 : tensor<8x8xf32>
      tx.yield %s : tensor<8x8xf32>
    }
    tx.assign @w grad, %d : tensor<8x8xf32>
    // CHECK: step.launch "c" {{.*}} [@targets, @loss] offsets [0, 4] inputs 1
    %c = tx.kernel reduction "c" (%targets) inplace [-1] : (tensor<2x3xi32>) -> tensor<f32> {
    ^bb0(%a0: tensor<2x3xi32>):
      %r = tx.target_count %a0 ignore_index -1 : tensor<2x3xi32> -> tensor<f32> loc("c")
      tx.yield %r : tensor<f32>
    }
    %l = tx.kernel row_wise "l" (%m, %targets) inplace [-1] : (tensor<2x3x8xf32>, tensor<2x3xi32>) -> tensor<2x3xf32> {
    ^bb0(%a0: tensor<2x3x8xf32>, %a1: tensor<2x3xi32>):
      %r, %s = tx.cross_entropy %a0, %a1 ignore_index -1 : tensor<2x3x8xf32>, tensor<2x3xi32> -> tensor<2x3xf32>, tensor<2x3xf32> loc("l")
      tx.yield %r : tensor<2x3xf32>
    }
    // CHECK: step.launch "mean" {{.*}} [@"micro/l", @loss, @loss] offsets [0, 4, 0] inputs 2
    %mean = tx.kernel reduction "mean" (%l, %c) inplace [-1] : (tensor<2x3xf32>, tensor<f32>) -> tensor<f32> {
    ^bb0(%a0: tensor<2x3xf32>, %a1: tensor<f32>):
      %r = tx.mean_loss %a0, %a1 : tensor<2x3xf32>, tensor<f32> -> tensor<f32> loc("mean")
      tx.yield %r : tensor<f32>
    }
    return %mean, %c : tensor<f32>, tensor<f32>
  }

  // CHECK: step.kernel @adamw "adamw"
  // CHECK-SAME: segments [0, 64, 1, 2, 0, 64, 8, 0, 1, 1]
  // CHECK: step.entry @update
  // CHECK: step.launch "global_norm" {{.*}} [@hyper, @w.grad, @stats] offsets [0, 0, 0] inputs 2
  // CHECK: step.launch "adamw" @adamw [@hyper, @stats, @w, @w.grad, @w.moment1, @w.moment2]
  func.func @update(%hyper: !tx.hyper) -> tensor<11xf32> {
    %stats = tx.global_norm [@w, @g], %hyper : tensor<11xf32>
    tx.adamw [@w, @g], %stats, %hyper : tensor<11xf32>
    return %stats : tensor<11xf32>
  }
}
