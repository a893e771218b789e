//===- AttentionAmpere.cpp - Attention on tensor cores from sm_80 on -------===//
//
// For bf16 and heads of a multiple of 8 elements that the kernels for Hopper do
// not take: all of them before sm_90a, more than 128 elements there.
// FlashAttention-2 (Dao, arXiv 2307.08691), with the backward pass in two launches
// that share nothing, so that every sum has one owner and one order.
//
// A block has four warps and a resident tile of 64 rows, of which a warp owns 16.
// Tiles of the other operands stream by in two buffers: while one is multiplied,
// the next is copied. One barrier per streamed tile says both that the copies of
// all threads have arrived and that nobody reads the buffer that is filled next.
//
//               resident        streams      a row of scores is
//   forward     queries         keys, values           a query
//   backward 0  -                            delta = dot(grad, output)
//   backward 1  queries, grads  keys, values           a query; makes dQ
//   backward 2  keys, values    queries, grads         a key; makes dK, dV
//
// Backward 2 goes through the query heads of a group one after the other. Its sums
// of heads beyond 128 do not fit in registers: two blocks have half the columns
// each, and compute the same scores. In backward 2, lse and delta of a streamed
// query lie in the 16 bytes after its row of the tile.
//
// Keys come in ascending order: the first is visible to every row, so that no
// maximum is -infinity. Only tiles at the diagonal have a mask.
//
// Dropout: as AttentionForward.cpp and AttentionBackward.cpp say.
//
// Rows beyond T are zeros, in lse and delta too: they add nothing and are not
// stored. Columns beyond the head are zeros up to a multiple of 16.
//
//===----------------------------------------------------------------------===//

#include "Ampere.h"
#include "Attention.h"

#include "llvm/ADT/SmallVectorExtras.h"
#include "llvm/Support/MathExtras.h"

#include <cmath>

using namespace mlir;

namespace txc::codegen::gpu {
namespace {

using Values = Words::Values;
constexpr int64_t warpRows = 16, warps = 4, threads = warps * GpuBuilder::warpSize;
constexpr int64_t residentRows = warps * warpRows;

int64_t divideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t tiles(const Attention &a) { return divideUp(a.length, residentRows); }
/// Lanes for the 16-byte chunks of a row, a power of two.
int64_t lanesOf(int64_t chunks) { return static_cast<int64_t>(llvm::PowerOf2Ceil(chunks)); }

/// Heads whose streamed operands should share the L2 cache: as many as were best
/// for the kernels for Hopper.
int64_t headsTogether(const Attention &a, int64_t heads, int64_t group) {
  int64_t together = (int64_t(22) * 2048 * 128) / (a.length * a.headDim) / group * group;
  return std::min(std::max(group, together), heads);
}

/// Sizes in shared memory: `resident` tiles, then two buffers of two tiles.
struct Layout {
  Layout(const Attention &a, int64_t resident, const GpuTarget &target)
      : width(16 * divideUp(a.headDim, 16)), stride(width * 2 + 16), residentTile(residentRows * stride),
        buffers(resident * residentTile), rows(width <= 64 ? 64 : 32) {
    while (end() > target.sharedBytes)
      rows /= 2;
    assert(rows >= 16 && "heads of 256 fit all GPUs with tensor cores");
  }
  int64_t tile() const { return rows * stride; }
  int64_t buffer() const { return 2 * tile(); }
  int64_t end() const { return buffers + 2 * buffer(); }

  int64_t width;        ///< columns, padded
  int64_t stride;       ///< of rows, in bytes
  int64_t residentTile; ///< bytes
  int64_t buffers;      ///< where the first is
  int64_t rows;         ///< of a streamed tile
};

/// Halves of the columns in backward 2.
int64_t slices(const Layout &at) { return at.width <= 128 ? 1 : 2; }

/// Rows of one head in a tensor [B, T, heads, D].
struct Rows {
  Value first;    ///< address of row 0
  int64_t stride; ///< in bytes
};

//===-- What the kernels share ---------------------------------------------===//

class TileKernel {
protected:
  TileKernel(GpuBuilder &b, const Attention &a, int64_t resident)
      : h(b), b(b), a(a), at(a, resident, b.target), mask(h, a) {
    thread = h.thread();
    lane = thread & 31;
    warp = thread >> 5;
    row = (warp << 4) + (lane >> 2);
    column = (lane & 3) << 1;
    memory = h.dynamicShared();
    rowsOfMatrices = (lane & 15) * at.stride + ((lane >> 4) << 4);
    columnsOfMatrices = ((lane & 7) + ((lane >> 4) << 3)) * at.stride + (((lane >> 3) & 1) << 4);
    scale = b.f32(M_LOG2E / std::sqrt(static_cast<double>(a.headDim)));
  }

