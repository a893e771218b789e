//===- Rules.cpp - The derivative of every tx op ---------------------------===//
//
// One rule per op: from the gradients of its results, the gradients of its
// operands, as formulas over tx ops. A null gradient is zero. Rules build at the
// builder they get and give the new ops the location of the op they belong to,
// so that the backward pass carries the same YAML paths.
//
// An op without a rule cannot stand between a parameter and the loss.
//
//===----------------------------------------------------------------------===//

#include "txc/Autodiff/Passes.h"

using namespace mlir;

namespace txc::autodiff {
namespace {

using Grads = SmallVectorImpl<Value>;

/// Binds `rule` as the DifferentiableOpInterface of `Op`.
template <typename Op, LogicalResult (*rule)(Op, OpBuilder &, ArrayRef<Value>, Grads &)>
struct Model : tx::DifferentiableOpInterface::ExternalModel<Model<Op, rule>, Op> {
  LogicalResult buildVjp(Operation *op, OpBuilder &builder, ArrayRef<Value> resultGrads, Grads &operandGrads) const {
    operandGrads.assign(op->getNumOperands(), Value());
    return rule(cast<Op>(op), builder, resultGrads, operandGrads);
  }
};

/// Only the first result may have a gradient; the others are statistics that the
/// backward pass reads.
LogicalResult onlyFirst(Operation *op, ArrayRef<Value> grads) {
  for (Value grad : grads.drop_front())
    if (grad)
      return op->emitOpError() << "has no derivative with respect to its statistics";
  return success(static_cast<bool>(grads[0]));
}

//===-- Embeddings ---------------------------------------------------------===//

LogicalResult embedding(tx::EmbeddingOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[1] = b.create<tx::EmbeddingVjpOp>(op.getLoc(), op.getTable().getType(), op.getTokens(), dy[0]);
  return success();
}

LogicalResult addPosition(tx::AddPositionOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = dy[0];
  dx[1] = b.create<tx::PositionVjpOp>(op.getLoc(), op.getTable().getType(), dy[0]);
  return success();
}

//===-- Norms --------------------------------------------------------------===//

LogicalResult rmsNorm(tx::RmsNormOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  if (failed(onlyFirst(op, dy)))
    return failure();
  auto vjp = b.create<tx::RmsNormVjpOp>(op.getLoc(), op.getInput().getType(), op.getGain().getType(), dy[0],
                                        op.getInput(), op.getGain(), op.getRstd());
  dx[0] = vjp.getInputGrad();
  dx[1] = vjp.getGainGrad();
  return success();
}

LogicalResult layerNorm(tx::LayerNormOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  if (failed(onlyFirst(op, dy)))
    return failure();
  auto vjp = b.create<tx::LayerNormVjpOp>(op.getLoc(), op.getInput().getType(), op.getGain().getType(), dy[0],
                                          op.getInput(), op.getGain(), op.getMean(), op.getRstd());
  dx[0] = vjp.getInputGrad();
  dx[1] = vjp.getGainGrad();
  return success();
}

//===-- Matrix products ----------------------------------------------------===//

LogicalResult linear(tx::LinearOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[1] = b.create<tx::LinearWeightVjpOp>(op.getLoc(), op.getWeight().getType(), dy[0], op.getInput());
  dx[0] = b.create<tx::LinearInputVjpOp>(op.getLoc(), op.getInput().getType(), dy[0], op.getWeight());
  return success();
}

LogicalResult addBias(tx::AddBiasOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = dy[0];
  dx[1] = b.create<tx::BiasVjpOp>(op.getLoc(), op.getBias().getType(), dy[0]);
  return success();
}

//===-- Attention ----------------------------------------------------------===//

LogicalResult rope(tx::RopeOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = b.create<tx::RopeOp>(op.getLoc(), op.getInput().getType(), dy[0], op.getCos(), op.getSin(), op.getHeads(),
                               op.getHeadDim(), op.getLayout(), !op.getInverse());
  return success();
}

LogicalResult attention(tx::AttentionOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  if (failed(onlyFirst(op, dy)))
    return failure();
  dx[0] = b.create<tx::AttentionVjpOp>(op.getLoc(), op.getQkv().getType(), dy[0], op.getQkv(), op.getResult(),
                                       op.getLse(), op.getHyper(), op.getNHead(), op.getNKvHead(), op.getDropout(),
                                       op.getSite());
  return success();
}

//===-- Pointwise ----------------------------------------------------------===//

LogicalResult add(tx::AddOp, OpBuilder &, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = dx[1] = dy[0];
  return success();
}

LogicalResult activation(tx::ActivationOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = b.create<tx::ActivationVjpOp>(op.getLoc(), op.getInput().getType(), dy[0], op.getInput(), op.getKind());
  return success();
}

LogicalResult swiglu(tx::SwigluOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = b.create<tx::SwigluVjpOp>(op.getLoc(), op.getInput().getType(), dy[0], op.getInput());
  return success();
}

LogicalResult dropout(tx::DropoutOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = b.create<tx::DropoutOp>(op.getLoc(), op.getInput().getType(), dy[0], op.getHyper(), op.getP(),
                                  op.getSite());
  return success();
}

LogicalResult castOp(tx::CastOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = b.create<tx::CastOp>(op.getLoc(), op.getInput().getType(), dy[0]);
  return success();
}

//===-- Loss ---------------------------------------------------------------===//

LogicalResult crossEntropy(tx::CrossEntropyOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  if (failed(onlyFirst(op, dy)))
    return failure();
  dx[0] = b.create<tx::CrossEntropyVjpOp>(op.getLoc(), op.getLogits().getType(), dy[0], op.getLogits(),
                                          op.getTargets(), op.getLse(), op.getIgnoreIndex());
  return success();
}

LogicalResult meanLoss(tx::MeanLossOp op, OpBuilder &b, ArrayRef<Value> dy, Grads &dx) {
  dx[0] = b.create<tx::MeanLossVjpOp>(op.getLoc(), op.getLosses().getType(), dy[0], op.getCount());
  return success();
}

} // namespace

void registerExternalModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, tx::TxDialect *) {
    tx::EmbeddingOp::attachInterface<Model<tx::EmbeddingOp, embedding>>(*context);
    tx::AddPositionOp::attachInterface<Model<tx::AddPositionOp, addPosition>>(*context);
    tx::RmsNormOp::attachInterface<Model<tx::RmsNormOp, rmsNorm>>(*context);
    tx::LayerNormOp::attachInterface<Model<tx::LayerNormOp, layerNorm>>(*context);
    tx::LinearOp::attachInterface<Model<tx::LinearOp, linear>>(*context);
    tx::AddBiasOp::attachInterface<Model<tx::AddBiasOp, addBias>>(*context);
    tx::RopeOp::attachInterface<Model<tx::RopeOp, rope>>(*context);
    tx::AttentionOp::attachInterface<Model<tx::AttentionOp, attention>>(*context);
    tx::AddOp::attachInterface<Model<tx::AddOp, add>>(*context);
    tx::ActivationOp::attachInterface<Model<tx::ActivationOp, activation>>(*context);
    tx::SwigluOp::attachInterface<Model<tx::SwigluOp, swiglu>>(*context);
    tx::DropoutOp::attachInterface<Model<tx::DropoutOp, dropout>>(*context);
    tx::CastOp::attachInterface<Model<tx::CastOp, castOp>>(*context);
    tx::CrossEntropyOp::attachInterface<Model<tx::CrossEntropyOp, crossEntropy>>(*context);
    tx::MeanLossOp::attachInterface<Model<tx::MeanLossOp, meanLoss>>(*context);
  });
}
} // namespace txc::autodiff
