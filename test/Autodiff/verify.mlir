// RUN: tx-opt %s --tx-autodiff-verify --split-input-file --verify-diagnostics

// What the stage promises passes.
module {
  tx.param @w : tensor<4xf32> init = zeros(0.0) site = 0
  func.func @init(%hyper: !tx.hyper) {
    tx.init @w, %hyper
    return
  }
  func.func @micro(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    %g = tx.read @w value : tensor<4xf32>
    tx.accumulate @w, %g : tensor<4xf32>
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

// expected-error @+2 {{has no @micro after autodiff; expected @init, @micro, @update and @eval}}
// expected-error @+1 {{has no @update after autodiff}}
module {
  // expected-error @+1 {{@init must have a body without branches, found 0 blocks}}
  func.func private @init(!tx.hyper)
  // expected-error @+1 {{@eval must have a body without branches, found 0 blocks}}
  func.func private @eval(tensor<2x3xi32>, tensor<2x3xi32>, !tx.hyper) -> (tensor<f32>, tensor<f32>)
  // expected-error @+1 {{@forward is left after autodiff; expected only @init, @micro, @micro_last, @update, @eval and @decode}}
  func.func private @forward()
}

// -----

// The runtime calls these functions, so their types are fixed.
module {
  // expected-error @+1 {{@init has type '() -> ()'; expected (!tx.hyper) -> ()}}
  func.func @init() {
    return
  }
  // expected-error @+1 {{@micro has type '(tensor<6xi32>, tensor<6xi32>, !tx.hyper) -> (tensor<f32>, tensor<f32>)'; expected (tokens, targets, !tx.hyper) -> (loss, count), tokens and targets i32 [B, T], loss and count f32 scalars}}
  func.func @micro(%tokens: tensor<6xi32>, %targets: tensor<6xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    return %loss, %loss : tensor<f32>, tensor<f32>
  }
  // expected-error @+1 {{@update has type '(!tx.hyper) -> ()'; expected (!tx.hyper) -> tensor<11xf32>}}
  func.func @update(%hyper: !tx.hyper) {
    return
  }
  // expected-error @+1 {{@eval has type '(!tx.hyper) -> ()'; expected (tokens, targets, !tx.hyper) -> (loss, count)}}
  func.func @eval(%hyper: !tx.hyper) {
    return
  }
}

// -----

// A parameter that the loss does not reach would never learn.
module {
  // expected-error @+1 {{parameter 'blocks.0.attn.qkv.bias' gets no gradient: the loss does not depend on it}}
  tx.param @"blocks.0.attn.qkv.bias" : tensor<4xf32> init = zeros(0.0) site = 0
  func.func @init(%hyper: !tx.hyper) {
    tx.init @"blocks.0.attn.qkv.bias", %hyper
    return
  }
  func.func @micro(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    %g = tx.read @"blocks.0.attn.qkv.bias" value : tensor<4xf32>
    return %loss, %loss : tensor<f32>, tensor<f32>
  }
  func.func @update(%hyper: !tx.hyper) -> tensor<11xf32> {
    %stats = tx.global_norm [@"blocks.0.attn.qkv.bias"], %hyper : tensor<11xf32>
    tx.adamw [@"blocks.0.attn.qkv.bias"], %stats, %hyper : tensor<11xf32>
    return %stats : tensor<11xf32>
  }
  func.func @eval(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    return %loss, %loss : tensor<f32>, tensor<f32>
  }
}

// -----

module {
  // expected-error @+2 {{parameter 'w' must be filled by @init exactly once, found 0 times}}
  // expected-error @+1 {{parameter 'w' must be updated by @update exactly once, found 2 times}}
  tx.param @w : tensor<4xf32> init = zeros(0.0) site = 0
  func.func @init(%hyper: !tx.hyper) {
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
    // expected-note @+1 {{here}}
    tx.adamw [@w], %stats, %hyper : tensor<11xf32>
    // expected-note @+1 {{here}}
    tx.adamw [@w], %stats, %hyper : tensor<11xf32>
    return %stats : tensor<11xf32>
  }
  func.func @eval(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %loss = arith.constant dense<0.0> : tensor<f32>
    return %loss, %loss : tensor<f32>, tensor<f32>
  }
}

// -----

// Evaluation is the same whenever it is asked, and changes nothing.
module {
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
    %x = tx.read @w value : tensor<4xf32>
    %qkv = arith.constant dense<0.0> : tensor<2x3x16xf32>
    // expected-error @+1 {{'tx.dropout' drops elements in @eval}}
    %d = tx.dropout %x, %hyper p 0.5 site 7 : tensor<4xf32>
    // expected-error @+1 {{'tx.attention' drops elements in @eval}}
    %y, %lse = tx.attention %qkv, hyper %hyper heads 2 kv_heads 1 {dropout = 0.5 : f64} : tensor<2x3x16xf32> -> tensor<2x3x8xf32>, tensor<2x2x3xf32>
    // expected-error @+1 {{'tx.accumulate' changes state in @eval}}
    tx.accumulate @w, %d : tensor<4xf32>
    return %loss, %loss : tensor<f32>, tensor<f32>
  }
}

// -----

// Decoding changes nothing but its caches, each once.
module {
  tx.param @w : tensor<4xf32> init = zeros(0.0) site = 0
  tx.cache @k : tensor<1x1x3x4xf32>
  // expected-error @+1 {{cache 'v' must be written by @decode exactly once, found 0 times}}
  tx.cache @v : tensor<1x1x3x4xf32>
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
    %k = tx.read @k value : tensor<1x1x3x4xf32>
    // expected-error @+1 {{'tx.assign' changes state in @eval}}
    tx.assign @k value, %k : tensor<1x1x3x4xf32>
    return %loss, %loss : tensor<f32>, tensor<f32>
  }
  func.func @decode(%tokens: tensor<1x1xi32>, %position: tensor<i32>) -> tensor<1x1x5xf32> {
    %logits = arith.constant dense<0.0> : tensor<1x1x5xf32>
    %k = tx.read @k value : tensor<1x1x3x4xf32>
    tx.assign @k value, %k : tensor<1x1x3x4xf32>
    %w = tx.read @w value : tensor<4xf32>
    // expected-error @+1 {{'tx.assign' changes state in @decode}}
    tx.assign @w value, %w : tensor<4xf32>
    return %logits : tensor<1x1x5xf32>
  }
}

// -----

// expected-error @+4 {{has no @init}}
// expected-error @+3 {{has no @micro}}
// expected-error @+2 {{has no @update}}
// expected-error @+1 {{has no @eval}}
module {
  // expected-error @+1 {{@decode has type '(tensor<1x2xi32>, tensor<i32>) -> tensor<1x2x5xf32>'; expected (tokens, position) -> logits, tokens i32 [S, 1], position an i32 scalar, logits f32 [S, 1, V]}}
  func.func @decode(%tokens: tensor<1x2xi32>, %position: tensor<i32>) -> tensor<1x2x5xf32> {
    %logits = arith.constant dense<0.0> : tensor<1x2x5xf32>
    return %logits : tensor<1x2x5xf32>
  }
}
