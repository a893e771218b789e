//===- NormOps.td - Normalisation of rows ----------------------------------===//
#ifndef TXC_TX_NORM_OPS
#define TXC_TX_NORM_OPS

include "Tx/TxBase.td"

def Tx_RmsNormOp : Tx_PureOp<"rms_norm", [AllTypesMatch<["input", "result"]>,
    DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Scales each row by the inverse of its root mean square";
  let description = [{
    For every row x, accumulating in f32:
        rstd   = 1 / sqrt(mean(x * x) + epsilon)
        result = x * rstd * gain
    `rstd` is a result because the backward pass reads it.

    Constraints:
    * (C1) `gain` is 1-D, of the innermost size of `input`.
    * (C2) `rstd` has the shape of `input` less its innermost dimension.
    * (C3) `epsilon` is positive.
    * (C4) `gain` is f32 if `input` is bf16, else of the type of `input`.

    Derivative: `tx.rms_norm_vjp`.
  }];
  let arguments = (ins Tx_FloatTensor:$input, Tx_FloatTensor:$gain, F64Attr:$epsilon);
  let results = (outs Tx_FloatTensor:$result, Tx_F32Tensor:$rstd);
  let assemblyFormat = [{
    $input `,` $gain `epsilon` $epsilon attr-dict `:` type($input) `,` type($gain) `->` type($rstd)
  }];
  let hasVerifier = 1;
}

def Tx_RmsNormVjpOp : Tx_PureOp<"rms_norm_vjp", [AllTypesMatch<["grad", "input", "input_grad"]>,
    AllTypesMatch<["gain", "gain_grad"]>, DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Derivative of tx.rms_norm";
  let description = [{
    With xhat = x * rstd and g = grad * gain, for every row:
        input_grad = rstd * (g - xhat * mean(g * xhat))
        gain_grad  = sum over all rows of grad * xhat

    Constraints:
    * (C1) `gain` is 1-D, of the innermost size of `input`.
    * (C2) `rstd` has the shape of `input` less its innermost dimension.
    * (C3) `gain` is f32 if `input` is bf16, else of the type of `input`.
  }];
  let arguments = (ins Tx_FloatTensor:$grad, Tx_FloatTensor:$input, Tx_FloatTensor:$gain, Tx_F32Tensor:$rstd);
  let results = (outs Tx_FloatTensor:$input_grad, Tx_FloatTensor:$gain_grad);
  let assemblyFormat = [{
    $grad `,` $input `,` $gain `,` $rstd attr-dict `:` type($input) `,` type($gain) `,` type($rstd)
  }];
  let hasVerifier = 1;
}

def Tx_LayerNormOp : Tx_PureOp<"layer_norm", [AllTypesMatch<["input", "result"]>,
    DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Shifts and scales each row to mean 0 and variance 1";
  let description = [{
    For every row x, accumulating in f32:
        mean   = mean(x)
        rstd   = 1 / sqrt(mean((x - mean)^2) + epsilon)
        result = (x - mean) * rstd * gain
    A bias, if any, is a `tx.add_bias` after it.

    Constraints:
    * (C1) `gain` is 1-D, of the innermost size of `input`.
    * (C2) `mean` and `rstd` have the shape of `input` less its innermost dimension.
    * (C3) `epsilon` is positive.
    * (C4) `gain` is f32 if `input` is bf16, else of the type of `input`.

    Derivative: `tx.layer_norm_vjp`.
  }];
  let arguments = (ins Tx_FloatTensor:$input, Tx_FloatTensor:$gain, F64Attr:$epsilon);
  let results = (outs Tx_FloatTensor:$result, Tx_F32Tensor:$mean, Tx_F32Tensor:$rstd);
  let assemblyFormat = [{
    $input `,` $gain `epsilon` $epsilon attr-dict `:` type($input) `,` type($gain) `->` type($mean) `,` type($rstd)
  }];
  let hasVerifier = 1;
}

def Tx_LayerNormVjpOp : Tx_PureOp<"layer_norm_vjp", [AllTypesMatch<["grad", "input", "input_grad"]>,
    AllTypesMatch<["gain", "gain_grad"]>, AllTypesMatch<["mean", "rstd"]>,
    DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Derivative of tx.layer_norm";
  let description = [{
    With xhat = (x - mean) * rstd and g = grad * gain, for every row:
        input_grad = rstd * (g - mean(g) - xhat * mean(g * xhat))
        gain_grad  = sum over all rows of grad * xhat

    Constraints:
    * (C1) `gain` is 1-D, of the innermost size of `input`.
    * (C2) `mean` and `rstd` have the shape of `input` less its innermost dimension.
    * (C3) `gain` is f32 if `input` is bf16, else of the type of `input`.
  }];
  let arguments = (ins Tx_FloatTensor:$grad, Tx_FloatTensor:$input, Tx_FloatTensor:$gain,
    Tx_F32Tensor:$mean, Tx_F32Tensor:$rstd);
  let results = (outs Tx_FloatTensor:$input_grad, Tx_FloatTensor:$gain_grad);
  let assemblyFormat = [{
    $grad `,` $input `,` $gain `,` $mean `,` $rstd attr-dict `:` type($input) `,` type($gain) `,` type($rstd)
  }];
  let hasVerifier = 1;
}

def Tx_NormalizedOp : Tx_PureOp<"normalized", [AllTypesMatch<["input", "result"]>,
    DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "The result of a norm whose statistics are known";
  let description = [{
    result = (x - mean) * rstd * gain, as tx.layer_norm, or x * rstd * gain, as
    tx.rms_norm: made again in the backward pass instead of being kept (see
    tx-fuse-rematerialize).

    Constraints:
    * (C1) `gain` is 1-D, of the innermost size of `input`.
    * (C2) `statistics` are mean and rstd, or rstd alone; each has the shape of
      `input` less its innermost dimension.
    * (C3) `gain` is f32 if `input` is bf16, else of the type of `input`.
  }];
  let arguments = (ins Tx_FloatTensor:$input, Tx_FloatTensor:$gain, Variadic<Tx_F32Tensor>:$statistics);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = [{
    $input `,` $gain `by` $statistics attr-dict `:` type($input) `,` type($gain) `by` type($statistics)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::Value getRstd() { return getStatistics().back(); }
    /// Null for tx.rms_norm.
    ::mlir::Value getMean() { return getStatistics().size() == 2 ? getStatistics().front() : ::mlir::Value(); }
  }];
}

#endif // TXC_TX_NORM_OPS
