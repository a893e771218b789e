//===- StepBase.td - The step dialect: buffers and commands ----------------===//
#ifndef TXC_STEP_BASE
#define TXC_STEP_BASE

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Step_Dialect : Dialect {
  let name = "step";
  let cppNamespace = "::txc::step";
  let summary = "The training step as an arena of bytes and a list of commands";
  let description = [{
    Nearly one to one with step_abi.h. A `step.program` holds buffers (places in
    one arena), kernels (what is computed, later machine code) and entries
    (commands in the order in which they are issued). There are no tensors
    except inside kernels, where they say what is to be computed until codegen
    replaces the body by code.
  }];
  let useDefaultAttributePrinterParser = 1;
}

class Step_Op<string mnemonic, list<Trait> traits = []> : Op<Step_Dialect, mnemonic, traits>;

class Step_Enum<string name, string summary, list<I32EnumAttrCase> cases> : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::txc::step";
  let genSpecializedAttr = 0;
}

// Values as in txc_buffer_kind_t.
def Step_BufferKind : Step_Enum<"BufferKind", "what a buffer is for", [
  I32EnumAttrCase<"Param", 0, "param">,
  I32EnumAttrCase<"Grad", 1, "grad">,
  I32EnumAttrCase<"Moment1", 2, "moment1">,
  I32EnumAttrCase<"Moment2", 3, "moment2">,
  I32EnumAttrCase<"Tokens", 4, "tokens">,
  I32EnumAttrCase<"Targets", 5, "targets">,
  I32EnumAttrCase<"Hyper", 6, "hyper">,
  I32EnumAttrCase<"Loss", 7, "loss">,
  I32EnumAttrCase<"Stats", 8, "stats">,
  I32EnumAttrCase<"Activation", 9, "activation">,
  I32EnumAttrCase<"Workspace", 10, "workspace">,
  I32EnumAttrCase<"Compute", 11, "compute">,
  I32EnumAttrCase<"Cache", 12, "cache">,
  I32EnumAttrCase<"DecodeTokens", 13, "decode_tokens">,
  I32EnumAttrCase<"DecodeState", 14, "decode_state">,
  I32EnumAttrCase<"Logits", 15, "logits">,
  I32EnumAttrCase<"GradShard", 16, "grad_shard">,
  I32EnumAttrCase<"ComputeShard", 17, "compute_shard">,
  I32EnumAttrCase<"Communication", 18, "communication">]>;
def Step_BufferKindAttr : EnumAttr<Step_Dialect, Step_BufferKind, "buffer_kind">;

// Values as in txc_collective_kind_t and txc_reduce_op_t.
def Step_CollectiveKind : Step_Enum<"CollectiveKind", "what ranks exchange", [
  I32EnumAttrCase<"AllReduce", 0, "all_reduce">,
  I32EnumAttrCase<"Exchange", 1, "exchange">,
  I32EnumAttrCase<"AllGather", 2, "all_gather">]>;
def Step_CollectiveKindAttr : EnumAttr<Step_Dialect, Step_CollectiveKind, "collective_kind">;

def Step_Reduction : Step_Enum<"Reduction", "how ranks combine their elements", [
  I32EnumAttrCase<"Sum", 0, "sum">,
  I32EnumAttrCase<"Min", 1, "min">,
  I32EnumAttrCase<"Max", 2, "max">]>;
def Step_ReductionAttr : EnumAttr<Step_Dialect, Step_Reduction, "reduction">;

class Step_Attr<string name, string attrMnemonic> : AttrDef<Step_Dialect, name> {
  let mnemonic = attrMnemonic;
}

def Step_TensorMapAttr : Step_Attr<"TensorMap", "tensor_map"> {
  let summary = "How a GPU kernel copies tiles of an argument";
  let description = [{
    The fields of txc_tensor_map_t, dimension 0 innermost: `dims` and `box` in
    elements, `strides` in bytes with the element size first, `offset` and
    `swizzle` in bytes.
  }];
  let parameters = (ins "int64_t":$argument, "::mlir::Type":$element, "int64_t":$offset, "int64_t":$swizzle,
    ArrayRefParameter<"int64_t">:$dims, ArrayRefParameter<"int64_t">:$strides,
    ArrayRefParameter<"int64_t">:$box);
  let assemblyFormat = [{
    `<` $argument `:` $element `offset` $offset `swizzle` $swizzle `dims` `[` $dims `]` `strides` `[` $strides `]`
    `box` `[` $box `]` `>`
  }];
}

def Step_GeometryAttr : Step_Attr<"Geometry", "geometry"> {
  let summary = "How one phase of a kernel is launched on a GPU";
  let description = [{
    The fields of txc_kernel_t. A first number of `grid` that is 0 stands for the
    number of multiprocessors. `registers`, `spills` (bytes) and `staticShared`
    (bytes) are what ptxas reported, -1 if it did not run.
  }];
  let parameters = (ins "::mlir::StringAttr":$function, ArrayRefParameter<"int64_t">:$grid,
    ArrayRefParameter<"int64_t">:$block, "int64_t":$shared, "::mlir::DenseI64ArrayAttr":$scalars,
    "::mlir::ArrayAttr":$maps, "int64_t":$registers, "int64_t":$spills, "int64_t":$staticShared);
  let assemblyFormat = [{
    `<` $function `grid` `[` $grid `]` `block` `[` $block `]` `shared` $shared `scalars` $scalars
    `maps` $maps `registers` $registers `spills` $spills `static_shared` $staticShared `>`
  }];
}

#endif // TXC_STEP_BASE
