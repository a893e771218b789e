//===- Mesh.h - The ranks that share a step --------------------------------===//
#ifndef TXC_SHARD_MESH_H
#define TXC_SHARD_MESH_H

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"

#include <string>

namespace txc::shard {

/// Named axes; every combination of their coordinates is a rank.
struct Mesh {
  struct Axis {
    std::string name;
    int64_t size;
  };
  llvm::SmallVector<Axis, 2> axes;

  int64_t getNumRanks() const;
};

/// Reads "dp:1" or "dp:2,tp:4". `emitError` reports text that is no mesh.
mlir::FailureOr<Mesh> parseMesh(llvm::StringRef text,
                                llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

} // namespace txc::shard

#endif // TXC_SHARD_MESH_H
