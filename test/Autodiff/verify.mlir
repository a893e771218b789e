// RUN: tx-opt %s --tx-autodiff-verify --split-input-file --verify-diagnostics

// What the stage promises passes.
module {
  tx.param @w : tensor<4xf32> init = zeros(0.0) site = 0
  func.func @init(%hyper: !tx.hyper) {
    tx.init @w, %hyper
    return
  }
  func.func @micro(%g: tensor<4xf32>) {
    tx.accumulate @w, %g : tensor<4xf32>
    tx.accumulate @w, %g : tensor<4xf32>
    return
  }
  func.func @update(%stats: tensor<9xf32>, %hyper: !tx.hyper) {
    tx.adamw [@w], %stats, %hyper : tensor<9xf32>
    return
  }
  func.func @eval() {
    return
  }
}

// -----

// expected-error @+2 {{has no @micro after autodiff; expected @init, @micro, @update and @eval}}
// expected-error @+1 {{has no @update after autodiff}}
module {
  func.func private @init()
  func.func private @eval()
  // expected-error @+1 {{@forward is left after autodiff; @micro takes its place}}
  func.func private @forward()
}

// -----

// A parameter that the loss does not reach would never learn.
module {
  // expected-error @+1 {{parameter 'blocks.0.attn.qkv.weight' gets no gradient: the loss does not depend on it}}
  tx.param @"blocks.0.attn.qkv.weight" : tensor<4xf32> init = zeros(0.0) site = 0
  func.func @init(%hyper: !tx.hyper) {
    tx.init @"blocks.0.attn.qkv.weight", %hyper
    return
  }
  func.func @micro() {
    return
  }
  func.func @update(%stats: tensor<9xf32>, %hyper: !tx.hyper) {
    tx.adamw [@"blocks.0.attn.qkv.weight"], %stats, %hyper : tensor<9xf32>
    return
  }
  func.func @eval() {
    return
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
  func.func @micro(%g: tensor<4xf32>) {
    tx.accumulate @w, %g : tensor<4xf32>
    return
  }
  func.func @update(%stats: tensor<9xf32>, %hyper: !tx.hyper) {
    // expected-note @+1 {{here}}
    tx.adamw [@w], %stats, %hyper : tensor<9xf32>
    // expected-note @+1 {{here}}
    tx.adamw [@w], %stats, %hyper : tensor<9xf32>
    return
  }
  func.func @eval() {
    return
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
  func.func @micro(%g: tensor<4xf32>) {
    tx.accumulate @w, %g : tensor<4xf32>
    return
  }
  func.func @update(%stats: tensor<9xf32>, %hyper: !tx.hyper) {
    tx.adamw [@w], %stats, %hyper : tensor<9xf32>
    return
  }
  func.func @eval(%x: tensor<4xf32>, %qkv: tensor<2x3x16xf32>, %hyper: !tx.hyper) {
    // expected-error @+1 {{'tx.dropout' drops elements in @eval}}
    %d = tx.dropout %x, %hyper p 0.5 site 7 : tensor<4xf32>
    // expected-error @+1 {{'tx.attention' drops elements in @eval}}
    %y, %lse = tx.attention %qkv, hyper %hyper heads 2 kv_heads 1 {dropout = 0.5 : f64} : tensor<2x3x16xf32> -> tensor<2x3x8xf32>, tensor<2x2x3xf32>
    // expected-error @+1 {{'tx.accumulate' changes state in @eval}}
    tx.accumulate @w, %d : tensor<4xf32>
    return
  }
}
