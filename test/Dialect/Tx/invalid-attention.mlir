// RUN: tx-opt %s --split-input-file --verify-diagnostics

// tx.rope_table (C1)
func.func @f() {
  // expected-error @+1 {{(C1): both results must be [T, D/2], found 'tensor<8x2xf32>' and 'tensor<8x4xf32>'}}
  %cos, %sin = tx.rope_table theta 1.0e+04 : tensor<8x2xf32>, tensor<8x4xf32>
  return
}

// -----

// tx.rope_table (C2)
func.func @f() {
  // expected-error @+1 {{(C2): theta must be positive, found 0}}
  %cos, %sin = tx.rope_table theta 0.0 : tensor<8x2xf32>, tensor<8x2xf32>
  return
}

// -----

// tx.rope (C1): a head of an odd size has no pairs.
func.func @f(%x: tensor<2x3x12xf32>, %cos: tensor<3x1xf32>) {
  // expected-error @+1 {{(C1): expects [B, T, N] with an even head_dim that divides N}}
  %y = tx.rope %x, %cos, %cos half heads 2 head_dim 3 : tensor<2x3x12xf32>, tensor<3x1xf32>
  return
}

// -----

// tx.rope (C1): more heads than there are.
func.func @f(%x: tensor<2x3x12xf32>, %cos: tensor<3x2xf32>) {
  // expected-error @+1 {{(C1): expects [B, T, N] with an even head_dim that divides N and heads * head_dim <= N, found 'tensor<2x3x12xf32>', heads 4, head_dim 4}}
  %y = tx.rope %x, %cos, %cos half heads 4 head_dim 4 : tensor<2x3x12xf32>, tensor<3x2xf32>
  return
}

// -----

// tx.rope (C2)
func.func @f(%x: tensor<2x3x12xf32>, %cos: tensor<2x2xf32>) {
  // expected-error @+1 {{(C2): cos and sin must be [3, 2], found 'tensor<2x2xf32>'}}
  %y = tx.rope %x, %cos, %cos interleaved heads 2 head_dim 4 : tensor<2x3x12xf32>, tensor<2x2xf32>
  return
}

// -----

// tx.attention (C1)
func.func @f(%qkv: tensor<2x3x28xf32>) {
  // expected-error @+1 {{(C1): kv_heads must divide heads, found 2 and 3}}
  %y, %lse = tx.attention %qkv heads 3 kv_heads 2 : tensor<2x3x28xf32> -> tensor<2x3x12xf32>, tensor<2x3x3xf32>
  return
}

// -----

// tx.attention (C1)
func.func @f(%qkv: tensor<2x3x16xf32>) {
  // expected-error @+1 {{(C1): kv_heads must divide heads, found 0 and 2}}
  %y, %lse = tx.attention %qkv heads 2 kv_heads 0 : tensor<2x3x16xf32> -> tensor<2x3x8xf32>, tensor<2x2x3xf32>
  return
}

// -----

// tx.attention (C2)
func.func @f(%qkv: tensor<2x3x18xf32>) {
  // expected-error @+1 {{(C2): qkv must be [B, T, (heads + 2 kv_heads) * D], found 'tensor<2x3x18xf32>' for 2 heads and 1 kv_heads}}
  %y, %lse = tx.attention %qkv heads 2 kv_heads 1 : tensor<2x3x18xf32> -> tensor<2x3x8xf32>, tensor<2x2x3xf32>
  return
}

// -----

// tx.attention (C3)
func.func @f(%qkv: tensor<2x3x16xf32>) {
  // expected-error @+1 {{(C3): expects an output of [2, 3, 8] and lse of [2, 2, 3], found 'tensor<2x3x16xf32>' and 'tensor<2x2x3xf32>'}}
  %y, %lse = tx.attention %qkv heads 2 kv_heads 1 : tensor<2x3x16xf32> -> tensor<2x3x16xf32>, tensor<2x2x3xf32>
  return
}

// -----

// tx.attention (C3)
func.func @f(%qkv: tensor<2x3x16xf32>) {
  // expected-error @+1 {{(C3): expects an output of}}
  %y, %lse = tx.attention %qkv heads 2 kv_heads 1 : tensor<2x3x16xf32> -> tensor<2x3x8xf32>, tensor<2x3x2xf32>
  return
}

