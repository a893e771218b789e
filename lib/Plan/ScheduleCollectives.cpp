//===- ScheduleCollectives.cpp - Let collectives run beside kernels ---------===//
//
// Requires: commands in an order that is right; every collective may be waited
// for at once.
//
// 1. A collective starts as soon as what it touches allows. One that gathers into
//    a buffer of the entry (weights for a while) starts when the gathered weights
//    before it are first used, not earlier: at most one bucket lies ready ahead of
//    the one in use.
// 2. A kernel that sums what an exchange brought goes down behind the start of the
//    next exchange, so that the first has the time of one bucket of the backward
//    pass, unless another command needs what the kernel writes. So does the gather
//    of such sums, in place, behind the kernels.
// 3. A wait stands before the first command that conflicts with its collective,
//    else at the end of the entry.
//
// Guarantees: the same commands, those that conflict in the same order. Events
// keep their numbers. Collectives start in one order on all ranks, since all
// ranks run this program.
//
// Not done: moving other kernels; a collective never goes beyond its entry.
//
//===----------------------------------------------------------------------===//

#include "txc/Plan/Lifetimes.h"
#include "txc/Plan/Passes.h"

using namespace mlir;

namespace txc::plan {
#define GEN_PASS_DEF_SCHEDULECOLLECTIVES
#include "txc/Plan/Passes.h.inc"

namespace {

class Scheduler {
public:
  Scheduler(step::ProgramOp program, step::EntryOp entry) : entry(entry), conflicts(program) {
    for (auto alloc : program.getOps<step::AllocOp>())
      if (alloc.getEntry())
        transient.insert(alloc.getSymNameAttr());
  }

  void run() {
    SmallVector<step::CollectiveOp> collectives(entry.getBody().getOps<step::CollectiveOp>());
    if (collectives.empty())
      return;
    // The verifier holds whoever parses to one wait each; here they are made anew.
    for (auto wait : llvm::make_early_inc_range(entry.getBody().getOps<step::WaitOp>()))
      wait.erase();
    for (step::CollectiveOp collective : collectives)
      hoist(collective);
    // What comes last goes down first, and so out of the way of the others.
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(entry.getBody().front())))
      if (auto collective = dyn_cast<step::CollectiveOp>(op);
          collective ? gathersSums(collective) : takesReduction(&op, collectives))
        sink(&op);
    // Those that start later are waited for later, where both are at one place.
    for (step::CollectiveOp collective : entry.getBody().getOps<step::CollectiveOp>())
      addWait(collective);
  }

private:
  bool isAhead(step::CollectiveOp collective) {
    return collective.getKind() == step::CollectiveKind::AllGather &&
           llvm::any_of(collective.getReceives().getAsRange<FlatSymbolRefAttr>(),
                        [&](FlatSymbolRefAttr name) { return transient.contains(name.getAttr()); });
  }

  Operation *firstConflict(step::CollectiveOp collective) {
    for (Operation *op = collective->getNextNode(); op; op = op->getNextNode())
      if (conflicts.between(op, collective))
        return op;
    return nullptr;
  }

  void hoist(step::CollectiveOp collective) {
    Operation *barrier = isAhead(collective) ? lastGatherUse : nullptr;
    Operation *before = collective;
    if (barrier && collective->isBeforeInBlock(barrier)) {
      Operation *first = firstConflict(collective);
      collective->moveBefore(first && first->isBeforeInBlock(barrier) ? first : barrier);
      before = nullptr;
    }
    while (Operation *previous = before ? before->getPrevNode() : nullptr) {
      if (conflicts.between(previous, collective))
        break;
      before = previous;
      if (previous == barrier)
        break;
    }
    // Those that could start together keep their order.
    while (before && before != collective && isa<step::CollectiveOp>(before))
      before = before->getNextNode();
    if (before && before != collective)
      collective->moveBefore(before);
    if (isAhead(collective))
      lastGatherUse = firstConflict(collective);
  }

  static bool isReduction(Operation *op) {
    auto collective = dyn_cast<step::CollectiveOp>(op);
    return collective && collective.getKind() != step::CollectiveKind::AllGather;
  }

  /// Nothing but sums is gathered where it is.
  static bool gathersSums(step::CollectiveOp collective) {
    return collective.getKind() == step::CollectiveKind::AllGather && collective.isInPlace(0);
  }

  bool takesReduction(Operation *op, ArrayRef<step::CollectiveOp> collectives) {
    return llvm::any_of(collectives, [&](step::CollectiveOp collective) {
      return isReduction(collective) && collective->isBeforeInBlock(op) && conflicts.feeds(collective, op);
    });
  }

  void sink(Operation *op) {
    Operation *after = nullptr;
    for (Operation *next = op->getNextNode(); next; next = next->getNextNode()) {
      if (conflicts.between(op, next))
        return;
      if (isReduction(next)) {
        after = next;
        break;
      }
    }
    if (after)
      op->moveAfter(after);
  }

  void addWait(step::CollectiveOp collective) {
    OpBuilder builder = OpBuilder::atBlockEnd(&entry.getBody().front());
    if (Operation *first = firstConflict(collective))
      builder.setInsertionPoint(first);
    builder.create<step::WaitOp>(collective.getLoc(), collective.getEvent());
  }

  step::EntryOp entry;
  Conflicts conflicts;
  llvm::DenseSet<StringAttr> transient;
  Operation *lastGatherUse = nullptr;
};

struct ScheduleCollectives : impl::ScheduleCollectivesBase<ScheduleCollectives> {
  void runOnOperation() override {
    for (auto program : getOperation().getOps<step::ProgramOp>())
      for (auto entry : program.getOps<step::EntryOp>())
        Scheduler(program, entry).run();
  }
};
} // namespace
} // namespace txc::plan
