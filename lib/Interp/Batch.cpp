//===- Batch.cpp - Arguments for the functions of a step -------------------===//
//
// Token i of row b, i <= T, is word 0 of the Philox block of element
// b * (T + 1) + i, site 0xffffffff, step `batch`, modulo the vocabulary. A target
// is ignored if word 1 of its block, as a uniform number, is below `ignored`.
//
//===----------------------------------------------------------------------===//

#include "Batch.h"
#include "txc/Interp/Philox.h"

using namespace mlir;

namespace txc::interp {

Batches::Batches(ModuleOp module, uint64_t seed, double ignored) : seed(seed), ignored(ignored) {
  auto atMost = [&](int64_t size) { vocabulary = vocabulary ? std::min(vocabulary, size) : size; };
  module.walk([&](Operation *op) {
    if (auto embedding = dyn_cast<tx::EmbeddingOp>(op))
      atMost(cast<RankedTensorType>(embedding.getTable().getType()).getDimSize(0));
    if (auto loss = dyn_cast<tx::CrossEntropyOp>(op)) {
      atMost(cast<RankedTensorType>(loss.getLogits().getType()).getDimSize(2));
      ignoreIndex = loss.getIgnoreIndex();
    }
  });
}

FailureOr<SmallVector<Datum>> Batches::arguments(func::FuncOp function, const Hyper &hyper, uint32_t batch) {
  SmallVector<Datum> result;
  int tensors = 0;
  for (Type type : function.getArgumentTypes()) {
    if (isa<tx::HyperType>(type)) {
      result.push_back(hyper);
      continue;
    }
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || tensor.getRank() != 2 || !tensor.getElementType().isInteger(32) ||
        !tensor.hasStaticShape() || tensors == 2)
      return function.emitOpError() << "argument " << result.size() << " is " << type
                                    << "; the oracle supplies tokens and targets (i32 tensors of [B, T]) and "
                                       "!tx.hyper";
    if (!vocabulary)
      return function.emitOpError() << "takes tokens, but the module has neither a tx.embedding nor a "
                                       "tx.cross_entropy that tells the vocabulary";
    auto ints = std::make_shared<IntTensor>(tensor.getShape());
    for (int64_t r = 0, n = ints->width(); r < ints->rows(); ++r)
      for (int64_t i = 0; i < n; ++i) {
        auto words = philox(seed, r * (n + 1) + i + tensors, 0xffffffffu, batch);
        bool ignore = tensors == 1 && (words[1] >> 8) * 0x1p-24 < ignored;
        ints->row(r)[i] = ignore ? ignoreIndex : words[0] % vocabulary;
      }
    result.push_back(std::shared_ptr<const IntTensor>(std::move(ints)));
    ++tensors;
  }
  return result;
}

} // namespace txc::interp
