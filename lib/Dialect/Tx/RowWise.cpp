//===- RowWise.cpp - How row-wise ops touch their tensors ------------------===//
//
// The RowWiseOpInterface of every row-wise op: what fuse groups and codegen
// maps to blocks of rows.
//
//===----------------------------------------------------------------------===//

#include "txc/Dialect/Tx/Tx.h"

using namespace mlir;
using namespace txc::tx;

/// Product of all dimensions but the innermost.
static int64_t rowsOf(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  return type.getRank() == 0 ? 1 : type.getNumElements() / type.getShape().back();
}
static int64_t elementsOf(Value value) { return cast<RankedTensorType>(value.getType()).getNumElements(); }

static RowAccess pick(std::initializer_list<RowAccess> accesses, unsigned index) {
  return accesses.begin()[index];
}

using A = RowAccess;

// clang-format off
#define ROW_WISE(Op, Rows, Operands, Results)                                                                     \
  int64_t Op::getNumRows() { return Rows; }                                                                       \
  RowAccess Op::getOperandAccess(unsigned index) { return pick Operands; }                                        \
  RowAccess Op::getResultAccess(unsigned index) { return pick Results; }

ROW_WISE(EmbeddingOp,       rowsOf(getResult()), ({A::RowScalar, A::Gather}, index),                              ({A::Row}, index))
ROW_WISE(AddPositionOp,     rowsOf(getInput()),  ({A::Row, getPosition() ? A::Gather : A::Periodic, A::Scalar}, index), ({A::Row}, index))
ROW_WISE(RmsNormOp,         rowsOf(getInput()),  ({A::Row, A::Column}, index),                                    ({A::Row, A::RowScalar}, index))
ROW_WISE(RmsNormVjpOp,      rowsOf(getInput()),  ({A::Row, A::Row, A::Column, A::RowScalar}, index),              ({A::Row, A::ColumnSum}, index))
ROW_WISE(LayerNormOp,       rowsOf(getInput()),  ({A::Row, A::Column}, index),                                    ({A::Row, A::RowScalar, A::RowScalar}, index))
ROW_WISE(LayerNormVjpOp,    rowsOf(getInput()),  ({A::Row, A::Row, A::Column, A::RowScalar, A::RowScalar}, index), ({A::Row, A::ColumnSum}, index))
ROW_WISE(AddBiasOp,         rowsOf(getInput()),  ({A::Row, A::Column}, index),                                    ({A::Row}, index))
ROW_WISE(BiasVjpOp,         rowsOf(getGrad()),   ({A::Row}, index),                                               ({A::ColumnSum}, index))
ROW_WISE(RopeOp,            rowsOf(getInput()),  ({A::Row, A::Periodic, A::Periodic}, index),                     ({A::Row}, index))
ROW_WISE(AddOp,             rowsOf(getResult()), ({A::Row, A::Row}, index),                                       ({A::Row}, index))
ROW_WISE(ActivationOp,      rowsOf(getResult()), ({A::Row}, index),                                               ({A::Row}, index))
ROW_WISE(ActivationVjpOp,   rowsOf(getResult()), ({A::Row, A::Row}, index),                                       ({A::Row}, index))
ROW_WISE(SwigluOp,          rowsOf(getResult()), ({A::Row}, index),                                               ({A::Row}, index))
ROW_WISE(SwigluVjpOp,       rowsOf(getGrad()),   ({A::Row, A::Row}, index),                                       ({A::Row}, index))
ROW_WISE(DropoutOp,         rowsOf(getInput()),  ({A::Row, A::Hyper}, index),                                     ({A::Row}, index))
ROW_WISE(CastOp,            rowsOf(getInput()),  ({A::Row}, index),                                               ({A::Row}, index))
ROW_WISE(CrossEntropyOp,    rowsOf(getLogits()), ({A::Row, A::RowScalar}, index),                                 ({A::RowScalar, A::RowScalar}, index))
ROW_WISE(CrossEntropyVjpOp, rowsOf(getLogits()), ({A::RowScalar, A::Row, A::RowScalar, A::RowScalar}, index),     ({A::Row}, index))
ROW_WISE(CausalSoftmaxOp,   rowsOf(getInput()),  ({A::Row}, index),                                               ({A::Row}, index))
ROW_WISE(CausalSoftmaxVjpOp, rowsOf(getGrad()),  ({A::Row, A::Row}, index),                                       ({A::Row}, index))
ROW_WISE(MeanLossVjpOp,     elementsOf(getResult()), ({A::Scalar, A::Scalar}, index),                             ({A::RowScalar}, index))
#undef ROW_WISE
// clang-format on

int64_t NormalizedOp::getNumRows() { return rowsOf(getInput()); }
RowAccess NormalizedOp::getOperandAccess(unsigned index) {
  return index == 0 ? A::Row : index == 1 ? A::Column : A::RowScalar;
}
RowAccess NormalizedOp::getResultAccess(unsigned) { return A::Row; }

bool RopeOp::isPointwise() { return false; }