// -----

// tx.attention (C4): whoever drops needs the generator's seed.
func.func @f(%qkv: tensor<2x3x16xf32>) {
  // expected-error @+1 {{(C4): dropout must be in [0, 1) and hyper given if and only if it is positive, found dropout}}
  %y, %lse = tx.attention %qkv heads 2 kv_heads 1 {dropout = 0.5 : f64} : tensor<2x3x16xf32> -> tensor<2x3x8xf32>, tensor<2x2x3xf32>
  return
}

// -----

// tx.attention (C4)
func.func @f(%qkv: tensor<2x3x16xf32>, %hyper: !tx.hyper) {
  // expected-error @+1 {{(C4): dropout must be in [0, 1)}}
  %y, %lse = tx.attention %qkv, hyper %hyper heads 2 kv_heads 1 {dropout = 1.0 : f64} : tensor<2x3x16xf32> -> tensor<2x3x8xf32>, tensor<2x2x3xf32>
  return
}

// -----

// tx.attention_vjp (C1)
func.func @f(%qkv: tensor<2x3x28xf32>, %y: tensor<2x3x12xf32>, %lse: tensor<2x3x3xf32>) {
  // expected-error @+1 {{(C1): kv_heads must divide heads}}
  %d = tx.attention_vjp %y, %qkv, %y, %lse heads 3 kv_heads 2 : tensor<2x3x28xf32>, tensor<2x3x12xf32>, tensor<2x3x3xf32>
  return
}

// -----

// tx.attention_vjp (C2)
func.func @f(%qkv: tensor<6x16xf32>, %y: tensor<2x3x8xf32>, %lse: tensor<2x2x3xf32>) {
  // expected-error @+1 {{(C2): qkv must be [B, T, (heads + 2 kv_heads) * D]}}
  %d = tx.attention_vjp %y, %qkv, %y, %lse heads 2 kv_heads 1 : tensor<6x16xf32>, tensor<2x3x8xf32>, tensor<2x2x3xf32>
  return
}

// -----

// tx.attention_vjp (C3)
func.func @f(%qkv: tensor<2x3x16xf32>, %y: tensor<2x3x8xf32>, %lse: tensor<2x3xf32>) {
  // expected-error @+1 {{(C3): expects an output of}}
  %d = tx.attention_vjp %y, %qkv, %y, %lse heads 2 kv_heads 1 : tensor<2x3x16xf32>, tensor<2x3x8xf32>, tensor<2x3xf32>
  return
}

// -----

// tx.attention_vjp (C4)
func.func @f(%qkv: tensor<2x3x16xf32>, %y: tensor<2x3x8xf32>, %lse: tensor<2x2x3xf32>, %hyper: !tx.hyper) {
  // expected-error @+1 {{(C4): dropout must be in [0, 1) and hyper given if and only if it is positive}}
  %d = tx.attention_vjp %y, %qkv, %y, %lse, hyper %hyper heads 2 kv_heads 1 : tensor<2x3x16xf32>, tensor<2x3x8xf32>, tensor<2x2x3xf32>
  return
}

// -----

// tx.decode_attention (C1)
func.func @f(%qkv: tensor<2x1x28xf32>, %k: tensor<2x2x5x4xf32>, %p: tensor<i32>) {
  // expected-error @+1 {{(C1): kv_heads must divide heads, found 2 and 3}}
  %y, %k2, %v2 = tx.decode_attention %qkv, %k, %k at %p heads 3 kv_heads 2 : tensor<2x1x28xf32>, tensor<2x2x5x4xf32>, tensor<2x2x5x4xf32> -> tensor<2x1x12xf32>
  return
}

// -----

// tx.decode_attention (C2): one token per sequence.
func.func @f(%qkv: tensor<2x3x16xf32>, %k: tensor<2x1x5x4xf32>, %p: tensor<i32>) {
  // expected-error @+1 {{(C2): qkv must be [S, 1, (heads + 2 kv_heads) * D], found 'tensor<2x3x16xf32>' for 2 heads and 1 kv_heads}}
  %y, %k2, %v2 = tx.decode_attention %qkv, %k, %k at %p heads 2 kv_heads 1 : tensor<2x3x16xf32>, tensor<2x1x5x4xf32>, tensor<2x1x5x4xf32> -> tensor<2x1x8xf32>
  return
}

