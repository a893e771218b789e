//===- ChunkLoss.cpp - Compute the loss for some tokens at a time ----------===//
//
// Requires: logits = linear(x, w) that only tx.cross_entropy and its derivative
// read; the gradient of the logits goes into the two products of tx.linear only;
// accumulations are tx.accumulate (or, the first to a gradient, tx.assign).
//
// The logits are the largest tensor of a step: B * T * V. Rows do not depend on
// each other, so for each range of rows
//
//   logits = linear(x[range], w)
//   loss   = cross_entropy(logits, targets[range])
//   dl     = cross_entropy_vjp(...)              fuse writes it over the logits
//   accumulate w, linear_weight_vjp(dl, x[range])
//   dx     = linear_input_vjp(dl, w)
//
// and the losses and dx of all ranges together are what they were. Without a
// backward pass (@eval) the first two lines remain. tx.slice_rows and
// tx.concat_rows are places in buffers, so nothing is copied.
//
// `chunks` says how many ranges; 0 with `max_logits_bytes` takes the fewest
// whose logits are at most that many bytes each. A range is a multiple of 128
// rows, if there are that many, so that the last may be shorter. One range
// leaves the function as it is.
//
// Cost: the gradient of w is read and written once per range.
//
// Guarantees: as many multiplications as before, of the same numbers.
//
//===----------------------------------------------------------------------===//

#include "txc/Fuse/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace txc::fuse {
#define GEN_PASS_DEF_CHUNKLOSS
#include "txc/Fuse/Passes.h.inc"

