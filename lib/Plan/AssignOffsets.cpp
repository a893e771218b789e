//===- AssignOffsets.cpp - Give every buffer its place in the arena --------===//
//
// Requires: commands are in final order, workspaces are allocated.
//
// 1. Buffers that live in all entries (state, inputs, results) come first, in
//    program order, each rounded up to 64 bytes (f32 state to 128, its bf16 copies
//    to 64); so the tensors of all parameters form flat arenas of one layout.
// 2. Entries never run at the same time: each starts from the same base. Within
//    one, a buffer lives from the first command that touches it to the last. What
//    @decode keeps between its calls lives through all of that entry, and takes
//    places that the activations of training have at other times.
// 3. Buffers are placed one after the other at the lowest offset that is free
//    for their whole lifetime, in several orders (largest first, longest-lived
//    first, by size times lifetime, by birth); the order with the smallest
//    result is kept. Ties go to program order, so the plan is deterministic.
//
// Guarantees: every step.alloc has `offset`; the program has `arena_bytes` and
// `lower_bound`, the persistent bytes plus the most bytes live at once in any
// entry, which no placement can go below.
//
// Not done: moving commands to shorten lifetimes.
//
//===----------------------------------------------------------------------===//

#include "txc/Plan/Lifetimes.h"
#include "txc/Plan/Passes.h"

using namespace mlir;

namespace txc::plan {
#define GEN_PASS_DEF_ASSIGNOFFSETS
#include "txc/Plan/Passes.h.inc"

/// What cuBLASLt wants of its workspace, in bytes.
static constexpr int64_t libraryAlignment = 256;

namespace {

/// Offsets of `lifetimes` relative to their common base, placed in `order`, and
/// the end of the highest.
std::pair<SmallVector<int64_t>, int64_t> place(ArrayRef<Lifetime> lifetimes, ArrayRef<unsigned> order) {
  SmallVector<int64_t> offsets(lifetimes.size(), 0);
  SmallVector<unsigned> placed; // sorted by offset
  int64_t end = 0;
  for (unsigned i : order) {
    int64_t size = slotBytes(lifetimes[i].alloc), offset = 0;
    for (unsigned j : placed) {
      if (!lifetimes[i].overlaps(lifetimes[j]))
        continue;
      if (offset + size <= offsets[j])
        break;
      offset = std::max(offset, offsets[j] + slotBytes(lifetimes[j].alloc));
    }
    offsets[i] = offset;
    end = std::max(end, offset + size);
    placed.insert(llvm::upper_bound(placed, offset, [&](int64_t o, unsigned j) { return o < offsets[j]; }),
                  i);
  }
  return {offsets, end};
}

/// The best of several orders.
std::pair<SmallVector<int64_t>, int64_t> placeBest(ArrayRef<Lifetime> lifetimes, int64_t lowerBound) {
  auto size = [&](unsigned i) { return slotBytes(lifetimes[i].alloc); };
  auto length = [&](unsigned i) { return lifetimes[i].last - lifetimes[i].first + 1; };
  using Key = llvm::function_ref<std::pair<int64_t, int64_t>(unsigned)>;
  auto bySize = [&](unsigned i) { return std::pair(-size(i), -length(i)); };
  auto byLength = [&](unsigned i) { return std::pair(-length(i), -size(i)); };
  auto byArea = [&](unsigned i) { return std::pair(-size(i) * length(i), -size(i)); };
  auto byBirth = [&](unsigned i) { return std::pair(lifetimes[i].first, -size(i)); };
  std::pair<SmallVector<int64_t>, int64_t> best{{}, -1};
  for (Key key : {Key(bySize), Key(byLength), Key(byArea), Key(byBirth)}) {
    SmallVector<unsigned> order(llvm::to_vector(llvm::seq<unsigned>(0, lifetimes.size())));
    llvm::stable_sort(order, [&](unsigned a, unsigned b) { return key(a) < key(b); });
    auto candidate = place(lifetimes, order);
    if (best.second < 0 || candidate.second < best.second)
      best = std::move(candidate);
    if (best.second == lowerBound)
      break;
  }
  return best;
}

struct AssignOffsets : impl::AssignOffsetsBase<AssignOffsets> {
  void runOnOperation() override {
    Builder builder(&getContext());
    for (auto program : getOperation().getOps<step::ProgramOp>()) {
      int64_t base = 0;
      for (auto alloc : program.getOps<step::AllocOp>())
        if (!alloc.getEntry()) {
          if (alloc.getKind() == step::BufferKind::Workspace)
            base = llvm::alignTo(base, libraryAlignment);
          alloc.setOffset(base);
          base += slotBytes(alloc);
        }
      int64_t end = base, lowerBound = base;
      for (auto entry : program.getOps<step::EntryOp>()) {
        SmallVector<Lifetime> lifetimes = getLifetimes(program, entry);
        int64_t peak = getPeakBytes(lifetimes);
        auto [offsets, size] = placeBest(lifetimes, peak);
        for (auto [lifetime, offset] : llvm::zip(lifetimes, offsets))
          lifetime.alloc.setOffset(base + offset);
        end = std::max(end, base + size);
        lowerBound = std::max(lowerBound, base + peak);
      }
      for (auto alloc : llvm::make_early_inc_range(program.getOps<step::AllocOp>()))
        if (!alloc.getOffset())
          alloc.erase(); // no command touches it
      program.setArenaBytes(end);
      program.setLowerBound(lowerBound);
    }
  }
};
} // namespace
} // namespace txc::plan
