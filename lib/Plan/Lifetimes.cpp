//===- Lifetimes.cpp - When a buffer holds something -----------------------===//

#include "txc/Plan/Lifetimes.h"

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace txc::plan {

SmallVector<Access> getAccesses(Operation *command) {
  SmallVector<Access> accesses;
  if (auto launch = dyn_cast<step::LaunchOp>(command)) {
    int64_t numInputs = launch.getNumInputs();
    for (auto [i, arg] : llvm::enumerate(launch.getArgs().getAsRange<FlatSymbolRefAttr>())) {
      bool isInput = static_cast<int64_t>(i) < numInputs;
      accesses.push_back({arg, isInput, !isInput});
    }
    for (FlatSymbolRefAttr covered : step::getCovered(launch))
      accesses.push_back({covered, true, true});
  } else if (auto gemm = dyn_cast<step::GemmOp>(command)) {
    accesses.push_back({gemm.getAAttr(), true, false});
    accesses.push_back({gemm.getBAttr(), true, false});
    if (gemm.getAddendAttr())
      accesses.push_back({gemm.getAddendAttr(), true, false});
    accesses.push_back({gemm.getCAttr(), gemm.getAccumulate() && !gemm.getAddendAttr(), true});
  } else if (auto fill = dyn_cast<step::FillOp>(command)) {
    accesses.push_back({fill.getBufferAttr(), false, true});
  } else {
    auto wait = dyn_cast<step::WaitOp>(command);
    if (auto collective = wait ? wait.getCollective() : dyn_cast<step::CollectiveOp>(command)) {
      for (auto send : collective.getSends().getAsRange<FlatSymbolRefAttr>())
        accesses.push_back({send, true, false});
      for (auto receive : collective.getReceives().getAsRange<FlatSymbolRefAttr>())
        accesses.push_back({receive, false, true});
      for (FlatSymbolRefAttr covered : step::getCovered(collective))
        accesses.push_back({covered, true, collective.isInPlace(0)});
    }
  }
  return accesses;
}

static bool isFlat(step::KernelOp kernel) {
  return llvm::is_contained({"init", "global_norm", "gradient_sums", "adamw"}, kernel.getKind());
}

static bool isState(step::BufferKind kind) {
  switch (kind) {
  case step::BufferKind::Param:
  case step::BufferKind::Grad:
  case step::BufferKind::Moment1:
  case step::BufferKind::Moment2:
  case step::BufferKind::Compute:
  case step::BufferKind::GradShard:
  case step::BufferKind::ComputeShard:
    return true;
  default:
    return false;
  }
}

Conflicts::Conflicts(step::ProgramOp program) : program(program) {
  for (auto alloc : program.getOps<step::AllocOp>())
    allocs[alloc.getSymNameAttr()] = alloc;
  for (auto kernel : program.getOps<step::KernelOp>())
    kernels[kernel.getSymNameAttr()] = kernel;
}

const Conflicts::Touched &Conflicts::touched(Operation *command) {
  auto [it, isNew] = known.try_emplace(command);
  if (!isNew)
    return it->second;
  Touched result;
  auto add = [&](StringAttr buffer, const Access &access) {
    result.buffers[buffer] |= access.writes;
    if (access.reads)
      result.read.push_back(buffer);
  };
  auto launch = dyn_cast<step::LaunchOp>(command);
  step::KernelOp kernel = launch ? kernels.lookup(launch.getKernelAttr().getAttr()) : step::KernelOp();
  for (const Access &access : getAccesses(command)) {
    StringAttr name = access.buffer.getAttr();
    add(name, access);
    step::AllocOp named = allocs.lookup(name);
    if (kernel && isFlat(kernel) && named && isState(named.getKind()))
      for (auto alloc : program.getOps<step::AllocOp>())
        if (alloc.getKind() == named.getKind())
          add(alloc.getSymNameAttr(), access);
  }
  return known[command] = std::move(result);
}

bool Conflicts::between(Operation *a, Operation *b) {
  Touched first = touched(a);
  const Touched &second = touched(b);
  return llvm::any_of(first.buffers, [&](const auto &mine) {
    auto other = second.buffers.find(mine.first);
    return other != second.buffers.end() && (mine.second || other->second);
  });
}

bool Conflicts::feeds(Operation *writer, Operation *reader) {
  Touched first = touched(writer);
  return llvm::any_of(touched(reader).read, [&](StringAttr buffer) { return first.buffers.lookup(buffer); });
}

int64_t slotBytes(step::BufferKind kind, int64_t bytes) {
  switch (kind) {
  case step::BufferKind::Param:
  case step::BufferKind::Grad:
  case step::BufferKind::Moment1:
  case step::BufferKind::Moment2:
  case step::BufferKind::GradShard:
    return llvm::alignTo(bytes, 128);
  default:
    return llvm::alignTo(bytes, 64);
  }
}

int64_t slotBytes(step::AllocOp alloc) {
  return slotBytes(alloc.getKind(), std::max(alloc.getBytes(), alloc.getSlot()));
}

bool outlivesEntry(step::AllocOp alloc) {
  switch (alloc.getKind()) {
  case step::BufferKind::Cache:
  case step::BufferKind::DecodeTokens:
  case step::BufferKind::DecodeState:
  case step::BufferKind::Logits:
    return true;
  default:
    return false;
  }
}

SmallVector<Lifetime> getLifetimes(step::ProgramOp program, step::EntryOp entry) {
  llvm::MapVector<StringAttr, Lifetime> byName;
  for (auto alloc : program.getOps<step::AllocOp>())
    if (alloc.getEntry() == entry.getSymName())
      byName[alloc.getSymNameAttr()] = {alloc, -1, -1};
  int64_t commands = std::distance(entry.getBody().front().begin(), entry.getBody().front().end());
  if (commands)
    for (auto &[name, lifetime] : byName)
      if (outlivesEntry(lifetime.alloc)) {
        lifetime.first = 0;
        lifetime.last = commands - 1;
      }
  for (auto [index, command] : llvm::enumerate(entry.getBody().front()))
    for (const Access &access : getAccesses(&command)) {
      auto it = byName.find(access.buffer.getAttr());
      if (it == byName.end() || outlivesEntry(it->second.alloc))
        continue;
      if (it->second.first < 0)
        it->second.first = index;
      it->second.last = index;
    }
  SmallVector<Lifetime> lifetimes;
  for (auto &[name, lifetime] : byName)
    if (lifetime.first >= 0)
      lifetimes.push_back(lifetime);
  return lifetimes;
}

SmallVector<int64_t> numberCommands(step::ProgramOp program, step::EntryOp entry) {
  llvm::StringMap<int64_t> phases;
  for (auto kernel : program.getOps<step::KernelOp>())
    phases[kernel.getSymName()] = std::max<int64_t>(kernel.getBlocks().size(), 1);
  SmallVector<int64_t> numbers{0};
  for (Operation &command : entry.getBody().front()) {
    auto launch = dyn_cast<step::LaunchOp>(command);
    numbers.push_back(numbers.back() + (launch ? phases.lookup(launch.getKernel()) : 1));
  }
  return numbers;
}

int64_t getPeakBytes(ArrayRef<Lifetime> lifetimes) {
  SmallVector<std::pair<int64_t, int64_t>> events; // command, change
  for (const Lifetime &lifetime : lifetimes) {
    events.push_back({lifetime.first, slotBytes(lifetime.alloc)});
    events.push_back({lifetime.last + 1, -slotBytes(lifetime.alloc)});
  }
  llvm::sort(events); // at one command, deaths (negative) come before births
  int64_t live = 0, peak = 0;
  for (auto [command, change] : events)
    peak = std::max(peak, live += change);
  return peak;
}

} // namespace txc::plan
