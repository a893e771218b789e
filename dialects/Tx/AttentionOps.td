//===- AttentionOps.td - Rotary positions and attention --------------------===//
#ifndef TXC_TX_ATTENTION_OPS
#define TXC_TX_ATTENTION_OPS

include "Tx/TxBase.td"

def Tx_RopeTableOp : Tx_PureOp<"rope_table"> {
  let summary = "Angles of the rotary position embedding";
  let description = [{
    For row t and pair j of a head of D elements (Su et al., RoFormer,
    arXiv 2104.09864): angle = (p + t) * theta^(-2j/D); cos[t, j] and sin[t, j].
    p is `position`, the place of row 0 in its sequence; 0 if it is not given.

    Constraints:
    * (C1) both results are of one type, [T, D/2].
    * (C2) `theta` is positive.
  }];
  let arguments = (ins Optional<Tx_PositionTensor>:$position, F64Attr:$theta);
  let results = (outs Tx_F32Tensor:$cos, Tx_F32Tensor:$sin);
  let assemblyFormat = "`theta` $theta (`from` $position^)? attr-dict `:` type($cos) `,` type($sin)";
  let builders = [OpBuilder<(ins "::mlir::Type":$cos, "::mlir::Type":$sin, "::llvm::APFloat":$theta), [{
    build($_builder, $_state, cos, sin, ::mlir::Value(), theta);
  }]>];
  let hasVerifier = 1;
}

def Tx_RopeOp : Tx_PureOp<"rope", [AllTypesMatch<["input", "result"]>, AllTypesMatch<["cos", "sin"]>,
    DeclareOpInterfaceMethods<Tx_RowWiseOpInterface, ["isPointwise"]>]> {
  let summary = "Rotates pairs of the leading heads of each row by their position";
  let description = [{
    `input` is [B, T, N], a row being heads of `head_dim` elements; the first
    `heads` of them are rotated, the rest copied. A pair (a, b) at position t
    becomes (a cos - b sin, a sin + b cos). Pair j of a head is
    (2j, 2j+1) if `layout` is interleaved, (j, j + D/2) if half. `inverse`
    rotates by the opposite angle, which is the derivative.

    Constraints:
    * (C1) `head_dim` is even and divides N; `heads` * `head_dim` <= N.
    * (C2) `cos` and `sin` are [T, head_dim/2].

    Derivative: `tx.rope` with `inverse` toggled.
  }];
  let arguments = (ins Tx_FloatTensor:$input, Tx_F32Tensor:$cos, Tx_F32Tensor:$sin,
    I64Attr:$heads, I64Attr:$head_dim, Tx_RopeLayoutAttr:$layout, UnitAttr:$inverse);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = [{
    $input `,` $cos `,` $sin $layout (`inverse` $inverse^)?
    `heads` $heads `head_dim` $head_dim attr-dict `:` type($input) `,` type($cos)
  }];
  let hasVerifier = 1;
}