  Rows rowsOf(unsigned argument, int64_t heads, Int batch, Int head) {
    Value offset = b.add(b.mul(b.extendTo(batch, b.getI64Type()), b.i64(a.length * heads * a.headDim * 2)),
                         b.extendTo(head * (a.headDim * 2), b.getI64Type()));
    return {h.at(b.argument(argument), offset), heads * a.headDim * 2};
  }
  Rows queryRows(unsigned argument, Int batch, Int head) {
    return rowsOf(argument, a.rowHeads(), batch, head);
  }
  Rows keyRows(unsigned argument, Int batch, Int kvHead) {
    return rowsOf(argument, a.rowHeads(), batch, kvHead + a.heads);
  }
  Rows valueRows(unsigned argument, Int batch, Int kvHead) {
    return rowsOf(argument, a.rowHeads(), batch, kvHead + (a.heads + a.kvHeads));
  }
  Value rowAddress(const Rows &rows, Int number, Int byte) {
    Value offset = b.mul(b.extendTo(number, b.getI64Type()), b.i64(rows.stride));
    return h.at(rows.first, b.add(offset, b.extendTo(byte, b.getI64Type())));
  }
  /// Address of the f32 of row `number` of a head in [B, H, T].
  Value statistic(unsigned argument, Int batchHead, Int number) {
    return h.at(b.argument(argument), batchHead * a.length + number, 4);
  }

  //===-- Copies -----------------------------------------------------------===//
  /// Starts to copy `count` rows from `firstRow` on, each by as many lanes as it
  /// has chunks.
  void startCopy(Int to, const Rows &from, Int firstRow, int64_t count) {
    int64_t chunks = at.width / 8, lanes = lanesOf(chunks), rowsAtOnce = threads / lanes;
    assert(count % rowsAtOnce == 0 && "every thread has as many chunks");
    Int chunk = thread & (lanes - 1), first = firstRow + thread / lanes;
    Int active = h.asWord(chunk.slt(chunks));
    Value source = rowAddress(from, first, chunk << 4);
    Int target = to + thread / lanes * at.stride + (chunk << 4);
    for (int64_t i = 0; i < count; i += rowsAtOnce) {
      Int bytes = h.constant(16);
      if (a.length % count)
        bytes = h.select((first + i).slt(a.length), bytes, h.constant(0));
      if (at.width != a.headDim)
        bytes = h.select((chunk << 3).slt(a.headDim), bytes, h.constant(0));
      if (lanes == chunks)
        h.copyChunk(target, i * at.stride, source, i * from.stride, bytes);
      else
        h.copyChunkIf(active, target, i * at.stride, source, i * from.stride, bytes);
    }
  }
  Int tileAt(int64_t number) { return memory + number * at.residentTile; }

