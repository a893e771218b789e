//===- VerifyCodegen.cpp - Check the codegen stage's guarantee -------------===//
//
// There is one step.object, or for a GPU one step.image.
// - The object defines `<kernel>.<phase>` for every phase of every kernel, and
//   needs no symbol from elsewhere.
// - The image's PTX, and its cubin if there is one, define the function that each
//   phase's geometry names.
// No kernel has a body left.
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
  static LogicalResult verifyBodies(step::ProgramOp program) {
    for (auto kernel : program.getOps<step::KernelOp>()) {
      if (!kernel.getBody().empty())
        return kernel.emitOpError() << "still has a body after codegen";
      if (kernel.getBlocks().empty())
        return kernel.emitOpError() << "has no phases";
    }
    return success();
  }

  static LogicalResult verifyImage(step::ProgramOp program, step::ImageOp image) {
    if (image.getCubin().empty() && image.getPtx().empty())
      return image.emitOpError() << "holds no code";
    llvm::StringSet<> symbols;
    if (!image.getCubin().empty()) {
      auto file = llvm::object::ObjectFile::createObjectFile(
          llvm::MemoryBufferRef(image.getCubin(), program.getSymName()));
      if (!file)
        return image.emitOpError() << "has a cubin that is not an object file: "
                                   << llvm::toString(file.takeError());
      for (const llvm::object::SymbolRef &symbol : (*file)->symbols())
        if (llvm::Expected<StringRef> name = symbol.getName())
          symbols.insert(*name);
        else
          llvm::consumeError(name.takeError());
    }
    for (auto kernel : program.getOps<step::KernelOp>()) {
      size_t phases = kernel.getGeometry() ? kernel.getGeometry()->size() : 0;
      if (phases != kernel.getBlocks().size())
        return kernel.emitOpError() << "has " << kernel.getBlocks().size() << " phases but says how to launch "
                                    << phases;
      for (auto geometry : kernel.getGeometry()->getAsRange<step::GeometryAttr>()) {
        StringRef function = geometry.getFunction().getValue();
        if (!image.getCubin().empty() && !symbols.contains(function))
          return kernel.emitOpError() << "has no function '" << function << "' in the cubin";
        if (!image.getPtx().empty() && !image.getPtx().contains((".entry " + function + "(").str()))
          return kernel.emitOpError() << "has no function '" << function << "' in the PTX";
      }
    }
    return success();
  }

  LogicalResult verify(step::ProgramOp program) {
    SmallVector<step::ObjectOp> objects = llvm::to_vector(program.getOps<step::ObjectOp>());
    SmallVector<step::ImageOp> images = llvm::to_vector(program.getOps<step::ImageOp>());
    if (objects.size() + images.size() != 1)
      return program.emitOpError() << "must hold one step.object or step.image after codegen, found "
                                   << objects.size() + images.size();
    if (failed(verifyBodies(program)))
      return failure();
    if (!images.empty())
      return verifyImage(program, images.front());
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
    for (auto kernel : program.getOps<step::KernelOp>())
      for (size_t phase = 0; phase < kernel.getBlocks().size(); ++phase)
        if (std::string name = (kernel.getSymName() + "." + Twine(phase)).str(); !defined.contains(name))
          return kernel.emitOpError() << "has no function '" << name << "' in the object";
    return success();
  }

  void runOnOperation() override {
    if (failed(verify(getOperation())))
      signalPassFailure();
  }
};

} // namespace
} // namespace txc::codegen
