//===- FormKernels.cpp - Group ops into kernels ----------------------------===//
//
// Requires: straight-line functions of tx ops; accumulations are expanded.
//
// 1. Every op starts as a group of its own, with the kind that the op implies.
// 2. In program order, a row-wise op joins the row-wise groups that produce its
//    operands, if they work on the same rows; an addition that accumulates
//    (one operand is a tx.read of a gradient) joins the group that computes the
//    other operand; a row-wise op that follows another one of which it needs
//    nothing, but reads a row that the other reads too, joins it, so that the row
//    is read once; with rotate_in_attention, the rotation of the gradients of
//    queries and keys joins the attention that computes them, where the tensor cores'
//    kernel does it in passing; with sum_in_products, a residual joins the product
//    that it is added to, rather than the norm that follows. Two groups are joined
//    only if no third group depends on one and feeds the other, so the groups stay
//    in an order.
// 3. Groups are put in that order: among those whose inputs are ready, the one
//    whose first op comes first in the program. State keeps its order: reads
//    and writes of one tensor are never exchanged.
// 4. Each group becomes a tx.kernel; scalar constants move inside.
//
// Guarantees: every pure tx op is in a tx.kernel.
//
// tx.slice_rows and tx.concat_rows are places, not computations: they stay
// outside, as do state and what ranks exchange (StandAlone.h).
//
// Not done: joining kernels further apart that read the same input but do not
// feed each other; splitting a kernel to shorten lifetimes.
//
//===----------------------------------------------------------------------===//

#include "StandAlone.h"
#include "txc/Dialect/Tx/StateAccess.h"
#include "txc/Fuse/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/SetVector.h"

#include <queue>

using namespace mlir;

namespace txc::fuse {
#define GEN_PASS_DEF_FORMKERNELS
#include "txc/Fuse/Passes.h.inc"

namespace {

std::optional<tx::KernelKind> kindOf(Operation *op) {
  if (isa<tx::LinearOp, tx::LinearInputVjpOp, tx::LinearWeightVjpOp>(op))
    return tx::KernelKind::MatrixProduct;
  if (isa<tx::AttentionOp, tx::AttentionVjpOp, tx::DecodeAttentionOp>(op))
    return tx::KernelKind::Attention;
  if (isa<tx::AttentionScoresOp, tx::AttentionMixOp, tx::AttentionMixVjpOp, tx::AttentionScoresVjpOp>(op))
    return tx::KernelKind::AttentionProduct;
  if (isa<tx::EmbeddingVjpOp, tx::PositionVjpOp>(op))
    return tx::KernelKind::Scatter;
  if (isa<tx::MeanLossOp, tx::TargetCountOp>(op))
    return tx::KernelKind::Reduction;
  if (isa<tx::RopeTableOp>(op))
    return tx::KernelKind::Table;
  if (isa<tx::RowWiseOpInterface>(op))
    return tx::KernelKind::RowWise;
  return std::nullopt;
}

bool isScalarConstant(Operation *op) { return op && isa<arith::ConstantOp>(op); }

/// The groups of one block and what depends on what.
class Grouping {
public:
  explicit Grouping(Block &block) {
    for (Operation &op : block.without_terminator()) {
      if (isScalarConstant(&op))
        continue;
      indexOf[&op] = ops.size();
      ops.push_back(&op);
    }
    unsigned n = ops.size();
    leader.resize(n);
    members.resize(n);
    before.resize(n);
    for (unsigned i = 0; i < n; ++i) {
      leader[i] = i;
      members[i].push_back(i);
    }
    // Value dependences, and the order of accesses to one state tensor.
    DenseMap<std::pair<Attribute, int>, SmallVector<unsigned>> readers;
    DenseMap<std::pair<Attribute, int>, unsigned> writer;
    for (unsigned i = 0; i < n; ++i) {
      for (Value operand : ops[i]->getOperands())
        if (Operation *def = operand.getDefiningOp(); def && indexOf.count(def))
          before[i].insert(indexOf[def]);
      tx::visitStateAccesses(ops[i], [&](FlatSymbolRefAttr name, tx::State state, bool isWrite) {
        std::pair<Attribute, int> key(name, static_cast<int>(state));
        if (auto it = writer.find(key); it != writer.end() && it->second != i)
          before[i].insert(it->second);
        if (!isWrite) {
          readers[key].push_back(i);
          return;
        }
        for (unsigned reader : readers[key])
          if (reader != i)
            before[i].insert(reader);
        readers[key].clear();
        writer[key] = i;
      });
    }
    assert(llvm::all_of(llvm::seq(0u, n), [&](unsigned i) {
             return llvm::all_of(before[i], [i](unsigned j) { return j < i; });
           }) && "straight-line code");
  }

