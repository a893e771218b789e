//===- CheckDecode.cpp - Decoding against the forward pass -----------------===//
//
// Requires: @eval and @decode (after autodiff, or after fuse).
//
// 1. Parameters get normal values of standard deviation `scale` (plus 1 where
//    tx.param says ones), and @eval is evaluated on one batch of T tokens.
// 2. The same sequences go through @decode token by token, as many side by side
//    as it takes. Before each group of sequences all caches become NaN, so that a
//    position that is read before it is written shows.
// 3. The logits of every position are compared with those that @eval gives to its
//    tx.cross_entropy, if that op stands by itself (before fuse), and always the
//    loss that follows from them with the loss of @eval. Both evaluate in one
//    order, so they agree to the last few bits.
//
// Fails on a difference above `tolerance`.
//
// Guarantees: the module is unchanged.
//
//===----------------------------------------------------------------------===//

#include "txc/Interp/Passes.h"

#include "Batch.h"

#include "llvm/Support/Format.h"

#include <cmath>

using namespace mlir;

namespace txc::interp {
#define GEN_PASS_DEF_CHECKDECODE
#include "txc/Interp/Passes.h.inc"

namespace {

const Tensor &tensorOf(const Datum &datum) { return *std::get<std::shared_ptr<const Tensor>>(datum); }

struct CheckDecode : impl::CheckDecodeBase<CheckDecode> {
  using CheckDecodeBase::CheckDecodeBase;

  void runOnOperation() override {
    markAllAnalysesPreserved();
    if (failed(check()))
      signalPassFailure();
    llvm::outs().flush();
  }

private:
  LogicalResult check();
  /// The logits of all rows of `tokens`, by calls of `decode` on `state`.
  LogicalResult decodeAll(func::FuncOp decode, State &state, const IntTensor &tokens, Tensor &logits);
};

LogicalResult CheckDecode::decodeAll(func::FuncOp decode, State &state, const IntTensor &tokens,
                                     Tensor &logits) {
  auto rowType = cast<RankedTensorType>(decode.getArgumentTypes()[0]);
  int64_t sequences = rowType.getDimSize(0), batch = tokens.rows(), length = tokens.width();
  for (int64_t first = 0; first < batch; first += sequences) {
    for (auto cache : getOperation().getOps<tx::CacheOp>()) {
      Tensor &contents = state.get(cache.getSymNameAttr(), tx::State::Value);
      std::fill(contents.data.begin(), contents.data.end(), NAN);
    }
    for (int64_t t = 0; t < length; ++t) {
      auto row = std::make_shared<IntTensor>(rowType.getShape());
      for (int64_t s = 0; s < sequences; ++s)
        (*row).data[s] = tokens.row((first + s) % batch)[t];
      auto position = std::make_shared<IntTensor>(ArrayRef<int64_t>());
      position->data.assign(1, t);
      SmallVector<Datum> results;
      if (failed(call(decode, state,
                      {std::shared_ptr<const IntTensor>(row), std::shared_ptr<const IntTensor>(position)},
                      results)))
        return failure();
      for (int64_t s = 0; s < sequences && first + s < batch; ++s)
        std::copy_n(tensorOf(results[0]).row(s), logits.width(), logits.row((first + s) * length + t));
    }
  }
  return success();
}

LogicalResult CheckDecode::check() {
  ModuleOp module = getOperation();
  auto eval = module.lookupSymbol<func::FuncOp>("eval"), decode = module.lookupSymbol<func::FuncOp>("decode");
  if (!eval || !decode)
    return module.emitError() << "has no @" << (eval ? "decode" : "eval") << " to compare";
  State state(module);
  state.randomise(seed, scale);
  FailureOr<SmallVector<Datum>> arguments = Batches(module, dataSeed, 0).arguments(eval, Hyper(), 0);
  if (failed(arguments))
    return failure();
  SmallVector<Datum> results;
  Frame frame(state);
  if (failed(frame.run(eval.getBody().front(), *arguments, results)))
    return failure();
  double expectedLoss = tensorOf(results[0])[0];

  auto tokens = std::get<std::shared_ptr<const IntTensor>>((*arguments)[0]);
  auto targets = std::get<std::shared_ptr<const IntTensor>>((*arguments)[1]);
  int64_t vocabulary = cast<RankedTensorType>(decode.getResultTypes()[0]).getShape().back();
  Tensor logits(ArrayRef<int64_t>{tokens->rows(), tokens->width(), vocabulary});
  if (failed(decodeAll(decode, state, *tokens, logits)))
    return failure();

  bool compared = false;
  for (auto loss : eval.getOps<tx::CrossEntropyOp>()) {
    const Tensor &expected = frame.get(loss.getLogits());
    double largest = 0;
    for (double value : expected.data)
      largest = std::max(largest, std::fabs(value));
    for (int64_t i = 0; i < expected.size(); ++i)
      if (!(std::fabs(logits[i] - expected[i]) <= tolerance * largest))
        return decode.emitError() << "gives " << logits[i] << " as logit " << i % vocabulary
                                  << " of position " << i / vocabulary % tokens->width() << " of sequence "
                                  << i / vocabulary / tokens->width() << ", but @eval has " << expected[i];
    compared = true;
  }
  double loss = 0;
  for (int64_t r = 0; r < logits.rows(); ++r) {
    const double *row = logits.row(r);
    double largest = *std::max_element(row, row + vocabulary), sum = 0;
    for (int64_t v = 0; v < vocabulary; ++v)
      sum += std::exp(row[v] - largest);
    loss += std::log(sum) + largest - row[(*targets)[r]];
  }
  loss /= logits.rows();
  if (!(std::fabs(loss - expectedLoss) <= tolerance * (1 + std::fabs(expectedLoss))))
    return decode.emitError() << "gives logits of loss " << loss << ", but @eval has " << expectedLoss;
  llvm::outs() << "decode equals eval at " << logits.rows()
               << " positions: " << (compared ? "logits and loss" : "loss") << "\n";
  return success();
}

} // namespace
} // namespace txc::interp
