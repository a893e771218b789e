//===- KernelOps.td - Regions that become one kernel or one library call ---===//
#ifndef TXC_TX_KERNEL_OPS
#define TXC_TX_KERNEL_OPS

include "Tx/TxBase.td"

def Tx_KernelOp : Tx_Op<"kernel", [IsolatedFromAbove, RecursiveMemoryEffects,
    SingleBlockImplicitTerminator<"YieldOp">, DeclareOpInterfaceMethods<Tx_BytesOpInterface>]> {
  let summary = "Groups pure ops that become one kernel or one library call";
  let description = [{
    Made by `fuse`. The body computes on block arguments that stand for the
    operands, and yields the results.

    `row_wise`        ops with RowWiseOpInterface over the same rows
    `matrix_product`  one tx.linear*, optionally added to one operand
    `attention`       one tx.attention, tx.attention_vjp or tx.decode_attention
    `attention_product`  one tx.attention_scores, tx.attention_mix or a derivative
                      of theirs: several products by a library
    `scatter`         one tx.embedding_vjp or tx.position_vjp, optionally added
                      to one operand
    `reduction`       one tx.mean_loss or tx.target_count
    `table`           one tx.rope_table

    Scalar constants may stand in any of them.

    `inplace[i]` is the operand whose buffer result i is written to, or -1.

    Constraints:
    * (C1) body arguments have the types of the operands, yielded values those of
      the results.
    * (C2) the body holds only what its kind allows.
    * (C3) `inplace` has one element per result; an element that is not -1 names
      an operand of the result's type, and no operand twice.

    Example: `%h = tx.kernel row_wise "blocks.0.residual" (%x, %y) { ... }`
  }];
  let arguments = (ins Variadic<Tx_TensorOrHyper>:$inputs, StrAttr:$name, Tx_KernelKindAttr:$kind,
    DenseI64ArrayAttr:$inplace);
  let results = (outs Variadic<AnyStaticShapeTensor>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $kind $name `(` $inputs `)` `inplace` $inplace attr-dict `:` functional-type($inputs, $results) $body
  }];
  let hasVerifier = 1;
}

def Tx_YieldOp : Tx_Op<"yield", [Pure, Terminator]> {
  let summary = "Ends the body of a tx.kernel or step.kernel";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
  let builders = [OpBuilder<(ins), [{ }]>];
}

#endif // TXC_TX_KERNEL_OPS