def Tx_AttentionOp : Tx_PureOp<"attention", [
    DeclareOpInterfaceMethods<Tx_FlopsOpInterface, ["getFlopsCausal"]>]> {
  let summary = "Causal scaled dot-product attention over packed heads";
  let description = [{
    A row of `qkv` [B, T, (H + 2K) * D] holds H query heads, K key heads, K
    value heads of D elements. Query head h reads key/value head h / (H / K).
    For every b, h, t, over s <= t:
        score[s] = dot(q[t], k[s]) / sqrt(D)
        lse      = log(sum(exp(score)))
        p[s]     = exp(score[s] - lse)
        result   = sum over s of drop(p[s]) * v[s]
    `drop` keeps element e = ((b * H + h) * T + t) * T + s as `tx.dropout` does,
    with probability `dropout` of being dropped. `lse` is a result because the
    backward pass computes p again from it: no T x T matrix is ever held.

    Constraints:
    * (C1) `n_kv_head` divides `n_head`.
    * (C2) the innermost size of `qkv` is (n_head + 2 n_kv_head) * D for a whole D.
    * (C3) `result` is [B, T, n_head * D], `lse` is [B, n_head, T].
    * (C4) 0 <= `dropout` < 1; `hyper` is given if and only if it is positive.

    FLOPs: 4 * B * n_head * D * T * T in full, T (T + 1) / 2 pairs causal.
    Derivative: `tx.attention_vjp`.
  }];
  let arguments = (ins Tx_FloatTensor:$qkv, Optional<Tx_HyperType>:$hyper, I64Attr:$n_head, I64Attr:$n_kv_head,
    DefaultValuedAttr<F64Attr, "0.0">:$dropout, DefaultValuedAttr<I32Attr, "0">:$site);
  let results = (outs Tx_FloatTensor:$result, Tx_F32Tensor:$lse);
  let assemblyFormat = [{
    $qkv (`,` `hyper` $hyper^)? `heads` $n_head `kv_heads` $n_kv_head attr-dict
    `:` type($qkv) `->` type($result) `,` type($lse)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t getHeadDim();
  }];
}

def Tx_AttentionVjpOp : Tx_PureOp<"attention_vjp", [
    AllTypesMatch<["qkv", "qkv_grad"]>, AllTypesMatch<["grad", "output"]>,
    DeclareOpInterfaceMethods<Tx_FlopsOpInterface, ["getFlopsCausal"]>]> {
  let summary = "Derivative of tx.attention";
  let description = [{
    With p as in `tx.attention`, recomputed from `qkv` and `lse`, dp the gradient
    of p and delta[t] = dot(grad[t], output[t]) per head:
        dv[s]  = sum over t of drop(p[t, s]) * grad[t]
        ds     = p * (dp - delta)
        dq[t]  = sum over s of ds[t, s] * k[s] / sqrt(D)
        dk[s]  = sum over t of ds[t, s] * q[t] / sqrt(D)
    summed over the query heads that share a key/value head, in head order.

    Constraints: as `tx.attention`.

    FLOPs: 8 * B * n_head * D * T * T in full (four products; the recomputed
    scores are not counted), T (T + 1) / 2 pairs causal.
  }];
  let arguments = (ins Tx_FloatTensor:$grad, Tx_FloatTensor:$qkv, Tx_FloatTensor:$output, Tx_F32Tensor:$lse,
    Optional<Tx_HyperType>:$hyper, I64Attr:$n_head, I64Attr:$n_kv_head,
    DefaultValuedAttr<F64Attr, "0.0">:$dropout, DefaultValuedAttr<I32Attr, "0">:$site);
  let results = (outs Tx_FloatTensor:$qkv_grad);
  let assemblyFormat = [{
    $grad `,` $qkv `,` $output `,` $lse (`,` `hyper` $hyper^)? `heads` $n_head `kv_heads` $n_kv_head attr-dict
    `:` type($qkv) `,` type($output) `,` type($lse)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t getHeadDim();
  }];
}

