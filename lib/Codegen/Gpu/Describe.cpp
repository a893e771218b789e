//===- Describe.cpp - From a kernel to its emitter -------------------------===//

#include "Emitters.h"

using namespace mlir;

namespace txc::codegen {

static InFlightDiagnostic notSupported(step::KernelOp kernel) {
  return kernel.emitOpError() << "of kind " << kernel.getKind() << " has no GPU code yet";
}

FailureOr<GpuShape> describeGpuKernel(step::KernelOp kernel, const GpuTarget &target) {
  if (kernel.getKind() == "row_wise")
    return gpu::describeRowWise(KernelBody(kernel), target);
  return notSupported(kernel);
}

LogicalResult emitGpuPhase(GpuBuilder &b, step::KernelOp kernel, int64_t phase) {
  if (kernel.getKind() == "row_wise")
    return gpu::emitRowWise(b, KernelBody(kernel), phase);
  return notSupported(kernel);
}

} // namespace txc::codegen
