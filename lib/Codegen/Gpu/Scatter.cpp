//===- Scatter.cpp - Gradients of embedding tables, on a GPU ---------------===//
//
// position_vjp: a thread per few columns of a table row adds the batches in order.
//
// embedding_vjp: no float atomics, so that runs are equal. The positions of each
// token are brought into order, then each token's rows are added in that order:
//   phase 0  counts = 0; where sums do not start in place, the table's start
//   phase 1  count each token (integer atomics); a position's ticket is what it saw
//   phase 2  one block: where each token's positions begin
//   phase 3  positions grouped by token, in the order of tickets
//   phase 4  the same in ascending order: a position's place is the number of
//            smaller ones of its token
//   phase 5  a block per segment of 32 places adds the rows of each token in it; a
//            token that goes beyond the segment leaves a partial sum
//   phase 6  partial sums of such tokens are added, segment by segment
//
// Cost of phase 4: the sum of squares of the tokens' counts, in comparisons.
//
//===----------------------------------------------------------------------===//

#include "Emitters.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace txc::codegen::gpu {

static constexpr int64_t threads = 256, scanThreads = 1024;
static constexpr int64_t unroll = 8;         ///< loads in flight where a list is walked
static constexpr int64_t segmentPlaces = 32; ///< that a block of phase 5 adds

namespace {
/// The parts of a scatter kernel, which yields one tensor.
struct Scatter {
  explicit Scatter(const KernelBody &body)
      : embedding(body.only<tx::EmbeddingVjpOp>()), position(body.only<tx::PositionVjpOp>()) {
    Value sum = embedding ? embedding.getResult() : position.getResult();
    grad = embedding ? embedding.getGrad() : position.getGrad();
    if (auto add = body.yield->getOperand(0).getDefiningOp<tx::AddOp>())
      start = dyn_cast<BlockArgument>(add.getLhs() == sum ? add.getRhs() : add.getLhs());
    inPlace = start && body.inplace(0) == start.getArgNumber();
    columns = widthOf(sum);
    tableRows = countOf(sum) / columns;
    positions = embedding ? countOf(embedding.getTokens()) : 0;
    while (columns % lanes)
      lanes /= 2;
  }
  tx::EmbeddingVjpOp embedding;
  tx::PositionVjpOp position;
  Value grad;
  BlockArgument start; ///< null if the sums start at 0
  bool inPlace = false;
  int64_t columns, tableRows, positions, lanes = 8;

  int64_t tableChunks() const { return tableRows * columns / lanes; }
  int64_t rowThreads() const {
    return std::min<int64_t>(1024, ceilDiv(columns / lanes, GpuBuilder::warpSize) * GpuBuilder::warpSize);
  }
};

/// Emits the phases of embedding_vjp.
class EmbeddingScatter {
public:
  EmbeddingScatter(GpuBuilder &builder, const KernelBody &body)
      : b(builder), scatter(body), out(b.argument(body.resultArgument(0))) {
    auto argument = [&](Value value) { return b.argument(cast<BlockArgument>(value).getArgNumber()); };
    tokens = argument(scatter.embedding.getTokens());
    grad = argument(scatter.grad);
    start = scatter.start ? argument(scatter.start) : Value();
    Value *workspaces[] = {&counts, &begins, &tickets, &grouped, &ordered, &partials};
    for (auto [i, workspace] : llvm::enumerate(workspaces))
      *workspace = b.argument(body.workspaceArgument(i));
  }

  void emitStart();
  void emitCount();
  void emitBegins();
  void emitGroup();
  void emitOrder();
  void emitSums();
  void emitPartials();

private:
  Value partial(Value segment, int64_t slot);
  void forColumns(llvm::function_ref<void(Value column)> work);
  /// pointer[at] += sum
  void addTo(Value pointer, Value at, Value sum);
  Value globalThread() { return b.add(b.mul(b.block(), b.i64(threads)), b.thread()); }
  void forPosition(llvm::function_ref<void(Value position, Value token)> work) {
    Value position = globalThread();
    b.ifThen(b.icmp(arith::CmpIPredicate::ult, position, b.i64(scatter.positions)),
             [&] { work(position, tokenAt(position)); });
  }
  Value index(Value pointer, Value at) {
    return b.extendTo(b.load(pointer, at, b.getI32Type()), b.getI64Type());
  }
  /// Element first + u of a list that ends at `end`: where to read it (its first
  /// element if it is beyond), and whether it is inside.
  std::pair<Value, Value> inside(Value first, int64_t u, Value end) {
    Value at = b.add(first, b.i64(u));
    Value isInside = b.icmp(arith::CmpIPredicate::ult, at, end);
    return {b.select(isInside, at, first), isInside};
  }
  Value tokenAt(Value position) { return index(tokens, position); }