// -----

// tx.decode_attention (C3): a cache of query heads.
func.func @f(%qkv: tensor<2x1x16xf32>, %k: tensor<2x2x5x4xf32>, %p: tensor<i32>) {
  // expected-error @+1 {{(C3): keys and values must be of one type, [2, 1, T, 4] of 'f32', found 'tensor<2x2x5x4xf32>' and 'tensor<2x2x5x4xf32>'}}
  %y, %k2, %v2 = tx.decode_attention %qkv, %k, %k at %p heads 2 kv_heads 1 : tensor<2x1x16xf32>, tensor<2x2x5x4xf32>, tensor<2x2x5x4xf32> -> tensor<2x1x8xf32>
  return
}

// -----

// tx.decode_attention (C3): caches of two lengths.
func.func @f(%qkv: tensor<2x1x16xf32>, %k: tensor<2x1x5x4xf32>, %v: tensor<2x1x6x4xf32>, %p: tensor<i32>) {
  // expected-error @+1 {{(C3): keys and values must be of one type}}
  %y, %k2, %v2 = tx.decode_attention %qkv, %k, %v at %p heads 2 kv_heads 1 : tensor<2x1x16xf32>, tensor<2x1x5x4xf32>, tensor<2x1x6x4xf32> -> tensor<2x1x8xf32>
  return
}

// -----

// tx.decode_attention (C4)
func.func @f(%qkv: tensor<2x1x16xf32>, %k: tensor<2x1x5x4xf32>, %p: tensor<i32>) {
  // expected-error @+1 {{(C4): expects a result of [2, 1, 8] of 'f32', found 'tensor<2x1x4xf32>'}}
  %y, %k2, %v2 = tx.decode_attention %qkv, %k, %k at %p heads 2 kv_heads 1 : tensor<2x1x16xf32>, tensor<2x1x5x4xf32>, tensor<2x1x5x4xf32> -> tensor<2x1x4xf32>
  return
}

// -----

// tx.attention_scores (C1)
func.func @f(%q: tensor<1x5x16xf32>) {
  // expected-error @+1 {{(C1): kv_heads must divide heads and qkv be [B, T, (heads + 2 kv_heads) * D], found 'tensor<1x5x16xf32>' for 3 heads and 2 kv_heads}}
  %s = tx.attention_scores %q heads 3 kv_heads 2 : tensor<1x5x16xf32> -> tensor<1x2x5x5xf32>
  return
}

// -----

// tx.attention_scores (C2)
func.func @f(%q: tensor<1x5x16xf32>) {
  // expected-error @+1 {{(C2): expects a result of 'tensor<1x2x5x5xf32>', found 'tensor<1x2x5x4xf32>'}}
  %s = tx.attention_scores %q heads 2 kv_heads 1 : tensor<1x5x16xf32> -> tensor<1x2x5x4xf32>
  return
}

// -----

// tx.attention_mix (C1)
func.func @f(%p: tensor<1x2x5x5xf32>, %q: tensor<1x5x16xf32>) {
  // expected-error @+1 {{(C1): kv_heads must divide heads}}
  %o = tx.attention_mix %p, %q heads 2 kv_heads 4 : tensor<1x2x5x5xf32>, tensor<1x5x16xf32> -> tensor<1x5x8xf32>
  return
}

// -----

// tx.attention_mix (C2): probabilities of two heads
func.func @f(%p: tensor<1x1x5x5xf32>, %q: tensor<1x5x16xf32>) {
  // expected-error @+1 {{(C2): expects probabilities of 'tensor<1x2x5x5xf32>'}}
  %o = tx.attention_mix %p, %q heads 2 kv_heads 1 : tensor<1x1x5x5xf32>, tensor<1x5x16xf32> -> tensor<1x5x8xf32>
  return
}

// -----

