// RUN: tx-opt %s | tx-opt | FileCheck %s
// RUN: tx-opt %s --mlir-print-op-generic | tx-opt | FileCheck %s

// Every step op is read as it is printed.
// CHECK: step.program @p arena_bytes 512 lower_bound 448 {
step.program @p arena_bytes 512 lower_bound 448 {
  // CHECK-NEXT: step.alloc @w param : tensor<4x4xf32> bytes 64 offset 0
  step.alloc @w param : tensor<4x4xf32> bytes 64 offset 0
  // CHECK-NEXT: step.alloc @w.grad grad : tensor<4x4xf32> bytes 64 offset 64
  step.alloc @w.grad grad : tensor<4x4xf32> bytes 64 offset 64
  // CHECK-NEXT: step.alloc @w.moment1 moment1
  step.alloc @w.moment1 moment1 : tensor<4x4xf32> bytes 64
  // CHECK-NEXT: step.alloc @w.moment2 moment2
  step.alloc @w.moment2 moment2 : tensor<4x4xf32> bytes 64
  // CHECK-NEXT: step.alloc @tokens tokens : tensor<2x2xi32> bytes 16
  step.alloc @tokens tokens : tensor<2x2xi32> bytes 16
  // CHECK-NEXT: step.alloc @targets targets
  step.alloc @targets targets : tensor<2x2xi32> bytes 16
  // CHECK-NEXT: step.alloc @hyper hyper : tensor<64xi8> bytes 64
  step.alloc @hyper hyper : tensor<64xi8> bytes 64
  // CHECK-NEXT: step.alloc @loss loss
  step.alloc @loss loss : tensor<2xf32> bytes 8
  // CHECK-NEXT: step.alloc @stats stats
  step.alloc @stats stats : tensor<11xf32> bytes 44
  // CHECK-NEXT: step.alloc @x activation : tensor<4x4xf32> bytes 64 offset 128 in @micro
  step.alloc @x activation : tensor<4x4xf32> bytes 64 offset 128 in @micro
  // CHECK-NEXT: step.alloc @space workspace : tensor<4x4xf32> bytes 64 in @micro
  step.alloc @space workspace : tensor<4x4xf32> bytes 64 in @micro
  // CHECK-NEXT: step.kernel @relu "row_wise" inplace [0] blocks [4, 1] workspace [64] {
  step.kernel @relu "row_wise" inplace [0] blocks [4, 1] workspace [64] {
  // CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<4x4xf32>):
  ^bb0(%a: tensor<4x4xf32>):
    // CHECK-NEXT: %[[B:.*]] = tx.activation relu %[[A]]
    %b = tx.activation relu %a : tensor<4x4xf32>
    // CHECK-NEXT: tx.yield %[[B]]
    tx.yield %b : tensor<4x4xf32>
  }
  // CHECK: step.kernel @init "init" blocks [1] segments [0, 16, 1, 2, 0] stddevs [2.000000e-02] {
  step.kernel @init "init" blocks [1] segments [0, 16, 1, 2, 0] stddevs [2.0e-02] {
  }
  // CHECK: step.entry @micro {
  step.entry @micro {
    // CHECK-NEXT: step.fill "zero" @x value 0
    step.fill "zero" @x value 0
    // CHECK-NEXT: step.launch "blocks.0.relu" @relu [@x, @x, @space] offsets [0, 0, 0] inputs 1
    step.launch "blocks.0.relu" @relu [@x, @x, @space] offsets [0, 0, 0] inputs 1
    // CHECK-NEXT: step.gemm "plain" @x, @w, @w.grad m 4 n 4 k 4
    step.gemm "plain" @x, @w, @w.grad m 4 n 4 k 4
    // CHECK-NEXT: step.gemm "all" @x transposed, @w transposed, @w.grad accumulate m 4 n 4 k 4
    step.gemm "all" @x transposed, @w transposed, @w.grad accumulate m 4 n 4 k 4
  }
  // CHECK: step.object "x86-64-v4" "\7FELF"
  step.object "x86-64-v4" "\7FELF"
}

