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

    Constraints:
    * (C1) each symbol names a `tx.param`; none twice; at least one.
    * (C2) the result has 9 elements.
  }];
  let arguments = (ins FlatSymbolRefArrayAttr:$params, Tx_HyperType:$hyper);
  let results = (outs Tx_F32Tensor:$stats);
  let assemblyFormat = "$params `,` $hyper attr-dict `:` type($stats)";
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
    and, with `compute`, the bf16 copy of w. `stats` is the result of `tx.global_norm`. autodiff writes one op for each
    parameter; `fuse` makes one of all, over the flat parameter arena.

    Constraints:
    * (C1) each symbol names a `tx.param`; none twice; at least one.
    * (C2) `stats` has 9 elements.
  }];
  let arguments = (ins FlatSymbolRefArrayAttr:$params, Tx_F32Tensor:$stats, Tx_HyperType:$hyper,
    UnitAttr:$compute);
  let assemblyFormat = "$params `,` $stats `,` $hyper (`compute` $compute^)? attr-dict `:` type($stats)";
  let hasVerifier = 1;
}

#endif // TXC_TX_OPTIMIZER_OPS
