//===- Emitters.h - One emitter per kind of kernel -------------------------===//
//
// `describe` says how a kernel is launched, `emit` builds one phase of it into a
// function with an empty entry block, and ends with GpuBuilder::finish.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_GPU_EMITTERS_H
#define TXC_CODEGEN_GPU_EMITTERS_H

#include "../KernelBody.h"
#include "txc/Codegen/GpuBuilder.h"

namespace txc::codegen::gpu {

GpuShape describeRowWise(const KernelBody &body, const GpuTarget &target);
mlir::LogicalResult emitRowWise(GpuBuilder &b, const KernelBody &body, int64_t phase);

} // namespace txc::codegen::gpu

#endif // TXC_CODEGEN_GPU_EMITTERS_H
