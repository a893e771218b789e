//===- Program.h - A step.program as the ABI sees it -----------------------===//
//
// Commands numbered as the runtime counts them (a launch of several phases is
// one command per phase), buffers with the commands that touch them.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_LIB_LINK_PROGRAM_H
#define TXC_LIB_LINK_PROGRAM_H

#include "txc/Cost/Describe.h"
#include "txc/Dialect/Step/Step.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/JSON.h"

namespace txc::link {

struct Command {
  mlir::Operation *op; ///< step.launch, gemm, fill, collective or wait
  int64_t phase = 0;   ///< of a launch
};

struct Entry {
  step::EntryOp op;
  llvm::SmallVector<Command> commands;
};

struct Buffer {
  step::AllocOp op;
  std::optional<unsigned> entry;      ///< none: it lives in all of them
  std::optional<unsigned> begin, end; ///< first and last command of `entry` that touches it
  mlir::RankedTensorType type() { return mlir::cast<mlir::RankedTensorType>(op.getType()); }
};

struct Program {
  step::ProgramOp op;
  step::ObjectOp object; ///< null on a GPU
  llvm::SmallVector<step::ImageOp> images;
  llvm::SmallVector<Buffer> buffers;
  llvm::SmallVector<Entry> entries;
  llvm::SmallVector<step::KernelOp> kernels;
  llvm::SmallVector<unsigned> firstRow; ///< by kernel: its phase 0 among all phases
  llvm::StringMap<unsigned> bufferNumber, kernelNumber;
  int64_t numEvents = 0; ///< of collectives, numbered from 0 in every entry
  llvm::json::Object description; ///< what metadata says: cost::describeModule

  /// "x86-64-v4" or "sm_90a".
  llvm::StringRef isa() { return object ? object.getTarget() : images.front().getTarget(); }
  Buffer &buffer(llvm::StringRef name) { return buffers[bufferNumber.lookup(name)]; }
};

/// Reads the module's one step.program, which must have passed codegen;
/// diagnostics if there is none.
mlir::FailureOr<Program> readProgram(mlir::ModuleOp module);

} // namespace txc::link

#endif // TXC_LIB_LINK_PROGRAM_H
