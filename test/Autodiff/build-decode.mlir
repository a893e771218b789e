// RUN: tx-opt %s --tx-autodiff-build-decode --split-input-file --verify-diagnostics | FileCheck %s

// A row of one token per sequence goes through what a batch of sequences goes
// through; nothing is dropped. Where it stands comes at run time, and keys and
// values of earlier tokens from caches that outlive the call. The loss is not
// copied. The compute type is bf16; logits are f32.

// CHECK-LABEL: module attributes {tx.decode_batch = 4
module attributes {tx.decode_batch = 4 : i64} {
tx.param @w : tensor<5x16xf32> init = normal(2.0e-02) site = 0 decay
tx.param @p : tensor<3x16xf32> init = normal(2.0e-02) site = 1 decay
// CHECK: tx.cache @blocks.0.attn.keys : tensor<4x1x3x4xbf16>
// CHECK-NEXT: tx.cache @blocks.0.attn.values : tensor<4x1x3x4xbf16>
// CHECK-LABEL: func.func @forward
// CHECK: tx.dropout
// CHECK: tx.attention %{{.*}}, hyper

// CHECK-LABEL: func.func @decode
// CHECK-SAME: (%[[TOKENS:.*]]: tensor<4x1xi32>, %[[POSITION:.*]]: tensor<i32>) -> tensor<4x1x5xf32>
// CHECK: %[[COS:.*]], %[[SIN:.*]] = tx.rope_table theta 1.000000e+04 from %[[POSITION]] : tensor<1x2xf32>, tensor<1x2xf32>
// CHECK: %[[X:.*]] = tx.embedding %[[TOKENS]], %{{.*}} : tensor<4x1xi32>, tensor<5x16xbf16> -> tensor<4x1x16xbf16>
// CHECK: %[[Y:.*]] = tx.add_position %[[X]], %{{.*}} at %[[POSITION]] : tensor<4x1x16xbf16>, tensor<3x16xbf16>
// CHECK-NEXT: %[[QKV:.*]] = tx.rope %[[Y]], %[[COS]], %[[SIN]] half heads 3 head_dim 4 : tensor<4x1x16xbf16>, tensor<1x2xf32>
// CHECK-NEXT: %[[KEYS:.*]] = tx.read @blocks.0.attn.keys value
// CHECK-NEXT: %[[VALUES:.*]] = tx.read @blocks.0.attn.values value
// CHECK-NEXT: %[[RESULT:.*]], %[[NEWK:.*]], %[[NEWV:.*]] = tx.decode_attention %[[QKV]], %[[KEYS]], %[[VALUES]] at %[[POSITION]] heads 2 kv_heads 1
// CHECK-NEXT: tx.assign @blocks.0.attn.keys value, %[[NEWK]]
// CHECK-NEXT: tx.assign @blocks.0.attn.values value, %[[NEWV]]
// CHECK: %[[LOGITS:.*]] = tx.linear %[[RESULT]]
// CHECK-NEXT: %[[F32:.*]] = tx.cast %[[LOGITS]] : tensor<4x1x5xbf16> -> tensor<4x1x5xf32>
// CHECK-NEXT: return %[[F32]]
func.func @forward(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
  %cos, %sin = tx.rope_table theta 1.0e+04 : tensor<3x2xf32>, tensor<3x2xf32>
  %w32 = tx.read @w value : tensor<5x16xf32>
  %w = tx.cast %w32 : tensor<5x16xf32> -> tensor<5x16xbf16>
  %x = tx.embedding %tokens, %w : tensor<2x3xi32>, tensor<5x16xbf16> -> tensor<2x3x16xbf16>
  %p32 = tx.read @p value : tensor<3x16xf32>
  %p = tx.cast %p32 : tensor<3x16xf32> -> tensor<3x16xbf16>
  %y = tx.add_position %x, %p : tensor<2x3x16xbf16>, tensor<3x16xbf16>
  %d = tx.dropout %y, %hyper p 0.5 site 65536 : tensor<2x3x16xbf16>
  %qkv = tx.rope %d, %cos, %sin half heads 3 head_dim 4 : tensor<2x3x16xbf16>, tensor<3x2xf32>
  %a, %lse = tx.attention %qkv, hyper %hyper heads 2 kv_heads 1 {dropout = 0.5 : f64, site = 65537 : i32} : tensor<2x3x16xbf16> -> tensor<2x3x8xbf16>, tensor<2x2x3xf32> loc("blocks.0.attn")
  %h32 = arith.constant dense<1.0> : tensor<5x8xf32>
  %h = tx.cast %h32 : tensor<5x8xf32> -> tensor<5x8xbf16>
  %logits = tx.linear %a, %h : tensor<2x3x8xbf16>, tensor<5x8xbf16> -> tensor<2x3x5xbf16>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x3xi32> -> tensor<f32>
  %losses, %l = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x3x5xbf16>, tensor<2x3xi32> -> tensor<2x3xf32>, tensor<2x3xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x3xf32>, tensor<f32> -> tensor<f32>
  return %loss, %count : tensor<f32>, tensor<f32>
}
}

// -----

// A module that does not ask for it gets no @decode.
// CHECK-LABEL: module
// CHECK: func.func @forward
// CHECK-NOT: @decode
module {
func.func @forward(%tokens: tensor<2x3xi32>) {
  return
}
}

// -----

// expected-error @+1 {{has no @forward of one block to decode}}
module attributes {tx.decode_batch = 1 : i64} {
}

// -----

// expected-error @+1 {{tx.decode_batch is 0; expected at least 1}}
module attributes {tx.decode_batch = 0 : i64} {
func.func @forward(%tokens: tensor<2x3xi32>) {
  return
}
}

// -----

module attributes {tx.decode_batch = 1 : i64} {
// expected-error @+1 {{must have one tx.cross_entropy, whose logits are decoded; found 0}}
func.func @forward(%tokens: tensor<2x3xi32>) {
  return
}
}

// -----

// What mixes the tokens of a sequence has no form for one token.
module attributes {tx.decode_batch = 1 : i64} {
func.func @forward(%tokens: tensor<2x3xi32>, %w: tensor<5x4xf32>) {
  %x = tx.embedding %tokens, %w : tensor<2x3xi32>, tensor<5x4xf32> -> tensor<2x3x4xf32>
  // expected-error @+1 {{mixes tokens: its result 'tensor<4xf32>' is not one of rows [2, 3]}}
  %b = tx.bias_vjp %x : tensor<2x3x4xf32> -> tensor<4xf32>
  %logits = tx.add_bias %x, %b : tensor<2x3x4xf32>, tensor<4xf32>
  %losses, %l = tx.cross_entropy %logits, %tokens ignore_index -1 : tensor<2x3x4xf32>, tensor<2x3xi32> -> tensor<2x3xf32>, tensor<2x3xf32>
  return
}
}
