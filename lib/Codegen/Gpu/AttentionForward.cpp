//===- AttentionForward.cpp - tx.attention on tensor cores -----------------===//
//
// FlashAttention (Dao et al., arXiv 2205.14135) for sm_90a, with the division of
// labour of FlashAttention-3 (Shah et al., arXiv 2407.08608): persistent blocks,
// one warpgroup that copies and two that multiply.
//
// A tile is 128 queries of one head; each consumer has 64 of them. Key blocks of
// 128 come from the diagonal leftwards, so that only the first has a mask. Tiles
// are taken from a counter in global memory, longest first (Schedule), and end
// where the counter passes the last one. The block that draws the last ticket
// sets the counter back to zero, as it was when the module was loaded.
//
// Shared memory               written by          read by        handed over by
//   queries  2 buffers        producer (TMA)      consumers      queryFull/Empty
//   number of the tile, one with each query buffer               the same
//   keys     `stages` deep    producer (TMA)      consumers      keyFull/Empty
//   values   `stages` deep    producer (TMA)      consumers      valueFull/Empty
//   output   64 rows each     one consumer        TMA            named 5 and 6
//
// A consumer, for key block i of its tile:
//     issue  S(i) = Q K(i)^T
//     issue  O   += P(i-1) V(i-1)
//     wait for S(i), release K(i)
//     P(i) = 2^(scale S(i) - scale m), m and l updated      while PV runs
//     wait for O, release V(i-1); O *= 2^(scale (m' - m))
// S of the next tile's first block is issued before the last product with V of
// this tile, so that the tensor cores do not run dry between tiles. P never
// leaves registers: it is the register operand of wgmma. With heads of two
// panels the two consumers take turns at issuing (named barriers 2 and 3): one's
// exponentials run under the other's products.
//
// Dropout: l sums all p; only then are dropped ones zeroed, and O is scaled by
// 1 / (1 - dropout) at the end.
//
// Rows beyond T are zero when loaded and clipped when stored.
//
//===----------------------------------------------------------------------===//

#include "Attention.h"

#include <cmath>

using namespace mlir;

namespace txc::codegen::gpu {
namespace {

using Values = Hopper::Values;
constexpr int64_t tileRows = Attention::tileRows;
constexpr int64_t consumers = 2, threads = Hopper::warpgroup * (1 + consumers);
constexpr int64_t rowsEach = tileRows / consumers;

/// Heads whose keys and values should share the L2 cache: measured on an H200,
/// 12 to 64 are alike for heads of 1024 x 64; 22 beat 6 by 5% for 2048 x 128.
int64_t headsTogether(const Attention &a) {
  int64_t elements = a.panels() == 1 ? 24 * 1024 * 64 : 22 * 2048 * 128;
  int64_t heads = elements / (a.paddedLength() * a.padded()) / a.group() * a.group();
  return std::min(std::max<int64_t>(a.group(), heads), a.batch * a.heads);
}

/// Where things are in shared memory, in bytes.
struct Layout {
  explicit Layout(const Attention &a)
      : stages(a.panels() == 1 ? 3 : 2), panel(tileRows * 128), tile(panel * a.panels()), keys(2 * tile),
        values(keys + stages * tile), output(values + stages * tile), barriers(output + tile),
        end(barriers + 256) {}
  int64_t stages, panel, tile;
  int64_t queries = 0, keys, values, output, barriers, end;
};

class Forward {
public:
  Forward(GpuBuilder &b, const Attention &a)
      : h(b), b(b), a(a), at(a), schedule{a.batch * a.heads, a.keyBlocks(), headsTogether(a)},
        takesTurns(a.panels() > 1), mask(h, a) {}