  using Load = llvm::function_ref<void(Int tile, Int buffer)>;
  Int buffer(Int parity) { return memory + at.buffers + parity * at.buffer(); }
  void startStream(Int first, Load load) {
    load(first, buffer(h.constant(0)));
    h.commitCopies();
  }
  /// Tiles [first, end), some of them at the diagonal.
  struct Range {
    Int first, end;
    bool diagonal;
  };
  /// Lets the tiles of adjacent ranges pass by, the first of which startStream began.
  template <typename State>
  State stream(ArrayRef<Range> ranges, State state, Load load,
               llvm::function_ref<State(Int tile, Int buffer, bool diagonal, State)> work) {
    Int first = ranges.front().first, end = ranges.back().end;
    for (const Range &range : ranges) {
      Values carried = b.forLoop(
          range.first, range.end, h.constant(1), pack(state), [&](Value i, ValueRange carried) -> Values {
            Int tile = h.word(i), parity = (tile - first) & 1;
            h.waitCopies(0);
            b.barrier();
            b.ifThen((tile + 1).slt(end), [&] {
              load(tile + 1, buffer(parity ^ 1));
              h.commitCopies();
            });
            return pack(work(tile, buffer(parity), range.diagonal, unpack(state, carried)));
          });
      state = unpack(state, carried);
    }
    return state;
  }
  int64_t streamedTiles() const { return divideUp(a.length, at.rows); }
  /// Ranges of key tiles for the resident tile of queries `tile`.
  SmallVector<Range> keysBefore(Int tile) {
    int64_t perTile = residentRows / at.rows;
    Int zero = h.constant(0), diagonal = tile * perTile, end = diagonal + perTile, last = h.constant(streamedTiles());
    return {{zero, diagonal, false}, {diagonal, h.select(end.slt(last), end, last), true}};
  }
  /// Ranges of query tiles for the resident tile of keys `tile`.
  SmallVector<Range> queriesAfter(Int tile) {
    int64_t perTile = residentRows / at.rows;
    Int diagonal = tile * perTile, end = diagonal + perTile, last = h.constant(streamedTiles());
    Int middle = h.select(end.slt(last), end, last);
    return {{diagonal, middle, true}, {middle, last, false}};
  }

  //===-- Products ---------------------------------------------------------===//
  /// The warp's 16 rows of a resident tile as the left operand.
  struct Operand {
    Int address;
    SmallVector<SmallVector<Int>> kept; ///< in registers, by steps of 16 columns
  };
  Operand operand(Int tile, bool keep) {
    Operand result{tile + warp * (warpRows * at.stride) + rowsOfMatrices, {}};
    for (int64_t k = 0; keep && k < at.width / 16; ++k)
      result.kept.push_back(load(result, k));
    return result;
  }
  SmallVector<Int> load(const Operand &operand, int64_t k) {
    return llvm::to_vector(ArrayRef<Int>(h.loadMatrices(operand.address, 32 * k, /*transposed=*/false)));
  }
  /// Products of the 16 rows with all rows of a streamed tile.
  Values alongHead(const Operand &left, Int tile) {
    Values sums(at.rows / 2, b.f32(0));
    Int address = tile + columnsOfMatrices;
    for (int64_t k = 0; k < at.width / 16; ++k) {
      SmallVector<Int> rows = left.kept.empty() ? load(left, k) : left.kept[k];
      for (int64_t n = 0; n < at.rows / 16; ++n) {
        auto columns = h.loadMatrices(address, n * 16 * at.stride + 32 * k, /*transposed=*/false);
        for (int64_t i : {0, 1})
          h.multiply(MutableArrayRef(sums).slice(8 * n + 4 * i, 4), rows, columns[2 * i], columns[2 * i + 1]);
      }
    }
    return sums;
  }
  /// sums += pairs times a streamed tile, whose first column is `address`.
  void alongRows(Values &sums, ArrayRef<Int> pairs, Int address) {
    address = address + rowsOfMatrices;
    for (int64_t k = 0; k < at.rows / 16; ++k)
      for (size_t n = 0; n < sums.size() / 8; ++n) {
        auto columns = h.loadMatrices(address, k * 16 * at.stride + 32 * n, /*transposed=*/true);
        for (int64_t i : {0, 1})
          h.multiply(MutableArrayRef(sums).slice(8 * n + 4 * i, 4), pairs.slice(4 * k, 4), columns[2 * i],
                     columns[2 * i + 1]);
      }
  }

