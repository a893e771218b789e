//===- StepOps.cpp - Verifiers of the step ops -----------------------------===//

#include "txc/Dialect/Step/Step.h"

using namespace mlir;
using namespace txc::step;

LogicalResult ProgramOp::verify() {
  if (getArenaBytes() && getArenaBytes() < getLowerBound())
    return emitOpError() << "(C1): arena of " << getArenaBytes() << " bytes is below the lower bound "
                         << getLowerBound();
  if (static_cast<int64_t>(getNumRanks()) < 1 || getZeroLevel() > 3)
    return emitOpError() << "(C2): expects 1 rank or more and ZeRO level 0 to 3, found "
                         << static_cast<int64_t>(getNumRanks()) << " and "
                         << static_cast<int64_t>(getZeroLevel());
  return success();
}

LogicalResult AllocOp::verify() {
  if (getOffset() && *getOffset() % 64)
    return emitOpError() << "(C1): offset must be a multiple of 64, found " << *getOffset();
  auto type = dyn_cast<ShapedType>(getType());
  if (!type || !type.hasStaticShape() || !type.getElementType().isIntOrFloat() ||
      type.getNumElements() * ((type.getElementTypeBitWidth() + 7) / 8) != static_cast<int64_t>(getBytes()))
    return emitOpError() << "(C2): " << getBytes() << " bytes is not the size of " << getType();
  if (auto entry = getEntryAttr())
    if (!SymbolTable::lookupNearestSymbolFrom<EntryOp>(getOperation(), entry))
      return emitOpError() << "(C3): " << entry << " does not name a step.entry";
  auto program = (*this)->getParentOfType<ProgramOp>();
  if (getShardOf() && (!program || type.getNumElements() * static_cast<int64_t>(program.getNumRanks()) <
                                       static_cast<int64_t>(getShardOf())))
    return emitOpError() << "(C4): shards of " << type.getNumElements() << " elements on "
                         << (program ? program.getNumRanks() : 1) << " ranks do not cover " << getShardOf();
  if (getSlot() && getSlot() < getBytes())
    return emitOpError() << "(C5): a slot of " << getSlot() << " bytes is too small for " << getBytes();
  return success();
}

/// The named buffer, or an error.
static AllocOp lookupBuffer(Operation *op, FlatSymbolRefAttr name) {
  auto program = op->getParentOfType<ProgramOp>();
  auto alloc = program ? dyn_cast_or_null<AllocOp>(SymbolTable::lookupSymbolIn(program, name)) : AllocOp();
  if (!alloc)
    op->emitOpError() << "(C1): " << name << " does not name a step.alloc";
  return alloc;
}

SmallVector<FlatSymbolRefAttr> txc::step::getCovered(Operation *command) {
  auto covers = command->getAttrOfType<ArrayAttr>("covers");
  return covers ? llvm::to_vector(covers.getAsRange<FlatSymbolRefAttr>()) : SmallVector<FlatSymbolRefAttr>();
}

/// What a buffer's slot holds, and those behind it as far as `covered` goes.
static int64_t coveredBytes(AllocOp alloc, ArrayRef<FlatSymbolRefAttr> covered) {
  int64_t bytes = std::max(alloc.getBytes(), alloc.getSlot());
  for (auto next = dyn_cast_or_null<AllocOp>(alloc->getNextNode());
       next && llvm::is_contained(covered, FlatSymbolRefAttr::get(next.getSymNameAttr()));
       next = dyn_cast_or_null<AllocOp>(next->getNextNode()))
    bytes += std::max(next.getBytes(), next.getSlot());
  return bytes;
}

/// Every buffer that `op` covers comes next after another of them or one of `firsts`.
static LogicalResult verifyCovers(Operation *op, StringRef constraint, ArrayAttr firsts) {
  SmallVector<FlatSymbolRefAttr> covered = getCovered(op);
  for (FlatSymbolRefAttr name : covered) {
    AllocOp alloc = lookupBuffer(op, name);
    if (!alloc)
      return failure();
    auto before = dyn_cast_or_null<AllocOp>(alloc->getPrevNode());
    FlatSymbolRefAttr named = before ? FlatSymbolRefAttr::get(before.getSymNameAttr()) : FlatSymbolRefAttr();
    if (!named || (!llvm::is_contained(covered, named) && !llvm::is_contained(firsts, named)))
      return op->emitOpError() << "(" << constraint << "): covers " << name
                               << ", which does not come after another buffer that it touches";
  }
  return success();
}