  unsigned size() const { return ops.size(); }
  Operation *op(unsigned i) const { return ops[i]; }
  std::optional<unsigned> index(Operation *op) const {
    auto it = indexOf.find(op);
    return it == indexOf.end() ? std::nullopt : std::optional<unsigned>(it->second);
  }
  unsigned find(unsigned i) const { return leader[i]; }
  ArrayRef<unsigned> group(unsigned lead) const { return members[lead]; }

  /// True if some path from group `from` to group `to` passes a third group.
  bool separated(unsigned from, unsigned to) const {
    llvm::BitVector seen(ops.size());
    SmallVector<unsigned> stack;
    unsigned floor = members[from].front();
    auto visit = [&](unsigned lead) {
      for (unsigned member : members[lead])
        for (unsigned j : before[member]) {
          unsigned g = leader[j];
          if (g == lead || seen.test(g) || members[g].back() < floor)
            continue;
          seen.set(g);
          stack.push_back(g);
        }
    };
    // Start from what feeds `to` other than `from` itself.
    seen.set(to);
    seen.set(from);
    visit(to);
    while (!stack.empty()) {
      unsigned g = stack.pop_back_val();
      for (unsigned member : members[g])
        for (unsigned j : before[member])
          if (leader[j] == from)
            return true;
      visit(g);
    }
    return false;
  }

  /// Joins two groups unless that would make a cycle.
  bool join(unsigned a, unsigned b) {
    a = leader[a];
    b = leader[b];
    if (a == b)
      return true;
    if (separated(a, b) || separated(b, a))
      return false;
    SmallVector<unsigned> merged;
    std::merge(members[a].begin(), members[a].end(), members[b].begin(), members[b].end(),
               std::back_inserter(merged));
    unsigned lead = merged.front();
    for (unsigned member : merged)
      leader[member] = lead;
    members[a].clear();
    members[b].clear();
    members[lead] = std::move(merged);
    return true;
  }

