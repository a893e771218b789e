//===- StepOps.td - Program, buffers, kernels, entries, commands -----------===//
#ifndef TXC_STEP_OPS
#define TXC_STEP_OPS

include "Step/StepBase.td"

def Step_ProgramOp : Step_Op<"program", [SymbolTable, Symbol, NoTerminator, IsolatedFromAbove]> {
  let summary = "One compiled step";
  let description = [{
    `arena_bytes` is the size of the arena; `lower_bound` the most bytes that
    are live at once, which no placement can go below. `num_ranks` ranks run it
    together, each with an arena of its own; `zero_level` says what is spread over
    them (0 nothing, 1 optimizer state, 2 gradients too, 3 weights too).

    Constraints:
    * (C1) `arena_bytes` >= `lower_bound` once both are set (by
      tx-plan-assign-offsets; 0 before).
    * (C2) `num_ranks` is positive, `zero_level` is 0 to 3.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, DefaultValuedAttr<I64Attr, "0">:$arena_bytes,
    DefaultValuedAttr<I64Attr, "0">:$lower_bound, DefaultValuedAttr<I64Attr, "1">:$num_ranks,
    DefaultValuedAttr<I64Attr, "0">:$zero_level);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name (`arena_bytes` $arena_bytes^)? (`lower_bound` $lower_bound^)? (`num_ranks` $num_ranks^)?
    (`zero_level` $zero_level^)? attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
}

def Step_AllocOp : Step_Op<"alloc", [Symbol, HasParent<"ProgramOp">]> {
  let summary = "A buffer in the arena";
  let description = [{
    `entry` names the entry within which the buffer lives; none: it lives
    throughout (state, inputs, results). A cache, and what the runtime writes or
    reads for @decode, lives from the first to the last command of its entry, and
    on to the next call, as long as no other entry is called. `offset` is set by
    tx-plan-assign-offsets; absent before. `shard_of`, if not 0, makes it this
    rank's part of a tensor of so many elements: those from rank * n on, n the
    elements of `type`; what lies past the tensor's end is zero and stays so.
    `slot`, if not 0, is how many bytes are reserved for it: a whole tensor that is
    put together from shards, or cut into them, has room for their padding.

    Constraints:
    * (C1) `offset`, if set, is a multiple of 64.
    * (C2) `bytes` is the size of `type`.
    * (C3) `entry`, if given, names a `step.entry`.
    * (C4) the shards of all ranks cover `shard_of` elements.
    * (C5) `slot`, if not 0, is at least `bytes`.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Step_BufferKindAttr:$kind, TypeAttr:$type, I64Attr:$bytes,
    OptionalAttr<I64Attr>:$offset, OptionalAttr<FlatSymbolRefAttr>:$entry,
    DefaultValuedAttr<I64Attr, "0">:$shard_of, DefaultValuedAttr<I64Attr, "0">:$slot);
  let assemblyFormat = [{
    $sym_name $kind `:` $type `bytes` $bytes (`slot` $slot^)? (`shard_of` $shard_of^)? (`offset` $offset^)? (`in` $entry^)? attr-dict
  }];
  let hasVerifier = 1;
}

def Step_KernelOp : Step_Op<"kernel", [Symbol, HasParent<"ProgramOp">, IsolatedFromAbove, NoTerminator]> {
  let summary = "What a launch computes";
  let description = [{
    A launch passes buffers: the inputs, then the results, then the workspaces.
    Before codegen the kinds of `tx.kernel` (row_wise, attention, scatter,
    reduction, table) have the body of the tx.kernel: block arguments are the
    inputs, `tx.yield` names the results. `inplace[i]` is the input whose buffer
    result i shares, or -1; a shared buffer is passed twice.

    Five kinds have no body. Four of them work on the flat arena of all parameters,
    in which `segments` lists, for each parameter, five numbers: first element,
    number of elements, 1 if weight decay applies, the tx init kind, and the
    site. Elements between segments are padding and are never touched. `wholes`, if
    given, has a number per segment: not 0 for a shard, the elements of its whole
    tensor, of which this one has those from hyper's rank * (number of elements)
    on; elements past the tensor's end are padding too.
      init           (hyper) -> (value)           `stddevs` has one per segment
      global_norm    (hyper, grad) -> (stats)     as tx.global_norm
      gradient_sums  (hyper, grad) -> (sums, extrema)  as tx.gradient_sums
      adamw          (hyper, stats) -> (value, grad, moment1, moment2)  as tx.adamw
    Each argument but hyper, stats, sums and extrema is the first parameter's buffer.
    With `compute`, init and adamw have one more result, the first parameter's bf16
    copy, in which element i is element i of the values, rounded. The fifth only
    asks `segments` and `wholes` how many parameters and elements there are:
      gradient_stats (hyper, sums, extrema) -> (stats)  as tx.gradient_stats

    `blocks` has one number per phase: the phases of a launch run one after the
    other, the blocks of a phase in any order and at the same time. The object
    defines one function per phase, `<sym_name>.<phase>`, of type
    `txc_cpu_kernel_fn`. `workspace` has the bytes of each workspace. Both come
    from codegen::describeKernel, which tx-plan-size-workspaces asks.

    On a GPU codegen sets `geometry`, one per phase, which names the function in
    the step.image.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$kind,
    DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$inplace,
    DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$blocks,
    DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$workspace,
    DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$segments,
    DefaultValuedAttr<F64ArrayAttr, "{}">:$stddevs, // a dense array is printed with six digits
    OptionalAttr<TypedArrayAttrBase<Step_GeometryAttr, "geometry of each phase">>:$geometry,
    UnitAttr:$compute, DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$wholes);
  let regions = (region AnyRegion:$body);
  let assemblyFormat = [{
    $sym_name $kind (`compute` $compute^)? (`inplace` $inplace^)? (`blocks` $blocks^)? (`workspace` $workspace^)?
    (`segments` $segments^)? (`wholes` $wholes^)? (`stddevs` $stddevs^)? (`geometry` $geometry^)? attr-dict-with-keyword $body
  }];
}

def Step_EntryOp : Step_Op<"entry", [Symbol, HasParent<"ProgramOp">, NoTerminator]> {
  let summary = "Commands in the order in which they are issued";
  let arguments = (ins SymbolNameAttr:$sym_name);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
}

def Step_LaunchOp : Step_Op<"launch", [HasParent<"EntryOp">]> {
  let summary = "Runs a kernel";
  let description = [{
    `args` name buffers: inputs, results, workspaces, in the kernel's order.
    `offsets` are byte offsets within them (a field of a result struct); to each,
    rank r adds r times its element of `rank_strides` (none: 0). An argument that is
    read and written may go on into the buffers behind it: `covers` names all such.

    Constraints:
    * (C1) `kernel` names a `step.kernel`, each of `args` a `step.alloc`.
    * (C2) `offsets` has one element per argument.
    * (C3) `rank_strides` is empty or has one element per argument, and no rank's
      offset lies outside of the slots of the buffer and of what is covered behind it.
    * (C4) each buffer of `covers` comes next after another of them or an argument.
  }];
  let arguments = (ins StrAttr:$name, FlatSymbolRefAttr:$kernel, FlatSymbolRefArrayAttr:$args,
    DenseI64ArrayAttr:$offsets, I64Attr:$num_inputs,
    DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$rank_strides, OptionalAttr<FlatSymbolRefArrayAttr>:$covers);
  let assemblyFormat = [{
    $name $kernel $args `offsets` $offsets `inputs` $num_inputs (`rank_strides` $rank_strides^)? (`covers` $covers^)? attr-dict
  }];
  let hasVerifier = 1;
}

def Step_GemmOp : Step_Op<"gemm", [HasParent<"EntryOp">]> {
  let summary = "A matrix product by a library";
  let description = [{
    c[m, n] = op(a)[m, k] * op(b)[k, n] + beta * c, row-major; op transposes if
    asked; `accumulate` makes beta 1, else it is 0. `offsets` are the places of
    a, b and c in their buffers, in bytes (none: 0). `batch` products lie one
    after the other and their rows too, unless `layout` says how far apart rows
    of a, b and c are, and then products of a, b and c, in elements. What is added
    is read from `addend` if given, else from c. `workspace` is scratch of the
    library.

    Constraints:
    * (C1) `a`, `b` and `c` name buffers that hold all elements of the products
      from their offsets on; a and b have one type, c that type or f32.
    * (C2) `c` is neither `a` nor `b`.
    * (C3) `offsets` is empty or has three elements; `layout` is empty or has six,
      and rows do not overlap.
    * (C4) `addend` names a buffer of m*n elements of the type of c that is not c,
      and goes with `accumulate`, without a `layout` or a batch of more than 1.
  }];
  let arguments = (ins StrAttr:$name, FlatSymbolRefAttr:$a, FlatSymbolRefAttr:$b, FlatSymbolRefAttr:$c,
    I64Attr:$m, I64Attr:$n, I64Attr:$k, UnitAttr:$transpose_a, UnitAttr:$transpose_b, UnitAttr:$accumulate,
    DefaultValuedAttr<I64Attr, "1">:$batch, DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$offsets,
    DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$layout, OptionalAttr<FlatSymbolRefAttr>:$addend,
    OptionalAttr<FlatSymbolRefAttr>:$workspace);
  let assemblyFormat = [{
    $name $a (`transposed` $transpose_a^)? `,` $b (`transposed` $transpose_b^)? `,` $c (`accumulate` $accumulate^)?
    `m` $m `n` $n `k` $k (`batch` $batch^)? (`offsets` $offsets^)? (`layout` $layout^)? (`addend` $addend^)?
    (`workspace` $workspace^)? attr-dict
  }];
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "::llvm::StringRef":$a, "::llvm::StringRef":$b,
    "::llvm::StringRef":$c, "int64_t":$m, "int64_t":$n, "int64_t":$k, "bool":$transposeA, "bool":$transposeB,
    "bool":$accumulate, CArg<"int64_t", "1">:$batch), [{
      build($_builder, $_state, name, a, b, c, m, n, k, transposeA, transposeB, accumulate, batch,
            ::llvm::ArrayRef<int64_t>{}, ::llvm::ArrayRef<int64_t>{}, nullptr, nullptr);
    }]>];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Byte offset of a (0), b (1) or c (2) in its buffer.
    int64_t getOffset(unsigned operand) { return getOffsets().empty() ? 0 : getOffsets()[operand]; }
    /// Rows and columns of a (0), b (1) or c (2) as they lie in memory.
    std::pair<int64_t, int64_t> getExtent(unsigned operand);
    /// Elements from one row of an operand to the next, and from one product to the next.
    int64_t getRowStride(unsigned operand);
    int64_t getBatchStride(unsigned operand);
  }];
}

