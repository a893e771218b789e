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
  func.func @update(%hyper: !tx.hyper) -> tensor<9xf32> {
    %stats = tx.global_norm [@w], %hyper : tensor<9xf32>
    tx.adamw [@w], %stats, %hyper : tensor<9xf32>
    return %stats : tensor<9xf32>
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

// expected-error @+1 {{mesh "dp:2" has 2 ranks, but the step has no collectives}}
module attributes {tx.mesh = "dp:2"} {
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