  void emit() {
    counter = globalCounter();
    thread = h.thread();
    memory = h.dynamicShared();
    barriers = memory + at.barriers;
    firstThread = thread.eq(0);
    Int blockNumber = h.blockX();
    h.exitIf(h.asWord(b.icmp(arith::CmpIPredicate::uge, blockNumber, h.constant(schedule.tiles()))));
    b.ifThen(firstThread, [&] {
      for (int64_t i = 0; i < 2; ++i) {
        h.initBarrier(queryFull(h.constant(i)), 1);
        h.initBarrier(queryEmpty(h.constant(i)), consumers);
      }
      for (int64_t i = 0; i < at.stages; ++i) {
        h.initBarrier(keyFull(h.constant(i)), 1);
        h.initBarrier(keyEmpty(h.constant(i)), consumers);
        h.initBarrier(valueFull(h.constant(i)), 1);
        h.initBarrier(valueEmpty(h.constant(i)), consumers);
      }
      h.fenceBarrierInit();
    });
    b.barrier();
    Int warpgroup = h.uniform(thread >> 7);
    h.ifElse(
        warpgroup.eq(0),
        [&] {
          h.setRegisters(24, /*raise=*/false);
          b.ifThen(firstThread, [&] { emitProducer(blockNumber); });
        },
        [&] {
          h.setRegisters(240, /*raise=*/true);
          emitConsumer(warpgroup - 1);
        });
  }

private:
  //===-- Shared memory ----------------------------------------------------===//
  Int barrier(int64_t first, Int index) { return barriers + first + (index << 3); }
  Int queryFull(Int buffer) { return barrier(0, buffer); }
  Int queryEmpty(Int buffer) { return barrier(16, buffer); }
  Int tileWords(Int buffer) { return barriers + 32 + (buffer << 4); }
  Int keyFull(Int stage) { return barrier(64, stage); }
  Int keyEmpty(Int stage) { return barrier(64 + 8 * at.stages, stage); }
  Int valueFull(Int stage) { return barrier(64 + 16 * at.stages, stage); }
  Int valueEmpty(Int stage) { return barrier(64 + 24 * at.stages, stage); }

  /// A counter of this kernel in the module: zero whenever it does not run.
  Value globalCounter() {
    std::string name = (b.function.getName() + "_ticket").str();
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(b.function);
    auto global = b.create<LLVM::GlobalOp>(b.getI32Type(), /*isConstant=*/false, LLVM::Linkage::Internal,
                                           name, b.getI32IntegerAttr(0), /*alignment=*/4, /*addrSpace=*/1);
    b.setInsertionPointToEnd(&b.function.getBody().front());
    return b.create<LLVM::AddressOfOp>(global);
  }

  /// A tile of queries: the first of them, and the number of key blocks.
  struct Tile {
    Int number, block, batchHead, batchAndHead; ///< the last: batch << 16 | head
    Int firstQuery() const { return block * tileRows; }
    Int keyBlocks() const { return block + 1; }
    Int batch() const { return batchAndHead >> 16; }
    Int head() const { return batchAndHead & 0xffff; }
    std::array<Int, 4> words() const { return {number, block, batchHead, batchAndHead}; }
    SmallVector<Value *> values() {
      return {&number.value, &block.value, &batchHead.value, &batchAndHead.value};
    }
  };
  Tile decode(Int number) {
    auto [tile, batchHead] = schedule.decode(h, number);
    Int block = h.constant(a.keyBlocks() - 1) - tile; // longest first
    return {number, block, batchHead, (batchHead / a.heads) << 16 | batchHead % a.heads};
  }
  Tile readTile(Int buffer) {
    auto [number, block, batchHead, batchAndHead] = h.loadWords(tileWords(buffer));
    return {number, block, batchHead, batchAndHead};
  }
  Value isTile(Int number) { return number.ult(schedule.tiles()); }

  //===-- Producer ---------------------------------------------------------===//
  struct Producer {
    Int number;
    Ring keys, queries;
    SmallVector<Value *> values() {
      return {&number.value, &keys.stage.value, &keys.parity.value, &queries.stage.value,
              &queries.parity.value};
    }
  };

  void loadTile(Int to, int64_t rowHead, Int head, Int firstRow, Int batch, Int barrier) {
    for (int64_t p = 0; p < a.panels(); ++p)
      h.loadTile(to + p * at.panel, b.tensorMap(0), {h.constant(64 * p), head + rowHead, firstRow, batch},
                 barrier);
  }

  void emitProducer(Int blockNumber) {
    Int zero = h.constant(0), blocks = h.gridX();
    Producer start{blockNumber, {zero, zero}, {zero, zero}};
    // A query buffer is published with the number of its tile; one beyond the
    // last tells consumers to stop.
    Values end = h.whileLoop(
        pack(start),
        [&](ValueRange carried) {
          Producer state = unpack(start, carried);
          h.wait(queryEmpty(state.queries.stage), state.queries.parity ^ 1);
          h.storeWords(tileWords(state.queries.stage), decode(state.number).words());
          return isTile(state.number);
        },
        [&](ValueRange carried) { return pack(loadOneTile(unpack(start, carried), blocks)); });
    h.arrive(queryFull(unpack(start, end).queries.stage));
  }

