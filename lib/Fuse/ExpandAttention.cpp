//===- ExpandAttention.cpp - Attention in parts, for comparison -------------===//
//
// Requires: @micro with forward and backward pass in one block.
//
//   o, lse = attention(qkv)     s = attention_scores(qkv)
//                               p = causal_softmax(s), p' = dropout(p)
//                               o = attention_mix(p', qkv)
//
//   dqkv = attention_vjp(       dp = attention_mix_vjp(do, qkv)
//     do, qkv, o, lse)          ds = causal_softmax_vjp(dropout(dp), p)
//                               dqkv = attention_scores_vjp(ds, p', do, qkv)
//
// p and p' are kept from the forward to the backward pass: T x T matrices of every
// head and layer, which is what attention costs without tx.attention.
//
// Guarantees: no tx.attention or tx.attention_vjp is left; the same numbers, but
// for the rounding of scores and probabilities to the element type.
//
//===----------------------------------------------------------------------===//

#include "txc/Fuse/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <cmath>

using namespace mlir;

namespace txc::fuse {
#define GEN_PASS_DEF_EXPANDATTENTION
#include "txc/Fuse/Passes.h.inc"

namespace {

/// What the backward pass needs of a forward one.
struct Probabilities {
  Value softmax, dropped;
};

template <typename Op> RankedTensorType matricesOf(Op op) {
  auto type = cast<RankedTensorType>(op.getQkv().getType());
  int64_t t = type.getDimSize(1);
  return RankedTensorType::get({type.getDimSize(0), static_cast<int64_t>(op.getNHead()), t, t},
                               type.getElementType());
}

template <typename Op> APFloat scaleOf(Op op) {
  return APFloat(1 / std::sqrt(static_cast<double>(op.getHeadDim())));
}

/// `value` with what `op` drops dropped.
template <typename Op> Value drop(OpBuilder &builder, Op op, Value value) {
  if (!op.getHyper())
    return value;
  return builder.create<tx::DropoutOp>(op.getLoc(), value.getType(), value, op.getHyper(), op.getDropout(),
                                       op.getSite());
}

Probabilities expandForward(tx::AttentionOp op) {
  OpBuilder builder(op);
  Location loc = op.getLoc();
  RankedTensorType matrices = matricesOf(op);
  uint64_t heads = op.getNHead(), kvHeads = op.getNKvHead();
  Value scores = builder.create<tx::AttentionScoresOp>(loc, matrices, op.getQkv(), heads, kvHeads);
  Value softmax = builder.create<tx::CausalSoftmaxOp>(loc, matrices, scores, scaleOf(op));
  Value dropped = drop(builder, op, softmax);
  Value result =
      builder.create<tx::AttentionMixOp>(loc, op.getResult().getType(), dropped, op.getQkv(), heads, kvHeads);
  op.getResult().replaceAllUsesWith(result);
  return {softmax, dropped};
}

void expandBackward(tx::AttentionVjpOp op, const Probabilities &forward) {
  OpBuilder builder(op);
  Location loc = op.getLoc();
  RankedTensorType matrices = matricesOf(op);
  uint64_t heads = op.getNHead(), kvHeads = op.getNKvHead();
  Value grad =
      builder.create<tx::AttentionMixVjpOp>(loc, matrices, op.getGrad(), op.getQkv(), heads, kvHeads);
  grad = drop(builder, op, grad);
  grad = builder.create<tx::CausalSoftmaxVjpOp>(loc, matrices, grad, forward.softmax, scaleOf(op));
  Value result = builder.create<tx::AttentionScoresVjpOp>(
      loc, op.getQkvGrad().getType(), grad, forward.dropped, op.getGrad(), op.getQkv(), heads, kvHeads);
  op.getQkvGrad().replaceAllUsesWith(result);
}

struct ExpandAttention : impl::ExpandAttentionBase<ExpandAttention> {
  LogicalResult expand(func::FuncOp function) {
    llvm::DenseMap<Value, Probabilities> byLse;
    SmallVector<Operation *> done;
    WalkResult walked = function.walk([&](Operation *op) {
      if (auto forward = dyn_cast<tx::AttentionOp>(op)) {
        byLse[forward.getLse()] = expandForward(forward);
        done.push_back(op);
      } else if (auto backward = dyn_cast<tx::AttentionVjpOp>(op)) {
        auto forward = byLse.find(backward.getLse());
        if (forward == byLse.end()) {
          op->emitOpError() << "has an lse that no tx.attention before it computes";
          return WalkResult::interrupt();
        }
        expandBackward(backward, forward->second);
        done.push_back(op);
      }
      return WalkResult::advance();
    });
    if (walked.wasInterrupted())
      return failure();
    // Users before what they use.
    for (Operation *op : llvm::reverse(done))
      op->erase();
    return success();
  }

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (failed(expand(function)))
        return signalPassFailure();
  }
};
} // namespace
} // namespace txc::fuse