  //===-- Results ----------------------------------------------------------===//
  /// Stores the warp's sums times `factor`, columns from `firstColumn` on, by way of
  /// its own rows of a resident tile, which nobody else reads.
  void storeSums(const Values &sums, std::array<Value, 2> factor, Int tile, Int firstColumn, const Rows &to,
                 Int firstRow) {
    Int mine = tile + warp * (warpRows * at.stride) + (firstColumn << 1);
    Int place = mine + (lane >> 2) * at.stride + (column << 1);
    b.warpBarrier();
    for (size_t j = 0; j < sums.size() / 4; ++j)
      for (int64_t half = 0; half < 2; ++half) {
        auto scaled = [&](int64_t e) { return h.mul(sums[Fragment::index(half, j, e)], factor[half]); };
        h.storeShared(place, half * 8 * at.stride + 16 * j, h.packBf16(scaled(0), scaled(1)));
      }
    b.warpBarrier();
    int64_t chunks = sums.size() / 4, lanes = lanesOf(chunks), rowsAtOnce = GpuBuilder::warpSize / lanes;
    Int chunk = lane & (lanes - 1), inWarp = lane / lanes;
    Value hasColumns = h.asWord((firstColumn + (chunk << 3)).slt(a.headDim)) & h.asWord(chunk.slt(chunks));
    for (int64_t i = 0; i < warpRows; i += rowsAtOnce) {
      Int number = firstRow + warp * warpRows + inWarp + i;
      Int stores = h.asWord(number.slt(a.length)) & h.word(hasColumns);
      b.ifThen(stores.eq(1), [&] {
        Values words;
        for (Int word : h.loadWords(mine + (inWarp + i) * at.stride + (chunk << 4)))
          words.push_back(word);
        Value four = b.create<vector::FromElementsOp>(VectorType::get({4}, b.getI32Type()), words);
        b.create<LLVM::StoreOp>(four, rowAddress(to, number, (firstColumn << 1) + (chunk << 4)), 16);
      });
    }
  }

  Ampere h;
  GpuBuilder &b;
  const Attention &a;
  Layout at;
  DropoutMask mask;
  Int thread, lane, warp, memory;
  Int row, column; ///< the upper row in the resident tile, and the first column, of a thread
  Int rowsOfMatrices, columnsOfMatrices; ///< this lane's address for loadMatrices in a tile
  Value scale;
};

/// A block with a resident tile of queries of one head, past which keys and values stream.
class QueryTile : protected TileKernel {
protected:
  QueryTile(GpuBuilder &b, const Attention &a, int64_t residentTiles) : TileKernel(b, a, residentTiles) {
    Schedule schedule{a.batch * a.heads, tiles(a), headsTogether(a, a.batch * a.heads, a.group())};
    Schedule::Place place = schedule.decode(h, h.blockX());
    tile = h.constant(tiles(a) - 1) - place.tile; // longest first
    batchHead = place.head;
    batch = batchHead / a.heads, head = batchHead % a.heads;
    Int kvHead = head / a.group();
    firstQuery = tile * residentRows;
    keys = keyRows(a.qkv, batch, kvHead), values = valueRows(a.qkv, batch, kvHead);
  }
  void loadKeys(Int t, Int buffer) {
    startCopy(buffer, keys, t * at.rows, at.rows);
    startCopy(buffer + at.tile(), values, t * at.rows, at.rows);
  }

  Int tile, batch, head, batchHead, firstQuery;
  Rows keys, values;
};

//===-- Forward ------------------------------------------------------------===//

class Forward : QueryTile {
public:
  Forward(GpuBuilder &b, const Attention &a) : QueryTile(b, a, 1) {}