  Producer loadOneTile(Producer state, Int blocks) {
    Tile tile = decode(state.number);
    Int full = queryFull(state.queries.stage), batch = tile.batch(), head = tile.head();
    Int kvHead = head / a.group();
    h.arriveExpecting(full, at.tile);
    loadTile(memory + at.queries + state.queries.stage * at.tile, 0, head, tile.firstQuery(), batch, full);
    Values keys = b.forLoop(
        h.constant(0), tile.keyBlocks(), h.constant(1), pack(RingState{state.keys}),
        [&](Value i, ValueRange carried) {
          Ring ring = unpack(RingState{state.keys}, carried).ring;
          Int firstKey = (tile.block - h.word(i)) * tileRows, offset = ring.stage * at.tile;
          h.wait(keyEmpty(ring.stage), ring.parity ^ 1);
          h.arriveExpecting(keyFull(ring.stage), at.tile);
          loadTile(memory + at.keys + offset, a.heads, kvHead, firstKey, batch, keyFull(ring.stage));
          h.wait(valueEmpty(ring.stage), ring.parity ^ 1);
          h.arriveExpecting(valueFull(ring.stage), at.tile);
          loadTile(memory + at.values + offset, a.heads + a.kvHeads, kvHead, firstKey, batch,
                   valueFull(ring.stage));
          return pack(RingState{ring.next(h, at.stages)});
        });
    Int ticket = h.fetchAdd(counter, 1);
    b.ifThen(ticket.eq(schedule.tiles() - 1), [&] { h.storeWord(counter, h.constant(0)); });
    return {blocks + ticket, unpack(RingState{state.keys}, keys).ring, state.queries.next(h, 2)};
  }
  struct RingState {
    Ring ring;
    SmallVector<Value *> values() { return {&ring.stage.value, &ring.parity.value}; }
  };

  //===-- Consumers --------------------------------------------------------===//
  /// Between two steps: P waits for its product with V.
  struct State {
    Ring keys, valueRing;
    Softmax softmax;
    Values sums;
    SmallVector<Int> pairs; ///< P as the register operand
    SmallVector<Value *> values() {
      SmallVector<Value *> all = {&keys.stage.value,       &keys.parity.value,  &valueRing.stage.value,
                                  &valueRing.parity.value, &softmax.maximum[0], &softmax.maximum[1],
                                  &softmax.total[0],       &softmax.total[1]};
      for (Value &sum : sums)
        all.push_back(&sum);
      for (Int &pair : pairs)
        all.push_back(&pair.value);
      return all;
    }
  };
  /// Between two tiles: no sums.
  struct TileState {
    Tile tile;
    Ring queries;
    State state;
    SmallVector<Value *> values() {
      SmallVector<Value *> all = tile.values();
      all.append({&queries.stage.value, &queries.parity.value});
      all.append(state.values());
      return all;
    }
  };

  void emitConsumer(Int number) {
    consumer = number;
    Int inGroup = thread & 127, lane = thread & 31;
    warp = inGroup >> 5;
    Value first = inGroup.eq(0);
    isFirst = h.asWord(first);
    row = (consumer << 6) + (warp << 4) + (lane >> 2);
    column = (lane & 3) << 1;
    scale = b.f32(M_LOG2E / std::sqrt(static_cast<double>(a.headDim)));
    Int zero = h.constant(0);
    if (takesTurns) // the first consumer may go first
      b.ifThen(consumer.eq(consumers - 1), [&] { h.arriveNamed(h.constant(2), 256); });
    myTurn = consumer + 2;
    nextTurn = h.select(consumer.eq(consumers - 1), h.constant(2), myTurn + 1);

    h.wait(queryFull(zero), zero);
    Tile tile = readTile(zero);
    h.wait(keyFull(zero), zero);
    Values scores = issueScores(zero, zero);
    scores = h.wgmmaWait(0, scores);
    h.arriveIf(keyEmpty(zero), isFirst);
    hideLater(scores, tile);
    Softmax softmax = Softmax::update(h, scores, scale, nullptr);
    drop(scores, tile, tile.block);
    h.arriveIf(queryEmpty(zero), isFirst & h.asWord(tile.keyBlocks().eq(1)));
    Ring ring{zero, zero};
    TileState start{tile, ring, {ring.next(h, at.stages), ring, softmax, {}, Fragment::pack(h, scores)}};
    h.whileLoop(
        pack(start), [&](ValueRange carried) { return isTile(unpack(start, carried).tile.number); },
        [&](ValueRange carried) { return pack(emitTile(unpack(start, carried))); });
    b.ifThen(first, [&] { h.waitStores(0, /*read=*/false); });
  }

