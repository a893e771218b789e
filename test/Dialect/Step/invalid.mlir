// RUN: tx-opt %s --split-input-file --verify-diagnostics

// step.program (C1)
// expected-error @+1 {{(C1): arena of 64 bytes is below the lower bound 128}}
step.program @p arena_bytes 64 lower_bound 128 {
  step.alloc @a activation : tensor<16xf32> bytes 64
}

// -----

// step.program (C2)
// expected-error @+1 {{(C2): expects 1 rank or more and ZeRO level 0 to 3, found 2 and 4}}
step.program @p num_ranks 2 zero_level 4 {
  step.alloc @a activation : tensor<16xf32> bytes 64
}

// -----

// step.alloc (C4): the shards of all ranks are the whole tensor.
step.program @p num_ranks 2 {
  // expected-error @+1 {{(C4): shards of 64 elements on 2 ranks do not cover 130}}
  step.alloc @a param : tensor<64xf32> bytes 256 shard_of 130
}

// -----

// step.alloc (C1): every buffer starts on a cache line.
step.program @p {
  // expected-error @+1 {{(C1): offset must be a multiple of 64, found 32}}
  step.alloc @a activation : tensor<16xf32> bytes 64 offset 32
}

// -----

// step.alloc (C2)
step.program @p {
  // expected-error @+1 {{(C2): 60 bytes is not the size of 'tensor<16xf32>'}}
  step.alloc @a activation : tensor<16xf32> bytes 60
}

// -----

// step.alloc (C2)
step.program @p {
  // expected-error @+1 {{(C2): 4 bytes is not the size of 'f32'}}
  step.alloc @a activation : f32 bytes 4
}

// -----

// step.alloc (C2): an index has no size of its own.
step.program @p {
  // expected-error @+1 {{(C2): 64 bytes is not the size of 'tensor<16xindex>'}}
  step.alloc @a activation : tensor<16xindex> bytes 64
}

// -----

// step.alloc (C3)
step.program @p {
  // expected-error @+1 {{(C3): @micro does not name a step.entry}}
  step.alloc @a activation : tensor<16xf32> bytes 64 in @micro
}

// -----

// step.launch (C1): the kernel.
step.program @p {
  step.alloc @a activation : tensor<16xf32> bytes 64
  step.entry @micro {
    // expected-error @+1 {{(C1): @a does not name a step.kernel}}
    step.launch "a" @a [@a] offsets [0] inputs 0
  }
}

// -----

// step.launch (C1): the buffers.
step.program @p {
  step.kernel @k "row_wise" {
  }
  step.entry @micro {
    // expected-error @+1 {{(C1): @k does not name a step.alloc}}
    step.launch "a" @k [@k] offsets [0] inputs 0
  }
}

// -----

// step.launch (C2)
step.program @p {
  step.alloc @a activation : tensor<16xf32> bytes 64
  step.kernel @k "row_wise" {
  }
  step.entry @micro {
    // expected-error @+1 {{(C2): expects 1 offsets, found 2}}
    step.launch "a" @k [@a] offsets [0, 0] inputs 0
  }
}

// -----

// step.gemm (C1): sizes.
step.program @p {
  step.alloc @a activation : tensor<2x4xf32> bytes 32
  step.alloc @b param : tensor<5x4xf32> bytes 80
  step.alloc @c activation : tensor<2x5xf32> bytes 40
  step.entry @micro {
    // expected-error @+1 {{(C1): @b is 'tensor<5x4xf32>' but 24 elements}}
    step.gemm "c" @a, @b transposed, @c m 2 n 6 k 4
  }
}

// -----

// step.gemm (C1): one type.
step.program @p {
  step.alloc @a activation : tensor<2x4xf32> bytes 32
  step.alloc @b param : tensor<5x4xbf16> bytes 40
  step.alloc @c activation : tensor<2x5xf32> bytes 40
  step.entry @micro {
    // expected-error @+1 {{(C1): @b is 'tensor<5x4xbf16>' but 20 elements of the other operands' type are needed}}
    step.gemm "c" @a, @b transposed, @c m 2 n 5 k 4
  }
}

// -----

