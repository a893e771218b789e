//===- TxBase.td - The tx dialect: what a training step computes -----------===//
#ifndef TXC_TX_BASE
#define TXC_TX_BASE

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "Tx/TxInterfaces.td"

def Tx_Dialect : Dialect {
  let name = "tx";
  let cppNamespace = "::txc::tx";
  let summary = "A transformer's training step, on ranked tensors with value semantics";
  let description = [{
    The ops are the nouns of the field and their derivatives (`_vjp`). Shapes
    are static. Sizes are named by one letter throughout: B batch, T block
    (sequence length), C model width, F feed-forward width, V vocabulary, H
    query heads, K key/value heads, D head dimension, N width of a row, S
    sequences that are decoded side by side.

    A *row* is the innermost dimension of a tensor; the other dimensions number
    the rows. A module holds `tx.param` symbols and functions: `@init`,
    `@forward` (after import), `@micro`, `@update`, `@eval` and, to generate
    text, `@decode` (after autodiff). State that outlives a function (weights,
    gradients, moments, caches) is read with `tx.read` and written with
    `tx.assign`, `tx.accumulate`, `tx.init` and `tx.adamw`; everything else is
    pure.

    Precision is in the types. Parameters, their gradients and moments are f32,
    as are statistics of rows and losses. With bf16, activations, their gradients
    and the copies of weights that products read (`tx.read ... compute`) are
    bf16; products and reductions sum in f32, so a gradient of a weight is f32
    without ever having been rounded to bf16.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect"];
}

class Tx_Op<string mnemonic, list<Trait> traits = []> : Op<Tx_Dialect, mnemonic, traits>;

// An op without side effects that has an interpreter rule (lib/Interp/Rules).
class Tx_PureOp<string mnemonic, list<Trait> traits = []>
    : Tx_Op<mnemonic, !listconcat([Pure], traits)>;

//===-- Types --------------------------------------------------------------===//

class Tx_Type<string name, string typeMnemonic> : TypeDef<Tx_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def Tx_HyperType : Tx_Type<"Hyper", "hyper"> {
  let summary = "What the runtime supplies to each entry";
  let description = [{
    Learning rate, betas, epsilon, weight decay, clip limit, gradient scale,
    bias corrections, the seed of the counter-based generator and the number of
    the micro batch. `struct txc_hyper` of step_abi.h, as a value.
  }];
}

def Tx_FloatTensor : StaticShapeTensorOf<[F32, BF16, F64]>;
def Tx_F32Tensor : StaticShapeTensorOf<[F32, F64]>;
def Tx_ScalarTensor : RankedTensorOf<[F32, F64], [HasStaticShapePred, HasAnyRankOfPred<[0]>],
    "0-d f32 tensor">;
def Tx_TokenTensor : RankedTensorOf<[I32], [HasStaticShapePred, HasAnyRankOfPred<[2]>],
    "i32 tensor of shape [B, T]">;
def Tx_PositionTensor : RankedTensorOf<[I32], [HasStaticShapePred, HasAnyRankOfPred<[0]>],
    "0-d i32 tensor">, BuildableType<"::mlir::RankedTensorType::get({}, $_builder.getI32Type())">;
def Tx_RowsTensor : RankedTensorOf<[F32, BF16, F64, I32], [HasStaticShapePred, HasAnyRankOfPred<[2, 3]>],
    "tensor of shape [B, T] or [B, T, C]">;
def Tx_TensorOrHyper : AnyTypeOf<[StaticShapeTensorOf<[F32, BF16, F64, I32]>, Tx_HyperType]>;

//===-- Enums --------------------------------------------------------------===//

class Tx_Enum<string name, string summary, list<I32EnumAttrCase> cases> : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::txc::tx";
  let genSpecializedAttr = 0;
}

def Tx_State : Tx_Enum<"State", "which tensor of a parameter", [
  I32EnumAttrCase<"Value", 0, "value">,
  I32EnumAttrCase<"Grad", 1, "grad">,
  I32EnumAttrCase<"Moment1", 2, "moment1">,
  I32EnumAttrCase<"Moment2", 3, "moment2">,
  I32EnumAttrCase<"Compute", 4, "compute">,
  I32EnumAttrCase<"GradShard", 5, "grad_shard">,
  I32EnumAttrCase<"ComputeShard", 6, "compute_shard">]>;
def Tx_StateAttr : EnumAttr<Tx_Dialect, Tx_State, "state">;

def Tx_Init : Tx_Enum<"Init", "how a parameter starts", [
  I32EnumAttrCase<"Zeros", 0, "zeros">,
  I32EnumAttrCase<"Ones", 1, "ones">,
  I32EnumAttrCase<"Normal", 2, "normal">]>;
def Tx_InitAttr : EnumAttr<Tx_Dialect, Tx_Init, "init">;

def Tx_Activation : Tx_Enum<"ActivationKind", "pointwise nonlinearity", [
  I32EnumAttrCase<"Gelu", 0, "gelu">,
  I32EnumAttrCase<"GeluTanh", 1, "gelu_tanh">,
  I32EnumAttrCase<"Silu", 2, "silu">,
  I32EnumAttrCase<"Relu", 3, "relu">,
  I32EnumAttrCase<"LeakyRelu", 4, "leaky_relu">]>;
def Tx_ActivationAttr : EnumAttr<Tx_Dialect, Tx_Activation, "activation_kind">;

def Tx_RopeLayout : Tx_Enum<"RopeLayout", "which elements of a head form a pair", [
  I32EnumAttrCase<"Interleaved", 0, "interleaved">,
  I32EnumAttrCase<"Half", 1, "half">]>;
def Tx_RopeLayoutAttr : EnumAttr<Tx_Dialect, Tx_RopeLayout, "rope_layout">;

def Tx_Reduction : Tx_Enum<"Reduction", "how ranks combine their tensors", [
  I32EnumAttrCase<"Sum", 0, "sum">,
  I32EnumAttrCase<"Min", 1, "min">,
  I32EnumAttrCase<"Max", 2, "max">]>;
def Tx_ReductionAttr : EnumAttr<Tx_Dialect, Tx_Reduction, "reduction">;

def Tx_KernelKind : Tx_Enum<"KernelKind", "how a region becomes machine code", [
  I32EnumAttrCase<"RowWise", 0, "row_wise">,
  I32EnumAttrCase<"MatrixProduct", 1, "matrix_product">,
  I32EnumAttrCase<"Attention", 2, "attention">,
  I32EnumAttrCase<"Scatter", 3, "scatter">,
  I32EnumAttrCase<"Reduction", 4, "reduction">,
  I32EnumAttrCase<"Table", 5, "table">,
  I32EnumAttrCase<"AttentionProduct", 6, "attention_product">]>;
def Tx_KernelKindAttr : EnumAttr<Tx_Dialect, Tx_KernelKind, "kernel_kind">;

#endif // TXC_TX_BASE
