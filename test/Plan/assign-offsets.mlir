// RUN: tx-opt %s --tx-plan-assign-offsets --tx-plan-verify --split-input-file | FileCheck %s

// A buffer takes the place of one that died before it was born; the persistent
// ones come first.
// CHECK-LABEL: step.program @reuse_after_last_use
// CHECK-SAME: arena_bytes 512 lower_bound 512
step.program @reuse_after_last_use {
  // CHECK: step.alloc @state {{.*}} offset 0
  step.alloc @state param : tensor<4x4xf32> bytes 64
  // CHECK: step.alloc @other {{.*}} offset 128
  step.alloc @other param : tensor<4x4xf32> bytes 64
  // CHECK: step.alloc @a {{.*}} offset [[A:[0-9]+]] in @micro
  step.alloc @a activation : tensor<4x8xf32> bytes 128 in @micro
  // CHECK: step.alloc @b {{.*}} offset [[B:[0-9]+]] in @micro
  step.alloc @b activation : tensor<4x8xf32> bytes 128 in @micro
  // CHECK: step.alloc @c {{.*}} offset [[A]] in @micro
  step.alloc @c activation : tensor<4x8xf32> bytes 128 in @micro
  step.kernel @k "row_wise" blocks [1] {
  }
  step.entry @micro {
    step.launch "a" @k [@a] offsets [0] inputs 0
    step.launch "b" @k [@a, @b] offsets [0, 0] inputs 1
    step.launch "c" @k [@b, @c] offsets [0, 0] inputs 1
  }
}

// -----

// Entries never run at the same time: both start from the same base.
// CHECK-LABEL: step.program @entries_share
// CHECK-SAME: arena_bytes 128
step.program @entries_share {
  // CHECK: step.alloc @x {{.*}} offset 0 in @micro
  step.alloc @x activation : tensor<4x4xf32> bytes 64 in @micro
  // CHECK: step.alloc @y {{.*}} offset 0 in @eval
  step.alloc @y activation : tensor<4x8xf32> bytes 128 in @eval
  step.kernel @k "row_wise" blocks [1] {
  }
  step.entry @micro {
    step.launch "x" @k [@x] offsets [0] inputs 0
  }
  step.entry @eval {
    step.launch "y" @k [@y] offsets [0] inputs 0
  }
}
