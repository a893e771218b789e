// RUN: tx-opt %s --tx-plan-schedule-collectives --tx-plan-assign-offsets --tx-plan-verify --split-input-file | FileCheck %s

// A gradient is reduced as soon as its last kernel is done, beside the kernels
// after it; who needs nothing of it does not wait.
// CHECK-LABEL: step.program @buckets
step.program @buckets num_ranks 2 {
  step.alloc @a.grad grad : tensor<64xf32> bytes 256
  step.alloc @b.grad grad : tensor<64xf32> bytes 256
  step.alloc @x activation : tensor<64xf32> bytes 256 in @micro_last
  step.kernel @k "row_wise" blocks [1] {
  }
  step.entry @micro_last {
    // CHECK: step.launch "x"
    // CHECK-NEXT: step.launch "b"
    // CHECK-NEXT: step.collective "gradients/b" all_reduce [@b.grad] to [@b.grad] counts [64] event 0
    // CHECK-NEXT: step.launch "a"
    // CHECK-NEXT: step.collective "gradients/a" all_reduce [@a.grad] to [@a.grad] counts [64] event 1
    // CHECK-NEXT: step.wait 0
    // CHECK-NEXT: step.wait 1
    // CHECK-NEXT: }
    step.launch "x" @k [@x] offsets [0] inputs 0
    step.launch "b" @k [@x, @b.grad] offsets [0, 0] inputs 1
    step.launch "a" @k [@x, @a.grad] offsets [0, 0] inputs 1
    step.collective "gradients/b" all_reduce [@b.grad] to [@b.grad] counts [64] event 0
    step.wait 0
    step.collective "gradients/a" all_reduce [@a.grad] to [@a.grad] counts [64] event 1
    step.wait 1
  }
}

// -----

// Weights come one bucket ahead of their use, so no more than two are there at
// once; the third gets the first's place.
// CHECK-LABEL: step.program @gathers
step.program @gathers num_ranks 2 zero_level 3 {
  step.alloc @w0 compute_shard : tensor<64xf32> bytes 256 shard_of 128
  step.alloc @w1 compute_shard : tensor<64xf32> bytes 256 shard_of 128
  step.alloc @w2 compute_shard : tensor<64xf32> bytes 256 shard_of 128
  step.alloc @y activation : tensor<64xf32> bytes 256 in @micro
  // CHECK: step.alloc @full0 communication {{.*}} offset [[FIRST:[0-9]+]] in @micro
  step.alloc @full0 communication : tensor<128xf32> bytes 512 in @micro
  // CHECK: step.alloc @full1
  step.alloc @full1 communication : tensor<128xf32> bytes 512 in @micro
  // CHECK: step.alloc @full2 communication {{.*}} offset [[FIRST]] in @micro
  step.alloc @full2 communication : tensor<128xf32> bytes 512 in @micro
  step.kernel @k "row_wise" blocks [1] {
  }
  step.entry @micro {
    // CHECK: step.collective "weights/0"
    // CHECK-NEXT: step.launch "start"
    // CHECK-NEXT: step.collective "weights/1"
    // CHECK-NEXT: step.wait 0
    // CHECK-NEXT: step.launch "0"
    // CHECK-NEXT: step.launch "0 again"
    // CHECK-NEXT: step.collective "weights/2"
    // CHECK-NEXT: step.wait 1
    // CHECK-NEXT: step.launch "1"
    // CHECK-NEXT: step.wait 2
    // CHECK-NEXT: step.launch "2"
    // CHECK-NEXT: }
    step.launch "start" @k [@y] offsets [0] inputs 0
    step.collective "weights/0" all_gather [@w0] to [@full0] counts [64] event 0
    step.wait 0
    step.collective "weights/1" all_gather [@w1] to [@full1] counts [64] event 1
    step.wait 1
    step.launch "0" @k [@full0, @y, @y] offsets [0, 0, 0] inputs 2
    step.launch "0 again" @k [@full0, @y, @y] offsets [0, 0, 0] inputs 2
    step.launch "1" @k [@full1, @y, @y] offsets [0, 0, 0] inputs 2
    step.collective "weights/2" all_gather [@w2] to [@full2] counts [64] event 2
    step.wait 2
    step.launch "2" @k [@full2, @y, @y] offsets [0, 0, 0] inputs 2
  }
}

