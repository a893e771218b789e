//===- Rules.h - How a rule is bound to its op -----------------------------===//
//
// A rule is a function of an op and the frame that holds its operands; it fills
// the results by the formula of the op's description, plainly. The folder has
// one file for each file of dialects/Tx.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_INTERP_RULES_RULES_H
#define TXC_INTERP_RULES_RULES_H

#include "txc/Interp/Frame.h"

namespace txc::interp {

template <typename Op, mlir::LogicalResult (*rule)(Op, Frame &)>
struct Model : tx::InterpretableOpInterface::ExternalModel<Model<Op, rule>, Op> {
  mlir::LogicalResult interpret(mlir::Operation *op, Frame &frame) const {
    return rule(mlir::cast<Op>(op), frame);
  }
};

/// Makes `rule` the InterpretableOpInterface of `Op`.
template <typename Op, mlir::LogicalResult (*rule)(Op, Frame &)> void attach(mlir::MLIRContext *context) {
  Op::template attachInterface<Model<Op, rule>>(*context);
}

void attachEmbeddingRules(mlir::MLIRContext *context);
void attachNormRules(mlir::MLIRContext *context);
void attachLinearRules(mlir::MLIRContext *context);
void attachAttentionRules(mlir::MLIRContext *context);
void attachPointwiseRules(mlir::MLIRContext *context);
void attachLossRules(mlir::MLIRContext *context);
void attachStateRules(mlir::MLIRContext *context);
void attachOptimizerRules(mlir::MLIRContext *context);
void attachRowsRules(mlir::MLIRContext *context);
void attachKernelRules(mlir::MLIRContext *context);

/// What tx.dropout multiplies element `e` by: 0 or 1 / (1 - p).
double dropoutFactor(const Hyper &hyper, double p, uint32_t site, uint64_t e);

} // namespace txc::interp

#endif // TXC_INTERP_RULES_RULES_H
