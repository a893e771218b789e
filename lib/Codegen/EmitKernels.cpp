//===- EmitKernels.cpp - Compile all kernels to one object -----------------===//
//
// Requires: every step.kernel has its `blocks` and `workspace` (tx-plan), equal
// to what describeKernel says for this target.
//
// 1. Build one func.func per phase, `<kernel>.<phase>`, in a module of its own.
// 2. Lower that module to the LLVM dialect and to LLVM IR, optimise, and write
//    an ELF object to memory.
// 3. Attach the object as step.object; empty the kernels.
//
// Guarantees: one step.object; no tx op is left; same input, same bytes.
//
// Not done: sharing code between kernels that differ in their shapes only.
//
//===----------------------------------------------------------------------===//

#include "EmitPhase.h"
#include "txc/Codegen/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace txc::codegen {
#define GEN_PASS_DEF_EMITKERNELS
#include "txc/Codegen/Passes.h.inc"

namespace {

/// `function` with the arguments of txc_cpu_kernel_fn and an empty block.
func::FuncOp createFunction(OpBuilder &builder, step::KernelOp kernel, int64_t phase) {
  MLIRContext *context = builder.getContext();
  Type pointer = LLVM::LLVMPointerType::get(context), i64 = builder.getI64Type();
  std::string name = (kernel.getSymName() + "." + Twine(phase)).str();
  auto function = builder.create<func::FuncOp>(kernel.getLoc(), name,
                                               builder.getFunctionType({pointer, pointer, i64, i64}, {}));
  function.addEntryBlock();
  return function;
}

struct EmitKernels : impl::EmitKernelsBase<EmitKernels> {
  using Base::Base;

  void getDependentDialects(DialectRegistry &registry) const override { registerLowering(registry); }

  LogicalResult buildFunctions(ModuleOp kernels, const CpuTarget &target) {
    OpBuilder builder = OpBuilder::atBlockEnd(kernels.getBody());
    for (auto kernel : getOperation().getOps<step::KernelOp>()) {
      FailureOr<KernelShape> shape = describeKernel(kernel, target);
      if (failed(shape))
        return failure();
      if (kernel.getBlocks() != ArrayRef<int64_t>(shape->blocks) ||
          kernel.getWorkspace() != ArrayRef<int64_t>(shape->workspaceBytes))
        return kernel.emitOpError() << "was planned with blocks [" << kernel.getBlocks()
                                    << "] and workspaces [" << kernel.getWorkspace() << "], but "
                                    << target.level << " takes [" << ArrayRef<int64_t>(shape->blocks)
                                    << "] and [" << ArrayRef<int64_t>(shape->workspaceBytes)
                                    << "]; plan and codegen must be given the same --cpu";
      for (int64_t phase = 0; phase < static_cast<int64_t>(shape->blocks.size()); ++phase) {
        builder.setInsertionPointToEnd(kernels.getBody());
        if (failed(emitPhase(createFunction(builder, kernel, phase), kernel, phase, target)))
          return failure();
        ++numFunctions;
      }
    }
    return success();
  }

  void runOnOperation() override {
    step::ProgramOp program = getOperation();
    std::string error;
    FailureOr<CpuTarget> target = getCpuTarget(cpu, error);
    if (failed(target)) {
      program.emitError() << error;
      return signalPassFailure();
    }
    if (!llvm::is_contained({"object", "mlir", "llvm", "asm"}, StringRef(emit))) {
      program.emitError() << "emit is '" << emit << "', expected object, mlir, llvm or asm";
      return signalPassFailure();
    }
    auto existing = program.getOps<step::ObjectOp>();
    if (!existing.empty()) {
      (*existing.begin()).emitOpError() << "is there already; the kernels were compiled before";
      return signalPassFailure();
    }

    OpBuilder builder = OpBuilder::atBlockEnd(&program.getBody().front());
    auto kernels = builder.create<ModuleOp>(program.getLoc(), program.getSymName());
    auto finish = [&](bool ok) {
      if (!ok)
        signalPassFailure();
      kernels.erase();
    };
    if (failed(buildFunctions(kernels, *target)))
      return finish(false);
    if (emit == "mlir")
      return;
    if (failed(lowerToLLVM(kernels)))
      return finish(false);
    if (emit == "llvm")
      return;
    llvm::SmallVector<char, 0> bytes;
    if (failed(compileToObject(kernels, *target, emit == "asm", bytes)))
      return finish(false);
    StringRef code(bytes.data(), bytes.size());
    if (emit == "asm") {
      llvm::errs() << code;
      return finish(true);
    }
    numBytes = code.size();
    builder.create<step::ObjectOp>(program.getLoc(), target->level, code);
    for (auto kernel : program.getOps<step::KernelOp>()) {
      kernel.getBody().dropAllReferences();
      kernel.getBody().getBlocks().clear();
    }
    finish(true);
  }
};

} // namespace

void buildPipeline(OpPassManager &pm, const Options &options) {
  OpPassManager &programs = pm.nest<step::ProgramOp>();
  EmitKernelsOptions emit;
  emit.cpu = options.cpu;
  programs.addPass(createEmitKernels(emit));
  programs.addPass(createVerifyCodegen());
}

} // namespace txc::codegen