// step.gemm (C1): a result of more bits may only be f32, and the third part of a
// buffer of two parts is outside.
step.program @p {
  step.alloc @a activation : tensor<4x4xbf16> bytes 32
  step.alloc @b param : tensor<4x4xbf16> bytes 32
  step.alloc @c activation : tensor<2x4xf32> bytes 32
  step.entry @micro {
    step.gemm "c" @a, @b, @c m 2 n 4 k 4 offsets [16, 0, 0]
    // expected-error @+1 {{(C1): @a is 'tensor<4x4xbf16>' but 8 elements}}
    step.gemm "c" @a, @b, @c m 2 n 4 k 4 offsets [32, 0, 0]
  }
}

// -----

// step.gemm (C3): a, b and c.
step.program @p {
  step.alloc @a activation : tensor<4x4xf32> bytes 64
  step.alloc @b activation : tensor<4x4xf32> bytes 64
  step.alloc @c activation : tensor<4x4xf32> bytes 64
  step.entry @micro {
    // expected-error @+1 {{(C3): expects 3 offsets, found 2}}
    step.gemm "c" @a, @b, @c m 4 n 4 k 4 offsets [0, 0]
  }
}

// -----

// step.gemm (C3): a layout.
step.program @p {
  step.alloc @a activation : tensor<4x4xf32> bytes 64
  step.alloc @b activation : tensor<4x4xf32> bytes 64
  step.alloc @c activation : tensor<4x4xf32> bytes 64
  step.entry @micro {
    // expected-error @+1 {{(C3): expects a layout of 6 strides, found 3}}
    step.gemm "c" @a, @b, @c m 4 n 4 k 4 layout [4, 4, 4]
  }
}

// -----

// step.gemm (C3): rows that overlap.
step.program @p {
  step.alloc @a activation : tensor<4x4xf32> bytes 64
  step.alloc @b activation : tensor<4x4xf32> bytes 64
  step.alloc @c activation : tensor<4x4xf32> bytes 64
  step.entry @micro {
    // expected-error @+1 {{(C3): rows of 4 elements of @c are 2 apart, products 0}}
    step.gemm "c" @a, @b, @c m 4 n 4 k 4 layout [4, 4, 2, 0, 0, 0]
  }
}

// -----

// step.gemm (C1): two heads side by side in rows of 4; rows too far apart.
step.program @p {
  step.alloc @a activation : tensor<4x4xf32> bytes 64
  step.alloc @b activation : tensor<4x4xf32> bytes 64
  step.alloc @c activation : tensor<4x4xf32> bytes 64
  step.entry @micro {
    step.gemm "c" @a, @b, @c m 2 n 2 k 2 batch 2 layout [4, 4, 4, 2, 2, 2]
    // expected-error @+1 {{(C1): @b is 'tensor<4x4xf32>' but 28 elements}}
    step.gemm "c" @a, @b, @c m 4 n 4 k 4 layout [4, 8, 4, 0, 0, 0]
  }
}

// -----

// step.gemm (C1): no such buffer.
step.program @p {
  step.alloc @a activation : tensor<2x4xf32> bytes 32
  step.entry @micro {
    // expected-error @+1 {{(C1): @b does not name a step.alloc}}
    step.gemm "c" @a, @b, @a m 2 n 4 k 4
  }
}

// -----

// step.gemm (C2): a library reads its operands while it writes the result.
step.program @p {
  step.alloc @a activation : tensor<4x4xf32> bytes 64
  step.alloc @b activation : tensor<4x4xf32> bytes 64
  step.entry @micro {
    // expected-error @+1 {{(C2): the result @b is also an operand}}
    step.gemm "c" @a, @b, @b m 4 n 4 k 4
  }
}

// -----

// step.gemm (C4): the type and size of the result
step.program @p {
  step.alloc @a activation : tensor<2x4xbf16> bytes 16
  step.alloc @b activation : tensor<4x4xbf16> bytes 32
  step.alloc @c activation : tensor<2x4xbf16> bytes 16
  step.alloc @wide activation : tensor<2x4xf32> bytes 32
  step.entry @micro {
    // expected-error @+1 {{(C4): the addend @wide is 'tensor<2x4xf32>', expected 8 elements of 'bf16'}}
    step.gemm "c" @a, @b, @c accumulate m 2 n 4 k 4 addend @wide
  }
}

// -----

