//===- Kernel.cpp - Regions and constants, evaluated -----------------------===//
//
// A kernel is what its body computes; where its results are written (`inplace`)
// does not concern the mathematics.
//
//===----------------------------------------------------------------------===//

#include "Rules.h"
#include "txc/Interp/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace txc::interp {
namespace {

LogicalResult kernel(tx::KernelOp op, Frame &frame) {
  SmallVector<Datum> arguments =
      llvm::map_to_vector(op.getInputs(), [&](Value input) { return frame.getDatum(input); });
  SmallVector<Datum> results;
  if (failed(Frame(frame.getState()).run(op.getBody().front(), arguments, results)))
    return failure();
  for (auto [result, datum] : llvm::zip_equal(op.getResults(), results))
    frame.set(result, datum);
  return success();
}

LogicalResult constant(arith::ConstantOp op, Frame &frame) {
  auto elements = dyn_cast<DenseFPElementsAttr>(op.getValue());
  if (!elements)
    return op.emitOpError() << "must be a tensor of floats to be evaluated, found " << op.getType();
  Tensor &result = frame.create(op.getResult());
  for (auto [to, from] : llvm::zip_equal(result.data, elements.getValues<APFloat>())) {
    bool losesInfo;
    APFloat value = from;
    value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &losesInfo);
    to = value.convertToDouble();
  }
  return success();
}

} // namespace

void attachKernelRules(MLIRContext *context) { attach<tx::KernelOp, kernel>(context); }

void registerExternalModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, tx::TxDialect *) {
    attachEmbeddingRules(context);
    attachNormRules(context);
    attachLinearRules(context);
    attachAttentionRules(context);
    attachPointwiseRules(context);
    attachLossRules(context);
    attachStateRules(context);
    attachOptimizerRules(context);
    attachRowsRules(context);
    attachKernelRules(context);
  });
  registry.addExtension(
      +[](MLIRContext *context, arith::ArithDialect *) { attach<arith::ConstantOp, constant>(context); });
}

} // namespace txc::interp