  TileState emitTile(TileState at0) {
    const Tile tile = at0.tile;
    State state = at0.state;
    state.sums.assign(a.padded() / 2, b.f32(0));
    Values looped = b.forLoop(
        h.constant(1), tile.keyBlocks(), h.constant(1), pack(state), [&](Value i, ValueRange carried) {
          return pack(emitBlock(unpack(state, carried), tile, at0.queries.stage, h.word(i)));
        });
    state = unpack(state, looped);

    TileState next = at0;
    next.queries = at0.queries.next(h, 2);
    h.wait(queryFull(next.queries.stage), next.queries.parity);
    next.tile = readTile(next.queries.stage);
    const Softmax softmax = state.softmax;
    State merged = state;
    Values values = pack(merged);
    merged = unpack(merged, h.ifElse(
                                isTile(next.tile.number), ValueRange(values).getTypes(),
                                [&] { return pack(emitLastAndNext(state, next)); },
                                [&] { return pack(emitLast(state)); }));
    h.arriveIf(valueEmpty(merged.valueRing.stage), isFirst);
    merged.valueRing = merged.valueRing.next(h, at.stages);
    emitOutput(merged.sums, softmax, tile);
    merged.sums.clear();
    next.state = merged;
    return next;
  }

  /// Key block `i` of the tile, counted from the diagonal.
  State emitBlock(State state, const Tile &tile, Int queryBuffer, Int i) {
    h.wait(keyFull(state.keys.stage), state.keys.parity);
    waitForTurn();
    Values scores = issueScores(state.keys.stage, queryBuffer);
    h.wait(valueFull(state.valueRing.stage), state.valueRing.parity);
    Values sums = issueSums(state);
    endTurn();
    scores = h.wgmmaWait(1, scores);
    h.arriveIf(keyEmpty(state.keys.stage), isFirst);
    h.arriveIf(queryEmpty(queryBuffer), isFirst & h.asWord(i.eq(tile.block)));
    Softmax softmax = Softmax::update(h, scores, scale, &state.softmax);
    drop(scores, tile, tile.block - i);
    waitForSums(sums, scores, state);
    State next = state;
    next.pairs = Fragment::pack(h, scores);
    h.arriveIf(valueEmpty(state.valueRing.stage), isFirst);
    for (auto [j, sum] : llvm::enumerate(sums))
      sum = h.mul(sum, softmax.rescale[(j >> 1) & 1]);
    next.sums = sums;
    next.softmax = softmax;
    next.keys = state.keys.next(h, at.stages);
    next.valueRing = state.valueRing.next(h, at.stages);
    return next;
  }

  /// The last product of this tile under the first scores of the next one.
  State emitLastAndNext(State state, const TileState &next) {
    h.wait(keyFull(state.keys.stage), state.keys.parity);
    waitForTurn();
    Values scores = issueScores(state.keys.stage, next.queries.stage);
    h.wait(valueFull(state.valueRing.stage), state.valueRing.parity);
    Values sums = issueSums(state);
    endTurn();
    scores = h.wgmmaWait(1, scores);
    h.arriveIf(keyEmpty(state.keys.stage), isFirst);
    h.arriveIf(queryEmpty(next.queries.stage), isFirst & h.asWord(next.tile.keyBlocks().eq(1)));
    hideLater(scores, next.tile);
    Softmax softmax = Softmax::update(h, scores, scale, nullptr);
    drop(scores, next.tile, next.tile.block);
    waitForSums(sums, scores, state);
    state.pairs = Fragment::pack(h, scores);
    state.sums = sums;
    state.softmax = softmax;
    state.keys = state.keys.next(h, at.stages);
    return state;
  }

  State emitLast(State state) {
    h.wait(valueFull(state.valueRing.stage), state.valueRing.parity);
    state.sums = h.wgmmaWait(0, issueSums(state), state.pairs);
    return state;
  }

  void waitForTurn() {
    if (takesTurns)
      h.syncNamed(myTurn, 256);
  }
  void endTurn() {
    if (takesTurns)
      h.arriveNamed(nextTurn, 256);
  }

  /// S = Q K^T, 64 queries of this consumer by 128 keys.
  Values issueScores(Int keyStage, Int queryBuffer) {
    h.wgmmaFence();
    Value queries = h.descriptor(memory + at.queries + (consumer << 13) + queryBuffer * at.tile);
    Value keys = h.descriptor(memory + at.keys + keyStage * at.tile);
    Values scores;
    for (int64_t k = 0; k < a.headSteps(); ++k) {
      int64_t offset = k / 4 * at.panel + k % 4 * 32;
      scores = h.wgmma(tileRows, scores, h.advance(queries, offset), h.advance(keys, offset));
    }
    h.wgmmaCommit();
    return scores;
  }

