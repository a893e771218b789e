//===- OverwriteGradients.cpp - The first product need not add ------------===//
//
// Requires: a step.program from tx-plan-build-program.
//
// In the first micro batch of an update a gradient is zero, so a product that is
// the first command to touch it may as well overwrite it: nobody has to write the
// zero, and the product need not read it. The runtime says with the
// hyperparameters how many micro batches the gradients hold already.
//
//   step.gemm ... "w.grad" accumulate          becomes  ... accumulate ... {after_first}
//   step.kernel @adamw's flags of that segment  gain     2: leave the gradient
//   step.launch of it  bytes                   lose     those zeros
//
// A gradient qualifies if, in every entry that adds to it, such a product is
// first and covers all of it, and adamw is what zeroes it. Others (of gains and
// biases, of embeddings) stay as they are.
//
// Guarantees: what any entry computes is the same, for any number of micro
// batches per update.
//
//===----------------------------------------------------------------------===//

#include "txc/Dialect/Step/Gradients.h"
#include "txc/Plan/Lifetimes.h"
#include "txc/Plan/Passes.h"

#include "llvm/ADT/DenseMap.h"

using namespace mlir;

namespace txc::plan {
#define GEN_PASS_DEF_OVERWRITEGRADIENTS
#include "txc/Plan/Passes.h.inc"

namespace {

/// The update's kernels name the first parameter's buffers and mean all.
bool isFlat(Operation *command) {
  auto launch = dyn_cast<step::LaunchOp>(command);
  if (!launch)
    return false;
  auto kernel = SymbolTable::lookupNearestSymbolFrom<step::KernelOp>(launch, launch.getKernelAttr());
  return kernel && !kernel.getSegments().empty();
}

/// The first products that add to each gradient, one per entry; an empty list if
/// one of the entries begins otherwise.
llvm::DenseMap<StringAttr, SmallVector<step::GemmOp>> firstProducts(step::ProgramOp program) {
  llvm::DenseMap<StringAttr, step::AllocOp> gradients;
  for (auto alloc : program.getOps<step::AllocOp>())
    if (alloc.getKind() == step::BufferKind::Grad)
      gradients[alloc.getSymNameAttr()] = alloc;
  llvm::DenseMap<StringAttr, SmallVector<step::GemmOp>> products;
  llvm::DenseSet<StringAttr> others;
  for (auto entry : program.getOps<step::EntryOp>()) {
    llvm::DenseSet<StringAttr> touched;
    for (Operation &command : entry.getBody().front()) {
      if (isFlat(&command) || isa<step::FillOp>(command))
        continue;
      for (const Access &access : getAccesses(&command)) {
        StringAttr name = access.buffer.getAttr();
        auto gradient = gradients.find(name);
        if (gradient == gradients.end() || !touched.insert(name).second)
          continue;
        auto gemm = dyn_cast<step::GemmOp>(&command);
        bool covers = gemm && gemm.getAccumulate() && !gemm.getAddendAttr() &&
                      gemm.getC() == name.getValue() && gemm.getA() != name.getValue() &&
                      gemm.getB() != name.getValue() && gemm.getBatch() == 1 &&
                      gemm.getRowStride(2) == static_cast<int64_t>(gemm.getN()) &&
                      static_cast<int64_t>(gemm.getM() * gemm.getN()) ==
                          cast<ShapedType>(gradient->second.getType()).getNumElements();
        if (covers)
          products[name].push_back(gemm);
        else
          others.insert(name);
      }
    }
  }
  for (StringAttr name : others)
    products.erase(name);
  return products;
}

struct OverwriteGradients : impl::OverwriteGradientsBase<OverwriteGradients> {
  void runOnOperation() override {
    for (auto program : getOperation().getOps<step::ProgramOp>())
      overwriteIn(program);
  }

  void overwriteIn(step::ProgramOp program) {
    llvm::DenseMap<StringAttr, SmallVector<step::GemmOp>> products = firstProducts(program);
    SmallVector<step::AllocOp> values, gradients;
    for (auto alloc : program.getOps<step::AllocOp>()) {
      if (alloc.getKind() == step::BufferKind::Param)
        values.push_back(alloc);
      else if (alloc.getKind() == step::BufferKind::Grad)
        gradients.push_back(alloc);
    }
    if (values.size() != gradients.size())
      return;
    // Where each gradient begins in the flat arena.
    llvm::DenseMap<int64_t, step::AllocOp> gradientAt;
    int64_t next = 0;
    for (auto [value, gradient] : llvm::zip(values, gradients)) {
      gradientAt[next] = gradient;
      next += slotBytes(value) / 4;
    }
    llvm::DenseSet<StringAttr> left;
    for (auto kernel : program.getOps<step::KernelOp>()) {
      if (kernel.getKind() != "adamw" || !zeroesGradients(program, kernel))
        continue;
      SmallVector<int64_t> table(kernel.getSegments());
      int64_t bytesOfZeros = 0;
      for (size_t i = 0; i + 4 < table.size(); i += 5)
        if (step::AllocOp gradient = gradientAt.lookup(table[i]);
            gradient && products.count(gradient.getSymNameAttr())) {
          table[i + 2] |= step::leavesGradient;
          left.insert(gradient.getSymNameAttr());
          bytesOfZeros += 4 * cast<ShapedType>(gradient.getType()).getNumElements();
        }
      kernel.setSegments(table);
      program.walk([&](step::LaunchOp launch) {
        if (auto bytes = launch->getAttrOfType<IntegerAttr>("bytes");
            bytes && launch.getKernel() == kernel.getSymName())
          launch->setAttr("bytes", IntegerAttr::get(bytes.getType(), bytes.getInt() - bytesOfZeros));
      });
    }
    for (StringAttr name : left)
      for (step::GemmOp gemm : products[name]) {
        gemm->setAttr(step::afterFirstAttrName, UnitAttr::get(&getContext()));
        ++numProducts;
      }
  }

  /// Every launch of this kernel works on the gradients themselves.
  static bool zeroesGradients(step::ProgramOp program, step::KernelOp kernel) {
    constexpr unsigned gradientArgument = 3;
    bool all = true;
    program.walk([&](step::LaunchOp launch) {
      if (launch.getKernel() != kernel.getSymName())
        return;
      auto name = cast<FlatSymbolRefAttr>(launch.getArgs()[gradientArgument]);
      auto alloc = SymbolTable::lookupNearestSymbolFrom<step::AllocOp>(launch, name);
      all &= alloc && alloc.getKind() == step::BufferKind::Grad;
    });
    return all;
  }
};
} // namespace
} // namespace txc::plan
