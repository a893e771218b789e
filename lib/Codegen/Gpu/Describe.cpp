//===- Describe.cpp - From a kernel to its emitter -------------------------===//

#include "Emitters.h"

using namespace mlir;

namespace txc::codegen {

static bool isFlat(step::KernelOp kernel) {
  return llvm::is_contained({"init", "global_norm", "gradient_sums", "gradient_stats", "adamw"},
                            kernel.getKind());
}

static InFlightDiagnostic notSupported(step::KernelOp kernel) {
  return kernel.emitOpError() << "of kind " << kernel.getKind() << " has no GPU code yet";
}

FailureOr<GpuShape> describeGpuKernel(step::KernelOp kernel, const GpuTarget &target) {
  if (kernel.getKind() == "row_wise")
    return gpu::describeRowWise(KernelBody(kernel), target);
  if (isFlat(kernel))
    return gpu::describeFlat(kernel);
  if (kernel.getKind() == "scatter")
    return gpu::describeScatter(KernelBody(kernel));
  if (kernel.getKind() == "reduction")
    return gpu::describeReduction(KernelBody(kernel));
  if (kernel.getKind() == "table")
    return gpu::describeTable(KernelBody(kernel));
  if (auto decode = KernelBody(kernel).only<tx::DecodeAttentionOp>())
    return gpu::describeDecodeAttention(decode);
  if (kernel.getKind() == "attention")
    return gpu::describeAttention(KernelBody(kernel), target);
  return notSupported(kernel);
}

LogicalResult emitGpuPhase(GpuBuilder &b, step::KernelOp kernel, int64_t phase) {
  if (kernel.getKind() == "row_wise")
    return gpu::emitRowWise(b, KernelBody(kernel), phase);
  if (isFlat(kernel))
    return gpu::emitFlat(b, kernel, phase);
  if (kernel.getKind() == "scatter")
    return gpu::emitScatter(b, KernelBody(kernel), phase);
  if (kernel.getKind() == "reduction")
    return gpu::emitReduction(b, KernelBody(kernel));
  if (kernel.getKind() == "table")
    return gpu::emitTable(b, KernelBody(kernel));
  if (auto decode = KernelBody(kernel).only<tx::DecodeAttentionOp>())
    return gpu::emitDecodeAttention(b, KernelBody(kernel), decode);
  if (kernel.getKind() == "attention")
    return gpu::emitAttention(b, KernelBody(kernel), phase);
  return notSupported(kernel);
}

} // namespace txc::codegen
