//===- VerifyCodegen.cpp - Check the codegen stage's guarantee -------------===//
//
// There is one step.object. It defines `<kernel>.<phase>` for every phase of
// every kernel, and needs no symbol from elsewhere. No kernel has a body left.
//
//===----------------------------------------------------------------------===//

#include "txc/Codegen/Passes.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/Object/ObjectFile.h"

using namespace mlir;

namespace txc::codegen {
#define GEN_PASS_DEF_VERIFYCODEGEN
#include "txc/Codegen/Passes.h.inc"

namespace {

struct VerifyCodegen : impl::VerifyCodegenBase<VerifyCodegen> {
  LogicalResult verify(step::ProgramOp program) {
    SmallVector<step::ObjectOp> objects = llvm::to_vector(program.getOps<step::ObjectOp>());
    if (objects.size() != 1)
      return program.emitOpError() << "must hold one step.object after codegen, found " << objects.size();
    step::ObjectOp object = objects.front();
    auto file = llvm::object::ObjectFile::createObjectFile(
        llvm::MemoryBufferRef(object.getCode(), program.getSymName()));
    if (!file)
      return object.emitOpError() << "is not an object file: " << llvm::toString(file.takeError());
    llvm::StringSet<> defined;
    for (const llvm::object::SymbolRef &symbol : (*file)->symbols()) {
      auto name = symbol.getName();
      auto flags = symbol.getFlags();
      if (!name || !flags) {
        llvm::consumeError(name.takeError());
        llvm::consumeError(flags.takeError());
        return object.emitOpError() << "has a damaged symbol table";
      }
      if (name->empty())
        continue;
      if (*flags & llvm::object::SymbolRef::SF_Undefined)
        return object.emitOpError() << "needs the symbol '" << *name
                                    << "' from elsewhere; kernels must not call a library";
      defined.insert(*name);
    }
    for (auto kernel : program.getOps<step::KernelOp>()) {
      if (!kernel.getBody().empty())
        return kernel.emitOpError() << "still has a body after codegen";
      if (kernel.getBlocks().empty())
        return kernel.emitOpError() << "has no phases";
      for (size_t phase = 0; phase < kernel.getBlocks().size(); ++phase)
        if (std::string name = (kernel.getSymName() + "." + Twine(phase)).str(); !defined.contains(name))
          return kernel.emitOpError() << "has no function '" << name << "' in the object";
    }
    return success();
  }

  void runOnOperation() override {
    if (failed(verify(getOperation())))
      signalPassFailure();
  }
};

} // namespace
} // namespace txc::codegen