  GpuBuilder &b;
  Scatter scatter;
  Value out, tokens, grad, start;
  Value counts, begins, tickets, grouped, ordered; ///< i32
  Value partials;                                  ///< two rows of f32 per segment
};
} // namespace

void EmbeddingScatter::emitStart() {
  Value self = globalThread();
  b.ifThen(b.icmp(arith::CmpIPredicate::ult, self, b.i64(scatter.tableRows)),
           [&] { b.store(b.i32(0), counts, self); });
  if (scatter.inPlace)
    return;
  b.ifThen(b.icmp(arith::CmpIPredicate::ult, self, b.i64(scatter.tableChunks())), [&] {
    Value at = b.mul(self, b.i64(scatter.lanes));
    Value value =
        start ? b.loadVector(start, at, b.getF32Type(), scatter.lanes) : b.splat(b.f32(0), scatter.lanes);
    b.storeVector(value, out, at, b.getF32Type());
  });
}

void EmbeddingScatter::emitCount() {
  forPosition([&](Value position, Value token) {
    Value ticket =
        b.create<LLVM::AtomicRMWOp>(LLVM::AtomicBinOp::add, b.address(counts, token, b.getI32Type()),
                                    b.i32(1), LLVM::AtomicOrdering::monotonic, StringRef("agent"));
    b.store(ticket, tickets, position);
  });
}

// Thread t has rows [t n, (t + 1) n); sums of threads are added up by doubling.
void EmbeddingScatter::emitBegins() {
  int64_t perThread = ceilDiv(scatter.tableRows, scanThreads);
  Value first = b.mul(b.thread(), b.i64(perThread));
  Value last = b.mins(b.add(first, b.i64(perThread)), b.i64(scatter.tableRows));
  Type i32 = b.getI32Type();
  Value own = b.forLoop(first, last, b.i64(1), b.i32(0), [&](Value row, ValueRange sum) {
    return SmallVector<Value>{b.add(sum[0], b.load(counts, row, i32))};
  })[0];
  Value memory = b.shared(scanThreads * 4);
  b.store(own, memory, b.thread());
  b.barrier();
  Value sum = own;
  for (int64_t distance = 1; distance < scanThreads; distance *= 2) {
    Value has = b.icmp(arith::CmpIPredicate::uge, b.thread(), b.i64(distance));
    Value from = b.select(has, b.sub(b.thread(), b.i64(distance)), b.i64(0));
    Value other = b.load(memory, from, i32);
    sum = b.add(sum, b.select(has, other, b.i32(0)));
    b.barrier();
    b.store(sum, memory, b.thread());
    b.barrier();
  }
  b.forLoop(first, last, b.i64(1), b.sub(sum, own), [&](Value row, ValueRange at) {
    b.store(at[0], begins, row);
    return SmallVector<Value>{b.add(at[0], b.load(counts, row, i32))};
  });
}

void EmbeddingScatter::emitGroup() {
  forPosition([&](Value position, Value token) {
    Value place = b.add(index(begins, token), index(tickets, position));
    b.store(b.truncTo(position, b.getI32Type()), grouped, place);
  });
}

void EmbeddingScatter::emitOrder() {
  forPosition([&](Value position, Value token) {
    Value begin = index(begins, token), end = b.add(begin, index(counts, token));
    Value self = b.truncTo(position, b.getI32Type());
    Value rank = b.forLoop(begin, end, b.i64(unroll), b.i32(0), [&](Value first, ValueRange smaller) {
      Value sum = smaller[0];
      for (int64_t u = 0; u < unroll; ++u) {
        auto [at, isInside] = inside(first, u, end);
        Value other = b.select(isInside, b.load(grouped, at, b.getI32Type()), b.i32(-1));
        Value isSmaller = b.icmp(arith::CmpIPredicate::ult, other, self);
        sum = b.add(sum, b.extendTo(isSmaller, b.getI32Type()));
      }
      return SmallVector<Value>{sum};
    })[0];
    b.store(self, ordered, b.add(begin, b.extendTo(rank, b.getI64Type())));
  });
}

