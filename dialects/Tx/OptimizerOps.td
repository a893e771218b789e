//===- OptimizerOps.td - Gradient statistics, clipping and AdamW -----------===//
#ifndef TXC_TX_OPTIMIZER_OPS
#define TXC_TX_OPTIMIZER_OPS

include "Tx/TxBase.td"

def Tx_GlobalNormOp : Tx_Op<"global_norm", [DeclareOpInterfaceMethods<Tx_BytesOpInterface>]> {
  let summary = "Norm, clip factor and statistics of all gradients, in one pass";
  let description = [{
    Over g = grad * hyper.grad_scale of all elements of the named parameters, in
    f64, the result holds in the order of `struct txc_update_result`:
        norm        = sqrt(sum(g^2))
        clip_scale  = min(1, grad_clip / norm); 1 if grad_clip <= 0
        mean, standard deviation (of the population), minimum, maximum
        mean, maximum and minimum over the parameters of each one's norm
        number of elements that are infinite or not a number
        1 if there are any and hyper.skip_nonfinite is not 0, else 0: update skipped

    `shard` replaces it by `tx.gradient_sums`, a tx.all_reduce of each result, and
    `tx.gradient_stats`, once gradients are spread over ranks.

    Constraints:
    * (C1) each symbol names a `tx.param` without shards; none twice; at least one.
    * (C2) the result has 11 elements.
  }];
  let arguments = (ins FlatSymbolRefArrayAttr:$params, Tx_HyperType:$hyper);
  let results = (outs Tx_F32Tensor:$stats);
  let assemblyFormat = "$params `,` $hyper attr-dict `:` type($stats)";
  let hasVerifier = 1;
}

def Tx_GradientSumsOp : Tx_Op<"gradient_sums", [DeclareOpInterfaceMethods<Tx_BytesOpInterface>]> {
  let summary = "This rank's part of the sums that gradient statistics come from";
  let description = [{
    Over g = grad * hyper.grad_scale of P parameters: of one with shards the
    elements of grad_shard that are not padding; of any other all elements of
    grad on rank 0, and none on other ranks, since all have the same. In f64:
        sums     = sum over all parameters of sum(g), then for each one sum(g^2),
                   then the number of elements that are infinite or not a number
        extrema  = min(g), -max(g) over all parameters; infinity for no elements
    Added over ranks (`extrema` by min), `tx.gradient_stats` reads them.

    Constraints:
    * (C1) each symbol names a `tx.param`; none twice; at least one.
    * (C2) `sums` is f64 [2 + P], `extrema` f32 [2].
  }];
  let arguments = (ins FlatSymbolRefArrayAttr:$params, Tx_HyperType:$hyper);
  let results = (outs Tx_F32Tensor:$sums, Tx_F32Tensor:$extrema);
  let assemblyFormat = "$params `,` $hyper attr-dict `:` type($sums) `,` type($extrema)";
  let hasVerifier = 1;
}

def Tx_GradientStatsOp : Tx_Op<"gradient_stats", [Pure]> {
  let summary = "tx.global_norm's result from sums over all ranks";
  let description = [{
    With E elements (padding not counted) in the named parameters:
        norm                = sqrt(the sum of all squares)
        mean                = sums[0] / E
        standard deviation  = sqrt(max(0, norm^2 / E - mean^2))
    and the rest as in `tx.global_norm`.

    Constraints:
    * (C1) each symbol names a `tx.param`; none twice; at least one.
    * (C2) the result has 11 elements.
    * (C3) `sums` is f64 [2 + P], `extrema` f32 [2].
  }];
  let arguments = (ins FlatSymbolRefArrayAttr:$params, Tx_F32Tensor:$sums, Tx_F32Tensor:$extrema,
    Tx_HyperType:$hyper);
  let results = (outs Tx_F32Tensor:$stats);
  let assemblyFormat = [{
    $params `,` $sums `,` $extrema `,` $hyper attr-dict
    `:` type($sums) `,` type($extrema) `->` type($stats)
  }];
  let hasVerifier = 1;
}

def Tx_AdamwOp : Tx_Op<"adamw", [DeclareOpInterfaceMethods<Tx_BytesOpInterface>]> {
  let summary = "Updates parameters by AdamW and zeroes their gradients";
  let description = [{
    For each named parameter w with gradient g and moments m, v (Loshchilov and
    Hutter, arXiv 1711.05101), elementwise, with hyper's values:
        g' = g * grad_scale * clip_scale
        m  = beta1 * m + (1 - beta1) * g'
        v  = beta2 * v + (1 - beta2) * g'^2
        w  = w - lr * weight_decay * w           (if the parameter has `decay`)
        w  = w - lr * (m / bias_correction1) / (sqrt(v / bias_correction2) + epsilon)
        g  = 0
    but w, m and v stay as they are if `stats` says that the update is skipped;
    and, with `compute`, the bf16 copy of w. `stats` is the result of
    `tx.global_norm` or `tx.gradient_stats`. Of a parameter with shards, w, m and v
    are the shard's, g is grad_shard, the copy compute_shard. autodiff writes one op
    for each parameter; `fuse` makes one of all, over the flat parameter arena.

    Constraints:
    * (C1) each symbol names a `tx.param`; none twice; at least one.
    * (C2) `stats` has 11 elements.
  }];
  let arguments = (ins FlatSymbolRefArrayAttr:$params, Tx_F32Tensor:$stats, Tx_HyperType:$hyper,
    UnitAttr:$compute);
  let assemblyFormat = "$params `,` $stats `,` $hyper (`compute` $compute^)? attr-dict `:` type($stats)";
  let hasVerifier = 1;
}

#endif // TXC_TX_OPTIMIZER_OPS