  void emit() {
    auto load = [&](Int t, Int buffer) { loadKeys(t, buffer); };
    startCopy(memory, queryRows(a.qkv, batch, head), firstQuery, residentRows);
    startStream(h.constant(0), load);
    h.waitCopies(0);
    b.barrier();
    Operand queries = operand(memory, /*keep=*/at.width <= 128);

    State start;
    for (int64_t half = 0; half < 2; ++half) {
      start.softmax.maximum[half] = h.negative();
      start.softmax.total[half] = b.f32(0);
    }
    start.sums.assign(at.width / 2, b.f32(0));
    State end = stream<State>(
        keysBefore(tile), start, load, [&](Int t, Int buffer, bool diagonal, State state) {
          Values scores = alongHead(queries, buffer);
          if (diagonal)
            Fragment::hideColumnsAfter(h, scores, firstQuery + row - t * at.rows - column);
          state.softmax = Softmax::update(h, scores, scale, &state.softmax);
          if (mask)
            mask.drop(scores, batchHead, firstQuery + row, t * at.rows + column);
          for (auto [i, sum] : llvm::enumerate(state.sums))
            sum = h.mul(sum, state.softmax.rescale[(i >> 1) & 1]);
          alongRows(state.sums, Fragment::pack(h, scores), buffer + at.tile());
          return state;
        });

    auto [factor, logSum] = end.softmax.finish(h, scale, mask ? mask.scale() : 1);
    if (a.writesLse)
      b.ifThen(column.eq(0), [&, &logSum = logSum] {
        for (int64_t half = 0; half < 2; ++half) {
          Int query = firstQuery + row + 8 * half;
          b.ifThen(query.slt(a.length), [&] {
            b.create<LLVM::StoreOp>(logSum[half], statistic(a.lse, batchHead, query), 4);
          });
        }
      });
    if (a.writesOutput)
      storeSums(end.sums, factor, memory, h.constant(0), rowsOf(a.output, a.heads, batch, head), firstQuery);
  }

private:
  struct State {
    Softmax softmax;
    Values sums;
    SmallVector<Value *> values() {
      SmallVector<Value *> all = {&softmax.maximum[0], &softmax.maximum[1], &softmax.total[0],
                                  &softmax.total[1]};
      for (Value &sum : sums)
        all.push_back(&sum);
      return all;
    }
  };
};

//===-- Backward 0 ---------------------------------------------------------===//

int64_t rowsPerBlock(const Attention &a) { return threads / lanesOf(a.headDim / 8); }

/// A row of output and gradient by as many lanes as it has chunks.
void emitDelta(GpuBuilder &b, const Attention &a) {
  Words h(b);
  int64_t lanes = lanesOf(a.headDim / 8);
  Int thread = h.thread(), chunk = thread & (lanes - 1), row = h.blockX() * rowsPerBlock(a) + thread / lanes;
  Value exists = row.slt(a.batch * a.length * a.heads);
  Int loads = h.both(exists, (chunk << 3).slt(a.headDim));
  Value offset = b.add(b.mul(b.extendTo(row, b.getI64Type()), b.i64(a.headDim * 2)),
                       b.extendTo(chunk << 4, b.getI64Type()));
  Value sum = dotAcross(h, h.loadWordsIf(h.at(b.argument(a.output), offset), loads),
                        h.loadWordsIf(h.at(b.argument(a.grad), offset), loads), lanes);
  b.ifThen(h.both(exists, chunk.eq(0)).eq(1), [&] {
    Int position = row / a.heads % a.length, batchHead = row / (a.heads * a.length) * a.heads + row % a.heads;
    b.create<LLVM::StoreOp>(sum, h.at(b.argument(a.workspace), batchHead * a.length + position, 4), 4);
  });
}

//===-- Backward 1 ---------------------------------------------------------===//

/// A list of sums that a loop carries.
struct Sums {
  Values list;
  SmallVector<Value *> values() {
    return llvm::map_to_vector(list, [](Value &value) { return &value; });
  }
};

class QueryGrads : QueryTile {
public:
  QueryGrads(GpuBuilder &b, const Attention &a) : QueryTile(b, a, 2) {}

  void emit() {
    auto load = [&](Int t, Int buffer) { loadKeys(t, buffer); };
    startCopy(tileAt(0), queryRows(a.qkv, batch, head), firstQuery, residentRows);
    startCopy(tileAt(1), rowsOf(a.grad, a.heads, batch, head), firstQuery, residentRows);
    startStream(h.constant(0), load);
    std::array<Value, 2> minusLse, minusDelta;
    for (int64_t half = 0; half < 2; ++half) {
      Int query = firstQuery + row + 8 * half, exists = h.asWord(query.slt(a.length));
      minusLse[half] = h.mul(h.loadFloatIf(statistic(a.lse, batchHead, query), exists), b.f32(-M_LOG2E));
      minusDelta[half] = b.fneg(h.loadFloatIf(statistic(a.workspace, batchHead, query), exists));
    }
    h.waitCopies(0);
    b.barrier();
    Operand queries = operand(tileAt(0), /*keep=*/at.width <= 64);
    Operand grads = operand(tileAt(1), /*keep=*/at.width <= 64);

    Sums start{Values(at.width / 2, b.f32(0))};
    Sums end = stream<Sums>(
        keysBefore(tile), start, load, [&](Int t, Int buffer, bool diagonal, Sums state) {
          Values scores = alongHead(queries, buffer), pGrads = alongHead(grads, buffer + at.tile());
          if (diagonal)
            Fragment::hideColumnsAfter(h, scores, firstQuery + row - t * at.rows - column);
          std::array<Value, 2> element;
          for (int64_t half = 0; mask && half < 2; ++half)
            element[half] = mask.element(batchHead, firstQuery + row + 8 * half, t * at.rows + column);
          Fragment::forEach(scores, [&](int64_t half, int64_t j, int64_t e) {
            Value &score = scores[Fragment::index(half, j, e)], grad = pGrads[Fragment::index(half, j, e)];
            Value p = h.exp2(b.fma(score, scale, minusLse[half]));
            if (mask) {
              grad = b.select(mask.keeps(element[half], 8 * j + e), grad, b.f32(0));
              grad = b.fma(grad, b.f32(mask.scale()), minusDelta[half]);
            } else {
              grad = h.add(grad, minusDelta[half]);
            }
            score = h.mul(p, grad);
          });
          alongRows(state.list, Fragment::pack(h, scores), buffer);
          return state;
        });
    Value factor = b.f32(1 / std::sqrt(static_cast<double>(a.headDim)));
    storeSums(end.list, {factor, factor}, tileAt(0), h.constant(0), queryRows(a.qkvGrad, batch, head),
              firstQuery);
  }
};

//===-- Backward 2 ---------------------------------------------------------===//

class KeyGrads : TileKernel {
public:
  KeyGrads(GpuBuilder &b, const Attention &a) : TileKernel(b, a, 2) {}

