//===- Rules.cpp - Attaches the derivative rules to the tx ops -------------===//

#include "Rules.h"
#include "txc/Autodiff/Passes.h"

using namespace mlir;

namespace txc::autodiff {

Type getMasterType(Value weight) {
  auto type = cast<RankedTensorType>(weight.getType());
  return type.getElementType().isBF16() ? type.clone(Float32Type::get(type.getContext())) : type;
}

LogicalResult onlyFirst(Operation *op, ArrayRef<Value> grads) {
  for (auto [index, grad] : llvm::enumerate(grads))
    if (grad && index > 0) {
      InFlightDiagnostic diag = op->emitOpError() << "has no derivative of result " << index
                                                  << ", which is there for the backward pass only";
      diag.attachNote(grad.getLoc()) << "the loss depends on it here";
      return diag;
    }
  return success();
}

void registerExternalModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, tx::TxDialect *) {
    attachEmbeddingRules(context);
    attachNormRules(context);
    attachLinearRules(context);
    attachAttentionRules(context);
    attachPointwiseRules(context);
    attachLossRules(context);
  });
}
} // namespace txc::autodiff
