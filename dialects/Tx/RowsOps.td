//===- RowsOps.td - Parts of a tensor, by rows -----------------------------===//
#ifndef TXC_TX_ROWS_OPS
#define TXC_TX_ROWS_OPS

include "Tx/TxBase.td"

// Rows are numbered b * T + t. Neither op moves bytes: plan makes them places
// within one buffer.

def Tx_SliceRowsOp : Tx_PureOp<"slice_rows"> {
  let summary = "Some consecutive rows of a tensor";
  let description = [{
    result[0, i, ...] = row `from` + i of input.

    Constraints:
    * (C1) `input` is [B, T] or [B, T, C], `result` [1, N] or [1, N, C] of its
      element type.
    * (C2) 0 <= `from` and `from` + N <= B * T.
  }];
  let arguments = (ins Tx_RowsTensor:$input, I64Attr:$from);
  let results = (outs Tx_RowsTensor:$result);
  let assemblyFormat = "$input `from` $from attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Tx_ConcatRowsOp : Tx_PureOp<"concat_rows"> {
  let summary = "A tensor from all its rows, in parts";
  let description = [{
    The rows of the first part, then those of the second, ...

    Constraints:
    * (C1) `result` is [B, T] or [B, T, C], each part [1, N] or [1, N, C] of its
      element type.
    * (C2) the parts have B * T rows in all.
  }];
  let arguments = (ins Variadic<Tx_RowsTensor>:$parts);
  let results = (outs Tx_RowsTensor:$result);
  let assemblyFormat = "$parts attr-dict `:` type($parts) `->` type($result)";
  let hasVerifier = 1;
}

#endif // TXC_TX_ROWS_OPS