// tx.attention_mix (C2): the result
func.func @f(%p: tensor<1x2x5x5xf32>, %q: tensor<1x5x16xf32>) {
  // expected-error @+1 {{(C2): expects a result of 'tensor<1x5x8xf32>'}}
  %o = tx.attention_mix %p, %q heads 2 kv_heads 1 : tensor<1x2x5x5xf32>, tensor<1x5x16xf32> -> tensor<1x5x4xf32>
  return
}

// -----

// tx.attention_mix_vjp (C1)
func.func @f(%g: tensor<1x5x8xf32>, %q: tensor<1x5x16xf32>) {
  // expected-error @+1 {{(C1): kv_heads must divide heads}}
  %d = tx.attention_mix_vjp %g, %q heads 2 kv_heads 0 : tensor<1x5x8xf32>, tensor<1x5x16xf32> -> tensor<1x2x5x5xf32>
  return
}

// -----

// tx.attention_mix_vjp (C2): the gradient
func.func @f(%g: tensor<1x5x4xf32>, %q: tensor<1x5x16xf32>) {
  // expected-error @+1 {{(C2): expects a gradient of 'tensor<1x5x8xf32>'}}
  %d = tx.attention_mix_vjp %g, %q heads 2 kv_heads 1 : tensor<1x5x4xf32>, tensor<1x5x16xf32> -> tensor<1x2x5x5xf32>
  return
}

// -----

// tx.attention_mix_vjp (C2): the result, of another type
func.func @f(%g: tensor<1x5x8xf32>, %q: tensor<1x5x16xf32>) {
  // expected-error @+1 {{(C2): expects a result of 'tensor<1x2x5x5xf32>'}}
  %d = tx.attention_mix_vjp %g, %q heads 2 kv_heads 1 : tensor<1x5x8xf32>, tensor<1x5x16xf32> -> tensor<1x2x5x5xbf16>
  return
}

// -----

// tx.attention_scores_vjp (C1)
func.func @f(%s: tensor<1x2x5x5xf32>, %g: tensor<1x5x8xf32>, %q: tensor<1x5x16xf32>) {
  // expected-error @+1 {{(C1): kv_heads must divide heads}}
  %d = tx.attention_scores_vjp %s, %s, %g, %q heads 3 kv_heads 1 : tensor<1x2x5x5xf32>, tensor<1x2x5x5xf32>, tensor<1x5x8xf32>, tensor<1x5x16xf32>
  return
}

// -----

// tx.attention_scores_vjp (C2): scores
func.func @f(%s: tensor<1x2x4x5xf32>, %p: tensor<1x2x5x5xf32>, %g: tensor<1x5x8xf32>, %q: tensor<1x5x16xf32>) {
  // expected-error @+1 {{(C2): expects scores_grad of 'tensor<1x2x5x5xf32>'}}
  %d = tx.attention_scores_vjp %s, %p, %g, %q heads 2 kv_heads 1 : tensor<1x2x4x5xf32>, tensor<1x2x5x5xf32>, tensor<1x5x8xf32>, tensor<1x5x16xf32>
  return
}

// -----

// tx.attention_scores_vjp (C2): the gradient
func.func @f(%s: tensor<1x2x5x5xf32>, %g: tensor<1x4x8xf32>, %q: tensor<1x5x16xf32>) {
  // expected-error @+1 {{(C2): expects a gradient of 'tensor<1x5x8xf32>'}}
  %d = tx.attention_scores_vjp %s, %s, %g, %q heads 2 kv_heads 1 : tensor<1x2x5x5xf32>, tensor<1x2x5x5xf32>, tensor<1x4x8xf32>, tensor<1x5x16xf32>
  return
}

// -----

// tx.causal_softmax (C1)
func.func @f(%x: tensor<1x2x5x4xf32>) {
  // expected-error @+1 {{(C1): expects [B, H, T, T], found 'tensor<1x2x5x4xf32>'}}
  %p = tx.causal_softmax %x scale 5.0e-01 : tensor<1x2x5x4xf32>
  return
}

// -----

// tx.causal_softmax (C2)
func.func @f(%x: tensor<1x2x5x5xf32>) {
  // expected-error @+1 {{(C2): scale must be positive, found 0.0}}
  %p = tx.causal_softmax %x scale 0.0 : tensor<1x2x5x5xf32>
  return
}