  /// O += P V.
  Values issueSums(const State &state) {
    h.wgmmaFence();
    Value values = h.descriptor(memory + at.values + state.valueRing.stage * at.tile, at.panel);
    Values sums = state.sums;
    for (int64_t k = 0; k < tileRows / 16; ++k)
      sums = h.wgmma(a.padded(), sums, ArrayRef(state.pairs).slice(4 * k, 4), h.advance(values, k * 2048),
                     {.a = false, .b = true});
    h.wgmmaCommit();
    return sums;
  }

  /// Waits for the product with V. The probabilities pass through, so that their
  /// computation stays before the wait and their packing after it.
  void waitForSums(Values &sums, Values &probabilities, const State &state) {
    Values all = sums;
    all.append(probabilities);
    all = h.wgmmaWait(0, all, state.pairs);
    sums.assign(all.begin(), all.begin() + sums.size());
    probabilities.assign(all.end() - probabilities.size(), all.end());
  }

  /// In the block of the diagonal: -infinity where the key is after the query.
  void hideLater(Values &scores, const Tile &tile) {
    Fragment::hideColumnsAfter(h, scores, tile.firstQuery() + row - tile.block * tileRows - column);
  }

  /// Zeroes what dropout does not keep.
  void drop(Values &probabilities, const Tile &tile, Int keyBlock) {
    if (mask)
      mask.drop(probabilities, tile.batchHead, tile.firstQuery() + row, keyBlock * tileRows + column);
  }

  void emitOutput(const Values &sums, const Softmax &softmax, const Tile &tile) {
    auto [factor, logSum] = softmax.finish(h, scale, mask ? mask.scale() : 1);
    if (a.writesLse)
      b.ifThen(column.eq(0), [&] {
        for (int64_t half = 0; half < 2; ++half) {
          Int query = tile.firstQuery() + row + 8 * half;
          b.ifThen(query.slt(a.length), [&] {
            Value to = h.at(b.argument(a.lse), tile.batchHead * a.length + query, 4);
            b.create<LLVM::StoreOp>(logSum[half], to, 4);
          });
        }
      });
    if (!a.writesOutput)
      return;
    // The staging memory may still be read by the store before.
    Int barrierName = consumer + 5;
    Value first = (thread & 127).eq(0);
    b.ifThen(first, [&] { h.waitStores(0, /*read=*/true); });
    h.syncNamed(barrierName, 128);
    Int lane = thread & 31, row8 = lane & 7;
    Int staging = memory + at.output + consumer * (rowsEach * 128 * a.panels());
    Int to = (((warp << 4) + row8 + (lane & 8)) << 7) + (((lane >> 4) ^ row8) << 4);
    for (int64_t p = 0; p < a.panels(); ++p)
      for (int64_t c = 0; c < 4; ++c) {
        SmallVector<Int> words;
        for (int64_t j : {8 * p + 2 * c, 8 * p + 2 * c + 1})
          for (int64_t half = 0; half < 2; ++half)
            words.push_back(h.packBf16(h.mul(sums[Fragment::index(half, j, 0)], factor[half]),
                                       h.mul(sums[Fragment::index(half, j, 1)], factor[half])));
        h.storeMatrices(staging + p * (rowsEach * 128) + (to ^ (32 * c)), words);
      }
    h.fenceSharedForAsync();
    h.syncNamed(barrierName, 128);
    b.ifThen(first, [&] {
      for (int64_t p = 0; p < a.panels(); ++p)
        h.storeTile(staging + p * (rowsEach * 128), b.tensorMap(1),
                    {h.constant(64 * p), tile.head(), tile.firstQuery() + (consumer << 6), tile.batch()});
      h.commitStores();
    });
  }

  Hopper h;
  GpuBuilder &b;
  const Attention &a;
  Layout at;
  Schedule schedule;
  bool takesTurns;
  DropoutMask mask;
  Value counter, firstThread;
  Int thread, memory, barriers;
  // Of a consumer:
  Int consumer, warp, isFirst, myTurn, nextTurn;
  Int row, column; ///< the upper row in the tile, and the first column, of a thread
  Value scale;
};

} // namespace

GpuShape describeForward(const Attention &a, const GpuTarget &target) {
  GpuPhase phase;
  phase.grid = {0, 1, 1};
  phase.block = {threads, 1, 1};
  phase.shared = Layout(a).end;
  phase.minBlocks = 1;
  phase.maps = {a.qkvMap(a.qkv, tileRows)};
  if (a.writesOutput)
    phase.maps.push_back(a.outputMap(a.output, rowsEach));
  return {{phase}, {}};
}

void emitForward(GpuBuilder &b, const Attention &a) { Forward(b, a).emit(); }

} // namespace txc::codegen::gpu
