//===- Rematerialize.cpp - Make cheap operands again instead of keeping them ===//
//
// Requires: @micro with forward and backward pass in one block, the gradient of
// a product's weight before that of its input (tx-autodiff-differentiate).
//
// The gradient of a weight reads the product's input again. Where that input is
// the result of a norm (and its bias), of an activation or of SwiGLU, a kernel of
// the backward pass reads what it was computed from anyway, to differentiate it:
//
//   dw = linear_weight_vjp(dy, h)          dh = linear_input_vjp(dy, w)
//   dh = linear_input_vjp(dy, w)           du = activation_vjp(dh, u)
//   du = activation_vjp(dh, u)             h' = activation(u)
//                                          dw = linear_weight_vjp(dy, h')
//
// tx-fuse-form-kernels puts the two middle lines of the right side into one
// kernel. h dies in the forward pass; the price is that it is written again.
// Norms are made again from their statistics (tx.normalized).
//
// An operand that the very next product of the backward pass reads (that of the
// output layer) would live no shorter: it stays as it is.
//
// Guarantees: the same numbers, but for the rounding of a norm's result if it was
// computed from rounded statistics; products and their order of sums unchanged.
//
//===----------------------------------------------------------------------===//

#include "txc/Dialect/Tx/StateAccess.h"
#include "txc/Fuse/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace txc::fuse {
#define GEN_PASS_DEF_REMATERIALIZE
#include "txc/Fuse/Passes.h.inc"

namespace {

/// The first user of `value` of type `Op`, or null.
template <typename Op> Operation *findUser(Value value) {
  Operation *first = nullptr;
  for (Operation *user : value.getUsers())
    if (isa<Op>(user) && (!first || user->isBeforeInBlock(first)))
      first = user;
  return first;
}

/// The op of the backward pass whose kernel can make `value` again, or null.
Operation *findAnchor(Value value) {
  Operation *op = value.getDefiningOp();
  if (auto activation = dyn_cast_or_null<tx::ActivationOp>(op))
    return findUser<tx::ActivationVjpOp>(activation.getInput());
  if (auto swiglu = dyn_cast_or_null<tx::SwigluOp>(op))
    return findUser<tx::SwigluVjpOp>(swiglu.getInput());
  if (auto norm = dyn_cast_or_null<tx::RmsNormOp>(op); norm && value == norm.getResult())
    return findUser<tx::RmsNormVjpOp>(norm.getRstd());
  if (auto norm = dyn_cast_or_null<tx::LayerNormOp>(op); norm && value == norm.getResult())
    return findUser<tx::LayerNormVjpOp>(norm.getRstd());
  if (auto bias = dyn_cast_or_null<tx::AddBiasOp>(op))
    if (isa_and_nonnull<tx::RmsNormOp, tx::LayerNormOp>(bias.getInput().getDefiningOp()))
      return findAnchor(bias.getInput());
  return nullptr;
}

/// Computes `value` again at `b`.
Value makeAgain(OpBuilder &b, Value value) {
  Operation *op = value.getDefiningOp();
  if (auto norm = dyn_cast<tx::RmsNormOp>(op))
    return b.create<tx::NormalizedOp>(op->getLoc(), value.getType(), norm.getInput(), norm.getGain(),
                                      ValueRange{norm.getRstd()});
  if (auto norm = dyn_cast<tx::LayerNormOp>(op))
    return b.create<tx::NormalizedOp>(op->getLoc(), value.getType(), norm.getInput(), norm.getGain(),
                                      ValueRange{norm.getMean(), norm.getRstd()});
  if (auto bias = dyn_cast<tx::AddBiasOp>(op))
    return b.create<tx::AddBiasOp>(op->getLoc(), value.getType(), makeAgain(b, bias.getInput()),
                                   bias.getBias());
  return b.clone(*op)->getResult(0);
}

/// Whether a forward product stands between the last use of `value` before
/// `product` and `product` itself.
bool isKeptLong(Value value, Operation *product) {
  Operation *last = value.getDefiningOp();
  for (Operation *user : value.getUsers())
    if (user->isBeforeInBlock(product) && last->isBeforeInBlock(user))
      last = user;
  for (Operation *op = last->getNextNode(); op != product; op = op->getNextNode())
    if (isa<tx::LinearOp>(op))
      return true;
  return false;
}

/// Whether the gradient that `accumulate` contributes to is touched again up to
/// `anchor`: ranks reduce it there.
bool isReadBefore(Operation *accumulate, Operation *anchor) {
  auto param = accumulate->getAttrOfType<FlatSymbolRefAttr>("param");
  bool found = false;
  for (Operation *op = accumulate->getNextNode(); op && op != anchor; op = op->getNextNode())
    tx::visitStateAccesses(op, [&](FlatSymbolRefAttr name, tx::State state, bool) {
      found |= name == param && state == tx::State::Grad;
    });
  return found;
}

struct Rematerialize : impl::RematerializeBase<Rematerialize> {
  void runOnOperation() override {
    SmallVector<tx::LinearWeightVjpOp> products;
    getOperation().walk([&](tx::LinearWeightVjpOp op) { products.push_back(op); });
    for (tx::LinearWeightVjpOp product : products) {
      Value input = product.getInput();
      Operation *anchor = findAnchor(input);
      if (!anchor || anchor->getBlock() != product->getBlock() || !product->isBeforeInBlock(anchor) ||
          !product.getResult().hasOneUse() || !isKeptLong(input, product))
        continue;
      Operation *accumulate = *product.getResult().user_begin();
      if (!isa<tx::AccumulateOp, tx::AssignOp>(accumulate) || isReadBefore(accumulate, anchor))
        continue;
      OpBuilder builder(anchor->getContext());
      builder.setInsertionPointAfter(anchor);
      Value again = makeAgain(builder, input);
      product->moveAfter(again.getDefiningOp());
      accumulate->moveAfter(product);
      product.getInputMutable().assign(again);
      ++numValues;
    }
  }
};
} // namespace
} // namespace txc::fuse