  /// Leaders in an order that respects all dependences.
  SmallVector<unsigned> schedule() const {
    DenseMap<unsigned, unsigned> waiting;
    DenseMap<unsigned, llvm::SmallSetVector<unsigned, 4>> users;
    for (unsigned i = 0; i < ops.size(); ++i)
      for (unsigned j : before[i])
        if (leader[i] != leader[j] && users[leader[j]].insert(leader[i]))
          ++waiting[leader[i]];
    std::priority_queue<unsigned, std::vector<unsigned>, std::greater<unsigned>> ready;
    for (unsigned i = 0; i < ops.size(); ++i)
      if (leader[i] == i && !waiting.lookup(i))
        ready.push(i);
    SmallVector<unsigned> order;
    while (!ready.empty()) {
      unsigned g = ready.top();
      ready.pop();
      order.push_back(g);
      for (unsigned user : users[g])
        if (--waiting[user] == 0)
          ready.push(user);
    }
    return order;
  }

private:
  SmallVector<Operation *> ops;
  DenseMap<Operation *, unsigned> indexOf;
  SmallVector<unsigned> leader;
  SmallVector<SmallVector<unsigned>> members; ///< by leader, in program order
  SmallVector<llvm::SmallSetVector<unsigned, 4>> before;
};

/// Whether `op` rotates all queries' and keys' gradients that `producer` computes,
/// and their heads are such that attention's kernel can do it in registers.
bool rotatesGradients(Operation *op, Operation *producer) {
  auto rope = dyn_cast<tx::RopeOp>(op);
  auto attention = dyn_cast<tx::AttentionVjpOp>(producer);
  if (!rope || !attention || rope.getInput() != attention.getQkvGrad() || !rope.getInput().hasOneUse())
    return false;
  auto type = cast<RankedTensorType>(rope.getInput().getType());
  int64_t size = rope.getHeadDim();
  return type.getElementType().isBF16() && size % 16 == 0 && size <= 128 &&
         rope.getHeads() == attention.getNHead() + attention.getNKvHead() &&
         type.getShape().back() == size * static_cast<int64_t>(attention.getNHead() + 2 * attention.getNKvHead());
}

/// True if `value` is a gradient read for accumulation.
bool isGradientRead(Value value) {
  auto read = value.getDefiningOp<tx::ReadOp>();
  return read && read.getState() == tx::State::Grad;
}

/// The operand of an accumulating addition that is not the old gradient.
Value accumulated(tx::AddOp add) {
  if (isGradientRead(add.getRhs()))
    return add.getLhs();
  if (isGradientRead(add.getLhs()))
    return add.getRhs();
  return Value();
}

/// Whether `op` may stand in a group of kind `kind` in which `producer` is.
bool mayJoin(Operation *op, Operation *producer, tx::KernelKind kind) {
  if (auto add = dyn_cast<tx::AddOp>(op))
    if (Value value = accumulated(add); value && value.getDefiningOp() == producer && value.hasOneUse()) {
      if (kind == tx::KernelKind::MatrixProduct || kind == tx::KernelKind::Scatter)
        return true;
      if (auto rowWise = dyn_cast<tx::RowWiseOpInterface>(producer))
        if (rowWise.getResultAccess(cast<OpResult>(value).getResultNumber()) == tx::RowAccess::ColumnSum)
          return true;
    }
  if (kind != tx::KernelKind::RowWise)
    return false;
  auto rowWise = dyn_cast<tx::RowWiseOpInterface>(op);
  auto producerRowWise = dyn_cast<tx::RowWiseOpInterface>(producer);
  if (!rowWise || !producerRowWise || rowWise.getNumRows() != producerRowWise.getNumRows())
    return false;
  // A sum over all rows is complete only after the kernel.
  for (OpResult result : producer->getResults())
    if (producerRowWise.getResultAccess(result.getResultNumber()) == tx::RowAccess::ColumnSum &&
        llvm::is_contained(op->getOperands(), result))
      return false;
  // A table row chosen by index must be complete before the kernel.
  for (OpOperand &operand : op->getOpOperands())
    if (operand.get().getDefiningOp() == producer) {
      tx::RowAccess access = rowWise.getOperandAccess(operand.getOperandNumber());
      if (access != tx::RowAccess::Row && access != tx::RowAccess::RowScalar)
        return false;
    }
  return true;
}

/// The product that the library of matrix products can add the other operand of
/// `op` to before it rounds the sums, or null.
Operation *productToAddTo(Operation *op) {
  auto add = dyn_cast<tx::AddOp>(op);
  if (!add || accumulated(add))
    return nullptr;
  for (auto [value, other] : {std::pair(add.getRhs(), add.getLhs()), std::pair(add.getLhs(), add.getRhs())}) {
    Operation *product = value.hasOneUse() ? value.getDefiningOp() : nullptr;
    // A part of a tensor has no buffer of its own.
    if (isa_and_nonnull<tx::LinearOp, tx::LinearInputVjpOp>(product) &&
        !isa_and_nonnull<tx::SliceRowsOp, tx::ConcatRowsOp>(other.getDefiningOp()))
      return product;
  }
  return nullptr;
}

/// Whether two row-wise ops on the same rows read one of them in common.
bool readSameRow(Operation *a, Operation *b) {
  auto first = dyn_cast<tx::RowWiseOpInterface>(a), second = dyn_cast<tx::RowWiseOpInterface>(b);
  if (!first || !second || first.getNumRows() != second.getNumRows() ||
      llvm::is_contained(a->getUsers(), b))
    return false;
  for (OpOperand &x : a->getOpOperands())
    for (OpOperand &y : b->getOpOperands())
      if (x.get() == y.get() && first.getOperandAccess(x.getOperandNumber()) == tx::RowAccess::Row &&
          second.getOperandAccess(y.getOperandNumber()) == tx::RowAccess::Row)
        return true;
  return false;
}

std::string kernelName(ArrayRef<Operation *> ops) {
  llvm::SmallSetVector<StringAttr, 4> paths;
  for (Operation *op : ops)
    if (std::string path = tx::getPath(op); !path.empty())
      paths.insert(StringAttr::get(op->getContext(), path));
  if (paths.empty())
    return ops.front()->getName().getStringRef().str();
  std::string name = paths.front().str();
  if (paths.size() > 2)
    name += "+..";
  if (paths.size() > 1)
    name += "+" + paths.back().str();
  return name;
}

/// Moves a group into a new tx.kernel at `builder`; `mapping` knows the values
/// of the kernels before.
void emitKernel(OpBuilder &builder, ArrayRef<Operation *> ops, tx::KernelKind kind, IRMapping &mapping) {
  llvm::SmallSetVector<Value, 8> inputs, outputs;
  llvm::SmallSetVector<Operation *, 2> constants;
  llvm::SmallPtrSet<Operation *, 8> inside(ops.begin(), ops.end());
  for (Operation *op : ops)
    for (Value operand : op->getOperands()) {
      Operation *def = operand.getDefiningOp();
      if (isScalarConstant(def))
        constants.insert(def);
      else if (!inside.contains(def))
        inputs.insert(operand);
    }
  for (Operation *op : ops)
    for (Value result : op->getResults())
      if (llvm::any_of(result.getUsers(), [&](Operation *user) { return !inside.contains(user); }))
        outputs.insert(result);

  SmallVector<Location> locs = llvm::map_to_vector(ops, [](Operation *op) { return op->getLoc(); });
  Location loc = FusedLoc::get(builder.getContext(), locs);
  SmallVector<Value> operands = llvm::map_to_vector(inputs, [&](Value v) { return mapping.lookup(v); });
  SmallVector<Type> types = llvm::map_to_vector(outputs, [](Value v) { return v.getType(); });
  SmallVector<int64_t> inplace(types.size(), -1);
  auto kernel = builder.create<tx::KernelOp>(loc, types, operands, kernelName(ops), kind, inplace);

  OpBuilder::InsertionGuard guard(builder);
  Block *body = builder.createBlock(&kernel.getBody(), {}, ValueRange(operands).getTypes(),
                                    SmallVector<Location>(operands.size(), loc));
  IRMapping local;
  for (auto [input, argument] : llvm::zip(inputs, body->getArguments()))
    local.map(input, argument);
  for (Operation *constant : constants)
    builder.clone(*constant, local);
  for (Operation *op : ops)
    builder.clone(*op, local);
  SmallVector<Value> yielded = llvm::map_to_vector(outputs, [&](Value v) { return local.lookup(v); });
  builder.create<tx::YieldOp>(loc, yielded);
  for (auto [output, result] : llvm::zip(outputs, kernel.getResults()))
    mapping.map(output, result);
}

struct FormKernels : impl::FormKernelsBase<FormKernels> {
  using FormKernelsBase::FormKernelsBase;

