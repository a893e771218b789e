//===- SizeWorkspaces.cpp - Cut kernels into blocks, add workspaces --------===//
//
// Requires: a step.program from tx-plan-build-program.
//
// Asks codegen::describeKernel how each kernel is cut into blocks and what
// scratch memory it wants, and gives every launch a buffer of its own for it.
// The buffer lives for that command only, so it costs arena bytes only where
// the peak is. Where the library of matrix products wants scratch (on a GPU; or
// the option library_workspace), all products share one buffer that lives
// throughout, since they run one after the other.
//
// Guarantees: every step.kernel has `blocks`; every launch has its workspaces
// as last arguments; every product has a workspace if the library wants one.
//
//===----------------------------------------------------------------------===//

#include "txc/Codegen/Kernel.h"
#include "txc/Plan/Passes.h"

using namespace mlir;

namespace txc::plan {
#define GEN_PASS_DEF_SIZEWORKSPACES
#include "txc/Plan/Passes.h.inc"

namespace {
struct SizeWorkspaces : impl::SizeWorkspacesBase<SizeWorkspaces> {
  using SizeWorkspacesBase::SizeWorkspacesBase;

  void runOnOperation() override {
    std::string error;
    FailureOr<codegen::Target> found = codegen::getTarget(target, error);
    if (failed(found)) {
      getOperation().emitError() << error;
      return signalPassFailure();
    }
    for (auto program : getOperation().getOps<step::ProgramOp>()) {
      for (auto kernel : program.getOps<step::KernelOp>()) {
        FailureOr<codegen::KernelShape> shape = codegen::describeKernel(kernel, *found);
        if (failed(shape))
          return signalPassFailure();
        kernel.setBlocks(shape->blocks);
        kernel.setWorkspace(shape->workspaceBytes);
      }
      SymbolTable symbols(program);
      for (auto entry : program.getOps<step::EntryOp>())
        for (auto launch : entry.getBody().getOps<step::LaunchOp>())
          addWorkspaces(program, symbols, entry, launch);
      int64_t bytes = libraryWorkspace;
      if (bytes < 0)
        bytes = found->isGpu() ? found->gpu->libraryWorkspaceBytes : 0;
      if (bytes > 0)
        addLibraryWorkspace(program, symbols, bytes);
    }
  }

  void addLibraryWorkspace(step::ProgramOp program, SymbolTable &symbols, int64_t bytes) {
    step::AllocOp shared;
    program.walk([&](step::GemmOp gemm) {
      if (!shared) {
        OpBuilder builder(&getContext());
        builder.setInsertionPointToStart(&program.getBody().front());
        for (auto alloc : program.getOps<step::AllocOp>())
          if (!alloc.getEntry())
            builder.setInsertionPointAfter(alloc);
        auto type = RankedTensorType::get({bytes}, builder.getI8Type());
        shared =
            builder.create<step::AllocOp>(program.getLoc(), "library.workspace", step::BufferKind::Workspace,
                                          type, bytes, IntegerAttr(), FlatSymbolRefAttr());
        symbols.insert(shared);
      }
      gemm.setWorkspace(shared.getSymName());
    });
  }

  void addWorkspaces(step::ProgramOp program, SymbolTable &symbols, step::EntryOp entry,
                     step::LaunchOp launch) {
    auto kernel = symbols.lookup<step::KernelOp>(launch.getKernel());
    if (kernel.getWorkspace().empty())
      return;
    OpBuilder builder(&getContext());
    builder.setInsertionPointToStart(&program.getBody().front());
    for (auto alloc : program.getOps<step::AllocOp>())
      builder.setInsertionPointAfter(alloc);
    SmallVector<Attribute> args(launch.getArgs().begin(), launch.getArgs().end());
    SmallVector<int64_t> offsets(launch.getOffsets());
    for (int64_t bytes : kernel.getWorkspace()) {
      auto type = RankedTensorType::get({bytes}, builder.getI8Type());
      std::string name = (entry.getSymName() + "/" + launch.getName() + ".workspace").str();
      auto alloc =
          builder.create<step::AllocOp>(launch.getLoc(), name, step::BufferKind::Workspace, type, bytes,
                                        IntegerAttr(), FlatSymbolRefAttr::get(entry.getSymNameAttr()));
      symbols.insert(alloc); // makes the name unique
      args.push_back(FlatSymbolRefAttr::get(alloc.getSymNameAttr()));
      offsets.push_back(0);
    }
    launch.setArgsAttr(builder.getArrayAttr(args));
    launch.setOffsets(offsets);
  }
};
} // namespace
} // namespace txc::plan
