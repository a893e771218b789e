//===- Mesh.cpp - The ranks that share a step ------------------------------===//

#include "txc/Shard/Mesh.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace txc::shard {

int64_t Mesh::getNumRanks() const {
  int64_t ranks = 1;
  for (const Axis &axis : axes)
    ranks *= axis.size;
  return ranks;
}

FailureOr<Mesh> parseMesh(StringRef text, llvm::function_ref<InFlightDiagnostic()> emitError) {
  // More ranks than any cluster has would overflow the product.
  constexpr int64_t maxRanks = 1 << 20;
  Mesh mesh;
  for (StringRef part : llvm::split(text, ',')) {
    auto [name, size] = part.split(':');
    Mesh::Axis axis{name.str(), 0};
    if (name.empty() || !llvm::all_of(name, [](char c) { return llvm::isLower(c); }) ||
        size.getAsInteger(10, axis.size) || axis.size < 1)
      return emitError() << "mesh \"" << text << "\": found \"" << part
                         << "\", expected an axis name and its size, as in dp:1";
    if (llvm::any_of(mesh.axes, [&](const Mesh::Axis &other) { return other.name == axis.name; }))
      return emitError() << "mesh \"" << text << "\": axis " << name << " appears twice";
    if (axis.size > maxRanks / mesh.getNumRanks())
      return emitError() << "mesh \"" << text << "\": more than " << maxRanks << " ranks";
    mesh.axes.push_back(std::move(axis));
  }
  return mesh;
}

} // namespace txc::shard
