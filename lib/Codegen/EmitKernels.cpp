//===- EmitKernels.cpp - Compile all kernels to one object -----------------===//
//
// Requires: every step.kernel has its `blocks` and `workspace` (tx-plan), equal
// to what describeKernel says for this target.
//
// 1. Build one func.func per phase, `<kernel>.<phase>`, in a module of its own.
//    Kernels that differ only in the sites of their dropout share one function,
//    which takes the sites as arguments.
// 2. Lower that module to the LLVM dialect and to LLVM IR, optimise, and write
//    an ELF object to memory.
// 3. Attach the object as step.object; empty the kernels.
//
// For a GPU the functions are nvvm.kernels, the code is PTX and what ptxas makes
// of it, and step.image takes the place of step.object (Gpu/EmitGpuKernels.cpp).
//
// Guarantees: one step.object or step.image; no tx op is left; same input, same
// bytes.
//
// Not done: sharing code between kernels that differ in their shapes only.
//
//===----------------------------------------------------------------------===//

#include "EmitPhase.h"
#include "txc/Codegen/CpuBuilder.h"
#include "txc/Codegen/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace txc::codegen {
#define GEN_PASS_DEF_EMITKERNELS
#include "txc/Codegen/Passes.h.inc"

namespace {

/// A function with the arguments of txc_cpu_kernel_fn, then `extra` of i32, and
/// an empty block.
func::FuncOp createFunction(OpBuilder &builder, step::KernelOp kernel, const Twine &name, size_t extra = 0) {
  Type pointer = LLVM::LLVMPointerType::get(builder.getContext()), i64 = builder.getI64Type();
  SmallVector<Type> types = {pointer, pointer, i64, i64};
  types.append(extra, builder.getI32Type());
  auto function =
      builder.create<func::FuncOp>(kernel.getLoc(), name.str(), builder.getFunctionType(types, {}));
  function.addEntryBlock();
  return function;
}

struct EmitKernels : impl::EmitKernelsBase<EmitKernels> {
  using Base::Base;

  void getDependentDialects(DialectRegistry &registry) const override { registerLowering(registry); }

  LogicalResult buildFunctions(ModuleOp kernels, const Target &anyTarget) {
    const CpuTarget &target = *anyTarget.cpu;
    OpBuilder builder = OpBuilder::atBlockEnd(kernels.getBody());
    auto build = [&](step::KernelOp kernel, int64_t phase, const Twine &name, ArrayRef<int32_t> sites) {
      builder.setInsertionPointToEnd(kernels.getBody());
      func::FuncOp function = createFunction(builder, kernel, name, sites.size());
      if (!sites.empty())
        function->setAttr(CpuBuilder::sitesName, builder.getDenseI32ArrayAttr(sites));
      LogicalResult result = emitPhase(function, kernel, phase, target);
      function->removeAttr(CpuBuilder::sitesName);
      return succeeded(result) ? function : func::FuncOp();
    };

    // Kernels that differ in their sites only share a function that takes them.
    llvm::StringMap<SmallVector<step::KernelOp>> groups;
    DenseMap<Operation *, StringRef> groupOf;
    for (auto kernel : getOperation().getOps<step::KernelOp>())
      if (SmallVector<int32_t> sites = sitesOf(kernel); !sites.empty()) {
        auto group = groups.try_emplace(fingerprint(kernel, sites)).first;
        group->second.push_back(kernel);
        groupOf[kernel] = group->first();
      }
    llvm::StringMap<SmallVector<func::FuncOp>> shared;
    for (auto kernel : getOperation().getOps<step::KernelOp>()) {
      FailureOr<KernelShape> shape = describeKernel(kernel, anyTarget);
      if (failed(shape))
        return failure();
      if (kernel.getBlocks() != ArrayRef<int64_t>(shape->blocks) ||
          kernel.getWorkspace() != ArrayRef<int64_t>(shape->workspaceBytes))
        return kernel.emitOpError() << "was planned with blocks [" << kernel.getBlocks()
                                    << "] and workspaces [" << kernel.getWorkspace() << "], but "
                                    << target.level << " takes [" << ArrayRef<int64_t>(shape->blocks)
                                    << "] and [" << ArrayRef<int64_t>(shape->workspaceBytes)
                                    << "]; plan and codegen must be given the same target";
      StringRef group = groupOf.lookup(kernel);
      bool isShared = !group.empty() && groups[group].size() > 1;
      SmallVector<int32_t> sites = isShared ? sitesOf(kernel) : SmallVector<int32_t>();
      for (int64_t phase = 0; phase < static_cast<int64_t>(shape->blocks.size()); ++phase) {
        std::string entry = (kernel.getSymName() + "." + Twine(phase)).str();
        if (!isShared) {
          if (!build(kernel, phase, entry, {}))
            return failure();
          continue;
        }
        SmallVector<func::FuncOp> &bodies = shared[group];
        if (static_cast<int64_t>(bodies.size()) <= phase) {
          func::FuncOp body = build(kernel, phase, entry + ".shared", sites);
          if (!body)
            return failure();
          body->setAttr("llvm.linkage", LLVM::LinkageAttr::get(&getContext(), LLVM::Linkage::Internal));
          body->setAttr("passthrough", builder.getStrArrayAttr({"noinline"}));
          bodies.push_back(body);
        }
        builder.setInsertionPointToEnd(kernels.getBody());
        func::FuncOp function = createFunction(builder, kernel, entry);
        builder.setInsertionPointToEnd(&function.getBody().front());
        SmallVector<Value> arguments(function.getArguments().begin(), function.getArguments().end());
        for (int32_t site : sites)
          arguments.push_back(
              builder.create<arith::ConstantOp>(kernel.getLoc(), builder.getI32IntegerAttr(site)));
        builder.create<func::CallOp>(kernel.getLoc(), bodies[phase], arguments);
        builder.create<func::ReturnOp>(kernel.getLoc());
      }
    }
    return success();
  }