// step.gemm (C4): accumulate
step.program @p {
  step.alloc @a activation : tensor<2x4xbf16> bytes 16
  step.alloc @b activation : tensor<4x4xbf16> bytes 32
  step.alloc @c activation : tensor<2x4xbf16> bytes 16
  step.alloc @other activation : tensor<2x4xbf16> bytes 16
  step.entry @micro {
    // expected-error @+1 {{(C4): an addend needs accumulate, is not the result, and goes with neither a batch nor a layout}}
    step.gemm "c" @a, @b, @c m 2 n 4 k 4 addend @other
  }
}

// -----

// step.gemm (C4): not in place
step.program @p {
  step.alloc @a activation : tensor<2x4xbf16> bytes 16
  step.alloc @b activation : tensor<4x4xbf16> bytes 32
  step.alloc @c activation : tensor<2x4xbf16> bytes 16
  step.alloc @other activation : tensor<2x4xbf16> bytes 16
  step.entry @micro {
    // expected-error @+1 {{(C4): an addend needs accumulate, is not the result, and goes with neither a batch nor a layout}}
    step.gemm "c" @a, @b, @c accumulate m 2 n 4 k 4 addend @c
  }
}

// -----

// step.gemm (C4): no layout
step.program @p {
  step.alloc @a activation : tensor<2x4xbf16> bytes 16
  step.alloc @b activation : tensor<4x4xbf16> bytes 32
  step.alloc @c activation : tensor<2x4xbf16> bytes 16
  step.alloc @other activation : tensor<2x4xbf16> bytes 16
  step.entry @micro {
    // expected-error @+1 {{(C4): an addend needs accumulate, is not the result, and goes with neither a batch nor a layout}}
    step.gemm "c" @a, @b, @c accumulate m 2 n 4 k 4 layout [4, 4, 4, 0, 0, 0] addend @other
  }
}

// -----

// step.gemm (C1): a buffer that is no tensor is an error here too, since an entry
// may stand before its buffers.
step.program @p {
  step.entry @micro {
    // expected-error @+1 {{(C1): @a is 'f32' but 16 elements}}
    step.gemm "c" @a, @a, @a m 4 n 4 k 4
  }
  step.alloc @a activation : f32 bytes 4
}

// -----

// step.alloc (C5)
step.program @p {
  // expected-error @+1 {{(C5): a slot of 32 bytes is too small for 64}}
  step.alloc @a activation : tensor<16xf32> bytes 64 slot 32
}

// -----

// step.collective (C1)
step.program @p num_ranks 2 {
  step.alloc @a grad : tensor<16xf32> bytes 64
  step.entry @micro {
    // expected-error @+1 {{(C1): expects one buffer to send and one to receive for every count, found 2 and 1 for 1}}
    step.collective "c" all_reduce [@a, @a] to [@a] counts [16] event 0
    step.wait 0
  }
}

// -----

// step.collective (C1): of one type.
step.program @p num_ranks 2 {
  step.alloc @a grad : tensor<16xf32> bytes 64
  step.alloc @b grad : tensor<16xbf16> bytes 32
  step.entry @micro {
    // expected-error @+1 {{(C1): @b is 'tensor<16xbf16>', expected a tensor of 'f32'}}
    step.collective "c" all_reduce [@a] to [@b] counts [16] event 0
    step.wait 0
  }
}

// -----

// step.collective (C2): an exchange reads the shards of all ranks.
step.program @p num_ranks 2 {
  step.alloc @a grad : tensor<100xf32> bytes 400
  step.alloc @b grad_shard : tensor<64xf32> bytes 256
  step.entry @micro {
    // expected-error @+1 {{(C2): bytes 0 to 512 of @a, whose slot has 400}}
    step.collective "c" exchange [@a] to [@b] counts [64] event 0
    step.wait 0
  }
}

// -----

// step.collective (C2): the number of offsets.
step.program @p num_ranks 2 {
  step.alloc @a loss : tensor<2xf32> bytes 8
  step.entry @micro {
    // expected-error @+1 {{(C2): expects 4 offsets, found 2}}
    step.collective "c" all_reduce [@a, @a] to [@a, @a] counts [1, 1] offsets [0, 4] event 0
    step.wait 0
  }
}

// -----