// CHECK: step.program @gpu {
step.program @gpu {
  step.alloc @x activation : tensor<4x8xbf16> bytes 64
  step.alloc @w compute : tensor<16x8xbf16> bytes 256
  step.alloc @y activation : tensor<4x8xf32> bytes 128
  step.alloc @space workspace : tensor<64xi8> bytes 64
  step.alloc @z activation : tensor<4x16xbf16> bytes 128
  step.alloc @r activation : tensor<4x16xbf16> bytes 128
  // CHECK: step.kernel @copy "row_wise" blocks [4] geometry [#step.geometry<"copy_0" grid[0, 1, 1] block[128, 1, 1] shared 1024 scalars [3, -1] maps [#step.tensor_map<0 : bf16 offset 16 swizzle 128 dims[8, 4] strides[2, 16] box[8, 2]>] registers 40 spills 0 static_shared -1>] {
  step.kernel @copy "row_wise" blocks [4] geometry [#step.geometry<"copy_0" grid[0, 1, 1] block[128, 1, 1] shared 1024 scalars [3, -1] maps [#step.tensor_map<0 : bf16 offset 16 swizzle 128 dims[8, 4] strides[2, 16] box[8, 2]>] registers 40 spills 0 static_shared -1>] {
  }
  step.entry @micro {
    // CHECK: step.gemm "halves" @x, @w transposed, @y m 1 n 8 k 8 batch 2 offsets [32, 0, 64] workspace @space
    step.gemm "halves" @x, @w transposed, @y m 1 n 8 k 8 batch 2 offsets [32, 0, 64] workspace @space
    // CHECK: step.gemm "residual" @x, @w transposed, @z accumulate m 4 n 16 k 8 addend @r workspace @space
    step.gemm "residual" @x, @w transposed, @z accumulate m 4 n 16 k 8 addend @r workspace @space
  }
  // CHECK: step.image "sm_90a" cubin "\7FELF" ptx ".version"
  step.image "sm_90a" cubin "\7FELF" ptx ".version"
}

// CHECK: step.program @ranks num_ranks 2 zero_level 1 {
step.program @ranks num_ranks 2 zero_level 1 {
  // CHECK-NEXT: step.alloc @w param : tensor<64xf32> bytes 256 shard_of 100
  step.alloc @w param : tensor<64xf32> bytes 256 shard_of 100
  // CHECK-NEXT: step.alloc @w.grad grad : tensor<100xf32> bytes 400 slot 512
  step.alloc @w.grad grad : tensor<100xf32> bytes 400 slot 512
  step.alloc @w.grad_shard grad_shard : tensor<64xf32> bytes 256 shard_of 100
  step.alloc @w.compute compute : tensor<100xf32> bytes 400 slot 512
  step.alloc @loss loss : tensor<2xf32> bytes 8
  step.alloc @w.other communication : tensor<64xf32> bytes 256 in @micro
  step.alloc @a.grad grad : tensor<64xf32> bytes 256
  step.alloc @b.grad grad : tensor<64xf32> bytes 256
  step.alloc @ab.other communication : tensor<64xf32> bytes 256 in @micro
  step.kernel @add "row_wise" blocks [1] {
  }
  // CHECK: step.kernel @adamw "adamw" segments [0, 64, 1, 2, 0] wholes [100] {
  step.kernel @adamw "adamw" segments [0, 64, 1, 2, 0] wholes [100] {
  }
  step.entry @micro {
    // CHECK: step.collective "gradients" exchange [@w.grad] to [@w.other] counts [64] event 0
    step.collective "gradients" exchange [@w.grad] to [@w.other] counts [64] event 0
    // CHECK-NEXT: step.wait 0
    step.wait 0
    // CHECK-NEXT: step.launch "w.sum" @add [@w.grad, @w.other, @w.grad_shard] offsets [0, 0, 0] inputs 2 rank_strides [256, 0, 0]
    step.launch "w.sum" @add [@w.grad, @w.other, @w.grad_shard] offsets [0, 0, 0] inputs 2 rank_strides [256, 0, 0]
    // CHECK-NEXT: step.collective "loss" all_reduce by max [@loss] to [@loss] counts [1] offsets [4, 4] event 1
    step.collective "loss" all_reduce by max [@loss] to [@loss] counts [1] offsets [4, 4] event 1
    step.collective "weights" all_gather [@w] to [@w.compute] counts [64] event 2
    step.wait 1
    step.wait 2
    // Gradients one behind the other, summed as one.
    // CHECK: step.collective "run" exchange [@a.grad] to [@ab.other] counts [64] event 3 covers [@b.grad]
    step.collective "run" exchange [@a.grad] to [@ab.other] counts [64] event 3 covers [@b.grad]
    step.wait 3
    // CHECK: step.launch "run.sum" @add [@a.grad, @ab.other, @a.grad] offsets [0, 0, 0] inputs 2 rank_strides [256, 0, 256] covers [@b.grad]
    step.launch "run.sum" @add [@a.grad, @ab.other, @a.grad] offsets [0, 0, 0] inputs 2 rank_strides [256, 0, 256] covers [@b.grad]
    // CHECK: step.collective "run.sums" all_gather [@a.grad] to [@a.grad] counts [64] event 4 covers [@b.grad]
    step.collective "run.sums" all_gather [@a.grad] to [@a.grad] counts [64] event 4 covers [@b.grad]
    step.wait 4
  }
}
