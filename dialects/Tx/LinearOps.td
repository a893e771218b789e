//===- LinearOps.td - Matrix products and biases ---------------------------===//
#ifndef TXC_TX_LINEAR_OPS
#define TXC_TX_LINEAR_OPS

include "Tx/TxBase.td"

def Tx_LinearOp : Tx_PureOp<"linear", [DeclareOpInterfaceMethods<Tx_FlopsOpInterface>]> {
  let summary = "Multiplies every row by the transpose of a weight";
  let description = [{
    result[..., o] = sum over i of input[..., i] * weight[o, i], accumulated in
    f32 or better.

    Constraints:
    * (C1) `weight` is [out, in], `in` the innermost size of `input`.
    * (C2) `result` has the shape of `input` with `out` innermost.
    * (C3) `input`, `weight` and `result` have one element type.

    FLOPs: 2 * rows * out * in.
    Derivatives: `tx.linear_input_vjp`, `tx.linear_weight_vjp`.
  }];
  let arguments = (ins Tx_FloatTensor:$input, Tx_FloatTensor:$weight);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$input `,` $weight attr-dict `:` type($input) `,` type($weight) `->` type($result)";
  let hasVerifier = 1;
}

def Tx_LinearInputVjpOp : Tx_PureOp<"linear_input_vjp", [DeclareOpInterfaceMethods<Tx_FlopsOpInterface>]> {
  let summary = "Gradient of tx.linear with respect to its input";
  let description = [{
    result[..., i] = sum over o of grad[..., o] * weight[o, i]

    Constraints:
    * (C1) `weight` is [out, in], `out` the innermost size of `grad`.
    * (C2) `result` has the shape of `grad` with `in` innermost.
    * (C3) `grad`, `weight` and `result` have one element type.

    FLOPs: 2 * rows * out * in.
  }];
  let arguments = (ins Tx_FloatTensor:$grad, Tx_FloatTensor:$weight);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$grad `,` $weight attr-dict `:` type($grad) `,` type($weight) `->` type($result)";
  let hasVerifier = 1;
}

def Tx_LinearWeightVjpOp : Tx_PureOp<"linear_weight_vjp", [DeclareOpInterfaceMethods<Tx_FlopsOpInterface>]> {
  let summary = "Gradient of tx.linear with respect to its weight";
  let description = [{
    result[o, i] = sum over rows r of grad[r, o] * input[r, i]

    Constraints:
    * (C1) `grad` and `input` have the same leading dimensions.
    * (C2) `result` is [out, in], the innermost sizes of `grad` and `input`.
    * (C3) `grad` and `input` have one element type.
    * (C4) `result` is f32 if `grad` is bf16, else of the type of `grad`.

    FLOPs: 2 * rows * out * in.
  }];
  let arguments = (ins Tx_FloatTensor:$grad, Tx_FloatTensor:$input);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$grad `,` $input attr-dict `:` type($grad) `,` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Tx_AddBiasOp : Tx_PureOp<"add_bias", [AllTypesMatch<["input", "result"]>,
    DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Adds a vector to every row";
  let description = [{
    result[..., i] = input[..., i] + bias[i]

    Constraints:
    * (C1) `bias` is 1-D, of the innermost size of `input`.
    * (C2) `bias` is f32 if `input` is bf16, else of the type of `input`.

    Derivative: the gradient itself for `input`, `tx.bias_vjp` for `bias`.
  }];
  let arguments = (ins Tx_FloatTensor:$input, Tx_FloatTensor:$bias);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$input `,` $bias attr-dict `:` type($input) `,` type($bias)";
  let hasVerifier = 1;
}

def Tx_BiasVjpOp : Tx_PureOp<"bias_vjp", [DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Sums all rows";
  let description = [{
    result[i] = sum over rows r of grad[r, i]

    Constraints:
    * (C1) `result` is 1-D, of the innermost size of `grad`.
    * (C2) `result` is f32 if `grad` is bf16, else of the type of `grad`.
  }];
  let arguments = (ins Tx_FloatTensor:$grad);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$grad attr-dict `:` type($grad) `->` type($result)";
  let hasVerifier = 1;
}

#endif // TXC_TX_LINEAR_OPS