// step.collective (C2): in place, an all-gather has the shards of all ranks.
step.program @p num_ranks 2 {
  step.alloc @a grad : tensor<100xf32> bytes 400
  step.entry @micro {
    // expected-error @+1 {{(C2): bytes 0 to 512 of @a, whose slot has 400}}
    step.collective "c" all_gather [@a] to [@a] counts [64] event 0
    step.wait 0
  }
}

// -----

// step.collective (C3): an exchange is not done in place.
step.program @p num_ranks 2 {
  step.alloc @a grad : tensor<128xf32> bytes 512
  step.entry @micro {
    // expected-error @+1 {{(C3): writes a, which it also reads elsewhere}}
    step.collective "c" exchange [@a] to [@a] counts [64] event 0
    step.wait 0
  }
}

// -----

// step.collective (C5): what is covered lies behind what is sent.
step.program @p num_ranks 2 {
  step.alloc @a grad : tensor<64xf32> bytes 256
  step.alloc @between grad : tensor<64xf32> bytes 256
  step.alloc @b grad : tensor<64xf32> bytes 256
  step.alloc @other communication : tensor<32xf32> bytes 128 in @micro
  step.entry @micro {
    // expected-error @+1 {{(C5): covers @b, which does not come after another buffer that it touches}}
    step.collective "c" exchange [@a] to [@other] counts [32] event 0 covers [@b]
    step.wait 0
  }
}

// -----

// step.launch (C3): a stride for each argument.
step.program @p num_ranks 2 {
  step.alloc @a grad : tensor<64xf32> bytes 256
  step.kernel @k "row_wise" blocks [1] {
  }
  step.entry @micro {
    // expected-error @+1 {{(C3): expects 1 rank_strides, found 2}}
    step.launch "l" @k [@a] offsets [0] inputs 0 rank_strides [128, 128]
  }
}

// -----

// step.launch (C3): the last rank, too, stays within the buffer.
step.program @p num_ranks 4 {
  step.alloc @a grad : tensor<64xf32> bytes 256
  step.kernel @k "row_wise" blocks [1] {
  }
  step.entry @micro {
    // expected-error @+1 {{(C3): the last rank's place in @a is byte 384, its slot has 256}}
    step.launch "l" @k [@a] offsets [0] inputs 0 rank_strides [128]
  }
}

// -----

// step.launch (C4): what is covered lies behind an argument.
step.program @p num_ranks 2 {
  step.alloc @b grad : tensor<64xf32> bytes 256
  step.alloc @a grad : tensor<64xf32> bytes 256
  step.kernel @k "row_wise" blocks [1] {
  }
  step.entry @micro {
    // expected-error @+1 {{(C4): covers @b, which does not come after another buffer that it touches}}
    step.launch "l" @k [@a] offsets [0] inputs 0 rank_strides [128] covers [@b]
  }
}

// -----

// step.collective (C3): no part writes what another has.
step.program @p num_ranks 2 {
  step.alloc @a loss : tensor<2xf32> bytes 8
  step.entry @micro {
    // expected-error @+1 {{(C3): writes a, which it also writes elsewhere}}
    step.collective "c" all_reduce [@a, @a] to [@a, @a] counts [1, 1] event 0
    step.wait 0
  }
}

// -----

// step.collective (C4): an event belongs to one collective.
step.program @p num_ranks 2 {
  step.alloc @a loss : tensor<2xf32> bytes 8
  step.entry @micro {
    // expected-note @+1 {{by first}}
    step.collective "first" all_reduce [@a] to [@a] counts [2] event 0
    // expected-error @+1 {{(C4): event 0 is in use}}
    step.collective "second" all_reduce [@a] to [@a] counts [2] event 0
    step.wait 0
  }
}

// -----

// step.collective (C4): somebody waits for it.
step.program @p num_ranks 2 {
  step.alloc @a loss : tensor<2xf32> bytes 8
  step.entry @micro {
    // expected-error @+1 {{(C4): expects one step.wait for event 3 after it, found 0}}
    step.collective "c" all_reduce [@a] to [@a] counts [2] event 3
  }
}

// -----

// step.wait (C1)
step.program @p num_ranks 2 {
  step.alloc @a loss : tensor<2xf32> bytes 8
  step.entry @micro {
    // expected-error @+1 {{(C1): no collective before it has event 1}}
    step.wait 1
    step.collective "c" all_reduce [@a] to [@a] counts [2] event 0
    step.wait 0
  }
}