// Slot 0 of a segment is the partial sum of the token that it begins with, if that
// token began before; slot 1 of the one that it ends with, if that began in it.
Value EmbeddingScatter::partial(Value segment, int64_t slot) {
  Value number = b.add(b.mul(segment, b.i64(2)), b.i64(slot));
  return b.address(partials, b.mul(number, b.i64(scatter.columns)), b.getF32Type());
}

void EmbeddingScatter::forColumns(llvm::function_ref<void(Value column)> work) {
  b.forLoop(b.mul(b.thread(), b.i64(scatter.lanes)), b.i64(scatter.columns),
            b.i64(scatter.rowThreads() * scatter.lanes), work);
}

void EmbeddingScatter::addTo(Value pointer, Value at, Value sum) {
  Value old = b.loadVector(pointer, at, b.getF32Type(), scatter.lanes);
  b.storeVector(b.fadd(old, sum), pointer, at, b.getF32Type());
}

void EmbeddingScatter::emitSums() {
  Value segment = b.block(), first = b.mul(segment, b.i64(segmentPlaces));
  Value last = b.mins(b.add(first, b.i64(segmentPlaces)), b.i64(scatter.positions));
  Value width = b.i64(scatter.columns);
  forColumns([&](Value column) {
    // The sum of the token so far goes where it belongs.
    auto flush = [&](Value token, Value sum) {
      Value begin = index(begins, token), end = b.add(begin, index(counts, token));
      Value startsHere = b.icmp(arith::CmpIPredicate::uge, begin, first);
      Value endsHere = b.icmp(arith::CmpIPredicate::ule, end, last);
      Value isWhole = b.create<arith::AndIOp>(startsHere, endsHere);
      b.ifThen(isWhole, [&] { addTo(out, b.add(b.mul(token, width), column), sum); });
      Value isPart = b.create<arith::XOrIOp>(isWhole, b.create<arith::ConstantOp>(b.getBoolAttr(true)));
      b.ifThen(isPart, [&] {
        Value to = b.select(startsHere, partial(segment, 1), partial(segment, 0));
        b.storeVector(sum, to, column, b.getF32Type());
      });
    };
    Value zero = b.splat(b.f32(0), scatter.lanes);
    SmallVector<Value> state = {zero, tokenAt(index(ordered, first))};
    state = b.forLoop(first, last, b.i64(unroll), state, [&](Value from, ValueRange old) {
      struct Row {
        Value token, values, isInside;
      };
      SmallVector<Row> rows; // on their way together
      for (int64_t u = 0; u < unroll; ++u) {
        auto [at, isInside] = inside(from, u, last);
        Value position = index(ordered, at), place = b.add(b.mul(position, width), column);
        rows.push_back(
            {tokenAt(position), b.loadVector(grad, place, elementOf(scatter.grad), scatter.lanes), isInside});
      }
      Value sum = old[0], token = old[1];
      for (Row &row : rows) {
        Value isOther = b.icmp(arith::CmpIPredicate::ne, row.token, token);
        Value ends = b.create<arith::AndIOp>(isOther, row.isInside);
        b.ifThen(ends, [&] { flush(token, sum); });
        Value next = b.select(ends, row.values, b.fadd(sum, row.values));
        sum = b.select(row.isInside, next, sum);
        token = b.select(ends, row.token, token);
      }
      return SmallVector<Value>{sum, token};
    });
    flush(state[1], state[0]);
  });
}