  void emit() {
    Schedule schedule{a.batch * a.kvHeads, tiles(a), headsTogether(a, a.batch * a.kvHeads, 1)};
    auto [tile, batchKvHead] = schedule.decode(h, h.blockX()); // longest first
    Int batch = batchKvHead / a.kvHeads, kvHead = batchKvHead % a.kvHeads;
    firstKey = tile * residentRows;
    int64_t columns = sliceColumns(at);
    Int firstColumn = slices(at) == 1 ? h.constant(0) : h.blockY() * (at.width - columns);
    startCopy(tileAt(0), keyRows(a.qkv, batch, kvHead), firstKey, residentRows);
    startCopy(tileAt(1), valueRows(a.qkv, batch, kvHead), firstKey, residentRows);
    h.commitCopies();
    h.waitCopies(0);
    b.barrier();
    keys = operand(tileAt(0), /*keep=*/at.width <= 64 && !mask);
    values = operand(tileAt(1), /*keep=*/at.width <= 64 && !mask);

    SmallVector<Range> ranges = queriesAfter(tile);
    State state{Values(columns / 2, b.f32(0)), Values(columns / 2, b.f32(0))};
    auto addHead = [&](Int inGroup, State state) {
      Int head = kvHead * a.group() + inGroup, batchHead = batch * a.heads + head;
      Rows queries = queryRows(a.qkv, batch, head), grads = rowsOf(a.grad, a.heads, batch, head);
      auto load = [&](Int t, Int buffer) {
        startCopy(buffer, queries, t * at.rows, at.rows);
        startCopy(buffer + at.tile(), grads, t * at.rows, at.rows);
        startCopyOfStatistics(buffer, batchHead, t * at.rows);
      };
      b.barrier(); // the head before is done with the buffers
      startStream(ranges.front().first, load);
      return stream<State>(ranges, state, load, [&](Int t, Int buffer, bool diagonal, State state) {
        return addTile(batchHead, t * at.rows, buffer, diagonal, firstColumn, state);
      });
    };
    if (a.group() == 1)
      state = addHead(h.constant(0), state);
    else
      state = unpack(state, b.forLoop(h.constant(0), h.constant(a.group()), h.constant(1), pack(state),
                                      [&](Value i, ValueRange carried) {
                                        return pack(addHead(h.word(i), unpack(state, carried)));
                                      }));
    Value keyFactor = b.f32(1 / std::sqrt(static_cast<double>(a.headDim)));
    Value valueFactor = b.f32(mask ? mask.scale() : 1);
    storeSums(state.keyGrads, {keyFactor, keyFactor}, tileAt(0), firstColumn,
              keyRows(a.qkvGrad, batch, kvHead), firstKey);
    storeSums(state.valueGrads, {valueFactor, valueFactor}, tileAt(1), firstColumn,
              valueRows(a.qkvGrad, batch, kvHead), firstKey);
  }

