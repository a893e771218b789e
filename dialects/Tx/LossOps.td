//===- LossOps.td - Cross-entropy ------------------------------------------===//
#ifndef TXC_TX_LOSS_OPS
#define TXC_TX_LOSS_OPS

include "Tx/TxBase.td"

def Tx_TargetCountOp : Tx_PureOp<"target_count"> {
  let summary = "Counts the targets that are not ignored, at least 1";
  let description = [{
    result = max(1, number of (b, t) with targets[b, t] != ignore_index)
  }];
  let arguments = (ins Tx_TokenTensor:$targets, I64Attr:$ignore_index);
  let results = (outs Tx_ScalarTensor:$result);
  let assemblyFormat = "$targets `ignore_index` $ignore_index attr-dict `:` type($targets) `->` type($result)";
}

def Tx_CrossEntropyOp : Tx_PureOp<"cross_entropy", [
    DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Negative log-likelihood of each target";
  let description = [{
    For every row x of `logits` with target y:
        lse  = log(sum(exp(x - max(x)))) + max(x)
        loss = lse - x[y], or 0 if y = ignore_index
    `lse` is a result because the backward pass reads it.

    Constraints:
    * (C1) `logits` is [B, T, V] for `targets` [B, T].
    * (C2) `loss` and `lse` are [B, T].

    Derivative: `tx.cross_entropy_vjp`.
  }];
  let arguments = (ins Tx_FloatTensor:$logits, Tx_TokenTensor:$targets, I64Attr:$ignore_index);
  let results = (outs Tx_F32Tensor:$loss, Tx_F32Tensor:$lse);
  let assemblyFormat = [{
    $logits `,` $targets `ignore_index` $ignore_index attr-dict `:` type($logits) `,` type($targets)
    `->` type($loss) `,` type($lse)
  }];
  let hasVerifier = 1;
}

def Tx_CrossEntropyVjpOp : Tx_PureOp<"cross_entropy_vjp", [AllTypesMatch<["logits", "result"]>,
    AllTypesMatch<["grad", "lse"]>, DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Derivative of tx.cross_entropy with respect to the logits";
  let description = [{
    result = grad * (exp(x - lse) - onehot(y)), or 0 if y = ignore_index.
    `fuse` writes it over the logits.

    Constraints:
    * (C1) `logits` is [B, T, V] for `targets` [B, T].
    * (C2) `grad` and `lse` are [B, T].
  }];
  let arguments = (ins Tx_F32Tensor:$grad, Tx_FloatTensor:$logits, Tx_TokenTensor:$targets, Tx_F32Tensor:$lse,
    I64Attr:$ignore_index);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = [{
    $grad `,` $logits `,` $targets `,` $lse `ignore_index` $ignore_index attr-dict
    `:` type($logits) `,` type($targets) `,` type($lse)
  }];
  let hasVerifier = 1;
}

def Tx_MeanLossOp : Tx_PureOp<"mean_loss"> {
  let summary = "Sum of all losses over the number of counted targets";
  let description = [{
    result = sum(losses) / count, summed in row-major order in f64.

    Derivative: `tx.mean_loss_vjp`.
  }];
  let arguments = (ins Tx_F32Tensor:$losses, Tx_ScalarTensor:$count);
  let results = (outs Tx_ScalarTensor:$result);
  let assemblyFormat = "$losses `,` $count attr-dict `:` type($losses) `,` type($count) `->` type($result)";
}

def Tx_MeanLossVjpOp : Tx_PureOp<"mean_loss_vjp", [DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Derivative of tx.mean_loss";
  let description = [{
    Every element of result is grad / count.
  }];
  let arguments = (ins Tx_ScalarTensor:$grad, Tx_ScalarTensor:$count);
  let results = (outs Tx_F32Tensor:$result);
  let assemblyFormat = "$grad `,` $count attr-dict `:` type($grad) `,` type($count) `->` type($result)";
}

#endif // TXC_TX_LOSS_OPS
