//===- Describe.cpp - How each kernel is cut -------------------------------===//
//
// One switch from a step.kernel to its emitter: describeKernel for
// tx-plan-size-workspaces, emitPhase for tx-codegen-emit-kernels.
//
//===----------------------------------------------------------------------===//

#include "Cpu/Emitters.h"
#include "EmitPhase.h"
#include "txc/Codegen/GpuBuilder.h"

using namespace mlir;

namespace txc::codegen {

static bool isFlat(step::KernelOp kernel) {
  return llvm::is_contained({"init", "global_norm", "gradient_sums", "gradient_stats", "adamw"},
                            kernel.getKind());
}

/// What every kernel must have before it is described or emitted.
static LogicalResult checkKernel(step::KernelOp kernel) {
  if (isFlat(kernel)) {
    if (kernel.getSegments().empty() || kernel.getSegments().size() % 5)
      return kernel.emitOpError() << "of kind " << kernel.getKind()
                                  << " needs five numbers per segment, found " << kernel.getSegments().size();
    if (kernel.getKind() == "init" && kernel.getStddevs().size() * 5 != kernel.getSegments().size())
      return kernel.emitOpError() << "of kind init needs one standard deviation per segment, found "
                                  << kernel.getStddevs().size() << " for " << kernel.getSegments().size() / 5;
    if (!kernel.getWholes().empty() && kernel.getWholes().size() * 5 != kernel.getSegments().size())
      return kernel.emitOpError() << "of kind " << kernel.getKind()
                                  << " needs one number of `wholes` per segment, found "
                                  << kernel.getWholes().size() << " for " << kernel.getSegments().size() / 5;
    return success();
  }
  if (!llvm::is_contained({"row_wise", "attention", "scatter", "reduction", "table"}, kernel.getKind()))
    return kernel.emitOpError()
           << "has kind " << kernel.getKind()
           << ", expected row_wise, attention, scatter, reduction, table, init, global_norm, "
              "gradient_sums, gradient_stats or adamw";
  if (kernel.getBody().empty() || kernel.getBody().front().empty() ||
      !isa<tx::YieldOp>(kernel.getBody().front().back()))
    return kernel.emitOpError() << "has no body that ends in tx.yield; was it compiled before?";
  return success();
}

FailureOr<KernelShape> describeKernel(step::KernelOp kernel, const Target &anyTarget) {
  if (failed(checkKernel(kernel)))
    return failure();
  if (anyTarget.isGpu()) {
    FailureOr<GpuShape> gpu = describeGpuKernel(kernel, *anyTarget.gpu);
    if (failed(gpu))
      return failure();
    KernelShape shape;
    for (const GpuPhase &phase : gpu->phases)
      shape.blocks.push_back(phase.grid[0] * phase.grid[1] * phase.grid[2]);
    shape.workspaceBytes = gpu->workspaceBytes;
    return shape;
  }
  const CpuTarget &target = *anyTarget.cpu;
  if (isFlat(kernel))
    return describeFlat(kernel, target);
  KernelBody body(kernel);
  if (kernel.getKind() == "row_wise")
    return describeRowWise(body, target);
  if (kernel.getKind() == "scatter")
    return describeScatter(body, target);
  if (kernel.getKind() == "table")
    return describeTable(body, target);
  if (kernel.getKind() == "reduction")
    return KernelShape{{1}, {}};
  if (auto op = body.only<tx::AttentionOp>())
    return describeAttention(op, target);
  if (auto rope = body.only<tx::RopeOp>())
    return rope.emitOpError() << "inside attention's kernel needs a GPU with tensor cores; compile again from "
                                 "shard, or with that target";
  if (auto op = body.only<tx::AttentionVjpOp>())
    return describeAttentionVjp(op, target);
  if (auto op = body.only<tx::DecodeAttentionOp>())
    return describeDecodeAttention(op);
  return kernel.emitOpError()
         << "of kind attention holds none of tx.attention, tx.attention_vjp and tx.decode_attention";
}

LogicalResult emitPhase(func::FuncOp function, step::KernelOp kernel, int64_t phase,
                        const CpuTarget &target) {
  if (isFlat(kernel))
    return emitFlat(function, kernel, phase, target);
  KernelBody body(kernel);
  if (kernel.getKind() == "row_wise")
    return emitRowWise(function, body, phase, target);
  if (kernel.getKind() == "scatter")
    return emitScatter(function, body, target);
  if (kernel.getKind() == "table")
    return emitTable(function, body, target);
  if (kernel.getKind() == "reduction")
    return emitReduction(function, body, target);
  if (auto op = body.only<tx::AttentionOp>())
    return emitAttention(function, kernel, op, phase, target);
  if (auto op = body.only<tx::DecodeAttentionOp>())
    return emitDecodeAttention(function, kernel, op, target);
  return emitAttentionVjp(function, kernel, body.only<tx::AttentionVjpOp>(), phase, target);
}

} // namespace txc::codegen
