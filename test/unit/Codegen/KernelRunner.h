//===- KernelRunner.h - Compiles one kernel and runs it --------------------===//
//
// Goes the way of txc: tx-codegen-emit-kernels and tx-codegen-verify on a
// step.program, then the object is loaded by LLVM's JIT linker. Buffers lie in
// one arena, each between guard bytes; results and workspaces start poisoned.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_TEST_CODEGEN_KERNELRUNNER_H
#define TXC_TEST_CODEGEN_KERNELRUNNER_H

#include "txc/Codegen/Passes.h"

#include "txc/step_abi.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"

#include <map>
#include <string>
#include <vector>

namespace txc::test {

/// Contents of a buffer: f32, bf16 (as bits) or i32, whatever the kernel takes.
using Bytes = std::vector<char>;
template <typename T> Bytes bytesOf(const std::vector<T> &values) {
  auto *data = reinterpret_cast<const char *>(values.data());
  return Bytes(data, data + values.size() * sizeof(T));
}
template <typename T> std::vector<T> valuesOf(const Bytes &bytes) {
  auto *data = reinterpret_cast<const T *>(bytes.data());
  return std::vector<T>(data, data + bytes.size() / sizeof(T));
}

/// A step.program with kernels; `kernel` is @k, null if the text is wrong.
struct ParsedKernel {
  explicit ParsedKernel(const std::string &kernels);
  std::unique_ptr<mlir::MLIRContext> context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  step::KernelOp kernel;
  std::string error;
};

class KernelRunner {
public:
  /// `kernel` is the text of a step.kernel named @k, perhaps with others before it;
  /// `level` as --cpu.
  explicit KernelRunner(const std::string &kernel, const std::string &level = "");
  bool ok() const { return error.empty(); }

  /// The kernel before it was compiled.
  step::KernelOp kernel() { return original; }
  mlir::MLIRContext *context() { return ctx.get(); }
  const codegen::KernelShape &shape() const { return kernelShape; }

  /// How the blocks of a phase are given to calls.
  enum class Split { Once, OneByOne, Backwards, Thirds };
  /// Runs all phases over `buffers` (inputs, then results): `shares[i]` is the
  /// buffer that buffer i shares, or -1. Results are poisoned unless they share.
  /// Returns all buffers; sets `error` if a guard was overwritten.
  std::vector<Bytes> run(const std::vector<Bytes> &buffers, unsigned numResults,
                         const std::vector<int> &shares, Split split = Split::Once);
  /// The machine code of a phase.
  txc_cpu_kernel_fn function(unsigned phase) const { return functions[phase]; }

  /// What tx-codegen-verify says after @k got another name.
  std::string verifyRenamed(llvm::StringRef name);

  std::string error;

private:
  std::unique_ptr<mlir::MLIRContext> ctx;
  mlir::OwningOpRef<mlir::Operation *> source, compiled;
  step::KernelOp original;
  codegen::KernelShape kernelShape;
  std::unique_ptr<llvm::orc::LLJIT> jit;
  std::vector<txc_cpu_kernel_fn> functions;
};

} // namespace txc::test

#endif // TXC_TEST_CODEGEN_KERNELRUNNER_H
