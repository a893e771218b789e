//===- Rows.cpp - Parts of a tensor, evaluated -----------------------------===//

#include "Rules.h"

using namespace mlir;

namespace txc::interp {
namespace {

/// Elements of one row: of [B, T, C] that is C, of [B, T] it is 1.
int64_t elementsPerRow(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  return type.getRank() == 3 ? type.getDimSize(2) : 1;
}

template <typename T> std::shared_ptr<const Array<T>> slice(const Array<T> &input, tx::SliceRowsOp op) {
  auto result = std::make_shared<Array<T>>(op.getType().getShape());
  int64_t begin = op.getFrom() * elementsPerRow(op.getInput());
  std::copy_n(input.data.begin() + begin, result->size(), result->data.begin());
  return result;
}

LogicalResult sliceRows(tx::SliceRowsOp op, Frame &frame) {
  if (op.getType().getElementType().isInteger(32))
    frame.set(op.getResult(), slice(frame.getInts(op.getInput()), op));
  else
    frame.set(op.getResult(), slice(frame.get(op.getInput()), op));
  return success();
}

template <typename T, typename Get>
std::shared_ptr<const Array<T>> concat(tx::ConcatRowsOp op, Get get) {
  auto result = std::make_shared<Array<T>>(op.getType().getShape());
  auto to = result->data.begin();
  for (Value part : op.getParts())
    to = std::copy(get(part).data.begin(), get(part).data.end(), to);
  return result;
}

LogicalResult concatRows(tx::ConcatRowsOp op, Frame &frame) {
  if (op.getType().getElementType().isInteger(32))
    frame.set(op.getResult(), concat<int32_t>(op, [&](Value part) -> auto & { return frame.getInts(part); }));
  else
    frame.set(op.getResult(), concat<double>(op, [&](Value part) -> auto & { return frame.get(part); }));
  return success();
}

} // namespace

void attachRowsRules(MLIRContext *context) {
  attach<tx::SliceRowsOp, sliceRows>(context);
  attach<tx::ConcatRowsOp, concatRows>(context);
}

} // namespace txc::interp
