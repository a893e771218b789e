//===- PointwiseOps.td - Sums, activations, dropout, casts -----------------===//
#ifndef TXC_TX_POINTWISE_OPS
#define TXC_TX_POINTWISE_OPS

include "Tx/TxBase.td"

def Tx_AddOp : Tx_PureOp<"add", [SameOperandsAndResultType, Commutative,
    DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Adds two tensors of one type";
  let description = [{
    Constraints:
    * (C1) operands and result have the same type.

    Derivative: the gradient itself, for both.
  }];
  let arguments = (ins Tx_FloatTensor:$lhs, Tx_FloatTensor:$rhs);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($result)";
}

def Tx_ActivationOp : Tx_PureOp<"activation", [SameOperandsAndResultType,
    DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Applies a nonlinearity to every element";
  let description = [{
    gelu        0.5 x (1 + erf(x / sqrt 2))
    gelu_tanh   0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
    silu        x / (1 + exp(-x))
    relu        max(x, 0)
    leaky_relu  x if x > 0, else 0.01 x
    (Hendrycks and Gimpel, arXiv 1606.08415, for the first three.)

    Constraints:
    * (C1) operand and result have the same type.

    Derivative: `tx.activation_vjp`.
  }];
  let arguments = (ins Tx_FloatTensor:$input, Tx_ActivationAttr:$kind);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$kind $input attr-dict `:` type($result)";
}

def Tx_ActivationVjpOp : Tx_PureOp<"activation_vjp", [SameOperandsAndResultType,
    DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Derivative of tx.activation";
  let description = [{
    result = grad * f'(input). At 0, relu' is 0 and leaky_relu' is 0.01.

    Constraints:
    * (C1) operands and result have the same type.
  }];
  let arguments = (ins Tx_FloatTensor:$grad, Tx_FloatTensor:$input, Tx_ActivationAttr:$kind);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$kind $grad `,` $input attr-dict `:` type($result)";
}

def Tx_SwigluOp : Tx_PureOp<"swiglu", [DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Gates one half of each row by the other";
  let description = [{
    A row of `input` holds F gate elements, then F up elements:
        result[i] = silu(gate[i]) * up[i]
    (Shazeer, arXiv 2002.05202.)

    Constraints:
    * (C1) the innermost size of `input` is twice that of `result`; the leading
      dimensions and element types are the same.

    Derivative: `tx.swiglu_vjp`.
  }];
  let arguments = (ins Tx_FloatTensor:$input);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Tx_SwigluVjpOp : Tx_PureOp<"swiglu_vjp", [AllTypesMatch<["input", "result"]>,
    DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Derivative of tx.swiglu";
  let description = [{
    With s = 1 / (1 + exp(-gate)):
        d gate = grad * up * s * (1 + gate * (1 - s))
        d up   = grad * gate * s

    Constraints:
    * (C1) the innermost size of `input` is twice that of `grad`; the leading
      dimensions and element types are the same.
  }];
  let arguments = (ins Tx_FloatTensor:$grad, Tx_FloatTensor:$input);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$grad `,` $input attr-dict `:` type($grad) `,` type($input)";
  let hasVerifier = 1;
}

def Tx_DropoutOp : Tx_PureOp<"dropout", [AllTypesMatch<["input", "result"]>,
    DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Zeroes elements at random and scales the rest";
  let description = [{
    Element e (row-major index) is kept if u(e) >= p and then scaled by
    1 / (1 - p). u(e) = (w0 >> 8) * 2^-24, w0 being word 0 of the Philox4x32-10
    block with key (seed_lo, seed_hi) and counter (e_lo, e_hi, site, step_lo):
    the same element is dropped whatever the target, the fusion or the number of
    threads. (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC11.)

    Constraints:
    * (C1) 0 < `p` < 1.

    Derivative: `tx.dropout` of the gradient, same `p` and `site`.
  }];
  let arguments = (ins Tx_FloatTensor:$input, Tx_HyperType:$hyper, F64Attr:$p, I32Attr:$site);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$input `,` $hyper `p` $p `site` $site attr-dict `:` type($input)";
  let hasVerifier = 1;
}

def Tx_CastOp : Tx_PureOp<"cast", [DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Changes the element type, rounding to nearest even";
  let description = [{
    Constraints:
    * (C1) operand and result have the same shape and different element types.

    Derivative: `tx.cast` back, unless the gradient has the operand's type already,
    as that of a weight has.
  }];
  let arguments = (ins Tx_FloatTensor:$input);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

#endif // TXC_TX_POINTWISE_OPS
