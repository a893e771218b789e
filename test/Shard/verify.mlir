// RUN: tx-opt %s --tx-shard-verify --split-input-file --verify-diagnostics

// One rank does the whole step.
module attributes {tx.mesh = "dp:1"} {
  tx.param @w : tensor<4xf32> init = zeros(0.0) site = 0
  func.func @init(%hyper: !tx.hyper) {
    tx.init @w, %hyper
    return
  }
  func.func @micro(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    %g = tx.read @w value : tensor<4xf32>
    tx.accumulate @w, %g : tensor<4xf32>
    return %loss, %loss : tensor<f32>, tensor<f32>
  }
  func.func @update(%hyper: !tx.hyper) -> tensor<11xf32> {
    %stats = tx.global_norm [@w], %hyper : tensor<11xf32>
    tx.adamw [@w], %stats, %hyper : tensor<11xf32>
    return %stats : tensor<11xf32>
  }
  func.func @eval(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    return %loss, %loss : tensor<f32>, tensor<f32>
  }
}

// -----

// expected-error @+1 {{has no tx.mesh after shard}}
module {
}

// -----

// expected-error @+1 {{mesh "dp:0": found "dp:0", expected an axis name and its size, as in dp:1}}
module attributes {tx.mesh = "dp:0"} {
}

// -----

// What is no whole step for one rank is none for a mesh of one.
// expected-error @+2 {{has no @update after shard}}
// expected-error @+1 {{has no @eval after shard}}
module attributes {tx.mesh = "dp:1"} {
  // expected-error @+1 {{@init must have a body without branches, found 0 blocks}}
  func.func private @init(!tx.hyper)
  // expected-error @+1 {{@micro has type '() -> ()'; expected (tokens, targets, !tx.hyper)}}
  func.func private @micro()
}

// -----

// Several ranks without a word on what they share.
// expected-error @+1 {{mesh "dp:2" has 2 ranks, but the module has no tx.zero}}
module attributes {tx.mesh = "dp:2"} {
  tx.param @w : tensor<4xf32> init = zeros(0.0) site = 0
  func.func @init(%hyper: !tx.hyper) {
    tx.init @w, %hyper
    return
  }
  func.func @micro(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    %g = tx.read @w value : tensor<4xf32>
    tx.accumulate @w, %g : tensor<4xf32>
    return %loss, %loss : tensor<f32>, tensor<f32>
  }
  func.func @update(%hyper: !tx.hyper) -> tensor<11xf32> {
    %stats = tx.global_norm [@w], %hyper : tensor<11xf32>
    tx.adamw [@w], %stats, %hyper : tensor<11xf32>
    return %stats : tensor<11xf32>
  }
  func.func @eval(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    return %loss, %loss : tensor<f32>, tensor<f32>
  }
}

// -----

// The step of one rank under a mesh of two: each rank would go its own way.
// expected-error @+1 {{has no @micro_last, but zero is 0}}
module attributes {tx.mesh = "dp:2", tx.zero = 0 : i64} {
  // expected-error @+1 {{the gradient of 'w' must be reduced over ranks exactly once, by tx.all_reduce in @micro_last, found 0 reductions}}
  tx.param @w : tensor<4xf32> init = zeros(0.0) site = 0
  func.func @init(%hyper: !tx.hyper) {
    tx.init @w, %hyper
    return
  }
  // expected-error @+1 {{@micro returns 'tensor<f32>' of this rank alone; expected the sum over ranks}}
  func.func @micro(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    %g = tx.read @w value : tensor<4xf32>
    tx.accumulate @w, %g : tensor<4xf32>
    return %loss, %loss : tensor<f32>, tensor<f32>
  }
  func.func @update(%hyper: !tx.hyper) -> tensor<11xf32> {
    %stats = tx.global_norm [@w], %hyper : tensor<11xf32>
    tx.adamw [@w], %stats, %hyper : tensor<11xf32>
    return %stats : tensor<11xf32>
  }
  func.func @eval(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    %r:2 = tx.all_reduce sum "loss" (%loss, %loss) : (tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>)
    return %r#0, %r#1 : tensor<f32>, tensor<f32>
  }
}

// -----

// Twice is as wrong as never; and what comes after was not reduced.
module attributes {tx.mesh = "dp:2", tx.zero = 0 : i64} {
  // expected-error @+1 {{the gradient of 'w' must be reduced over ranks exactly once, by tx.all_reduce in @micro_last, found 2 reductions}}
  tx.param @w : tensor<4xf32> init = zeros(0.0) site = 0
  tx.param @late : tensor<4xf32> init = zeros(0.0) site = 1
  func.func @init(%hyper: !tx.hyper) {
    tx.init @w, %hyper
    tx.init @late, %hyper
    return
  }
  func.func @micro(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    %g = tx.read @w value : tensor<4xf32>
    tx.accumulate @w, %g : tensor<4xf32>
    tx.accumulate @late, %g : tensor<4xf32>
    %r:2 = tx.all_reduce sum "loss" (%loss, %loss) : (tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>)
    return %r#0, %r#1 : tensor<f32>, tensor<f32>
  }
  func.func @micro_last(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    %g = tx.read @w value : tensor<4xf32>
    tx.accumulate @w, %g : tensor<4xf32>
    %a = tx.read @w grad : tensor<4xf32>
    // expected-note @+1 {{in @micro_last}}
    %b = tx.all_reduce sum "once" (%a) : (tensor<4xf32>) -> tensor<4xf32>
    tx.assign @w grad, %b : tensor<4xf32>
    %c = tx.read @w grad : tensor<4xf32>
    // expected-note @+1 {{in @micro_last}}
    %d = tx.all_reduce sum "twice" (%c) : (tensor<4xf32>) -> tensor<4xf32>
    tx.assign @w grad, %d : tensor<4xf32>
    %e = tx.read @late grad : tensor<4xf32>
    %f = tx.all_reduce sum "early" (%e) : (tensor<4xf32>) -> tensor<4xf32>
    tx.assign @late grad, %f : tensor<4xf32>
    // expected-error @+1 {{adds to the gradient of 'late' after it was reduced}}
    tx.accumulate @late, %g : tensor<4xf32>
    %r:2 = tx.all_reduce sum "loss" (%loss, %loss) : (tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>)
    return %r#0, %r#1 : tensor<f32>, tensor<f32>
  }
  func.func @update(%hyper: !tx.hyper) -> tensor<11xf32> {
    %stats = tx.global_norm [@w, @late], %hyper : tensor<11xf32>
    tx.adamw [@w, @late], %stats, %hyper : tensor<11xf32>
    return %stats : tensor<11xf32>
  }
  func.func @eval(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    %r:2 = tx.all_reduce sum "loss" (%loss, %loss) : (tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>)
    return %r#0, %r#1 : tensor<f32>, tensor<f32>
  }
}

