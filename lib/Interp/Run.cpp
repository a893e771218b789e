//===- Run.cpp - Evaluate a module in float64 ------------------------------===//
//
// Requires: @forward, or what autodiff makes of it (before or after fuse).
//
// 1. @init fills the parameters (if there is none: as their tx.param say).
// 2. `steps` times: @micro on `micro_batches` batches, then @update. A module
//    without @micro evaluates @forward once instead.
// 3. @eval, if there is one, on the next batch.
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
  /// Calls `function` on batch number `batch`; prints nothing.
  LogicalResult callOn(func::FuncOp function, uint32_t batch, SmallVectorImpl<Datum> &results);
  LogicalResult printLoss(StringRef label, func::FuncOp function, ArrayRef<Datum> results);
  LogicalResult write(const Twine &name, const Datum &datum);
  LogicalResult writeState(const Twine &suffix, tx::State which);

  std::optional<State> state;
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

LogicalResult Run::writeState(const Twine &suffix, tx::State which) {
  for (StringAttr name : state->getNames())
    if (failed(write(name.getValue() + suffix, std::make_shared<const Tensor>(state->get(name, which)))))
      return failure();
  return success();
}

LogicalResult Run::callOn(func::FuncOp function, uint32_t batch, SmallVectorImpl<Datum> &results) {
  hyper.step = batch;
  FailureOr<SmallVector<Datum>> arguments = batches->arguments(function, hyper, batch);
  if (failed(arguments))
    return failure();
  static constexpr StringRef names[] = {"tokens", "targets"};
  unsigned tensors = 0;
  for (const Datum &datum : *arguments)
    if (std::holds_alternative<std::shared_ptr<const IntTensor>>(datum))
      if (failed(write(names[tensors++] + "." + Twine(batch), datum)))
        return failure();
  return call(function, *state, *arguments, results);
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
  if (!forward && !micro)
    return module.emitError() << "has neither @forward nor @micro to evaluate";
  if (steps < 1 || microBatches < 1)
    return module.emitError() << "steps and micro_batches must be positive, found " << steps << " and "
                              << microBatches;

  state.emplace(module, round);
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
    if (failed(call(init, *state, Datum(hyper), results)))
      return failure();
  } else {
    for (StringAttr name : state->getNames())
      state->initialise(name, seed);
  }
  if (failed(writeState(".initial", tx::State::Value)))
    return failure();

  uint32_t batch = 0;
  if (!micro) {
    results.clear();
    if (failed(callOn(forward, batch, results)))
      return failure();
    return printLoss("forward", forward, results);
  }

  for (int64_t step = 1; step <= steps; ++step) {
    for (int64_t i = 0; i < microBatches; ++i) {
      results.clear();
      if (failed(callOn(micro, batch++, results)))
        return failure();
      std::string label = "step " + std::to_string(step) + " micro " + std::to_string(i);
      if (failed(printLoss(label, micro, results)))
        return failure();
    }
    for (StringAttr name : state->getNames())
      printDigest("gradient", name, state->get(name, tx::State::Grad));
    if (failed(writeState(".grad." + Twine(step), tx::State::Grad)))
      return failure();
    if (!update)
      continue;
    hyper.biasCorrection1 = 1 - std::pow(beta1, step);
    hyper.biasCorrection2 = 1 - std::pow(beta2, step);
    results.clear();
    if (failed(call(update, *state, Datum(hyper), results)))
      return failure();
    auto *stats = results.empty() ? nullptr : std::get_if<std::shared_ptr<const Tensor>>(&results[0]);
    if (!stats || (*stats)->size() != 9)
      return update.emitOpError() << "must return the 9 statistics of tx.global_norm";
    static constexpr StringRef labels[] = {
        "norm",           "clip_scale", "mean", "std", "min", "max", "tensor_norm_mean", "tensor_norm_max",
        "tensor_norm_min"};
    llvm::outs() << "step " << step << " gradients";
    for (auto [label, value] : llvm::zip_equal(labels, (*stats)->data))
      llvm::outs() << " " << label << " " << digits(value);
    llvm::outs() << "\n";
  }

  llvm::outs() << "after " << steps << " steps\n";
  for (StringAttr name : state->getNames())
    printDigest("value", name, state->get(name, tx::State::Value));
  if (failed(writeState(".value", tx::State::Value)))
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
