//===- Sites.cpp - Kernels that differ in their dropout sites only ---------===//

#include "EmitPhase.h"

#include "llvm/ADT/SetVector.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace txc::codegen {

/// Where an op of a kernel says its site in the counter-based generator.
static constexpr const char *siteName = "site";

SmallVector<int32_t> sitesOf(step::KernelOp kernel) {
  llvm::SmallSetVector<int32_t, 4> sites;
  kernel.walk([&](Operation *op) {
    if (auto site = op->getAttrOfType<IntegerAttr>(siteName))
      sites.insert(static_cast<int32_t>(site.getInt()));
  });
  return sites.takeVector();
}

std::string fingerprint(step::KernelOp kernel, ArrayRef<int32_t> sites) {
  OwningOpRef<step::KernelOp> copy(cast<step::KernelOp>(kernel->clone()));
  copy->setSymName("");
  Type i32 = IntegerType::get(kernel.getContext(), 32);
  copy->walk([&](Operation *op) {
    if (auto site = op->getAttrOfType<IntegerAttr>(siteName))
      op->setAttr(siteName, IntegerAttr::get(i32, llvm::find(sites, static_cast<int32_t>(site.getInt())) -
                                                      sites.begin()));
  });
  std::string text;
  llvm::raw_string_ostream(text) << copy.get();
  return text;
}

} // namespace txc::codegen
