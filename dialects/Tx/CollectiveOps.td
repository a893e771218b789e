//===- CollectiveOps.td - What ranks exchange ------------------------------===//
#ifndef TXC_TX_COLLECTIVE_OPS
#define TXC_TX_COLLECTIVE_OPS

include "Tx/TxBase.td"

// A module after shard is what each of N ranks runs (`tx.mesh` says how many).
// A collective is met by all of them with tensors of equal shapes, so they run
// the same collectives in the same order. Several tensors in one op are one
// exchange: a bucket. The name is that of the exchange in logs and errors.
//
// The shard of a tensor of E elements is S = ceil(E / N), rounded up to a
// multiple of 64. Rank r has its flat elements [r * S, (r + 1) * S); what lies
// past E is padding: zero, in no statistics, updated to zero.

def Tx_AllReduceOp : Tx_Op<"all_reduce"> {
  let summary = "Combines tensors of all ranks; every rank has the result";
  let description = [{
    result_i = input_i of rank 0, combined elementwise with those of the other
    ranks by sum, min or max. The same bits on every rank.

    Constraints:
    * (C1) the results have the types of the inputs; at least one.

    Example: `%l, %c = tx.all_reduce sum "loss" (%loss, %count)
      : (tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>)`
  }];
  let arguments = (ins Tx_ReductionAttr:$reduction, StrAttr:$name, Variadic<Tx_FloatTensor>:$inputs);
  let results = (outs Variadic<Tx_FloatTensor>:$results);
  let assemblyFormat = "$reduction $name `(` $inputs `)` attr-dict `:` functional-type($inputs, $results)";
  let hasVerifier = 1;
}

def Tx_ReduceScatterOp : Tx_Op<"reduce_scatter"> {
  let summary = "Sums tensors over all ranks; every rank has its shards of the sums";
  let description = [{
    Constraints:
    * (C1) one result for each input, of its element type; at least one.
    * (C2) a result is 1-D, of the elements of a shard of its input over `ranks`
      ranks.

    Example: `%s = tx.reduce_scatter "gradients/blocks.0" (%g) over 2
      : (tensor<30x10xf32>) -> tensor<192xf32>`
  }];
  let arguments = (ins StrAttr:$name, Variadic<Tx_FloatTensor>:$inputs, I64Attr:$ranks);
  let results = (outs Variadic<Tx_FloatTensor>:$results);
  let assemblyFormat = "$name `(` $inputs `)` `over` $ranks attr-dict `:` functional-type($inputs, $results)";
  let hasVerifier = 1;
}

def Tx_AllGatherOp : Tx_Op<"all_gather"> {
  let summary = "Puts whole tensors together from the shards of all ranks";
  let description = [{
    The padding of the last shards is dropped: a result has its own shape.

    Constraints:
    * (C1) one result for each input, of its element type; at least one.
    * (C2) an input is 1-D, of the elements of a shard of its result over `ranks`
      ranks.

    Example: `%w = tx.all_gather "weights/blocks.0" (%s) over 2
      : (tensor<192xbf16>) -> tensor<30x10xbf16>`
  }];
  let arguments = (ins StrAttr:$name, Variadic<Tx_FloatTensor>:$inputs, I64Attr:$ranks);
  let results = (outs Variadic<Tx_FloatTensor>:$results);
  let assemblyFormat = "$name `(` $inputs `)` `over` $ranks attr-dict `:` functional-type($inputs, $results)";
  let hasVerifier = 1;
}

#endif // TXC_TX_COLLECTIVE_OPS
