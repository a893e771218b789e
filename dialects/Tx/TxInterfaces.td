//===- TxInterfaces.td - What passes ask of tx ops -------------------------===//
#ifndef TXC_TX_INTERFACES
#define TXC_TX_INTERFACES

include "mlir/IR/OpBase.td"

// Implemented by external models, so that the dialect knows no stage:
//   lib/Autodiff/Rules  DifferentiableOpInterface
//   lib/Interp/Rules    InterpretableOpInterface
// and by the ops themselves (lib/Dialect/Tx):
//   FlopsOpInterface, BytesOpInterface, RowWiseOpInterface

def Tx_DifferentiableOpInterface : OpInterface<"DifferentiableOpInterface"> {
  let cppNamespace = "::txc::tx";
  let description = [{
    Reverse mode: given the gradients of the results, build the gradients of the
    operands.
  }];
  let methods = [
    InterfaceMethod<[{
      Builds the vector-Jacobian product at `builder`. `resultGrads[i]` is the
      gradient of result i, null if nothing depends on it (never all null).
      Fills `operandGrads[i]` for operand i; null where no gradient flows
      (integers, hyper, tables).
    }], "::mlir::LogicalResult", "buildVjp",
    (ins "::mlir::OpBuilder &":$builder, "::mlir::ArrayRef<::mlir::Value>":$resultGrads,
         "::mlir::SmallVectorImpl<::mlir::Value> &":$operandGrads)>
  ];
}

def Tx_InterpretableOpInterface : OpInterface<"InterpretableOpInterface"> {
  let cppNamespace = "::txc::tx";
  let description = "Evaluation in float64 by the oracle (lib/Interp).";
  let methods = [
    InterfaceMethod<[{
      Computes the results from the operands, both held by `frame`.
    }], "::mlir::LogicalResult", "interpret", (ins "::txc::interp::Frame &":$frame)>
  ];
}

def Tx_FlopsOpInterface : OpInterface<"FlopsOpInterface"> {
  let cppNamespace = "::txc::tx";
  let description = [{
    FLOPs of matrix products and attention, a multiply-add counted as two.
    Row-wise work is not counted (it is bound by bytes), nor is what a backward
    pass computes again: the figure is the model's, not the hardware's.
  }];
  let methods = [
    InterfaceMethod<"With attention over the full T x T square (PaLM's convention).",
      "uint64_t", "getFlopsFull", (ins)>,
    InterfaceMethod<"With attention over the visible pairs only, T(T+1)/2 of them.",
      "uint64_t", "getFlopsCausal", (ins), "", [{ return $_op.getFlopsFull(); }]>
  ];
}

def Tx_BytesOpInterface : OpInterface<"BytesOpInterface"> {
  let cppNamespace = "::txc::tx";
  let description = [{
    Bytes that a kernel must move between memory and the machine if it reads each
    input once and writes each output once: the floor of its time is the larger
    of its FLOPs over the peak rate and these bytes over the bandwidth. Of a table
    of which rows are looked up, only those rows count.
  }];
  let methods = [
    InterfaceMethod<"Bytes read from inputs.", "uint64_t", "getBytesRead", (ins)>,
    InterfaceMethod<"Bytes written to outputs.", "uint64_t", "getBytesWritten", (ins)>
  ];
}

def Tx_RowWiseOpInterface : OpInterface<"RowWiseOpInterface"> {
  let cppNamespace = "::txc::tx";
  let description = [{
    An op whose results are computed row by row: what `fuse` may put into one
    kernel with its neighbours over the same rows.
  }];
  let methods = [
    InterfaceMethod<"Number of rows of the iteration space.", "int64_t", "getNumRows", (ins)>,
    InterfaceMethod<"How operand `index` is read.", "::txc::tx::RowAccess", "getOperandAccess",
      (ins "unsigned":$index)>,
    InterfaceMethod<"How result `index` is written.", "::txc::tx::RowAccess", "getResultAccess",
      (ins "unsigned":$index)>,
    InterfaceMethod<[{
      True if column c of a row result depends on its row operands only through
      column c and through reductions over the row, so that a result may be
      written over an operand. Of a row in two halves (SwiGLU), column c of
      either half counts as column c: a kernel computes both before it stores.
    }], "bool", "isPointwise", (ins), "", [{ return true; }]>
  ];
}

#endif // TXC_TX_INTERFACES
