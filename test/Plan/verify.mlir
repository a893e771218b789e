// RUN: tx-opt %s --tx-plan-verify --split-input-file --verify-diagnostics

step.program @no_offset arena_bytes 64 {
  // expected-error @+1 {{has no offset after plan}}
  step.alloc @a activation : tensor<16xf32> bytes 64
}

// -----

step.program @outside arena_bytes 64 {
  // expected-error @+1 {{ends at byte 128, after the arena's 64}}
  step.alloc @a param : tensor<16xf32> bytes 64 offset 64
}

// -----

step.program @overlap arena_bytes 128 {
  // expected-error @+1 {{overlaps a buffer that is live at the same time}}
  step.alloc @a activation : tensor<16xf32> bytes 64 offset 0 in @micro
  // expected-note @+1 {{b at offset 0, 64 bytes}}
  step.alloc @b activation : tensor<16xf32> bytes 64 offset 0 in @micro
  step.kernel @k "row_wise" blocks [1] {
  }
  step.entry @micro {
    step.launch "a" @k [@a] offsets [0] inputs 0
    step.launch "b" @k [@a, @b] offsets [0, 0] inputs 1
  }
}

// -----

step.program @read_before_write arena_bytes 128 {
  step.alloc @a activation : tensor<16xf32> bytes 64 offset 0 in @micro
  step.alloc @b activation : tensor<16xf32> bytes 64 offset 64 in @micro
  step.kernel @k "row_wise" blocks [1] {
  }
  step.entry @micro {
    // expected-error @+1 {{reads @a before any command writes it}}
    step.launch "b" @k [@a, @b] offsets [0, 0] inputs 1
  }
}

// -----

step.program @segments arena_bytes 64 {
  step.alloc @w param : tensor<16xf32> bytes 64 offset 0
  // expected-error @+1 {{has a segment at element 8 of the flat arena, where no parameter begins}}
  step.kernel @init "init" segments [8, 16, 1, 0, 0] stddevs [0.0] {
  }
}

// -----

// The reduction may not be done yet when the second kernel writes.
step.program @under_way arena_bytes 128 num_ranks 2 {
  step.alloc @g grad : tensor<16xf32> bytes 64 offset 0
  step.kernel @k "row_wise" blocks [1] {
  }
  step.entry @micro {
    // expected-note @+1 {{gradients}}
    step.collective "gradients" all_reduce [@g] to [@g] counts [16] event 0
    // expected-error @+1 {{touches a buffer of a collective that is under way}}
    step.launch "g" @k [@g] offsets [0] inputs 0
    step.wait 0
  }
}

// -----

// What is sent lives until the wait.
step.program @sent_away arena_bytes 640 num_ranks 2 {
  step.alloc @s grad_shard : tensor<64xf32> bytes 256 offset 0
  // expected-error @+1 {{overlaps a buffer that is live at the same time}}
  step.alloc @g communication : tensor<64xf32> bytes 256 offset 256 in @micro
  // expected-note @+1 {{x at offset 256, 256 bytes}}
  step.alloc @x activation : tensor<64xf32> bytes 256 offset 256 in @micro
  step.kernel @k "row_wise" blocks [1] {
  }
  step.entry @micro {
    step.launch "g" @k [@g] offsets [0] inputs 0
    step.collective "gradients" all_reduce [@g] to [@s] counts [64] event 0
    step.launch "x" @k [@x] offsets [0] inputs 0
    step.wait 0
  }
}

// -----

// The padding of a slot is part of it.
step.program @padding arena_bytes 640 num_ranks 2 {
  // expected-error @+1 {{overlaps a buffer that is live at the same time}}
  step.alloc @g grad : tensor<100xf32> bytes 400 slot 512 offset 0
  // expected-note @+1 {{s at offset 448, 128 bytes}}
  step.alloc @s grad : tensor<32xf32> bytes 128 offset 448
  step.entry @micro {
    step.fill "s" @s value 0
  }
}

// -----

// What a kernel goes on into is where the buffer before it ends.
step.program @apart arena_bytes 512 num_ranks 2 {
  step.alloc @a grad : tensor<32xf32> bytes 128 offset 0
  step.alloc @b grad : tensor<32xf32> bytes 128 offset 256
  step.kernel @k "row_wise" blocks [1] {
  }
  step.entry @micro {
    // expected-error @+1 {{covers @b at byte 256, but a before it ends at byte 128}}
    step.launch "sum" @k [@a] offsets [0] inputs 0 rank_strides [64] covers [@b]
  }
}

// -----

// The reduction reads the second gradient, too, though it names the first.
step.program @covered arena_bytes 512 num_ranks 2 {
  step.alloc @a grad : tensor<32xf32> bytes 128 offset 0
  step.alloc @b grad : tensor<32xf32> bytes 128 offset 128
  step.alloc @other communication : tensor<32xf32> bytes 128 offset 256 in @micro
  step.kernel @k "row_wise" blocks [1] {
  }
  step.entry @micro {
    // expected-note @+1 {{gradients}}
    step.collective "gradients" exchange [@a] to [@other] counts [32] event 0 covers [@b]
    // expected-error @+1 {{touches a buffer of a collective that is under way}}
    step.launch "b" @k [@b] offsets [0] inputs 0
    step.wait 0
  }
}
