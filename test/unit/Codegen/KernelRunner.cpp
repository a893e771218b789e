//===- KernelRunner.cpp - Compiles one kernel and runs it ------------------===//

#include "KernelRunner.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ExecutionEngine/Orc/ObjectTransformLayer.h"
#include "llvm/Support/TargetSelect.h"

#include <cstring>

using namespace mlir;

namespace txc::test {

static step::KernelOp kernelIn(Operation *root) {
  step::KernelOp found;
  root->walk([&](step::KernelOp op) {
    if (op.getSymName() == "k")
      found = op;
  });
  return found;
}

ParsedKernel::ParsedKernel(const std::string &kernels) {
  DialectRegistry registry;
  registry.insert<tx::TxDialect, step::StepDialect, arith::ArithDialect, func::FuncDialect>();
  context = std::make_unique<MLIRContext>(registry, MLIRContext::Threading::DISABLED);
  ScopedDiagnosticHandler handler(context.get(), [&](Diagnostic &diagnostic) {
    error += diagnostic.str() + "\n";
    return success();
  });
  module = parseSourceString<ModuleOp>("module { step.program @test {\n" + kernels + "\n} }", context.get());
  if (module)
    kernel = kernelIn(*module);
}

KernelRunner::KernelRunner(const std::string &kernel, const std::string &level) {
  ParsedKernel parsed(kernel);
  error = parsed.error;
  ctx = std::move(parsed.context);
  ctx->getDiagEngine().registerHandler([this](Diagnostic &diagnostic) { error += diagnostic.str() + "\n"; });
  OwningOpRef<ModuleOp> module = std::move(parsed.module);
  if (!module)
    return;
  std::string message;
  auto target = codegen::getTarget(level, message);
  if (failed(target)) {
    error = message;
    return;
  }
  bool described = true;
  module->walk([&](step::KernelOp op) {
    auto shape = codegen::describeKernel(op, *target);
    if (failed(shape)) {
      described = false;
      return;
    }
    op.setBlocks(shape->blocks);
    op.setWorkspace(shape->workspaceBytes);
    if (op.getSymName() == "k")
      kernelShape = *shape;
  });
  if (!described)
    return;
  source = OwningOpRef<Operation *>(module->getOperation()->clone());
  original = kernelIn(*source);

  PassManager pm(ctx.get());
  codegen::Options options;
  options.target = level;
  codegen::buildPipeline(pm, options);
  if (failed(pm.run(*module)))
    return;
  compiled = OwningOpRef<Operation *>(module.release().getOperation());
  step::ObjectOp object;
  compiled->walk([&](step::ObjectOp found) { object = found; });

  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  auto check = [&](llvm::Error e) {
    if (e)
      error += llvm::toString(std::move(e));
    return error.empty();
  };
  auto created = llvm::orc::LLJITBuilder().create();
  if (!created) {
    check(created.takeError());
    return;
  }
  jit = std::move(*created);
  if (!check(jit->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(object.getCode()))))
    return;
  for (size_t phase = 0; phase < kernelShape.blocks.size(); ++phase) {
    auto symbol = jit->lookup("k." + std::to_string(phase));
    if (!symbol) {
      check(symbol.takeError());
      return;
    }
    functions.push_back(symbol->toPtr<txc_cpu_kernel_fn>());
  }
}

std::string KernelRunner::verifyRenamed(llvm::StringRef name) {
  compiled->walk([&](step::KernelOp op) { op.setSymName(name); });
  PassManager pm(ctx.get());
  pm.addNestedPass<step::ProgramOp>(codegen::createVerifyCodegen());
  (void)pm.run(compiled.get());
  return std::exchange(error, "");
}

std::vector<Bytes> KernelRunner::run(const std::vector<Bytes> &buffers, unsigned numResults,
                                     const std::vector<int> &shares, Split split) {
  constexpr size_t guard = 64;
  const char poison = static_cast<char>(0xff); // NaN in f32
  std::vector<uint64_t> offsets, sizes;
  uint64_t end = guard;
  auto place = [&](uint64_t bytes) {
    uint64_t offset = (end + 63) / 64 * 64;
    offsets.push_back(offset);
    sizes.push_back(bytes);
    end = offset + bytes + guard;
  };
  for (size_t i = 0; i < buffers.size(); ++i) {
    if (shares[i] >= 0) {
      offsets.push_back(offsets[shares[i]]);
      sizes.push_back(buffers[i].size());
    } else {
      place(buffers[i].size());
    }
  }
  for (int64_t bytes : kernelShape.workspaceBytes)
    place(bytes);
  auto *arena = static_cast<char *>(std::aligned_alloc(4096, (end + 4095) / 4096 * 4096));
  std::memset(arena, poison, (end + 4095) / 4096 * 4096);
  for (size_t i = 0; i < buffers.size() - numResults; ++i)
    std::memcpy(arena + offsets[i], buffers[i].data(), buffers[i].size());

  for (size_t phase = 0; phase < functions.size(); ++phase) {
    int64_t blocks = kernelShape.blocks[phase];
    auto call = [&](int64_t from, int64_t to) { functions[phase](arena, offsets.data(), from, to); };
    switch (split) {
    case Split::Once:
      call(0, blocks);
      break;
    case Split::OneByOne:
      for (int64_t b = 0; b < blocks; ++b)
        call(b, b + 1);
      break;
    case Split::Backwards:
      for (int64_t b = blocks; b-- > 0;)
        call(b, b + 1);
      break;
    case Split::Thirds:
      call(2 * blocks / 3, blocks);
      call(0, blocks / 3);
      call(blocks / 3, 2 * blocks / 3);
      call(0, 0);
      break;
    }
  }

  std::vector<Bytes> results;
  std::vector<bool> owned(end, false);
  for (size_t i = 0; i < offsets.size(); ++i)
    std::fill(owned.begin() + offsets[i], owned.begin() + offsets[i] + sizes[i], true);
  for (uint64_t i = 0; i < end; ++i)
    if (!owned[i] && arena[i] != poison) {
      error = "wrote outside of its buffers at byte " + std::to_string(i);
      break;
    }
  for (size_t i = 0; i < buffers.size(); ++i) {
    results.emplace_back(arena + offsets[i], arena + offsets[i] + sizes[i]);
    bool written = i >= buffers.size() - numResults;
    for (size_t j = buffers.size() - numResults; j < buffers.size(); ++j)
      written |= shares[j] == static_cast<int>(i);
    if (!written && results.back() != buffers[i])
      error = "changed input " + std::to_string(i);
  }
  std::free(arena);
  return results;
}

} // namespace txc::test
