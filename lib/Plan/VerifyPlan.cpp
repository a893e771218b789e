//===- VerifyPlan.cpp - Check the plan stage's guarantee -------------------===//
//
// - Every buffer has an offset inside the arena.
// - No two buffers that hold something at the same time overlap. Lifetimes are
//   computed from the commands again, not taken from whoever placed them.
// - From the start of a collective to its wait no command writes what it reads or
//   touches what it writes. Its buffers live until the wait.
// - A command reads from an activation or workspace only after one wrote it.
// - What goes on into the buffer behind one (`covers`) finds it there.
// - The segments of flat kernels are where the parameters' buffers are.
//
//===----------------------------------------------------------------------===//

#include "txc/Plan/Lifetimes.h"
#include "txc/Plan/Passes.h"

#include "llvm/ADT/DenseSet.h"

using namespace mlir;

namespace txc::plan {
#define GEN_PASS_DEF_VERIFYPLAN
#include "txc/Plan/Passes.h.inc"

namespace {

LogicalResult verifyOffsets(step::ProgramOp program) {
  int64_t arena = program.getArenaBytes();
  for (auto alloc : program.getOps<step::AllocOp>()) {
    if (!alloc.getOffset())
      return alloc.emitOpError() << "has no offset after plan";
    if (int64_t end = *alloc.getOffset() + std::max(alloc.getBytes(), alloc.getSlot()); end > arena)
      return alloc.emitOpError() << "ends at byte " << end << ", after the arena's " << arena;
  }
  return success();
}

LogicalResult reportOverlap(step::AllocOp a, step::AllocOp b) {
  InFlightDiagnostic diag = a.emitOpError() << "overlaps a buffer that is live at the same time";
  diag.attachNote(b.getLoc()) << b.getSymName() << " at offset " << *b.getOffset() << ", " << b.getBytes()
                              << " bytes";
  return diag;
}

bool placesOverlap(step::AllocOp a, step::AllocOp b) {
  auto end = [](step::AllocOp alloc) {
    return *alloc.getOffset() + std::max(alloc.getBytes(), alloc.getSlot());
  };
  return *a.getOffset() < end(b) && *b.getOffset() < end(a);
}

/// Sorts by offset; only neighbours whose places overlap are compared further.
LogicalResult verifyOverlaps(step::ProgramOp program) {
  SmallVector<step::AllocOp> persistent;
  for (auto alloc : program.getOps<step::AllocOp>())
    if (!alloc.getEntry())
      persistent.push_back(alloc);
  for (auto entry : program.getOps<step::EntryOp>()) {
    SmallVector<Lifetime> all = getLifetimes(program, entry);
    int64_t commands = std::distance(entry.getBody().front().begin(), entry.getBody().front().end());
    for (step::AllocOp alloc : persistent)
      all.push_back({alloc, 0, commands});
    llvm::stable_sort(all, [](const Lifetime &a, const Lifetime &b) {
      return *const_cast<Lifetime &>(a).alloc.getOffset() < *const_cast<Lifetime &>(b).alloc.getOffset();
    });
    for (unsigned i = 0; i < all.size(); ++i)
      for (unsigned j = i + 1; j < all.size() && placesOverlap(all[i].alloc, all[j].alloc); ++j)
        if (all[i].overlaps(all[j]))
          return reportOverlap(all[i].alloc, all[j].alloc);
  }
  return success();
}

LogicalResult verifyReads(step::ProgramOp program) {
  llvm::DenseMap<StringAttr, step::AllocOp> transient;
  for (auto alloc : program.getOps<step::AllocOp>())
    if (alloc.getEntry() && !outlivesEntry(alloc))
      transient[alloc.getSymNameAttr()] = alloc;
  for (auto entry : program.getOps<step::EntryOp>()) {
    llvm::DenseSet<StringAttr> written;
    for (Operation &command : entry.getBody().front()) {
      SmallVector<Access> accesses = getAccesses(&command);
      for (const Access &access : accesses)
        if (access.reads && transient.count(access.buffer.getAttr()) &&
            !written.contains(access.buffer.getAttr()))
          return command.emitOpError() << "reads " << access.buffer << " before any command writes it";
      for (const Access &access : accesses)
        if (access.writes)
          written.insert(access.buffer.getAttr());
    }
  }
  return success();
}

LogicalResult verifyCollectives(step::ProgramOp program) {
  Conflicts conflicts(program);
  for (auto entry : program.getOps<step::EntryOp>())
    for (auto wait : entry.getBody().getOps<step::WaitOp>()) {
      step::CollectiveOp collective = wait.getCollective();
      for (Operation *op = collective->getNextNode(); op != wait; op = op->getNextNode())
        if (!isa<step::WaitOp>(op) && conflicts.between(op, collective)) {
          InFlightDiagnostic diag = op->emitOpError() << "touches a buffer of a collective that is under way";
          diag.attachNote(collective.getLoc()) << collective.getName();
          return diag;
        }
    }
  return success();
}

LogicalResult verifySegments(step::ProgramOp program) {
  llvm::DenseSet<int64_t> begins;
  std::optional<int64_t> first;
  for (auto alloc : program.getOps<step::AllocOp>())
    if (alloc.getKind() == step::BufferKind::Param) {
      if (!first)
        first = *alloc.getOffset();
      begins.insert(*alloc.getOffset() - *first);
    }
  for (auto kernel : program.getOps<step::KernelOp>())
    for (unsigned i = 0; i < kernel.getSegments().size(); i += 5)
      if (!begins.contains(kernel.getSegments()[i] * 4))
        return kernel.emitOpError() << "has a segment at element " << kernel.getSegments()[i]
                                    << " of the flat arena, where no parameter begins";
  return success();
}

/// What goes on into the buffer behind one finds it there.
LogicalResult verifyCovers(step::ProgramOp program) {
  for (auto entry : program.getOps<step::EntryOp>())
    for (Operation &command : entry.getBody().front())
      for (FlatSymbolRefAttr name : step::getCovered(&command)) {
        auto alloc = SymbolTable::lookupNearestSymbolFrom<step::AllocOp>(&command, name);
        auto before = cast<step::AllocOp>(alloc->getPrevNode());
        if (*alloc.getOffset() != *before.getOffset() + slotBytes(before))
          return command.emitOpError()
                 << "covers " << name << " at byte " << *alloc.getOffset() << ", but " << before.getSymName()
                 << " before it ends at byte " << *before.getOffset() + slotBytes(before);
      }
  return success();
}

struct VerifyPlan : impl::VerifyPlanBase<VerifyPlan> {
  void runOnOperation() override {
    if (getOperation().getOps<step::ProgramOp>().empty()) {
      getOperation().emitError() << "has no step.program after plan";
      return signalPassFailure();
    }
    for (auto program : getOperation().getOps<step::ProgramOp>())
      if (failed(verifyOffsets(program)) || failed(verifyOverlaps(program)) || failed(verifyReads(program)) ||
          failed(verifyCollectives(program)) || failed(verifySegments(program)) ||
          failed(verifyCovers(program)))
        return signalPassFailure();
  }
};
} // namespace

void buildPipeline(OpPassManager &pm, StringRef target) {
  pm.addPass(createBuildProgram());
  pm.addPass(createOverwriteGradients());
  pm.addPass(createScheduleCollectives());
  pm.addPass(createSizeWorkspaces({target.str()}));
  pm.addPass(createAssignOffsets());
  pm.addPass(createVerifyPlan());
}
} // namespace txc::plan