def Step_FillOp : Step_Op<"fill", [HasParent<"EntryOp">]> {
  let summary = "Sets every byte of a buffer";
  let arguments = (ins StrAttr:$name, FlatSymbolRefAttr:$buffer, I64Attr:$value);
  let assemblyFormat = "$name $buffer `value` $value attr-dict";
}

def Step_CollectiveOp : Step_Op<"collective", [HasParent<"EntryOp">]> {
  let summary = "Starts to reduce, exchange or gather buffers over all ranks";
  let description = [{
    Part i takes `counts[i]` elements of `sends[i]` and leaves its result in
    `receives[i]`, as txc_collective_part_t says. `offsets` are the places in the
    buffers in bytes, of sends[0], receives[0], sends[1], ... (none: 0). What it sends,
    and receives if in place, may go on into the buffers behind: `covers`. It begins
    when the commands before it are complete, and is complete for those after the
    step.wait for `event`; until then nothing may write what it reads, or touch
    what it writes (checked by tx-plan-verify).

    Constraints:
    * (C1) `sends` and `receives` name buffers of one float type; one of each for
      every count, at least one.
    * (C2) `offsets` is empty or has two elements per part; the slots, and those
      covered behind them, hold `counts` elements from there on, those of an exchange's send, of an all-gather's
      receive and of both of one in place `num_ranks` times as many, those of an
      exchange's receive `num_ranks` - 1 times.
    * (C3) what a part writes no part reads or writes, but that an all-reduce and an
      all-gather may be in place.
    * (C4) no other collective of the entry has its `event`, and one step.wait
      after it waits for it.
    * (C5) each buffer of `covers` comes next after another of them or a send.
  }];
  let arguments = (ins StrAttr:$name, Step_CollectiveKindAttr:$kind,
    DefaultValuedAttr<Step_ReductionAttr, "::txc::step::Reduction::Sum">:$reduction,
    FlatSymbolRefArrayAttr:$sends, FlatSymbolRefArrayAttr:$receives, DenseI64ArrayAttr:$counts,
    DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$offsets, I64Attr:$event,
    OptionalAttr<FlatSymbolRefArrayAttr>:$covers);
  let assemblyFormat = [{
    $name $kind (`by` $reduction^)? $sends `to` $receives `counts` $counts (`offsets` $offsets^)? `event` $event
    (`covers` $covers^)? attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Byte offset of what part `part` sends (0) or receives (1) in its buffer.
    int64_t getOffset(unsigned part, unsigned receive) {
      return getOffsets().empty() ? 0 : getOffsets()[2 * part + receive];
    }
    /// Elements that part `part` reads (0) or writes (1) on one rank of `ranks`.
    int64_t getElements(unsigned part, unsigned receive, int64_t ranks) {
      int64_t times = 1;
      if (getKind() == CollectiveKind::Exchange)
        times = receive ? ranks - 1 : ranks;
      else if (getKind() == CollectiveKind::AllGather && (receive || isInPlace(part)))
        times = ranks;
      return getCounts()[part] * times;
    }
    /// Whether part `part` leaves its result where it reads.
    bool isInPlace(unsigned part) {
      return getSends()[part] == getReceives()[part] && getOffset(part, 0) == getOffset(part, 1);
    }
  }];
}

