//===- Rules.h - How a derivative rule is bound to its op ------------------===//
//
// One rule per op: from the gradients of its results, the gradients of its
// operands, as formulas over tx ops. A null gradient is zero. Rules build at the
// builder they get and give the new ops the location of the op they belong to,
// so that the backward pass carries the same YAML paths. A rule builds the
// gradients of all operands; what nobody needs, Differentiate.cpp removes.
//
// An op without a rule cannot stand between a parameter and the loss. The folder
// has one file for each file of dialects/Tx.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_AUTODIFF_RULES_RULES_H
#define TXC_AUTODIFF_RULES_RULES_H

#include "txc/Dialect/Tx/Tx.h"

namespace txc::autodiff {

using Grads = llvm::SmallVectorImpl<mlir::Value>;

template <typename Op,
          mlir::LogicalResult (*rule)(Op, mlir::OpBuilder &, mlir::ArrayRef<mlir::Value>, Grads &)>
struct Model : tx::DifferentiableOpInterface::ExternalModel<Model<Op, rule>, Op> {
  mlir::LogicalResult buildVjp(mlir::Operation *op, mlir::OpBuilder &builder,
                               mlir::ArrayRef<mlir::Value> resultGrads, Grads &operandGrads) const {
    operandGrads.assign(op->getNumOperands(), mlir::Value());
    return rule(mlir::cast<Op>(op), builder, resultGrads, operandGrads);
  }
};

/// Makes `rule` the DifferentiableOpInterface of `Op`.
template <typename Op,
          mlir::LogicalResult (*rule)(Op, mlir::OpBuilder &, mlir::ArrayRef<mlir::Value>, Grads &)>
void attach(mlir::MLIRContext *context) {
  Op::template attachInterface<Model<Op, rule>>(*context);
}

/// The type of the gradient of `weight`: f32 if it is bf16, since sums over rows
/// are kept as they come.
mlir::Type getMasterType(mlir::Value weight);

/// Fails unless the first result alone has a gradient; the others are statistics
/// that the backward pass reads.
mlir::LogicalResult onlyFirst(mlir::Operation *op, mlir::ArrayRef<mlir::Value> grads);

void attachEmbeddingRules(mlir::MLIRContext *context);
void attachNormRules(mlir::MLIRContext *context);
void attachLinearRules(mlir::MLIRContext *context);
void attachAttentionRules(mlir::MLIRContext *context);
void attachPointwiseRules(mlir::MLIRContext *context);
void attachLossRules(mlir::MLIRContext *context);

} // namespace txc::autodiff

#endif // TXC_AUTODIFF_RULES_RULES_H
