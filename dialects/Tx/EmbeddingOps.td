//===- EmbeddingOps.td - Tokens and positions ------------------------------===//
#ifndef TXC_TX_EMBEDDING_OPS
#define TXC_TX_EMBEDDING_OPS

include "Tx/TxBase.td"

def Tx_EmbeddingOp : Tx_PureOp<"embedding", [DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Looks up a row of a table for every token";
  let description = [{
    result[b, t, :] = table[tokens[b, t], :]

    Constraints:
    * (C1) `table` is [V, C], `result` [B, T, C] of the table's element type.

    Derivative: `tx.embedding_vjp`.
  }];
  let arguments = (ins Tx_TokenTensor:$tokens, Tx_FloatTensor:$table);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$tokens `,` $table attr-dict `:` type($tokens) `,` type($table) `->` type($result)";
  let hasVerifier = 1;
}

def Tx_EmbeddingVjpOp : Tx_PureOp<"embedding_vjp"> {
  let summary = "Sums the gradients of all uses of each row of a table";
  let description = [{
    result[v, :] = sum over (b, t) with tokens[b, t] = v of grad[b, t, :], in
    the order of (b, t), so that the sum is the same on every run.

    Constraints:
    * (C1) `grad` is [B, T, C], `result` [V, C].
    * (C2) `result` is f32 if `grad` is bf16, else of the type of `grad`.
  }];
  let arguments = (ins Tx_TokenTensor:$tokens, Tx_FloatTensor:$grad);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$tokens `,` $grad attr-dict `:` type($tokens) `,` type($grad) `->` type($result)";
  let hasVerifier = 1;
}

def Tx_AddPositionOp : Tx_PureOp<"add_position", [AllTypesMatch<["input", "result"]>,
    DeclareOpInterfaceMethods<Tx_RowWiseOpInterface>]> {
  let summary = "Adds the learned embedding of each position";
  let description = [{
    result[b, t, :] = input[b, t, :] + table[p + t, :]

    p is `position`, the place of each sequence's row 0; 0 if it is not given.
    The caller sees to it that p + T is within the table.

    Constraints:
    * (C1) `input` is [B, T, C], `table` [T, C].
    * (C2) with a `position`, `input` is [B, 1, C], `table` [P, C].
    * (C3) `input` and `table` have one element type.

    Derivative: the gradient itself for `input`, `tx.position_vjp` for `table`;
    there is none with a `position`, which only decoding has.
  }];
  let arguments = (ins Tx_FloatTensor:$input, Tx_FloatTensor:$table, Optional<Tx_PositionTensor>:$position);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$input `,` $table (`at` $position^)? attr-dict `:` type($input) `,` type($table)";
  let builders = [OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$input, "::mlir::Value":$table), [{
    build($_builder, $_state, result, input, table, ::mlir::Value());
  }]>];
  let hasVerifier = 1;
}

def Tx_PositionVjpOp : Tx_PureOp<"position_vjp"> {
  let summary = "Sums gradients over the batch";
  let description = [{
    result[t, :] = sum over b of grad[b, t, :], in the order of b.

    Constraints:
    * (C1) `grad` is [B, T, C], `result` [T, C].
    * (C2) `result` is f32 if `grad` is bf16, else of the type of `grad`.
  }];
  let arguments = (ins Tx_FloatTensor:$grad);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$grad attr-dict `:` type($grad) `->` type($result)";
  let hasVerifier = 1;
}

#endif // TXC_TX_EMBEDDING_OPS
