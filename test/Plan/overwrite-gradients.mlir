// RUN: tx-opt %s --tx-plan-overwrite-gradients --split-input-file | FileCheck %s

// @a: a product is first, in both entries that add to it. @b: a scatter is first.
// @c: a product is first but covers a part only. @d: a product first in one entry,
// a launch in the other. Only @a's products overwrite, the first of each entry, and
// adamw leaves only @a's gradient; flag 1, weight decay, stays as it is.
// CHECK: step.program @p
step.program @p {
  step.alloc @a param : tensor<4x8xf32> bytes 128
  step.alloc @b param : tensor<5xf32> bytes 20
  step.alloc @c param : tensor<8x8xf32> bytes 256
  step.alloc @d param : tensor<4x8xf32> bytes 128
  step.alloc @a.grad grad : tensor<4x8xf32> bytes 128
  step.alloc @b.grad grad : tensor<5xf32> bytes 20
  step.alloc @c.grad grad : tensor<8x8xf32> bytes 256
  step.alloc @d.grad grad : tensor<4x8xf32> bytes 128
  step.alloc @a.moment1 moment1 : tensor<4x8xf32> bytes 128
  step.alloc @a.moment2 moment2 : tensor<4x8xf32> bytes 128
  step.alloc @hyper hyper : tensor<64xi8> bytes 64
  step.alloc @stats stats : tensor<11xf32> bytes 44
  step.alloc @x activation : tensor<2x4xf32> bytes 32 in @micro
  step.alloc @y activation : tensor<2x8xf32> bytes 64 in @micro
  step.kernel @add "row_wise" {
  }
  step.entry @init {
    step.fill "a.grad" @a.grad value 0
  }
  // CHECK: step.entry @micro
  step.entry @micro {
    // CHECK: step.gemm "first" {{.*}} @a.grad accumulate m 4 n 8 k 2 {after_first}
    step.gemm "first" @x transposed, @y, @a.grad accumulate m 4 n 8 k 2
    // CHECK: step.gemm "again" {{.*}} @a.grad accumulate m 4 n 8 k 2{{$}}
    step.gemm "again" @x transposed, @y, @a.grad accumulate m 4 n 8 k 2
    step.launch "b" @add [@x, @b.grad, @b.grad] offsets [0, 0, 0] inputs 2
    // CHECK: step.gemm "part" {{.*}} @c.grad accumulate m 4 n 8 k 2 offsets [0, 0, 128]{{$}}
    step.gemm "part" @x transposed, @y, @c.grad accumulate m 4 n 8 k 2 offsets [0, 0, 128]
    // CHECK: step.gemm "d" {{.*}} @d.grad accumulate m 4 n 8 k 2{{$}}
    step.gemm "d" @x transposed, @y, @d.grad accumulate m 4 n 8 k 2
  }
  // CHECK: step.entry @micro_last
  step.entry @micro_last {
    // CHECK: step.gemm "last" {{.*}} @a.grad accumulate m 4 n 8 k 2 {after_first}
    step.gemm "last" @x transposed, @y, @a.grad accumulate m 4 n 8 k 2
    step.launch "d" @add [@x, @d.grad, @d.grad] offsets [0, 0, 0] inputs 2
  }
  // CHECK: step.kernel @adamw "adamw" segments [0, 32, 3, 2, 0, 32, 5, 0, 1, 1, 64, 64, 1, 2, 2, 128, 32, 1, 2, 3]
  step.kernel @adamw "adamw" segments [0, 32, 1, 2, 0, 32, 5, 0, 1, 1, 64, 64, 1, 2, 2, 128, 32, 1, 2, 3] {
  }
  step.entry @update {
    // The 32 zeros of @a.grad are not written.
    // CHECK: step.launch "adamw" {{.*}} inputs 2 {bytes = 3332 : i64}
    step.launch "adamw" @adamw [@hyper, @stats, @a, @a.grad, @a.moment1, @a.moment2] offsets [0, 0, 0, 0, 0, 0] inputs 2 {bytes = 3460 : i64}
  }
}

// -----

// Without an update nobody zeroes gradients, so nobody says that they are old.
// CHECK: step.program @gradients_only
step.program @gradients_only {
  step.alloc @a param : tensor<4x8xf32> bytes 128
  step.alloc @a.grad grad : tensor<4x8xf32> bytes 128
  step.alloc @x activation : tensor<2x4xf32> bytes 32 in @micro
  step.alloc @y activation : tensor<2x8xf32> bytes 64 in @micro
  step.entry @micro {
    // CHECK: step.gemm "first" {{.*}} @a.grad accumulate m 4 n 8 k 2{{$}}
    step.gemm "first" @x transposed, @y, @a.grad accumulate m 4 n 8 k 2
  }
}
