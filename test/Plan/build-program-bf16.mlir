// RUN: tx-opt %s --tx-plan-build-program | FileCheck %s
// RUN: tx-opt %s --tx-plan-build-program --tx-plan-size-workspaces="library_workspace=4096" | FileCheck %s --check-prefix=LIBRARY

// The bf16 copies are a fifth flat arena: element i of @w.compute is element i of
// @w, so the second parameter begins at element 32 in both. init and adamw write
// it; a product of bf16 reads it and adds to a gradient of f32. What works on some
// rows is a command at an offset.

module @model {
  tx.param @w : tensor<5x4xf32> init = normal(0.02) site = 0 decay
  tx.param @g : tensor<4xf32> init = ones(0.0) site = 1

  // CHECK: step.alloc @w param
  // CHECK: step.alloc @w.compute compute : tensor<5x4xbf16> bytes 40
  // CHECK-NEXT: step.alloc @g.compute compute : tensor<4xbf16> bytes 8
  // CHECK: step.alloc @"micro/p" activation : tensor<1x3x5xbf16> bytes 30 in @micro
  // CHECK: step.alloc @"micro/p.grad" activation : tensor<2x3x4xbf16> bytes 48 in @micro
  // LIBRARY: step.alloc @g.compute
  // LIBRARY-NEXT: step.alloc @library.workspace workspace : tensor<4096xi8> bytes 4096{{$}}

  // CHECK: step.kernel @init_2 "init" compute segments [0, 20, 1, 2, 0, 32, 4, 0, 1, 1]
  // CHECK: step.launch "init" @init_2 [@hyper, @w, @w.compute] offsets [0, 0, 0] inputs 1
  func.func @init(%hyper: !tx.hyper) {
    tx.init @w, %hyper compute
    tx.init @g, %hyper compute
    return
  }

  func.func @micro(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %w = tx.read @w compute : tensor<5x4xbf16>
    // CHECK: step.launch "x" @embedding [@tokens, @w.compute, @"micro/x"]
    %x = tx.kernel row_wise "x" (%tokens, %w) inplace [-1] : (tensor<2x3xi32>, tensor<5x4xbf16>) -> tensor<2x3x4xbf16> {
    ^bb0(%a0: tensor<2x3xi32>, %a1: tensor<5x4xbf16>):
      %r = tx.embedding %a0, %a1 : tensor<2x3xi32>, tensor<5x4xbf16> -> tensor<2x3x4xbf16> loc("x")
      tx.yield %r : tensor<2x3x4xbf16>
    }
    %x0 = tx.slice_rows %x from 0 : tensor<2x3x4xbf16> -> tensor<1x3x4xbf16>
    // CHECK-NEXT: step.gemm "p" @"micro/x", @w.compute transposed, @"micro/p" m 3 n 5 k 4 offsets [0, 0, 0]
    // LIBRARY: step.gemm "p" {{.*}} workspace @library.workspace
    %p0 = tx.kernel matrix_product "p" (%x0, %w) inplace [-1] : (tensor<1x3x4xbf16>, tensor<5x4xbf16>) -> tensor<1x3x5xbf16> {
    ^bb0(%a0: tensor<1x3x4xbf16>, %a1: tensor<5x4xbf16>):
      %r = tx.linear %a0, %a1 : tensor<1x3x4xbf16>, tensor<5x4xbf16> -> tensor<1x3x5xbf16> loc("p")
      tx.yield %r : tensor<1x3x5xbf16>
    }
    // CHECK: step.gemm "d" @"micro/p", @w.compute, @"micro/p.grad" m 3 n 4 k 5 offsets [0, 0, 0]
    %d0 = tx.kernel matrix_product "d" (%p0, %w) inplace [-1] : (tensor<1x3x5xbf16>, tensor<5x4xbf16>) -> tensor<1x3x4xbf16> {
    ^bb0(%a0: tensor<1x3x5xbf16>, %a1: tensor<5x4xbf16>):
      %r = tx.linear_input_vjp %a0, %a1 : tensor<1x3x5xbf16>, tensor<5x4xbf16> -> tensor<1x3x4xbf16> loc("p")
      tx.yield %r : tensor<1x3x4xbf16>
    }
    %x1 = tx.slice_rows %x from 3 : tensor<2x3x4xbf16> -> tensor<1x3x4xbf16>
    // CHECK: step.gemm "p" @"micro/x", @w.compute transposed, @"micro/p~2" m 3 n 5 k 4 offsets [24, 0, 0]
    %p1 = tx.kernel matrix_product "p" (%x1, %w) inplace [-1] : (tensor<1x3x4xbf16>, tensor<5x4xbf16>) -> tensor<1x3x5xbf16> {
    ^bb0(%a0: tensor<1x3x4xbf16>, %a1: tensor<5x4xbf16>):
      %r = tx.linear %a0, %a1 : tensor<1x3x4xbf16>, tensor<5x4xbf16> -> tensor<1x3x5xbf16> loc("p")
      tx.yield %r : tensor<1x3x5xbf16>
    }
    // CHECK: step.gemm "d" @"micro/p~2", @w.compute, @"micro/p.grad" m 3 n 4 k 5 offsets [0, 0, 24]
    %d1 = tx.kernel matrix_product "d" (%p1, %w) inplace [-1] : (tensor<1x3x5xbf16>, tensor<5x4xbf16>) -> tensor<1x3x4xbf16> {
    ^bb0(%a0: tensor<1x3x5xbf16>, %a1: tensor<5x4xbf16>):
      %r = tx.linear_input_vjp %a0, %a1 : tensor<1x3x5xbf16>, tensor<5x4xbf16> -> tensor<1x3x4xbf16> loc("p")
      tx.yield %r : tensor<1x3x4xbf16>
    }
    %d = tx.concat_rows %d0, %d1 : tensor<1x3x4xbf16>, tensor<1x3x4xbf16> -> tensor<2x3x4xbf16>
    %old = tx.read @w grad : tensor<5x4xf32>
    // CHECK: step.gemm "w" @"micro/p" transposed, @"micro/p.grad", @w.grad accumulate m 5 n 4 k 3 offsets [0, 24, 0]
    // CHECK-NOT: step.gemm
    %d2 = tx.slice_rows %d from 3 : tensor<2x3x4xbf16> -> tensor<1x3x4xbf16>
    %new = tx.kernel matrix_product "w" (%p0, %d2, %old) inplace [2] : (tensor<1x3x5xbf16>, tensor<1x3x4xbf16>, tensor<5x4xf32>) -> tensor<5x4xf32> {
    ^bb0(%a0: tensor<1x3x5xbf16>, %a1: tensor<1x3x4xbf16>, %a2: tensor<5x4xf32>):
      %r = tx.linear_weight_vjp %a0, %a1 : tensor<1x3x5xbf16>, tensor<1x3x4xbf16> -> tensor<5x4xf32>
      %s = tx.add %r, %a2 : tensor<5x4xf32>
      tx.yield %s : tensor<5x4xf32>
    }
    tx.assign @w grad, %new : tensor<5x4xf32>
    %count = tx.kernel reduction "count" (%targets) inplace [-1] : (tensor<2x3xi32>) -> tensor<f32> {
    ^bb0(%a0: tensor<2x3xi32>):
      %r = tx.target_count %a0 ignore_index -1 : tensor<2x3xi32> -> tensor<f32>
      tx.yield %r : tensor<f32>
    }
    %again = tx.kernel reduction "count" (%tokens) inplace [-1] : (tensor<2x3xi32>) -> tensor<f32> {
    ^bb0(%a0: tensor<2x3xi32>):
      %r = tx.target_count %a0 ignore_index -1 : tensor<2x3xi32> -> tensor<f32>
      tx.yield %r : tensor<f32>
    }
    return %count, %again : tensor<f32>, tensor<f32>
  }

  // CHECK: step.kernel @[[ADAMW:.*]] "adamw" compute
  // CHECK: step.launch "adamw" @[[ADAMW]] [@hyper, @stats, @w, @w.grad, @w.moment1, @w.moment2, @w.compute] offsets [0, 0, 0, 0, 0, 0, 0] inputs 2
  func.func @update(%hyper: !tx.hyper) -> tensor<11xf32> {
    %stats = tx.global_norm [@w, @g], %hyper : tensor<11xf32>
    tx.adamw [@w, @g], %stats, %hyper compute : tensor<11xf32>
    return %stats : tensor<11xf32>
  }
}
