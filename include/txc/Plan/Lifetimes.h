//===- Lifetimes.h - When a buffer holds something -------------------------===//
#ifndef TXC_PLAN_LIFETIMES_H
#define TXC_PLAN_LIFETIMES_H

#include "txc/Dialect/Step/Step.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/MapVector.h"

namespace txc::plan {

/// What one command does to one buffer.
struct Access {
  mlir::FlatSymbolRefAttr buffer;
  bool reads, writes;
};

/// The accesses of a command by the names it has: a flat kernel names only the
/// first buffer of each arena. A step.wait has those of its collective, so that
/// these buffers live until it.
llvm::SmallVector<Access> getAccesses(mlir::Operation *command);

/// Which commands must stay in order.
class Conflicts {
public:
  explicit Conflicts(step::ProgramOp program);
  /// Whether one writes what the other touches. Flat kernels touch whole arenas.
  bool between(mlir::Operation *a, mlir::Operation *b);
  /// Whether `reader` reads what `writer` writes.
  bool feeds(mlir::Operation *writer, mlir::Operation *reader);

private:
  struct Touched {
    llvm::DenseMap<mlir::StringAttr, bool> buffers; ///< and whether they are written
    llvm::SmallVector<mlir::StringAttr> read;
  };
  const Touched &touched(mlir::Operation *command);

  step::ProgramOp program;
  llvm::DenseMap<mlir::StringAttr, step::AllocOp> allocs;
  llvm::DenseMap<mlir::StringAttr, step::KernelOp> kernels;
  llvm::DenseMap<mlir::Operation *, Touched> known;
};

/// Bytes that a buffer takes from the arena: multiples of 64; of 128 for f32
/// state, so that bf16 copies at the same elements take multiples of 64. Of an
/// alloc at least its `slot`.
int64_t slotBytes(step::BufferKind kind, int64_t bytes);
int64_t slotBytes(step::AllocOp alloc);

/// A buffer of one entry and the commands, counted from 0, that touch it first
/// and last.
struct Lifetime {
  step::AllocOp alloc;
  int64_t first, last;
  bool overlaps(const Lifetime &other) const { return first <= other.last && other.first <= last; }
};

/// Whether a buffer of an entry holds something before its first command and after
/// its last: caches, and what the runtime writes or reads.
bool outlivesEntry(step::AllocOp alloc);

/// Lifetimes of the buffers that live within `entry`, in program order.
/// Buffers that no command touches are left out, unless they outlive it.
llvm::SmallVector<Lifetime> getLifetimes(step::ProgramOp program, step::EntryOp entry);

/// Numbers of the commands as the device gets them, where a launch is one
/// command per phase of its kernel: element i is the first of the entry's i-th
/// op, the last element is how many there are.
llvm::SmallVector<int64_t> numberCommands(step::ProgramOp program, step::EntryOp entry);

/// Most bytes live at once.
int64_t getPeakBytes(llvm::ArrayRef<Lifetime> lifetimes);

} // namespace txc::plan

#endif // TXC_PLAN_LIFETIMES_H