void EmbeddingScatter::emitPartials() {
  Value segment = b.block(), first = b.mul(segment, b.i64(segmentPlaces));
  Value last = b.mins(b.add(first, b.i64(segmentPlaces)), b.i64(scatter.positions));
  // Only the last token of a segment can start here and go beyond it.
  Value token = tokenAt(index(ordered, b.sub(last, b.i64(1))));
  Value begin = index(begins, token), end = b.add(begin, index(counts, token));
  Value startsHere = b.icmp(arith::CmpIPredicate::uge, begin, first);
  Value goesOn = b.icmp(arith::CmpIPredicate::ugt, end, last);
  b.ifThen(b.create<arith::AndIOp>(startsHere, goesOn), [&] {
    Type f32 = b.getF32Type();
    Value segments = b.divu(b.add(end, b.i64(segmentPlaces - 1)), b.i64(segmentPlaces));
    forColumns([&](Value column) {
      Value sum = b.loadVector(partial(segment, 1), column, f32, scatter.lanes);
      sum = b.forLoop(b.add(segment, b.i64(1)), segments, b.i64(1), sum, [&](Value other, ValueRange old) {
        return SmallVector<Value>{
            b.fadd(old[0], b.loadVector(partial(other, 0), column, f32, scatter.lanes))};
      })[0];
      addTo(out, b.add(b.mul(token, b.i64(scatter.columns)), column), sum);
    });
  });
}

static void emitPosition(GpuBuilder &b, const KernelBody &body) {
  Scatter scatter(body);
  auto argument = [&](Value value) { return b.argument(cast<BlockArgument>(value).getArgNumber()); };
  Value grad = argument(scatter.grad), out = b.argument(body.resultArgument(0));
  Type f32 = b.getF32Type();
  int64_t table = scatter.tableRows * scatter.columns, batches = countOf(scatter.grad) / table;
  Value chunk = b.add(b.mul(b.block(), b.i64(threads)), b.thread());
  b.ifThen(b.icmp(arith::CmpIPredicate::ult, chunk, b.i64(scatter.tableChunks())), [&] {
    Value at = b.mul(chunk, b.i64(scatter.lanes));
    Value zero = b.splat(b.f32(0), scatter.lanes);
    Value sum = b.forLoop(b.i64(0), b.i64(batches), b.i64(1), zero, [&](Value batch, ValueRange old) {
      Value from = b.add(b.mul(batch, b.i64(table)), at);
      return SmallVector<Value>{
          b.fadd(old[0], b.loadVector(grad, from, elementOf(scatter.grad), scatter.lanes))};
    })[0];
    if (scatter.start)
      sum = b.fadd(sum, b.loadVector(argument(scatter.start), at, f32, scatter.lanes));
    b.storeVector(sum, out, at, f32);
  });
}

//===-- Entry points -------------------------------------------------------===//

GpuShape describeScatter(const KernelBody &body) {
  Scatter scatter(body);
  GpuShape shape;
  auto add = [&](int64_t blocks, int64_t blockThreads) {
    GpuPhase phase;
    phase.grid[0] = std::max<int64_t>(blocks, 1);
    phase.block[0] = blockThreads;
    shape.phases.push_back(phase);
  };
  if (scatter.position) {
    add(ceilDiv(scatter.tableChunks(), threads), threads);
    return shape;
  }
  int64_t positions = scatter.positions, perPosition = ceilDiv(positions, threads);
  add(ceilDiv(scatter.inPlace ? scatter.tableRows : std::max(scatter.tableRows, scatter.tableChunks()),
              threads),
      threads);
  add(perPosition, threads);
  add(1, scanThreads);
  add(perPosition, threads);
  add(perPosition, threads);
  int64_t segments = ceilDiv(positions, segmentPlaces);
  add(segments, scatter.rowThreads());
  add(segments, scatter.rowThreads());
  int64_t rows = scatter.tableRows * 4, list = positions * 4;
  shape.workspaceBytes = {rows, rows, list, list, list, segments * 2 * scatter.columns * 4};
  return shape;
}

LogicalResult emitScatter(GpuBuilder &b, const KernelBody &body, int64_t phase) {
  Value result = body.yield->getOperand(0);
  if (!elementOf(result).isF32())
    return body.kernel->emitOpError() << "sums gradients in f32, found " << result.getType();
  if (body.only<tx::PositionVjpOp>()) {
    emitPosition(b, body);
  } else {
    EmbeddingScatter scatter(b, body);
    void (EmbeddingScatter::*const phases[])() = {
        &EmbeddingScatter::emitStart,   &EmbeddingScatter::emitCount, &EmbeddingScatter::emitBegins,
        &EmbeddingScatter::emitGroup,   &EmbeddingScatter::emitOrder, &EmbeddingScatter::emitSums,
        &EmbeddingScatter::emitPartials};
    (scatter.*phases[phase])();
  }
  b.finish();
  return success();
}

} // namespace txc::codegen::gpu