def Tx_DecodeAttentionOp : Tx_PureOp<"decode_attention", [
    AllTypesMatch<["keys", "new_keys"]>, AllTypesMatch<["values", "new_values"]>,
    DeclareOpInterfaceMethods<Tx_FlopsOpInterface, ["getFlopsCausal"]>]> {
  let summary = "Attention of one token per sequence to all before it, kept in a cache";
  let description = [{
    A row of `qkv` [S, 1, (H + 2K) * D] is packed as for `tx.attention` and
    belongs to the token at `position` p of its sequence. The caches [S, K, T, D]
    hold the keys and values of positions 0 to p - 1; what they hold from p on is
    not read. The new caches are the old ones with the token's keys and values at
    position p. For every s and h, over the positions i <= p of the new caches:
        score[i]  = dot(q, keys[i]) / sqrt(D)
        result    = sum over i of softmax(score)[i] * values[i]
    Query head h reads key/value head h / (H / K). `fuse` writes the new caches
    over the old ones, so that one row of each head is written.

    Constraints:
    * (C1) `n_kv_head` divides `n_head`.
    * (C2) `qkv` is [S, 1, (n_head + 2 n_kv_head) * D] for a whole D.
    * (C3) `keys` and `values` are [S, n_kv_head, T, D] of qkv's element type.
    * (C4) `result` is [S, 1, n_head * D] of qkv's element type.

    `position` is below T; the caller sees to that.

    FLOPs: 4 * S * n_head * D * T in full, (T + 1) / 2 positions causal: the mean
    over the calls that fill the cache.
  }];
  let arguments = (ins Tx_FloatTensor:$qkv, Tx_FloatTensor:$keys, Tx_FloatTensor:$values,
    Tx_PositionTensor:$position, I64Attr:$n_head, I64Attr:$n_kv_head);
  let results = (outs Tx_FloatTensor:$result, Tx_FloatTensor:$new_keys, Tx_FloatTensor:$new_values);
  let assemblyFormat = [{
    $qkv `,` $keys `,` $values `at` $position `heads` $n_head `kv_heads` $n_kv_head attr-dict
    `:` type($qkv) `,` type($keys) `,` type($values) `->` type($result)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t getHeadDim();
  }];
}

//===-- Attention in parts -------------------------------------------------===//
// What tx.attention and its derivative are when their T x T matrices are kept in
// memory (`attention_backend: manual`): made by tx-fuse-expand-attention.

class Tx_AttentionProductOp<string mnemonic, list<Trait> traits = []> : Tx_PureOp<mnemonic, traits # [
    DeclareOpInterfaceMethods<Tx_FlopsOpInterface, ["getFlopsCausal"]>]> {
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t getHeadDim();
  }];
}

def Tx_AttentionScoresOp : Tx_AttentionProductOp<"attention_scores"> {
  let summary = "Products of all queries with all keys";
  let description = [{
    `qkv` [B, T, (H + 2K) * D] is packed as for `tx.attention`. For every b, h, t, s:
        result[b, h, t, s] = dot(q[t], k[s])
    Neither scaled nor masked.

    Constraints:
    * (C1) `n_kv_head` divides `n_head`, and `qkv` is [B, T, (n_head + 2 n_kv_head) * D].
    * (C2) `result` is [B, n_head, T, T] of qkv's element type.

    FLOPs: 2 * B * n_head * D * T * T in full, T (T + 1) / 2 pairs causal.
  }];
  let arguments = (ins Tx_FloatTensor:$qkv, I64Attr:$n_head, I64Attr:$n_kv_head);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$qkv `heads` $n_head `kv_heads` $n_kv_head attr-dict `:` type($qkv) `->` type($result)";
}

def Tx_CausalSoftmaxOp : Tx_PureOp<"causal_softmax", [AllTypesMatch<["input", "result"]>,
    DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Softmax of each row over the columns up to the diagonal";
  let description = [{
    `input` is [B, H, T, T]. For every b, h, t, over s <= t:
        result[s] = exp(scale * input[s] - log(sum(exp(scale * input))))
    and 0 for s > t, whatever `input` holds there.

    Constraints:
    * (C1) `input` is [B, H, T, T].
    * (C2) `scale` is positive.

    Derivative: `tx.causal_softmax_vjp`.
  }];
  let arguments = (ins Tx_FloatTensor:$input, F64Attr:$scale);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$input `scale` $scale attr-dict `:` type($input)";
  let hasVerifier = 1;
}

