//===- CpuBuilder.h - Builds the body of a CPU kernel ----------------------===//
#ifndef TXC_CODEGEN_CPUBUILDER_H
#define TXC_CODEGEN_CPUBUILDER_H

#include "txc/Codegen/Kernel.h"
#include "txc/Codegen/KernelBuilder.h"

namespace txc::codegen {

/// Builds a function of type txc_cpu_kernel_fn, or one that takes the values of
/// sites after those arguments.
class CpuBuilder : public KernelBuilder {
public:
  /// Builds at the end of the entry block of a kernel phase.
  CpuBuilder(mlir::func::FuncOp function, const CpuTarget &target);

  const CpuTarget target;

  Value begin(); ///< first block
  Value end();   ///< one past the last block
  Value argument(unsigned index) override;
  Value site(int32_t site) override;

  /// Uninitialised memory for `count` floats, live while the function runs,
  /// aligned to 64 bytes.
  Value scratch(int64_t count, Type element = {});

private:
  mlir::func::FuncOp function;
};

} // namespace txc::codegen

#endif // TXC_CODEGEN_CPUBUILDER_H
