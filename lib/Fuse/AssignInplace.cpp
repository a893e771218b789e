//===- AssignInplace.cpp - Write results over operands that die ------------===//
//
// Requires: kernels are in final order.
//
// A result may take the place of an operand of its type if
//   - the operand is a gradient that the kernel adds to (always), or
//   - the operand is a cache to which the kernel appends (always), or
//   - the kernel is row-wise, all its ops are pointwise (column c of a row
//     depends on column c and on reductions over that row, which come first) or
//     it is one tx.rope, the operand is a row that an earlier kernel computed (or
//     all rows that several did: tx.concat_rows), and nothing reads the operand,
//     or a part of it, after the kernel. A part of a tx.concat_rows has its place
//     there.
// Rows are tried in operand order; each operand is given away once.
//
// Guarantees: an accumulated gradient, and a cache, is written where it was read.
//
//===----------------------------------------------------------------------===//

#include "txc/Fuse/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace txc::fuse {
#define GEN_PASS_DEF_ASSIGNINPLACE
#include "txc/Fuse/Passes.h.inc"

namespace {

/// The operand that yielded value `index` adds a gradient to, or -1.
int64_t accumulator(tx::KernelOp kernel, unsigned index) {
  auto add = kernel.getBody().front().getTerminator()->getOperand(index).getDefiningOp<tx::AddOp>();
  if (!add)
    return -1;
  for (Value side : {add.getRhs(), add.getLhs()})
    if (auto argument = dyn_cast<BlockArgument>(side)) {
      auto read = kernel.getInputs()[argument.getArgNumber()].getDefiningOp<tx::ReadOp>();
      if (read && read.getState() == tx::State::Grad)
        return argument.getArgNumber();
    }
  return -1;
}

/// The operand that is the cache to which the kernel appends yielded value
/// `index`, or -1.
int64_t appended(tx::KernelOp kernel, unsigned index) {
  Value yielded = kernel.getBody().front().getTerminator()->getOperand(index);
  auto attention = yielded.getDefiningOp<tx::DecodeAttentionOp>();
  if (!attention || yielded == attention.getResult())
    return -1;
  auto cache = dyn_cast<BlockArgument>(yielded == attention.getNewKeys() ? attention.getKeys()
                                                                         : attention.getValues());
  return cache ? cache.getArgNumber() : -1;
}

bool allPointwise(tx::KernelOp kernel) {
  // Codegen reads a rotated row before it writes any of it.
  Block &body = kernel.getBody().front();
  if (isa<tx::RopeOp>(body.front()) && llvm::hasNItems(body.without_terminator(), 1))
    return true;
  for (Operation &op : kernel.getBody().front().without_terminator())
    if (auto rowWise = dyn_cast<tx::RowWiseOpInterface>(op); rowWise && !rowWise.isPointwise())
      return false;
  return true;
}

/// Every op of the body that reads `argument` reads it as rows.
bool readAsRows(BlockArgument argument) {
  for (OpOperand &use : argument.getUses()) {
    auto rowWise = dyn_cast<tx::RowWiseOpInterface>(use.getOwner());
    if (!rowWise || rowWise.getOperandAccess(use.getOperandNumber()) != tx::RowAccess::Row)
      return false;
  }
  return true;
}

/// The yielded value is computed as rows.
bool writtenAsRows(Value yielded) {
  auto rowWise = dyn_cast_or_null<tx::RowWiseOpInterface>(yielded.getDefiningOp());
  return rowWise && rowWise.getResultAccess(cast<OpResult>(yielded).getResultNumber()) == tx::RowAccess::Row;
}

void assignInplace(tx::KernelOp kernel) {
  SmallVector<int64_t> inplace(kernel.getNumResults(), -1);
  llvm::SmallDenseSet<int64_t> taken;
  for (unsigned i = 0; i < inplace.size(); ++i)
    for (int64_t operand : {accumulator(kernel, i), appended(kernel, i)})
      if (operand >= 0 && taken.insert(operand).second)
        inplace[i] = operand;
  if (kernel.getKind() == tx::KernelKind::RowWise && allPointwise(kernel)) {
    Block &body = kernel.getBody().front();
    for (unsigned i = 0; i < inplace.size(); ++i) {
      bool isPart = llvm::any_of(kernel.getResult(i).getUsers(),
                                 [](Operation *user) { return isa<tx::ConcatRowsOp>(user); });
      if (inplace[i] >= 0 || isPart || !writtenAsRows(body.getTerminator()->getOperand(i)))
        continue;
      for (auto [number, input] : llvm::enumerate(kernel.getInputs())) {
        bool producer = isa_and_nonnull<tx::KernelOp, tx::ConcatRowsOp>(input.getDefiningOp());
        bool lastUse = producer && llvm::all_of(input.getUses(), [&](OpOperand &use) {
                         Operation *user = use.getOwner();
                         return user == kernel ? use.getOperandNumber() == number
                                               : !isa<func::ReturnOp, tx::SliceRowsOp, tx::ConcatRowsOp>(user) &&
                                                     user->isBeforeInBlock(kernel);
                       });
        if (!lastUse || input.getType() != kernel.getResult(i).getType() || taken.contains(number) ||
            !readAsRows(body.getArgument(number)))
          continue;
        taken.insert(number);
        inplace[i] = number;
        break;
      }
    }
  }
  kernel.setInplace(inplace);
}

struct AssignInplace : impl::AssignInplaceBase<AssignInplace> {
  void runOnOperation() override { getOperation().walk(assignInplace); }
};
} // namespace
} // namespace txc::fuse