def Tx_CausalSoftmaxVjpOp : Tx_PureOp<"causal_softmax_vjp", [AllTypesMatch<["grad", "output", "result"]>,
    DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Derivative of tx.causal_softmax";
  let description = [{
    With p the `output` of the forward op, over s <= t:
        result[s] = scale * p[s] * (grad[s] - sum(p * grad))
    and 0 for s > t.

    Constraints: as `tx.causal_softmax`.
  }];
  let arguments = (ins Tx_FloatTensor:$grad, Tx_FloatTensor:$output, F64Attr:$scale);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$grad `,` $output `scale` $scale attr-dict `:` type($grad)";
  let hasVerifier = 1;
}

def Tx_AttentionMixOp : Tx_AttentionProductOp<"attention_mix"> {
  let summary = "Sums of values, weighted by probabilities";
  let description = [{
    For every b, h, t, with p = `probabilities` [B, H, T, T]:
        result[b, t, h * D + d] = sum over s of p[b, h, t, s] * v[s, d]

    Constraints:
    * (C1) as `tx.attention_scores`.
    * (C2) `probabilities` is [B, n_head, T, T], `result` [B, T, n_head * D], both of
      qkv's element type.

    FLOPs: as `tx.attention_scores`.
  }];
  let arguments = (ins Tx_FloatTensor:$probabilities, Tx_FloatTensor:$qkv, I64Attr:$n_head, I64Attr:$n_kv_head);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = [{
    $probabilities `,` $qkv `heads` $n_head `kv_heads` $n_kv_head attr-dict
    `:` type($probabilities) `,` type($qkv) `->` type($result)
  }];
}

def Tx_AttentionMixVjpOp : Tx_AttentionProductOp<"attention_mix_vjp"> {
  let summary = "Derivative of tx.attention_mix by its probabilities";
  let description = [{
        result[b, h, t, s] = sum over d of grad[b, t, h * D + d] * v[s, d]
    for all s, those after t included.

    Constraints:
    * (C1) as `tx.attention_scores`.
    * (C2) `grad` is [B, T, n_head * D], `result` [B, n_head, T, T], both of qkv's
      element type.

    FLOPs: as `tx.attention_scores`.
  }];
  let arguments = (ins Tx_FloatTensor:$grad, Tx_FloatTensor:$qkv, I64Attr:$n_head, I64Attr:$n_kv_head);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = [{
    $grad `,` $qkv `heads` $n_head `kv_heads` $n_kv_head attr-dict `:` type($grad) `,` type($qkv) `->` type($result)
  }];
}

def Tx_AttentionScoresVjpOp : Tx_AttentionProductOp<"attention_scores_vjp", [AllTypesMatch<["qkv", "qkv_grad"]>]> {
  let summary = "Gradient of packed heads, from those of scores and results";
  let description = [{
    With ds = `scores_grad`, p = `probabilities` as `tx.attention_mix` read them:
        dq[t] = sum over s of ds[t, s] * k[s]
        dk[s] = sum over t of ds[t, s] * q[t]
        dv[s] = sum over t of p[t, s] * grad[t]
    dk and dv summed over the query heads that share a key/value head, in head order.

    Constraints:
    * (C1) as `tx.attention_scores`.
    * (C2) `scores_grad` and `probabilities` are [B, n_head, T, T], `grad` is
      [B, T, n_head * D], all of qkv's element type.

    FLOPs: 6 * B * n_head * D * T * T in full, T (T + 1) / 2 pairs causal.
  }];
  let arguments = (ins Tx_FloatTensor:$scores_grad, Tx_FloatTensor:$probabilities, Tx_FloatTensor:$grad,
    Tx_FloatTensor:$qkv, I64Attr:$n_head, I64Attr:$n_kv_head);
  let results = (outs Tx_FloatTensor:$qkv_grad);
  let assemblyFormat = [{
    $scores_grad `,` $probabilities `,` $grad `,` $qkv `heads` $n_head `kv_heads` $n_kv_head attr-dict
    `:` type($scores_grad) `,` type($probabilities) `,` type($grad) `,` type($qkv)
  }];
}

#endif // TXC_TX_ATTENTION_OPS