  static void emptyKernels(step::ProgramOp program) {
    for (auto kernel : program.getOps<step::KernelOp>()) {
      kernel.getBody().dropAllReferences();
      kernel.getBody().getBlocks().clear();
    }
  }

  void runOnOperation() override {
    step::ProgramOp program = getOperation();
    std::string error;
    FailureOr<Target> found = getTarget(target, error);
    if (failed(found)) {
      program.emitError() << error;
      return signalPassFailure();
    }
    if (!llvm::is_contained({"object", "mlir", "llvm", "asm"}, StringRef(emit))) {
      program.emitError() << "emit is '" << emit << "', expected object, mlir, llvm or asm";
      return signalPassFailure();
    }
    for (Operation &op : program.getBody().front())
      if (isa<step::ObjectOp, step::ImageOp>(op)) {
        op.emitOpError() << "is there already; the kernels were compiled before";
        return signalPassFailure();
      }

    OpBuilder builder = OpBuilder::atBlockEnd(&program.getBody().front());
    auto kernels = builder.create<ModuleOp>(program.getLoc(), program.getSymName());
    const CpuTarget *cpu = found->isGpu() ? nullptr : &*found->cpu;
    auto finish = [&](bool ok) {
      if (!ok)
        signalPassFailure();
      kernels.erase();
    };
    GpuFunctions gpuFunctions;
    if (failed(cpu ? buildFunctions(kernels, *found)
                   : buildGpuFunctions(program, kernels, *found->gpu, gpuFunctions)))
      return finish(false);
    numFunctions = llvm::range_size(kernels.getOps<FunctionOpInterface>());
    if (emit == "mlir")
      return;
    if (failed(lowerToLLVM(kernels)))
      return finish(false);
    if (emit == "llvm")
      return;
    llvm::SmallVector<char, 0> bytes;
    if (!cpu) {
      if (failed(compileToPtx(kernels, *found->gpu, bytes)))
        return finish(false);
      if (emit == "asm") {
        llvm::errs() << StringRef(bytes.data(), bytes.size());
        return finish(true);
      }
      if (failed(
              attachImage(program, *found->gpu, gpuFunctions, StringRef(bytes.data(), bytes.size()), ptxas)))
        return finish(false);
      numBytes = bytes.size();
      emptyKernels(program);
      return finish(true);
    }
    if (failed(compileToObject(kernels, *cpu, emit == "asm", bytes)))
      return finish(false);
    StringRef code(bytes.data(), bytes.size());
    if (emit == "asm") {
      llvm::errs() << code;
      return finish(true);
    }
    numBytes = code.size();
    builder.create<step::ObjectOp>(program.getLoc(), cpu->level, code);
    emptyKernels(program);
    finish(true);
  }
};

} // namespace

void buildPipeline(OpPassManager &pm, const Options &options) {
  OpPassManager &programs = pm.nest<step::ProgramOp>();
  EmitKernelsOptions emit;
  emit.target = options.target;
  programs.addPass(createEmitKernels(emit));
  programs.addPass(createVerifyCodegen());
}

} // namespace txc::codegen
