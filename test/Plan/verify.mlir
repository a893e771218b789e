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
