//===- EmitGpuKernels.cpp - GPU kernels of a program -----------------------===//
//
// Requires: as EmitKernels.cpp.
//
// 1. Build one nvvm.kernel per phase. Kernels that are equal but for the sites
//    of their dropout share the functions and get the sites as scalars.
// 2. After the functions became PTX: run ptxas, attach step.image, and say in
//    each step.kernel how its phases are launched.
//
//===----------------------------------------------------------------------===//

#include "../EmitPhase.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace txc::codegen {

/// A name that PTX allows and that says what the kernel does.
static std::string functionName(step::KernelOp kernel, size_t phase) {
  std::string name = kernel.getSymName().str();
  for (char &c : name)
    if (!llvm::isAlnum(c))
      c = '_';
  return name + "_p" + std::to_string(phase);
}

/// How many addresses a launch of `kernel` passes.
static unsigned countArguments(step::KernelOp kernel, const GpuShape &shape) {
  unsigned workspaces = shape.workspaceBytes.size();
  // Those over the flat arenas have no body: StepOps.td says what they take.
  unsigned copies = kernel->hasAttr("compute") ? 1 : 0;
  if (kernel.getKind() == "init")
    return 2 + copies;
  if (kernel.getKind() == "global_norm")
    return 3 + workspaces;
  if (kernel.getKind() == "gradient_sums" || kernel.getKind() == "gradient_stats")
    return 4 + workspaces;
  if (kernel.getKind() == "adamw")
    return 6 + copies;
  Block &body = kernel.getBody().front();
  return body.getNumArguments() + body.getTerminator()->getNumOperands() + workspaces;
}

static LLVM::LLVMFuncOp createFunction(OpBuilder &builder, step::KernelOp kernel, StringRef name,
                                       const GpuPhase &phase, unsigned numArguments,
                                       ArrayRef<int32_t> sites) {
  MLIRContext *context = builder.getContext();
  Type generic = LLVM::LLVMPointerType::get(context), global = LLVM::LLVMPointerType::get(context, 1);
  SmallVector<Type> types(phase.maps.size(), generic);
  types.append(numArguments, global);
  types.append(sites.size(), builder.getI32Type());
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), types);
  auto function = builder.create<LLVM::LLVMFuncOp>(kernel.getLoc(), name, type);
  function.addEntryBlock(builder);
  auto mapType = LLVM::LLVMArrayType::get(builder.getI8Type(), 128);
  for (size_t i = 0; i < phase.maps.size(); ++i) {
    function.setArgAttr(i, LLVM::LLVMDialect::getByValAttrName(), TypeAttr::get(mapType));
    function.setArgAttr(i, LLVM::LLVMDialect::getAlignAttrName(), builder.getI64IntegerAttr(64));
    function.setArgAttr(i, NVVM::NVVMDialect::getGridConstantAttrName(), builder.getUnitAttr());
  }
  for (size_t i = 0; i < numArguments; ++i)
    function.setArgAttr(phase.maps.size() + i, LLVM::LLVMDialect::getAlignAttrName(),
                        builder.getI64IntegerAttr(4));
  function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), builder.getUnitAttr());
  SmallVector<int32_t> block(phase.block.begin(), phase.block.end());
  function->setAttr(NVVM::NVVMDialect::getReqntidAttrName(), builder.getDenseI32ArrayAttr(block));
  if (phase.minBlocks)
    function->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(),
                      builder.getI32IntegerAttr(static_cast<int32_t>(phase.minBlocks)));
  return function;
}

LogicalResult buildGpuFunctions(step::ProgramOp program, ModuleOp kernels, const GpuTarget &target,
                                GpuFunctions &functions) {
  OpBuilder builder = OpBuilder::atBlockEnd(kernels.getBody());
  llvm::StringMap<step::KernelOp> known;
  for (auto kernel : program.getOps<step::KernelOp>()) {
    FailureOr<GpuShape> shape = describeGpuKernel(kernel, target);
    if (failed(shape))
      return failure();
    SmallVector<int64_t> blocks;
    for (const GpuPhase &phase : shape->phases)
      blocks.push_back(phase.grid[0] * phase.grid[1] * phase.grid[2]);
    if (kernel.getBlocks() != ArrayRef<int64_t>(blocks) ||
        kernel.getWorkspace() != ArrayRef<int64_t>(shape->workspaceBytes))
      return kernel.emitOpError() << "was planned with blocks [" << kernel.getBlocks() << "] and workspaces ["
                                  << kernel.getWorkspace() << "], but " << target.arch << " takes ["
                                  << ArrayRef<int64_t>(blocks) << "] and ["
                                  << ArrayRef<int64_t>(shape->workspaceBytes)
                                  << "]; plan and codegen must be given the same target";
    SmallVector<int32_t> sites = sitesOf(kernel);
    SmallVector<GpuFunction, 2> phases;
    SmallVector<int64_t> scalars(sites.begin(), sites.end());
    step::KernelOp first = kernel;
    if (!sites.empty())
      first = known.try_emplace(fingerprint(kernel, sites), kernel).first->second;
    if (first != kernel) {
      phases = functions[first];
      for (GpuFunction &phase : phases)
        phase.scalars = scalars;
      functions[kernel] = phases;
      continue;
    }
    unsigned numArguments = countArguments(kernel, *shape);
    for (auto [i, phase] : llvm::enumerate(shape->phases)) {
      builder.setInsertionPointToEnd(kernels.getBody());
      std::string name = functionName(kernel, i);
      LLVM::LLVMFuncOp function = createFunction(builder, kernel, name, phase, numArguments, sites);
      if (!sites.empty())
        function->setAttr(KernelBuilder::sitesName, builder.getDenseI32ArrayAttr(sites));
      GpuBuilder b(function, target, phase.maps.size(), numArguments);
      if (failed(emitGpuPhase(b, kernel, i)))
        return failure();
      function->removeAttr(KernelBuilder::sitesName);
      phases.push_back({name, phase, scalars});
    }
    functions[kernel] = phases;
  }
  return success();
}

LogicalResult attachImage(step::ProgramOp program, const GpuTarget &target, const GpuFunctions &functions,
                          StringRef ptx, StringRef ptxas) {
  std::string cubin;
  llvm::StringMap<KernelResources> resources;
  if (failed(runPtxas(program.getLoc(), target, ptx, ptxas, cubin, resources)))
    return failure();
  OpBuilder builder = OpBuilder::atBlockEnd(&program.getBody().front());
  builder.create<step::ImageOp>(program.getLoc(), target.arch, cubin, ptx);
  llvm::StringSet<llvm::MallocAllocator> warned; // kernels may share functions
  for (auto &[key, phases] : functions) {
    step::KernelOp kernel = key;
    SmallVector<Attribute> geometry;
    for (const GpuFunction &phase : phases) {
      KernelResources known = resources.lookup(phase.name);
      if (known.spillBytes > 0 && warned.insert(phase.name).second)
        mlir::emitWarning(step::KernelOp(kernel).getLoc())
            << "kernel " << phase.name << " spills " << known.spillBytes << " bytes of registers";
      SmallVector<Attribute> maps(phase.shape.maps.begin(), phase.shape.maps.end());
      geometry.push_back(step::GeometryAttr::get(
          builder.getContext(), builder.getStringAttr(phase.name), phase.shape.grid, phase.shape.block,
          phase.shape.shared, builder.getDenseI64ArrayAttr(phase.scalars), builder.getArrayAttr(maps),
          known.registers, known.spillBytes, known.sharedBytes));
    }
    kernel.setGeometryAttr(builder.getArrayAttr(geometry));
  }
  return success();
}

} // namespace txc::codegen