LogicalResult LaunchOp::verify() {
  auto program = (*this)->getParentOfType<ProgramOp>();
  if (!program || !isa_and_nonnull<KernelOp>(SymbolTable::lookupSymbolIn(program, getKernelAttr())))
    return emitOpError() << "(C1): " << getKernelAttr() << " does not name a step.kernel";
  for (auto arg : getArgs().getAsRange<FlatSymbolRefAttr>())
    if (!lookupBuffer(*this, arg))
      return failure();
  if (getOffsets().size() != getArgs().size())
    return emitOpError() << "(C2): expects " << getArgs().size() << " offsets, found " << getOffsets().size();
  if (failed(verifyCovers(*this, "C4", getArgs())))
    return failure();
  if (getRankStrides().empty())
    return success();
  if (getRankStrides().size() != getArgs().size())
    return emitOpError() << "(C3): expects " << getArgs().size() << " rank_strides, found "
                         << getRankStrides().size();
  for (auto [arg, offset, stride] :
       llvm::zip_equal(getArgs().getAsRange<FlatSymbolRefAttr>(), getOffsets(), getRankStrides())) {
    AllocOp alloc = lookupBuffer(*this, arg);
    int64_t last = offset + (program.getNumRanks() - 1) * stride,
            slot = coveredBytes(alloc, getCovered(*this));
    if (stride < 0 || last >= slot)
      return emitOpError() << "(C3): the last rank's place in " << arg << " is byte " << last
                           << ", its slot has " << slot;
  }
  return success();
}

std::pair<int64_t, int64_t> GemmOp::getExtent(unsigned operand) {
  int64_t m = getM(), n = getN(), k = getK();
  if (operand == 0)
    return getTransposeA() ? std::pair(k, m) : std::pair(m, k);
  if (operand == 1)
    return getTransposeB() ? std::pair(n, k) : std::pair(k, n);
  return {m, n};
}
int64_t GemmOp::getRowStride(unsigned operand) {
  return getLayout().empty() ? getExtent(operand).second : getLayout()[operand];
}
int64_t GemmOp::getBatchStride(unsigned operand) {
  auto [rows, columns] = getExtent(operand);
  return getLayout().empty() ? rows * columns : getLayout()[3 + operand];
}

LogicalResult GemmOp::verify() {
  int64_t batch = getBatch();
  if (!getOffsets().empty() && getOffsets().size() != 3)
    return emitOpError() << "(C3): expects 3 offsets, found " << getOffsets().size();
  if (!getLayout().empty() && getLayout().size() != 6)
    return emitOpError() << "(C3): expects a layout of 6 strides, found " << getLayout().size();
  Type element;
  FlatSymbolRefAttr names[] = {getAAttr(), getBAttr(), getCAttr()};
  for (auto [index, name] : llvm::enumerate(names)) {
    auto [rows, columns] = getExtent(index);
    if (getRowStride(index) < columns || getBatchStride(index) < 0)
      return emitOpError() << "(C3): rows of " << columns << " elements of " << name << " are "
                           << getRowStride(index) << " apart, products " << getBatchStride(index);
    int64_t elements = (batch - 1) * getBatchStride(index) + (rows - 1) * getRowStride(index) + columns;
    AllocOp alloc = lookupBuffer(*this, name);
    if (!alloc)
      return failure();
    // The buffer may not be verified yet.
    auto type = dyn_cast<RankedTensorType>(alloc.getType());
    bool mayBeF32 = index == 2;
    bool fits = type && type.hasStaticShape() && type.getElementType().isIntOrFloat();
    if (fits) {
      int64_t elementBytes = (type.getElementTypeBitWidth() + 7) / 8;
      int64_t needed = getOffset(index) + elements * elementBytes;
      int64_t held = type.getNumElements() * elementBytes;
      fits = getOffset(index) >= 0 && needed <= held &&
             (!getOffsets().empty() || !getLayout().empty() || needed == held);
      fits &= !element || type.getElementType() == element || (mayBeF32 && type.getElementType().isF32());
    }
    if (!fits)
      return emitOpError() << "(C1): " << name << " is " << alloc.getType() << " but " << elements
                           << " elements" << (element ? " of the other operands' type" : "") << " are needed";
    element = type.getElementType();
  }
  if (getAddendAttr()) {
    AllocOp alloc = lookupBuffer(*this, getAddendAttr());
    if (!alloc)
      return failure();
    auto type = dyn_cast<RankedTensorType>(alloc.getType());
    int64_t elements = getM() * getN();
    if (!type || !type.hasStaticShape() || type.getNumElements() != elements ||
        type.getElementType() != element)
      return emitOpError() << "(C4): the addend " << getAddendAttr() << " is " << alloc.getType()
                           << ", expected " << elements << " elements of " << element;
    if (!getAccumulate() || getAddendAttr() == getCAttr() || batch != 1 || !getLayout().empty())
      return emitOpError()
             << "(C4): an addend needs accumulate, is not the result, and goes with neither a batch nor a layout";
  }
  if (getWorkspaceAttr() && !lookupBuffer(*this, getWorkspaceAttr()))
    return failure();
  if (getCAttr() == getAAttr() || getCAttr() == getBAttr())
    return emitOpError() << "(C2): the result " << getCAttr() << " is also an operand";
  return success();
}

