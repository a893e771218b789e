//===- Run.cpp - Evaluate a module in float64 ------------------------------===//
//
// Requires: @forward, or what autodiff makes of it (before or after fuse).
//
// 1. @init fills the parameters (if there is none: as their tx.param say).
// 2. `steps` times: @micro on `micro_batches` batches, then @update. A module
//    without @micro evaluates @forward once instead.
// 3. @eval, if there is one, on the next batch.
//
// After shard, all ranks of the mesh are evaluated side by side. The batches are those
// of one rank: of N consecutive ones, rank r takes number r. @micro_last, if there is
// one, takes the last of each rank. Parameters and gradients are shown whole.
//
// Prints losses, gradient statistics and a digest of every gradient (before the
// update) and of every final value. Sums run in one order, so a pass that keeps
// the mathematics leaves the text as it was: print it before and after, compare.
//
// Guarantees: the module is unchanged.
//
//===----------------------------------------------------------------------===//

#include "txc/Interp/Passes.h"

#include "Batch.h"
#include "Npy.h"
#include "txc/Interp/Ranks.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Path.h"

#include <cmath>

using namespace mlir;

namespace txc::interp {
#define GEN_PASS_DEF_RUN
#include "txc/Interp/Passes.h.inc"

namespace {

/// 12 significant digits; no sign on zero.
auto digits(double value) { return llvm::format("%.11e", value == 0 ? 0.0 : value); }

void printDigest(StringRef kind, StringRef name, const Tensor &tensor) {
  double sum = 0, squares = 0;
  for (double element : tensor.data) {
    sum += element;
    squares += element * element;
  }
  llvm::outs() << "  " << kind << " " << name << ": norm " << digits(std::sqrt(squares)) << " sum "
               << digits(sum) << " first";
  for (double element : ArrayRef(tensor.data).take_front(2))
    llvm::outs() << " " << digits(element);
  llvm::outs() << "\n";
}

struct Run : impl::RunBase<Run> {
  using RunBase::RunBase;

  void runOnOperation() override {
    markAllAnalysesPreserved();
    if (failed(evaluate()))
      signalPassFailure();
    llvm::outs().flush();
  }

private:
  LogicalResult evaluate();
  /// Calls `function` on the batches from number `batch` on, one for each rank; prints
  /// nothing. The results are those of rank 0.
  LogicalResult callOn(func::FuncOp function, uint32_t batch, SmallVectorImpl<Datum> &results);
  /// Calls `function` with hyper alone.
  LogicalResult callOnHyper(func::FuncOp function, SmallVectorImpl<Datum> &results);
  LogicalResult printLoss(StringRef label, func::FuncOp function, ArrayRef<Datum> results);
  LogicalResult write(const Twine &name, const Datum &datum);
  LogicalResult writeState(const Twine &suffix, bool isGradient);