  LogicalResult formKernels(func::FuncOp function) {
    if (!function.getBody().hasOneBlock())
      return function.emitOpError() << "must have a body of one block to form kernels";
    Block &block = function.getBody().front();
    Grouping grouping(block);
    for (unsigned i = 0; i < grouping.size(); ++i) {
      Operation *op = grouping.op(i);
      if (!kindOf(op)) {
        if (!mayStandAlone(op))
          return op->emitOpError() << "has no kernel kind; fuse takes tx ops only";
        continue;
      }
      if (Operation *product = sumInProducts ? productToAddTo(op) : nullptr)
        if (grouping.join(*grouping.index(product), i))
          continue;
      // Siblings first: what is made again in the backward pass must not join
      // the kernel of the forward pass that made its operands.
      if (i > 0 && readSameRow(grouping.op(i - 1), op) && grouping.join(i - 1, i))
        continue;
      for (Value operand : op->getOperands()) {
        Operation *producer = operand.getDefiningOp();
        std::optional<unsigned> p = producer ? grouping.index(producer) : std::nullopt;
        if (!p || !kindOf(producer))
          continue;
        // An accumulation that already belongs to a product joins nothing else.
        if (kindOf(grouping.op(grouping.find(i))) != tx::KernelKind::RowWise)
          break;
        if (mayJoin(op, producer, *kindOf(grouping.op(grouping.find(*p)))) ||
            (rotateInAttention && rotatesGradients(op, producer)))
          grouping.join(*p, i);
      }
    }

    OpBuilder builder(function.getContext());
    Block *fused = new Block();
    IRMapping mapping;
    for (BlockArgument argument : block.getArguments())
      mapping.map(argument, fused->addArgument(argument.getType(), argument.getLoc()));
    builder.setInsertionPointToEnd(fused);
    for (unsigned lead : grouping.schedule()) {
      SmallVector<Operation *> ops =
          llvm::map_to_vector(grouping.group(lead), [&](unsigned i) { return grouping.op(i); });
      if (std::optional<tx::KernelKind> kind = kindOf(ops.front())) {
        emitKernel(builder, ops, *kind, mapping);
        numOps += ops.size();
        ++numKernels;
      } else {
        builder.clone(*ops.front(), mapping);
      }
    }
    for (Value result : block.getTerminator()->getOperands())
      if (isScalarConstant(result.getDefiningOp()))
        builder.clone(*result.getDefiningOp(), mapping);
    builder.clone(*block.getTerminator(), mapping);
    block.erase();
    function.getBody().push_back(fused);
    return success();
  }

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (failed(formKernels(function)))
        return signalPassFailure();
  }
};
} // namespace
} // namespace txc::fuse