// -----

// With zero 3 nothing whole outlives a function, and statistics are of all ranks.
module attributes {tx.mesh = "dp:2", tx.zero = 3 : i64} {
  tx.param @w : tensor<4x4xf32> init = zeros(0.0) site = 0 shards = 2
  // expected-error @+2 {{parameter 'whole' has 1 shards; expected 2 with zero 3 over 2 ranks}}
  // expected-error @+1 {{the gradient of 'whole' must be reduced over ranks exactly once, by tx.all_reduce in @update, found 0 reductions}}
  tx.param @whole : tensor<4x4xf32> init = zeros(0.0) site = 1
  func.func @init(%hyper: !tx.hyper) {
    tx.init @w, %hyper
    tx.init @whole, %hyper
    return
  }
  func.func @micro(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    // expected-error @+1 {{reads a whole copy of 'w', which zero 3 does not keep}}
    %g = tx.read @w compute : tensor<4x4xf32>
    // expected-error @+1 {{adds to a gradient of 'w' that does not outlive @micro with zero 3}}
    tx.accumulate @w, %g : tensor<4x4xf32>
    tx.accumulate @whole, %g : tensor<4x4xf32>
    %a = tx.read @w grad : tensor<4x4xf32>
    %s = tx.reduce_scatter "gradients" (%a) over 2 : (tensor<4x4xf32>) -> tensor<64xf32>
    tx.accumulate_shards [@w], (%s) : tensor<64xf32>
    %r:2 = tx.all_reduce sum "loss" (%loss, %loss) : (tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>)
    return %r#0, %r#1 : tensor<f32>, tensor<f32>
  }
  func.func @update(%hyper: !tx.hyper) -> tensor<11xf32> {
    %sums, %extrema = tx.gradient_sums [@w, @whole], %hyper : tensor<4xf64>, tensor<2xf32>
    %stats = tx.gradient_stats [@w, @whole], %sums, %extrema, %hyper : tensor<4xf64>, tensor<2xf32> -> tensor<11xf32>
    // expected-error @+1 {{reads statistics that are not of all ranks}}
    tx.adamw [@w, @whole], %stats, %hyper : tensor<11xf32>
    return %stats : tensor<11xf32>
  }
  func.func @eval(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    %r:2 = tx.all_reduce sum "loss" (%loss, %loss) : (tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>)
    return %r#0, %r#1 : tensor<f32>, tensor<f32>
  }
}

// -----

// A copy that is gathered at the start but not after an update grows old.
module attributes {tx.mesh = "dp:2", tx.zero = 2 : i64} {
  tx.param @w : tensor<4x4xf32> init = zeros(0.0) site = 0 shards = 2
  func.func @init(%hyper: !tx.hyper) {
    tx.init @w, %hyper
    %s = tx.read @w value : tensor<64xf32>
    %f = tx.all_gather "weights" (%s) over 2 : (tensor<64xf32>) -> tensor<4x4xf32>
    tx.assign @w compute, %f : tensor<4x4xf32>
    return
  }
  func.func @micro(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    // expected-error @+1 {{reads a copy of 'w' that @update does not gather}}
    %g = tx.read @w compute : tensor<4x4xf32>
    tx.assign @w grad, %g : tensor<4x4xf32>
    %a = tx.read @w grad : tensor<4x4xf32>
    %s = tx.reduce_scatter "gradients" (%a) over 2 : (tensor<4x4xf32>) -> tensor<64xf32>
    tx.accumulate_shards [@w], (%s) : tensor<64xf32>
    %r:2 = tx.all_reduce sum "loss" (%loss, %loss) : (tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>)
    return %r#0, %r#1 : tensor<f32>, tensor<f32>
  }
  func.func @update(%hyper: !tx.hyper) -> tensor<11xf32> {
    %sums, %extrema = tx.gradient_sums [@w], %hyper : tensor<3xf64>, tensor<2xf32>
    %s = tx.all_reduce sum "sums" (%sums) : (tensor<3xf64>) -> tensor<3xf64>
    %e = tx.all_reduce min "extrema" (%extrema) : (tensor<2xf32>) -> tensor<2xf32>
    %stats = tx.gradient_stats [@w], %s, %e, %hyper : tensor<3xf64>, tensor<2xf32> -> tensor<11xf32>
    tx.adamw [@w], %stats, %hyper : tensor<11xf32>
    return %stats : tensor<11xf32>
  }
  func.func @eval(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    %r:2 = tx.all_reduce sum "loss" (%loss, %loss) : (tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>)
    return %r#0, %r#1 : tensor<f32>, tensor<f32>
  }
}