  std::optional<Ranks> ranks;
  std::optional<Batches> batches;
  Hyper hyper;
};

LogicalResult Run::write(const Twine &name, const Datum &datum) {
  if (dump.empty())
    return success();
  if (std::error_code error = llvm::sys::fs::create_directories(dump))
    return getOperation().emitError() << "cannot make folder " << dump << ": " << error.message();
  SmallString<128> path(dump);
  llvm::sys::path::append(path, name + ".npy");
  auto *ints = std::get_if<std::shared_ptr<const IntTensor>>(&datum);
  llvm::Error error =
      ints ? writeNpy(path, **ints) : writeNpy(path, *std::get<std::shared_ptr<const Tensor>>(datum));
  if (error)
    return getOperation().emitError() << llvm::toString(std::move(error));
  return success();
}

LogicalResult Run::writeState(const Twine &suffix, bool isGradient) {
  for (StringAttr name : ranks->getNames())
    if (failed(write(name.getValue() + suffix,
                     std::make_shared<const Tensor>(isGradient ? ranks->getGradient(name)
                                                               : ranks->getWhole(name, tx::State::Value)))))
      return failure();
  return success();
}

LogicalResult Run::callOn(func::FuncOp function, uint32_t batch, SmallVectorImpl<Datum> &results) {
  SmallVector<SmallVector<Datum>> arguments, allResults;
  for (int64_t rank = 0; rank < ranks->size(); ++rank, ++batch) {
    hyper.step = batch;
    FailureOr<SmallVector<Datum>> own = batches->arguments(function, hyper, batch);
    if (failed(own))
      return failure();
    static constexpr StringRef names[] = {"tokens", "targets"};
    unsigned tensors = 0;
    for (const Datum &datum : *own)
      if (std::holds_alternative<std::shared_ptr<const IntTensor>>(datum))
        if (failed(write(names[tensors++] + "." + Twine(batch), datum)))
          return failure();
    arguments.push_back(std::move(*own));
  }
  if (failed(ranks->call(function, arguments, allResults)))
    return failure();
  results.append(allResults.front());
  return success();
}

LogicalResult Run::callOnHyper(func::FuncOp function, SmallVectorImpl<Datum> &results) {
  SmallVector<SmallVector<Datum>> arguments(ranks->size(), {Datum(hyper)}), allResults;
  if (failed(ranks->call(function, arguments, allResults)))
    return failure();
  results.append(allResults.front());
  return success();
}

LogicalResult Run::printLoss(StringRef label, func::FuncOp function, ArrayRef<Datum> results) {
  auto *loss = results.empty() ? nullptr : std::get_if<std::shared_ptr<const Tensor>>(&results[0]);
  if (!loss || (*loss)->size() != 1)
    return function.emitOpError() << "must return the loss, a 0-d tensor, as its first result";
  llvm::outs() << label << " loss " << digits((**loss)[0]);
  if (results.size() > 1)
    if (auto *count = std::get_if<std::shared_ptr<const Tensor>>(&results[1]); count && (*count)->size() == 1)
      llvm::outs() << " targets " << static_cast<int64_t>((**count)[0]);
  llvm::outs() << "\n";
  return success();
}

LogicalResult Run::evaluate() {
  ModuleOp module = getOperation();
  auto find = [&](StringRef name) { return module.lookupSymbol<func::FuncOp>(name); };
  func::FuncOp forward = find("forward"), micro = find("micro"), update = find("update"), eval = find("eval");
  func::FuncOp microLast = find("micro_last");
  if (!forward && !micro)
    return module.emitError() << "has neither @forward nor @micro to evaluate";
  if (steps < 1 || microBatches < 1)
    return module.emitError() << "steps and micro_batches must be positive, found " << int64_t(steps)
                              << " and " << int64_t(microBatches);

  FailureOr<Ranks> created = Ranks::create(module, round);
  if (failed(created))
    return failure();
  ranks.emplace(std::move(*created));
  if (microBatches % ranks->size() != 0)
    return module.emitError() << "micro_batches is " << int64_t(microBatches) << " for all of " << ranks->size()
                              << " ranks; expected a multiple of " << ranks->size();
  batches.emplace(module, dataSeed, ignored);
  hyper = Hyper();
  hyper.learningRate = lr;
  hyper.beta1 = beta1;
  hyper.beta2 = beta2;
  hyper.epsilon = eps;
  hyper.weightDecay = weightDecay;
  hyper.gradClip = clip;
  hyper.gradScale = 1.0 / microBatches;
  hyper.seed = seed;

  SmallVector<Datum> results;
  if (func::FuncOp init = find("init")) {
    if (failed(callOnHyper(init, results)) || failed(ranks->checkEqual()))
      return failure();
  } else {
    for (int64_t rank = 0; rank < ranks->size(); ++rank)
      for (StringAttr name : ranks->getNames())
        ranks->getState(rank).initialise(name, seed);
  }
  if (failed(writeState(".initial", /*isGradient=*/false)))
    return failure();

  uint32_t batch = 0;
  if (!micro) {
    results.clear();
    if (failed(callOn(forward, batch, results)))
      return failure();
    return printLoss("forward", forward, results);
  }

  for (int64_t step = 1; step <= steps; ++step) {
    int64_t perRank = microBatches / ranks->size();
    for (int64_t i = 0; i < perRank; ++i, batch += ranks->size()) {
      results.clear();
      if (failed(callOn(i == perRank - 1 && microLast ? microLast : micro, batch, results)))
        return failure();
      std::string label = "step " + std::to_string(step) + " micro " + std::to_string(i);
      if (failed(printLoss(label, micro, results)))
        return failure();
    }
    for (StringAttr name : ranks->getNames())
      printDigest("gradient", name, ranks->getGradient(name));
    if (failed(writeState(".grad." + Twine(step), /*isGradient=*/true)))
      return failure();
    if (!update)
      continue;
    hyper.biasCorrection1 = 1 - std::pow(beta1, step);
    hyper.biasCorrection2 = 1 - std::pow(beta2, step);
    results.clear();
    if (failed(callOnHyper(update, results)) || failed(ranks->checkEqual()))
      return failure();
    auto *stats = results.empty() ? nullptr : std::get_if<std::shared_ptr<const Tensor>>(&results[0]);
    if (!stats || (*stats)->size() != 11)
      return update.emitOpError() << "must return the 11 statistics of tx.global_norm";
    static constexpr StringRef labels[] = {
        "norm",           "clip_scale", "mean", "std", "min", "max", "tensor_norm_mean", "tensor_norm_max",
        "tensor_norm_min", "nonfinite", "skipped"};
    llvm::outs() << "step " << step << " gradients";
    for (auto [label, value] : llvm::zip_equal(labels, (*stats)->data))
      llvm::outs() << " " << label << " " << digits(value);
    llvm::outs() << "\n";
  }

  llvm::outs() << "after " << steps << " steps\n";
  for (StringAttr name : ranks->getNames())
    printDigest("value", name, ranks->getWhole(name, tx::State::Value));
  if (failed(writeState(".value", /*isGradient=*/false)))
    return failure();
  if (eval) {
    results.clear();
    if (failed(callOn(eval, batch, results)) || failed(printLoss("eval", eval, results)))
      return failure();
  }
  return success();
}

} // namespace
} // namespace txc::interp
