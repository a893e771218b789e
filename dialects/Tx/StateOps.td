//===- StateOps.td - Parameters and the state that outlives a function -----===//
#ifndef TXC_TX_STATE_OPS
#define TXC_TX_STATE_OPS

include "Tx/TxBase.td"

def Tx_ParamOp : Tx_Op<"param", [Symbol]> {
  let summary = "Declares a trainable parameter";
  let description = [{
    The symbol is the parameter's YAML path. `init` and `stddev` say how
    `tx.init` fills it, `site` is its number in the counter-based generator,
    `decay` whether weight decay applies. Each parameter has four tensors of its
    type: value, grad, moment1, moment2; and a fifth, compute, which is the value
    rounded to bf16, in programs whose `tx.init` and `tx.adamw` keep it.

    With `shards` = N, N ranks share the parameter, each has one shard (see
    tx.all_reduce's file) of S elements:
        value, moment1, moment2   [S]: the shard's
        grad                      its type: what this rank has accumulated
        grad_shard                [S]: the shard of the sum over ranks
        compute                   its type, or bf16 of its shape: the copy of the
                                  whole value that the program reads
        compute_shard             bf16 [S]: the shard, as `tx.init` and
                                  `tx.adamw` with `compute` keep it
    A program need not use all of them; one that is not used has no memory.

    Constraints:
    * (C1) the type is a static tensor of f32 (the master precision).
    * (C2) `stddev` is positive if and only if `init` is `normal`; otherwise 0.
    * (C3) `decay` only for tensors of two or more dimensions.
    * (C4) `shards`, if given, is 2 or more.

    Example: `tx.param @"blocks.0.attn.qkv.weight" : tensor<2304x768xf32>
      init = normal(2.0e-2) site = 3 decay`
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type, Tx_InitAttr:$init,
    F64Attr:$stddev, I32Attr:$site, UnitAttr:$decay, OptionalAttr<I64Attr>:$shards);
  let assemblyFormat = [{
    $sym_name `:` $type `init` `=` $init `(` $stddev `)` `site` `=` $site
    (`decay` $decay^)? (`shards` `=` $shards^)? attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The type of one of its tensors; of `compute` the narrowest (bf16). Null if
    /// it has no such tensor.
    ::mlir::RankedTensorType getStateType(::txc::tx::State state);
    /// Elements of each rank's shard. Only with `shards`.
    int64_t getShardElements();
  }];
}

def Tx_CacheOp : Tx_Op<"cache", [Symbol]> {
  let summary = "Declares the keys or the values of all past tokens of a layer";
  let description = [{
    One tensor [S, K, T, D]: for each of S sequences and K key/value heads, a row
    of D elements for each position. It holds its contents from one call of
    `@decode` to the next; a call of any other function may destroy them. It has
    one state, `value`.

    Constraints:
    * (C1) the type is a static tensor of floats of rank 4.

    Example: `tx.cache @"blocks.0.attn.keys" : tensor<1x12x1024x64xf32>`
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type);
  let assemblyFormat = "$sym_name `:` $type attr-dict";
  let hasVerifier = 1;
}

def Tx_ReadOp : Tx_Op<"read"> {
  let summary = "Reads a tensor of a parameter, or a cache";
  let description = [{
    Constraints:
    * (C1) `param` names a `tx.param` whose tensor is of the result's type.
    * (C2) of a `tx.cache` the state is `value` and the type the result's.
    * (C3) `compute` is bf16, or of a parameter with shards.

    Example: `%w = tx.read @"lm_head.weight" value : tensor<256x64xf32>`
  }];
  let arguments = (ins FlatSymbolRefAttr:$param, Tx_StateAttr:$state);
  let results = (outs Tx_FloatTensor:$result);
  let assemblyFormat = "$param $state attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Tx_AssignOp : Tx_Op<"assign"> {
  let summary = "Replaces a tensor of a parameter, or a cache";
  let description = [{
    Constraints:
    * (C1) `param` names a `tx.param` whose tensor is of the value's type.
    * (C2) of a `tx.cache` the state is `value` and the type the value's.
    * (C3) `state` is not `compute` or `compute_shard`, which follow the value;
      but `compute` of a parameter with shards is assigned, once gathered.

    Example: `tx.assign @"wte.weight" grad, %g : tensor<256x64xf32>`
  }];
  let arguments = (ins FlatSymbolRefAttr:$param, Tx_StateAttr:$state, Tx_FloatTensor:$value);
  let assemblyFormat = "$param $state `,` $value attr-dict `:` type($value)";
  let hasVerifier = 1;
}

def Tx_AccumulateOp : Tx_Op<"accumulate"> {
  let summary = "Adds to the gradient of a parameter";
  let description = [{
    grad = grad + value. A parameter that is used twice (a tied embedding) is
    accumulated twice, so no sum of its gradients is ever held apart. `fuse`
    moves the addition into the kernel that computes `value`.

    Constraints:
    * (C1) `param` names a `tx.param` of the value's type.
  }];
  let arguments = (ins FlatSymbolRefAttr:$param, Tx_FloatTensor:$value);
  let assemblyFormat = "$param `,` $value attr-dict `:` type($value)";
  let hasVerifier = 1;
}

def Tx_AccumulateShardsOp : Tx_Op<"accumulate_shards"> {
  let summary = "Adds to the gradient shards of parameters";
  let description = [{
    grad_shard = grad_shard + value, of each parameter. One op for what came by
    one tx.reduce_scatter.

    Constraints:
    * (C1) each symbol names a `tx.param` with shards; none twice; at least one.
    * (C2) one value for each parameter, of the type of its grad_shard.

    Example: `tx.accumulate_shards [@"wte.weight"], (%s) : tensor<8192xf32>`
  }];
  let arguments = (ins FlatSymbolRefArrayAttr:$params, Variadic<Tx_FloatTensor>:$values);
  let assemblyFormat = "$params `,` `(` $values `)` attr-dict `:` type($values)";
  let hasVerifier = 1;
}

def Tx_ClearGradientsOp : Tx_Op<"clear_gradients"> {
  let summary = "Zeroes gradients that accumulate over micro batches";
  let description = [{
    grad = 0, of each parameter: tx.adamw zeroes the gradient that it reads, which
    of a parameter with shards is its grad_shard.

    Constraints:
    * (C1) each symbol names a `tx.param` with shards; none twice; at least one.

    Example: `tx.clear_gradients [@"wte.weight"]`
  }];
  let arguments = (ins FlatSymbolRefArrayAttr:$params);
  let assemblyFormat = "$params attr-dict";
  let hasVerifier = 1;
}

def Tx_InitOp : Tx_Op<"init"> {
  let summary = "Fills a parameter as its tx.param says";
  let description = [{
    `normal`: element e is stddev * z(e), where z comes by Box-Muller from words
    0 and 1 of the Philox4x32-10 block with key (seed_lo, seed_hi) and counter
    (e_lo, e_hi, site, 0xffffffff):
        u1 = ((w0 >> 8) + 1) * 2^-24,  u2 = (w1 >> 8) * 2^-24
        z  = sqrt(-2 ln u1) * cos(2 pi u2)
    The gradient and both moments become zero. With `compute` the bf16 copy is
    written too. Of a parameter with shards, all of these are the shard's: element
    e is its flat element rank * S + e, and what lies past the end is zero.

    Constraints:
    * (C1) `param` names a `tx.param`.
  }];
  let arguments = (ins FlatSymbolRefAttr:$param, Tx_HyperType:$hyper, UnitAttr:$compute);
  let assemblyFormat = "$param `,` $hyper (`compute` $compute^)? attr-dict";
  let hasVerifier = 1;
}

#endif // TXC_TX_STATE_OPS