  /// Of a slice; the second may begin before the first ends.
  static int64_t sliceColumns(const Layout &at) { return 16 * divideUp(at.width / 16, slices(at)); }

private:
  struct State {
    Values keyGrads, valueGrads;
    SmallVector<Value *> values() {
      SmallVector<Value *> all;
      for (Values *list : {&keyGrads, &valueGrads})
        for (Value &value : *list)
          all.push_back(&value);
      return all;
    }
  };

  /// lse and delta of a streamed query after its row.
  void startCopyOfStatistics(Int buffer, Int batchHead, Int firstQuery) {
    b.ifThen(thread.slt(2 * at.rows), [&] {
      Int inTile = thread & (at.rows - 1), isDelta = thread / at.rows, query = firstQuery + inTile;
      Value from = b.select(isDelta.eq(1), b.argument(a.workspace), b.argument(a.lse));
      Int bytes = h.select(query.slt(a.length), h.constant(4), h.constant(0));
      h.copyFloat(buffer + inTile * at.stride + (isDelta << 2) + at.width * 2,
                  h.at(from, batchHead * a.length + query, 4), bytes);
    });
  }

  State addTile(Int batchHead, Int firstQuery, Int buffer, bool diagonal, Int firstColumn, State state) {
    Values p = alongHead(keys, buffer), scoreGrads = alongHead(values, buffer + at.tile());
    if (diagonal)
      Fragment::hideColumnsBefore(h, p, firstKey + row - firstQuery - column);
    Value element;
    if (mask)
      element = mask.element(batchHead, firstQuery + column, firstKey + row);
    Int statistics = buffer + column * at.stride + at.width * 2;
    for (int64_t j = 0; j < at.rows / 8; ++j)
      for (int64_t e = 0; e < 2; ++e) {
        auto [lse, delta] = h.loadFloats(statistics, (8 * j + e) * at.stride);
        Value minusLse = h.mul(lse, b.f32(-M_LOG2E)), minusDelta = b.fneg(delta);
        for (int64_t half = 0; half < 2; ++half) {
          Value &probability = p[Fragment::index(half, j, e)], &grad = scoreGrads[Fragment::index(half, j, e)];
          probability = h.exp2(b.fma(probability, scale, minusLse));
          if (!mask) {
            grad = h.mul(probability, h.add(grad, minusDelta));
            continue;
          }
          Value keeps = mask.keeps(element, (8 * j + e) * a.length + 8 * half);
          Value kept = b.select(keeps, grad, b.f32(0));
          grad = h.mul(probability, b.fma(kept, b.f32(mask.scale()), minusDelta));
          probability = b.select(keeps, probability, b.f32(0));
        }
      }
    alongRows(state.valueGrads, Fragment::pack(h, p), buffer + at.tile() + (firstColumn << 1));
    alongRows(state.keyGrads, Fragment::pack(h, scoreGrads), buffer + (firstColumn << 1));
    return state;
  }

  Int firstKey;
  Operand keys, values;
};

GpuPhase phaseOf(int64_t blocks, int64_t shared) {
  GpuPhase phase;
  phase.grid = {blocks, 1, 1};
  phase.block = {threads, 1, 1};
  phase.shared = shared;
  return phase;
}

} // namespace

GpuShape describeAmpereForward(const Attention &a, const GpuTarget &target) {
  return {{phaseOf(a.batch * a.heads * tiles(a), Layout(a, 1, target).end())}, {}};
}
void emitAmpereForward(GpuBuilder &b, const Attention &a) { Forward(b, a).emit(); }

GpuShape describeAmpereBackward(const Attention &a, const GpuTarget &target) {
  Layout at(a, 2, target);
  int64_t rows = a.batch * a.heads * a.length;
  GpuPhase delta = phaseOf(divideUp(rows, rowsPerBlock(a)), 0);
  GpuPhase queryGrads = phaseOf(a.batch * a.heads * tiles(a), at.end());
  GpuPhase keyGrads = phaseOf(a.batch * a.kvHeads * tiles(a), at.end());
  keyGrads.grid[1] = slices(at);
  return {{delta, queryGrads, keyGrads}, {rows * 4}};
}
void emitAmpereBackward(GpuBuilder &b, const Attention &a, int64_t phase) {
  if (phase == 0)
    emitDelta(b, a);
  else if (phase == 1)
    QueryGrads(b, a).emit();
  else
    KeyGrads(b, a).emit();
}

} // namespace txc::codegen::gpu