LogicalResult CollectiveOp::verify() {
  size_t parts = getCounts().size();
  if (!parts || getSends().size() != parts || getReceives().size() != parts)
    return emitOpError() << "(C1): expects one buffer to send and one to receive for every count, found "
                         << getSends().size() << " and " << getReceives().size() << " for " << parts;
  if (!getOffsets().empty() && getOffsets().size() != 2 * parts)
    return emitOpError() << "(C2): expects " << 2 * parts << " offsets, found " << getOffsets().size();
  struct Range {
    StringRef buffer;
    int64_t begin, end;
    bool overlaps(const Range &other) const {
      return buffer == other.buffer && begin < other.end && other.begin < end;
    }
  };
  SmallVector<Range> sends, receives;
  int64_t ranks = (*this)->getParentOfType<ProgramOp>().getNumRanks();
  Type element;
  for (size_t part = 0; part < parts; ++part)
    for (unsigned receive : {0, 1}) {
      auto name = cast<FlatSymbolRefAttr>((receive ? getReceives() : getSends())[part]);
      AllocOp alloc = lookupBuffer(*this, name);
      if (!alloc)
        return failure();
      auto type = dyn_cast<RankedTensorType>(alloc.getType());
      if (!type || !isa<FloatType>(type.getElementType()) || (element && type.getElementType() != element))
        return emitOpError() << "(C1): " << name << " is " << alloc.getType() << ", expected a tensor of "
                             << (element ? element : Type(Float32Type::get(getContext())));
      element = type.getElementType();
      int64_t begin = getOffset(part, receive);
      int64_t end = begin + getElements(part, receive, ranks) * (element.getIntOrFloatBitWidth() / 8);
      bool mayGoOn = !receive || isInPlace(part);
      int64_t slot = coveredBytes(alloc, mayGoOn ? getCovered(*this) : SmallVector<FlatSymbolRefAttr>());
      if (getCounts()[part] < 1 || begin < 0 || end > slot)
        return emitOpError() << "(C2): bytes " << begin << " to " << end << " of " << name
                             << ", whose slot has " << slot;
      (receive ? receives : sends).push_back({name.getValue(), begin, end});
    }
  for (size_t i = 0; i < parts; ++i)
    for (size_t j = 0; j < parts; ++j) {
      bool inPlace = i == j && getKind() != CollectiveKind::Exchange && isInPlace(i);
      if ((receives[i].overlaps(sends[j]) && !inPlace) || (i != j && receives[i].overlaps(receives[j])))
        return emitOpError() << "(C3): writes " << receives[i].buffer << ", which it also "
                             << (i != j && receives[i].overlaps(receives[j]) ? "writes" : "reads")
                             << " elsewhere";
    }
  if (failed(verifyCovers(*this, "C5", getSends())))
    return failure();
  unsigned waits = 0;
  for (Operation *op = (*this)->getNextNode(); op; op = op->getNextNode()) {
    if (auto other = dyn_cast<CollectiveOp>(op); other && other.getEvent() == getEvent()) {
      InFlightDiagnostic diag = other.emitOpError() << "(C4): event " << getEvent() << " is in use";
      diag.attachNote(getLoc()) << "by " << getName();
      return diag;
    }
    if (auto wait = dyn_cast<WaitOp>(op))
      waits += wait.getEvent() == getEvent();
  }
  if (waits != 1)
    return emitOpError() << "(C4): expects one step.wait for event " << getEvent() << " after it, found "
                         << waits;
  return success();
}

CollectiveOp WaitOp::getCollective() {
  for (Operation *op = (*this)->getPrevNode(); op; op = op->getPrevNode())
    if (auto collective = dyn_cast<CollectiveOp>(op); collective && collective.getEvent() == getEvent())
      return collective;
  return {};
}

LogicalResult WaitOp::verify() {
  if (!getCollective())
    return emitOpError() << "(C1): no collective before it has event " << getEvent();
  return success();
}

#define GET_OP_CLASSES
#include "txc/Dialect/Step/StepOps.cpp.inc"