namespace {

/// The ops around one tx.cross_entropy.
struct LossOps {
  tx::CrossEntropyOp loss;
  tx::LinearOp head;
  tx::CrossEntropyVjpOp vjp;          ///< this and the following: null without a backward pass
  tx::LinearWeightVjpOp weightVjp;
  Operation *accumulate = nullptr;    ///< a tx.accumulate, or a tx.assign of the gradient
  tx::LinearInputVjpOp inputVjp;
};

std::optional<LossOps> findLoss(tx::CrossEntropyOp loss) {
  LossOps ops;
  ops.loss = loss;
  ops.head = loss.getLogits().getDefiningOp<tx::LinearOp>();
  if (!ops.head)
    return std::nullopt;
  for (Operation *user : ops.head.getResult().getUsers())
    if (user != loss) {
      auto vjp = dyn_cast<tx::CrossEntropyVjpOp>(user);
      if (!vjp || ops.vjp)
        return std::nullopt;
      ops.vjp = vjp;
    }
  for (Operation *user : loss.getLse().getUsers())
    if (user != ops.vjp)
      return std::nullopt;
  if (!ops.vjp)
    return ops;
  for (Operation *user : ops.vjp.getResult().getUsers())
    if (auto weightVjp = dyn_cast<tx::LinearWeightVjpOp>(user); weightVjp && !ops.weightVjp)
      ops.weightVjp = weightVjp;
    else if (auto inputVjp = dyn_cast<tx::LinearInputVjpOp>(user); inputVjp && !ops.inputVjp)
      ops.inputVjp = inputVjp;
    else
      return std::nullopt;
  if (ops.weightVjp) {
    if (!ops.weightVjp.getResult().hasOneUse() || ops.weightVjp.getInput() != ops.head.getInput())
      return std::nullopt;
    ops.accumulate = *ops.weightVjp.getResult().user_begin();
    if (!isa<tx::AccumulateOp, tx::AssignOp>(ops.accumulate))
      return std::nullopt;
  }
  return ops;
}

/// [1, rows, ...] of the row type of `whole`.
RankedTensorType partType(Value whole, int64_t rows) {
  auto type = cast<RankedTensorType>(whole.getType());
  SmallVector<int64_t> shape{1, rows};
  llvm::append_range(shape, type.getShape().drop_front(2));
  return type.clone(shape);
}

void chunk(LossOps ops, int64_t total, int64_t rowsPerChunk) {
  Operation *point = ops.vjp ? ops.vjp.getOperation() : ops.loss.getOperation();
  // The mean of the losses comes after all of them.
  if (ops.vjp) {
    DenseSet<Value> dependent{ops.loss.getLoss()};
    SmallVector<Operation *> users;
    for (Operation *op = ops.loss->getNextNode(); op != point; op = op->getNextNode())
      if (llvm::any_of(op->getOperands(), [&](Value v) { return dependent.contains(v); })) {
        dependent.insert(op->getResults().begin(), op->getResults().end());
        users.push_back(op);
      }
    if (dependent.contains(ops.vjp.getGrad()))
      return; // a loss whose gradient depends on the loss itself
    Operation *last = point;
    for (Operation *user : users) {
      user->moveAfter(last);
      last = user;
    }
  }
  OpBuilder b(point);
  Value x = ops.head.getInput(), w = ops.head.getWeight(), targets = ops.loss.getTargets();
  SmallVector<Value> losses, inputGrads;
  for (int64_t from = 0; from < total; from += rowsPerChunk) {
    int64_t rows = std::min(rowsPerChunk, total - from);
    auto slice = [&](Value whole) -> Value {
      return b.create<tx::SliceRowsOp>(whole.getLoc(), partType(whole, rows), whole, from);
    };
    Value xPart = slice(x), targetsPart = slice(targets);
    Value logits = b.create<tx::LinearOp>(ops.head.getLoc(), partType(ops.head.getResult(), rows), xPart, w);
    auto loss = b.create<tx::CrossEntropyOp>(ops.loss.getLoc(), partType(ops.loss.getLoss(), rows),
                                             partType(ops.loss.getLse(), rows), logits, targetsPart,
                                             ops.loss.getIgnoreIndex());
    losses.push_back(loss.getLoss());
    if (!ops.vjp)
      continue;
    // The gradient of the mean is one number, which needs no tensor.
    Value grad = ops.vjp.getGrad();
    if (auto mean = grad.getDefiningOp<tx::MeanLossVjpOp>())
      grad = b.create<tx::MeanLossVjpOp>(mean.getLoc(), partType(grad, rows), mean.getGrad(), mean.getCount());
    else
      grad = slice(grad);
    Value logitsGrad =
        b.create<tx::CrossEntropyVjpOp>(ops.vjp.getLoc(), logits.getType(), grad, logits, targetsPart,
                                        loss.getLse(), ops.vjp.getIgnoreIndex());
    if (ops.weightVjp) {
      Value weightGrad = b.create<tx::LinearWeightVjpOp>(
          ops.weightVjp.getLoc(), ops.weightVjp.getType(), logitsGrad, xPart);
      // Of an assignment, only the first range assigns.
      auto assign = dyn_cast<tx::AssignOp>(ops.accumulate);
      if (assign && from == 0)
        b.create<tx::AssignOp>(assign.getLoc(), assign.getParam(), assign.getState(), weightGrad);
      else
        b.create<tx::AccumulateOp>(ops.accumulate->getLoc(),
                                   ops.accumulate->getAttrOfType<FlatSymbolRefAttr>("param"), weightGrad);
    }
    if (ops.inputVjp)
      inputGrads.push_back(b.create<tx::LinearInputVjpOp>(
          ops.inputVjp.getLoc(), partType(ops.inputVjp.getResult(), rows), logitsGrad, w));
  }
  auto replace = [&](Value whole, ValueRange parts) {
    whole.replaceAllUsesWith(b.create<tx::ConcatRowsOp>(whole.getLoc(), whole.getType(), parts));
  };
  replace(ops.loss.getLoss(), losses);
  if (ops.inputVjp) {
    replace(ops.inputVjp.getResult(), inputGrads);
    ops.inputVjp->erase();
  }
  if (ops.weightVjp) {
    ops.accumulate->erase();
    ops.weightVjp->erase();
  }
  if (ops.vjp) {
    Operation *mean = ops.vjp.getGrad().getDefiningOp<tx::MeanLossVjpOp>();
    ops.vjp->erase();
    if (mean && mean->use_empty())
      mean->erase();
  }
  ops.loss->erase();
  ops.head->erase();
}

struct ChunkLoss : impl::ChunkLossBase<ChunkLoss> {
  using ChunkLossBase::ChunkLossBase;

  void runOnOperation() override {
    if (chunks < 0 || maxLogitsBytes < 0) {
      getOperation().emitError() << "chunks and max_logits_bytes must not be negative, found "
                                 << int64_t(chunks) << " and " << int64_t(maxLogitsBytes);
      return signalPassFailure();
    }
    SmallVector<tx::CrossEntropyOp> losses;
    getOperation().walk([&](tx::CrossEntropyOp op) { losses.push_back(op); });
    for (tx::CrossEntropyOp loss : losses) {
      auto type = cast<RankedTensorType>(loss.getLogits().getType());
      int64_t total = type.getDimSize(0) * type.getDimSize(1);
      int64_t bytes = type.getNumElements() * (type.getElementTypeBitWidth() / 8);
      int64_t count = chunks;
      if (count == 0 && maxLogitsBytes > 0)
        count = llvm::divideCeil(bytes, int64_t(maxLogitsBytes));
      if (count < 2)
        continue;
      int64_t rows = llvm::divideCeil(total, count);
      if (rows > 128)
        rows = llvm::alignTo(rows, 128);
      if (rows < total)
        if (std::optional<LossOps> ops = findLoss(loss))
          chunk(*ops, total, rows);
    }
  }
};
} // namespace
} // namespace txc::fuse