// -----

// What came from the ranks is added to the shard when the next bucket is on its
// way; a gradient's memory stays until then, since its rank's own part is read there.
// CHECK-LABEL: step.program @shards
step.program @shards num_ranks 2 zero_level 2 {
  step.alloc @b.sum grad_shard : tensor<64xf32> bytes 256 shard_of 128
  step.alloc @a.sum grad_shard : tensor<64xf32> bytes 256 shard_of 128
  // CHECK: step.alloc @b.grad communication {{.*}} offset [[B:[0-9]+]] in @micro
  step.alloc @b.grad communication : tensor<128xf32> bytes 512 in @micro
  // CHECK: step.alloc @b.part
  step.alloc @b.part communication : tensor<64xf32> bytes 256 in @micro
  // CHECK-NOT: offset [[B]] in
  step.alloc @a.grad communication : tensor<128xf32> bytes 512 in @micro
  step.alloc @a.part communication : tensor<64xf32> bytes 256 in @micro
  // CHECK: step.kernel
  step.kernel @k "row_wise" blocks [1] {
  }
  step.entry @micro {
    // CHECK: step.launch "b"
    // CHECK-NEXT: step.collective "gradients/b"
    // CHECK-NEXT: step.launch "a"
    // CHECK-NEXT: step.collective "gradients/a"
    // CHECK-NEXT: step.wait 0
    // CHECK-NEXT: step.launch "add b"
    // CHECK-NEXT: step.wait 1
    // CHECK-NEXT: step.launch "add a"
    step.launch "b" @k [@b.grad] offsets [0] inputs 0
    step.collective "gradients/b" exchange [@b.grad] to [@b.part] counts [64] event 0
    step.wait 0
    step.launch "add b" @k [@b.sum, @b.grad, @b.part, @b.sum] offsets [0, 0, 0, 0] inputs 3 rank_strides [0, 256, 0, 0]
    step.launch "a" @k [@a.grad] offsets [0] inputs 0
    step.collective "gradients/a" exchange [@a.grad] to [@a.part] counts [64] event 1
    step.wait 1
    step.launch "add a" @k [@a.sum, @a.grad, @a.part, @a.sum] offsets [0, 0, 0, 0] inputs 3 rank_strides [0, 256, 0, 0]
  }
}

// -----

// A flat kernel touches the arena of all parameters, though it names the first.
// CHECK-LABEL: step.program @flat
step.program @flat num_ranks 2 zero_level 1 {
  step.alloc @hyper hyper : tensor<64xi8> bytes 64
  step.alloc @stats stats : tensor<11xf32> bytes 44
  step.alloc @a param : tensor<64xf32> bytes 256 shard_of 128
  step.alloc @b param : tensor<64xf32> bytes 256 shard_of 128
  step.alloc @a.grad grad_shard : tensor<64xf32> bytes 256 shard_of 128
  step.alloc @b.grad grad_shard : tensor<64xf32> bytes 256 shard_of 128
  step.alloc @b.compute compute : tensor<128xf32> bytes 512
  step.kernel @adamw "adamw" blocks [1] segments [0, 64, 1, 2, 0, 64, 64, 1, 2, 1] wholes [128, 128] {
  }
  step.entry @update {
    // CHECK: step.launch "adamw"
    // CHECK-NEXT: step.collective "weights"
    // CHECK-NEXT: step.wait 0
    step.launch "adamw" @adamw [@hyper, @stats, @a, @a.grad] offsets [0, 0, 0, 0] inputs 2
    step.collective "weights" all_gather [@b] to [@b.compute] counts [64] event 0
    step.wait 0
  }
}
