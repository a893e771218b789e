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

/// init, global_norm, adamw.
GpuShape describeFlat(step::KernelOp kernel);
mlir::LogicalResult emitFlat(GpuBuilder &b, step::KernelOp kernel, int64_t phase);

GpuShape describeScatter(const KernelBody &body);
mlir::LogicalResult emitScatter(GpuBuilder &b, const KernelBody &body, int64_t phase);

GpuShape describeReduction(const KernelBody &body);
mlir::LogicalResult emitReduction(GpuBuilder &b, const KernelBody &body);

GpuShape describeTable(const KernelBody &body);
mlir::LogicalResult emitTable(GpuBuilder &b, const KernelBody &body);

GpuShape describeDecodeAttention(tx::DecodeAttentionOp op);
mlir::LogicalResult emitDecodeAttention(GpuBuilder &b, const KernelBody &body, tx::DecodeAttentionOp op);

GpuShape describeRowWise(const KernelBody &body, const GpuTarget &target);
mlir::LogicalResult emitRowWise(GpuBuilder &b, const KernelBody &body, int64_t phase);

mlir::FailureOr<GpuShape> describeAttention(const KernelBody &body, const GpuTarget &target);
mlir::LogicalResult emitAttention(GpuBuilder &b, const KernelBody &body, int64_t phase);

} // namespace txc::codegen::gpu

#endif // TXC_CODEGEN_GPU_EMITTERS_H