def Step_WaitOp : Step_Op<"wait", [HasParent<"EntryOp">]> {
  let summary = "Lets nothing after it begin before a collective is complete";
  let description = [{
    Constraints:
    * (C1) a step.collective before it in the entry has its `event`.
  }];
  let arguments = (ins I64Attr:$event);
  let assemblyFormat = "$event attr-dict";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// What it waits for.
    CollectiveOp getCollective();
  }];
}

def Step_ObjectOp : Step_Op<"object", [HasParent<"ProgramOp">]> {
  let summary = "Machine code of all kernels";
  let description = [{
    A relocatable ELF object for `target` ("x86-64-v4") that defines the functions
    of every `step.kernel`.
  }];
  let arguments = (ins StrAttr:$target, StrAttr:$code);
  let assemblyFormat = "$target $code attr-dict";
}

def Step_ImageOp : Step_Op<"image", [HasParent<"ProgramOp">]> {
  let summary = "GPU machine code of kernels";
  let description = [{
    A cubin for `target` ("sm_90a") and PTX for later architectures, one of which
    may be empty. The geometry of a step.kernel names its functions in it.
  }];
  let arguments = (ins StrAttr:$target, StrAttr:$cubin, StrAttr:$ptx);
  let assemblyFormat = "$target `cubin` $cubin `ptx` $ptx attr-dict";
}

#endif // TXC_STEP_OPS
