//===- CheckGradients.cpp - Derivatives against finite differences ---------===//
//
// Requires: @forward, which returns the loss first, and tx.param symbols.
//
// 1. Parameters get normal values of standard deviation `scale`, plus 1 where
//    tx.param says ones; not those of @init, which are often zero and would hide
//    errors.
// 2. A copy of the module is differentiated (tx-autodiff-differentiate) and its
//    @micro evaluated once.
// 3. For each parameter, `samples` elements spread over it (all, if there are
//    fewer) are compared with (loss(w + h) - loss(w - h)) / 2h of @forward. The
//    error is relative to the larger of the two derivatives and 0.01.
//
// Prints one line for each parameter. Fails on an error above `tolerance`, on a
// loss that is not finite, and if all compared derivatives of a parameter are
// zero, since then nothing was shown.
//
// Guarantees: the module is unchanged.
//
//===----------------------------------------------------------------------===//

#include "txc/Interp/Passes.h"

#include "Batch.h"
#include "txc/Autodiff/Passes.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>
#include <numeric>

using namespace mlir;

namespace txc::interp {
#define GEN_PASS_DEF_CHECKGRADIENTS
#include "txc/Interp/Passes.h.inc"

namespace {

struct CheckGradients : impl::CheckGradientsBase<CheckGradients> {
  using CheckGradientsBase::CheckGradientsBase;

  void runOnOperation() override {
    markAllAnalysesPreserved();
    if (failed(check()))
      signalPassFailure();
    llvm::outs().flush();
  }

private:
  LogicalResult check();
  LogicalResult checkParam(StringAttr name, State &state, const Tensor &derivative,
                           llvm::function_ref<FailureOr<double>()> loss);
};

LogicalResult CheckGradients::check() {
  ModuleOp module = getOperation();
  auto forward = module.lookupSymbol<func::FuncOp>("forward");
  if (!forward)
    return module.emitError() << "has no @forward whose derivative could be checked";

  Hyper hyper;
  hyper.seed = seed;
  FailureOr<SmallVector<Datum>> arguments = Batches(module, dataSeed, ignored).arguments(forward, hyper, 0);
  if (failed(arguments))
    return failure();

  OwningOpRef<ModuleOp> copy = module.clone();
  PassManager pm(&getContext());
  pm.addPass(autodiff::createDifferentiate());
  if (failed(pm.run(*copy)))
    return failure();
  State gradients(*copy, /*rounds=*/false);
  gradients.randomise(seed, scale);
  SmallVector<Datum> results;
  if (failed(call(copy->lookupSymbol<func::FuncOp>("micro"), gradients, *arguments, results)))
    return failure();

  State state(module, /*rounds=*/false);
  if (state.getNames().empty())
    return module.emitError() << "has no tx.param to differentiate by";
  state.randomise(seed, scale);
  auto loss = [&]() -> FailureOr<double> {
    SmallVector<Datum> values;
    if (failed(call(forward, state, *arguments, values)))
      return failure();
    double result = (*std::get<std::shared_ptr<const Tensor>>(values[0]))[0];
    if (!std::isfinite(result))
      return forward.emitOpError() << "returns a loss that is not finite";
    return result;
  };
  bool ok = true;
  for (StringAttr name : state.getNames())
    ok &= succeeded(checkParam(name, state, gradients.get(name, tx::State::Grad), loss));
  return success(ok);
}

LogicalResult CheckGradients::checkParam(StringAttr name, State &state, const Tensor &derivative,
                                         llvm::function_ref<FailureOr<double>()> loss) {
  Tensor &value = state.get(name, tx::State::Value);
  int64_t size = value.size(), compared = std::min<int64_t>(size, samples);
  // Multiples of a stride without a common divisor are distinct elements; with
  // the golden ratio they spread over rows and columns alike.
  int64_t stride = std::max<int64_t>(1, 0.618 * size);
  while (std::gcd(stride, size) != 1)
    ++stride;
  double greatest = -1, greatestFound = 0, greatestExpected = 0, largest = 0;
  int64_t where = 0;
  for (int64_t i = 0; i < compared; ++i) {
    int64_t e = i * stride % size;
    double original = value[e];
    value[e] = original + width;
    FailureOr<double> above = loss();
    value[e] = original - width;
    FailureOr<double> below = loss();
    value[e] = original;
    if (failed(above) || failed(below))
      return failure();
    double expected = (*above - *below) / (2 * width), found = derivative[e];
    double error = std::abs(found - expected) / std::max({std::abs(found), std::abs(expected), 0.01});
    largest = std::max(largest, std::abs(expected));
    if (!(error <= greatest)) {
      greatest = error;
      greatestFound = found;
      greatestExpected = expected;
      where = e;
    }
  }
  llvm::outs() << "gradient of " << name.getValue() << ": max error " << llvm::format("%.1e", greatest)
               << " over " << compared << " elements\n";
  tx::ParamOp param = state.getParam(name);
  if (!(greatest <= tolerance))
    return param.emitOpError() << name << ": element " << where
                               << llvm::formatv(
                                      " has derivative {0:e6}, but finite differences give {1:e6} (error "
                                      "{2:e1}, allowed {3:e1})",
                                      greatestFound, greatestExpected, greatest, double(tolerance))
                                      .str();
  if (largest < 1e-9)
    return param.emitOpError()
           << name
           << " has derivative 0 in all compared elements, so nothing was checked; let the loss "
              "depend on it";
  return success();
}

} // namespace
} // namespace txc::interp
