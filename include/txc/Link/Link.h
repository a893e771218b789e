//===- Link.h - From a step.program with machine code to step.so -----------===//
#ifndef TXC_LINK_LINK_H
#define TXC_LINK_LINK_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBufferRef.h"

namespace txc::link {

struct Options {
  std::string linker; ///< path of ld.lld; empty: the one found when txc was built, then PATH
};

/// The bytes of step.so: tables and entry functions of the module's
/// step.program, linked with its step.object. The same module gives the same
/// bytes. Errors are diagnostics on the module.
mlir::FailureOr<std::string> linkProgram(mlir::ModuleOp module, const Options &options = {});

/// The metadata of a linked file, which is read, not loaded.
llvm::Expected<std::string> readMetadata(llvm::MemoryBufferRef file);

} // namespace txc::link

#endif // TXC_LINK_LINK_H
