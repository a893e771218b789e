//===- AttentionBackward.cpp - tx.attention_vjp on tensor cores ------------===//
//
// Three launches:
//   0  prepare  lse * log2(e) and delta = dot(grad, output) per row, both padded
//               to whole tiles; the flags and the counter of tickets are zeroed.
//   1  main     dK and dV; dQ in f32, in the order of wgmma's registers.
//   2  finish   dQ times 1 / sqrt(D) in bf16, into the packed gradient.
// If the kernel also rotates (tx.rope), dK is rotated before it is rounded in 1 and
// dQ in 2.
//
// Main: persistent blocks with one warpgroup that copies and two that multiply. A
// tile is 128 keys of one key/value head; each consumer has 64 of them. For each
// query head of the group, query blocks come from the diagonal on ("step"): 128
// queries with heads of one panel, 64 with two. With keys as rows everything
// that stays is in registers:
//     S^T  = K Q^T, P^T = 2^(scale S^T - lse)      both operands in shared memory
//     dP^T = V dO^T, dS^T = P^T (dP^T - delta)
//     dV  += P^T dO, dK += dS^T Q                  P^T, dS^T from registers
//     dQ   = dS K                                  dS through shared memory
// The scores of the next step are issued before dQ of this one is stored.
//
// Shared memory                written by         read by       handed over by
//   keys, values  1-2 buffers  producer (TMA)     consumers     tileFull/Empty
//   tile number, one with each of them            + writers     the same
//   queries, lse  2 stages     producer (TMA)     consumers     queryFull/Empty
//   grads, delta  2 stages     producer (TMA)     consumers     gradFull/Empty
//   dS            2 buffers    both consumers     both          named 2
//   dQ            1 buffer     both consumers     writers       queryGradFull/Empty
//   dK, dV over keys, values   a consumer         TMA           named 5 and 6
// Two writers (a thread each) add finished dQ tiles to global memory by bulk
// reductions, steps of even number one, of odd number the other.
//
// Order: tiles of later keys come first, and of every query block the key blocks
// are added in descending order: a flag per query block counts those added, a
// writer waits for its turn. The first one stores, so nothing needs zeroing. So
// the sums do not depend on timing. A writer waits only for tiles with earlier
// tickets, which run or are done: no deadlock. dK and dV of a group are summed by
// one block, in head order.
//
// Dropout: dropped p count as 0 in dV, which is scaled by 1 / (1 - dropout) at
// the end; dS = p (keep dP / (1 - dropout) - delta).
//
// Rows of queries beyond T are zero, as are their lse and delta: they add
// nothing. Rows of keys beyond T are after all queries.
//
//===----------------------------------------------------------------------===//

#include "Attention.h"

#include <cmath>

using namespace mlir;

namespace txc::codegen::gpu {
namespace {

using Values = Hopper::Values;
constexpr int64_t tileRows = Attention::tileRows;
constexpr int64_t consumers = 2, threads = Hopper::warpgroup * (1 + consumers), stages = 2;

/// Workspaces, from Attention::workspace on.
enum Workspace { ScaledLse, Delta, QueryGrads, Flags };

/// Rows of a query block.
int64_t queryRows(const Attention &a) { return a.panels() == 1 ? 128 : 64; }
int64_t queryBlocks(const Attention &a) { return a.paddedLength() / queryRows(a); }
/// f32 bytes of dQ of a query block: its rows by the padded head.
constexpr int64_t queryGradBytes = 32768;
/// Bytes of it that one consumer makes: 64 x 64 elements.
constexpr int64_t pieceBytes = queryGradBytes / consumers;

/// Key/value heads that should share the L2 cache: measured on an H200, best at
/// 64 for 1024 x 64, 8 for 2048 x 128, 4 to 8 for 4096 x 128.
int64_t headsTogether(const Attention &a) {
  int64_t heads = (int64_t(1) << 28) / (a.paddedLength() * a.padded() * a.padded());
  return std::min(std::max<int64_t>(1, heads / a.group()), a.batch * a.kvHeads);
}

/// Where things are in shared memory, in bytes.
struct Layout {
  explicit Layout(const Attention &a)
      : keyPanel(tileRows * 128), keyTile(keyPanel * a.panels()), queryPanel(queryRows(a) * 128),
        queryTile(queryPanel * a.panels()), scoreGrad(tileRows * queryRows(a) * 2),
        statistics(queryRows(a) * 4), tileBuffers(a.panels() == 1 ? 2 : 1),
        queries(2 * keyTile * tileBuffers), grads(queries + stages * queryTile),
        scoreGrads(grads + stages * queryTile), queryGrad(scoreGrads + 2 * scoreGrad),
        lse(queryGrad + queryGradBytes), delta(lse + stages * statistics),
        barriers(delta + stages * statistics), end(barriers + 256) {}
  int64_t keyPanel, keyTile, queryPanel, queryTile, scoreGrad, statistics, tileBuffers;
  int64_t keysAndValues = 0, queries, grads, scoreGrads, queryGrad, lse, delta, barriers, end;
};

//===-- Main ---------------------------------------------------------------===//

class Main {
public:
  Main(GpuBuilder &b, const Attention &a)
      : h(b), b(b), a(a), at(a), schedule{a.batch * a.kvHeads, a.keyBlocks(), headsTogether(a)},
        queryRows(gpu::queryRows(a)), blocksPerTile(tileRows / queryRows), mask(h, a), pipelined(!mask) {}

  void emit() {
    thread = h.thread();
    lane = thread & 31;
    memory = h.dynamicShared();
    barriers = memory + at.barriers;
    Int blockNumber = h.blockX();
    h.exitIf(h.asWord(b.icmp(arith::CmpIPredicate::uge, blockNumber, h.constant(schedule.tiles()))));
    Value firstThread = thread.eq(0);
    b.ifThen(firstThread, [&] { initBarriers(); });
    b.barrier();
    Int warpgroup = h.uniform(thread >> 7), warpInBlock = h.uniform(thread >> 5);
    h.ifElse(
        warpgroup.eq(0),
        [&] {
          h.setRegisters(24, /*raise=*/false);
          b.ifThen(firstThread, [&] { emitProducer(blockNumber); });
          Value writes = b.createOrFold<arith::AndIOp>(
              b.createOrFold<arith::AndIOp>(b.icmp(arith::CmpIPredicate::uge, warpInBlock, h.constant(1)),
                                            b.icmp(arith::CmpIPredicate::ule, warpInBlock, h.constant(2))),
              lane.eq(0));
          b.ifThen(writes, [&] { emitWriter(warpInBlock - 1); });
        },
        [&] {
          h.setRegisters(240, /*raise=*/true);
          emitConsumer(warpgroup - 1);
        });
  }

private:
  //===-- Barriers ---------------------------------------------------------===//
  Int barrier(int64_t first, Int index) { return barriers + first + (index << 3); }
  Int tileFull(Int buffer) { return barrier(0, buffer); }
  Int tileEmpty(Int buffer) { return barrier(16, buffer); }
  Int tileWords(Int buffer) { return barriers + 32 + (buffer << 4); }
  Int queryGradFull(Int parity) { return barrier(64, parity); }
  Int queryGradEmpty() { return barriers + 80; }
  Int queryFull(Int stage) { return barrier(96, stage); }
  Int queryEmpty(Int stage) { return barrier(96 + 8 * stages, stage); }
  Int gradFull(Int stage) { return barrier(96 + 16 * stages, stage); }
  Int gradEmpty(Int stage) { return barrier(96 + 24 * stages, stage); }

  void initBarriers() {
    for (int64_t i = 0; i < 2; ++i) {
      Int index = h.constant(i);
      h.initBarrier(tileFull(index), 1);
      h.initBarrier(tileEmpty(index), consumers + 2); // and the two writers
      h.initBarrier(queryGradFull(index), 8);         // the consumers' warps
    }
    h.initBarrier(queryGradEmpty(), 1);
    for (int64_t i = 0; i < stages; ++i) {
      Int stage = h.constant(i);
      h.initBarrier(queryFull(stage), 1);
      h.initBarrier(queryEmpty(stage), consumers);
      h.initBarrier(gradFull(stage), 1);
      h.initBarrier(gradEmpty(stage), consumers);
    }
    h.fenceBarrierInit();
  }

  //===-- Tiles ------------------------------------------------------------===//
  struct Tile {
    Int number, block, batchAndHead; ///< the last: batch << 16 | key/value head
    Int firstKey() const { return block * tileRows; }
    Int batch() const { return batchAndHead >> 16; }
    Int kvHead() const { return batchAndHead & 0xffff; }
  };
  Tile decode(Int number) {
    auto [tile, batchHead] = schedule.decode(h, number);
    Int block = h.constant(a.keyBlocks() - 1) - tile; // later keys first
    return {number, block, (batchHead / a.kvHeads) << 16 | batchHead % a.kvHeads};
  }
  Tile readTile(Int buffer) {
    std::array<Int, 4> words = h.loadWords(tileWords(buffer));
    return {words[0], words[1], words[2]};
  }
  Value isTile(Int number) { return number.ult(schedule.tiles()); }
  Int firstStep(const Tile &tile) { return tile.block * blocksPerTile; }
  Int stepEnd() { return h.constant(queryBlocks(a)); }
  /// Query head `i` of the tile's group.
  Int headOf(const Tile &tile, Int i) { return tile.kvHead() * a.group() + i; }
  Int batchHead(const Tile &tile, Int i) { return tile.batch() * a.heads + headOf(tile, i); }

  /// Runs `body` for the query heads of the group from `from` on.
  template <typename State>
  State forHeads(int64_t from, State state, llvm::function_ref<State(Int, State)> body) {
    if (a.group() == 1)
      return from == 0 ? body(h.constant(0), state) : state;
    Values end =
        b.forLoop(h.constant(from), h.constant(a.group()), h.constant(1), pack(state),
                  [&](Value i, ValueRange carried) { return pack(body(h.word(i), unpack(state, carried))); });
    return unpack(state, end);
  }
  template <typename State>
  State forSteps(Int from, int64_t step, State state, llvm::function_ref<State(Int, State)> body) {
    Values end = b.forLoop(from, stepEnd(), h.constant(step), pack(state), [&](Value i, ValueRange carried) {
      return pack(body(h.word(i), unpack(state, carried)));
    });
    return unpack(state, end);
  }

  //===-- Producer ---------------------------------------------------------===//
  struct Stage {
    Ring ring;
    SmallVector<Value *> values() { return {&ring.stage.value, &ring.parity.value}; }
  };
  struct Producer {
    Int number;
    Stage queries, tiles;
    SmallVector<Value *> values() {
      SmallVector<Value *> all = {&number.value};
      all.append(queries.values());
      all.append(tiles.values());
      return all;
    }
  };

  void emitProducer(Int blockNumber) {
    Int zero = h.constant(0), blocks = h.gridX();
    Producer start{blockNumber, {{zero, zero}}, {{zero, zero}}};
    Values end = h.whileLoop(
        pack(start), [&](ValueRange carried) { return isTile(unpack(start, carried).number); },
        [&](ValueRange carried) { return pack(loadOneTile(unpack(start, carried), blocks)); });
    // A number beyond the last tile tells the others to stop.
    Producer last = unpack(start, end);
    Ring ring = last.tiles.ring;
    h.wait(tileEmpty(ring.stage), ring.parity ^ 1);
    h.storeWords(tileWords(ring.stage), {last.number, last.number, last.number, last.number});
    h.arrive(tileFull(ring.stage));
  }

  Stage loadStep(const Tile &tile, Int headInGroup, Int step, Stage at0) {
    Ring ring = at0.ring;
    Int firstQuery = step * queryRows, head = headOf(tile, headInGroup);
    Int row = batchHead(tile, headInGroup) * a.paddedLength() + firstQuery;
    Int offset = ring.stage * at.queryTile, statistics = ring.stage * at.statistics;
    auto load = [&](Int full, Int empty, unsigned map, int64_t tileAt, Workspace workspace,
                    int64_t statisticsAt) {
      h.wait(empty, ring.parity ^ 1);
      h.arriveExpecting(full, at.queryTile + at.statistics);
      for (int64_t p = 0; p < a.panels(); ++p)
        h.loadTile(memory + tileAt + p * at.queryPanel + offset, b.tensorMap(map),
                   {h.constant(64 * p), head, firstQuery, tile.batch()}, full);
      h.loadBytes(memory + statisticsAt + statistics, h.at(b.argument(a.workspace + workspace), row, 4),
                  at.statistics, full);
    };
    load(queryFull(ring.stage), queryEmpty(ring.stage), 1, at.queries, ScaledLse, at.lse);
    load(gradFull(ring.stage), gradEmpty(ring.stage), 2, at.grads, Delta, at.delta);
    return {ring.next(h, stages)};
  }

  Producer loadOneTile(Producer state, Int blocks) {
    Tile tile = decode(state.number);
    Stage queries = loadStep(tile, h.constant(0), firstStep(tile), state.queries);

    Ring ring = state.tiles.ring;
    Int full = tileFull(ring.stage);
    h.wait(tileEmpty(ring.stage), ring.parity ^ 1);
    h.storeWords(tileWords(ring.stage), {tile.number, tile.block, tile.batchAndHead, tile.number});
    h.arriveExpecting(full, 2 * at.keyTile);
    for (int64_t which = 0; which < 2; ++which)
      for (int64_t p = 0; p < a.panels(); ++p)
        h.loadTile(
            keysOf(ring.stage) + which * at.keyTile + p * at.keyPanel, b.tensorMap(0),
            {h.constant(64 * p), tile.kvHead() + a.heads + which * a.kvHeads, tile.firstKey(), tile.batch()},
            full);

    queries = forSteps<Stage>(firstStep(tile) + 1, 1, queries,
                              [&](Int step, Stage s) { return loadStep(tile, h.constant(0), step, s); });
    queries = forHeads<Stage>(1, queries, [&](Int head, Stage s) {
      return forSteps<Stage>(firstStep(tile), 1, s,
                             [&](Int step, Stage s) { return loadStep(tile, head, step, s); });
    });
    Int ticket = h.fetchAdd(ticketCounter(), 1);
    return {blocks + ticket, queries, {ring.next(h, at.tileBuffers)}};
  }

  Int keysOf(Int buffer) { return at.tileBuffers == 1 ? memory : memory + buffer * (2 * at.keyTile); }
  Value flag(Int block) { return h.at(b.argument(a.workspace + Flags), block, 4); }
  Value ticketCounter() { return flag(h.constant(a.batch * a.heads * queryBlocks(a))); }

  //===-- Writers ----------------------------------------------------------===//
  /// `odd` is the parity of the number of steps done, `parity` that of this
  /// writer's barrier.
  struct Writer {
    Int odd, parity;
    Stage tiles;
    SmallVector<Value *> values() {
      SmallVector<Value *> all = {&odd.value, &parity.value};
      all.append(tiles.values());
      return all;
    }
  };
  struct Parity {
    Int parity;
    SmallVector<Value *> values() { return {&parity.value}; }
  };

  void emitWriter(Int writer) {
    Int zero = h.constant(0);
    Writer start{zero, zero, {{zero, zero}}};
    struct WithTile {
      Int block, batchAndHead;
      Writer writer;
      SmallVector<Value *> values() {
        SmallVector<Value *> all = {&block.value, &batchAndHead.value};
        all.append(writer.values());
        return all;
      }
    } carriedLike{zero, zero, start};
    auto loop = [&](ValueRange carried) {
      WithTile state = unpack(carriedLike, carried);
      Tile tile{zero, state.block, state.batchAndHead};
      Writer w = forHeads<Writer>(0, state.writer,
                                  [&](Int head, Writer s) { return writeHead(writer, tile, head, s); });
      w.tiles.ring = w.tiles.ring.next(h, at.tileBuffers);
      return pack(w);
    };
    h.whileLoop(
        pack(start), ValueRange(pack(carriedLike)).getTypes(),
        [&](ValueRange carried) -> std::pair<Value, Values> {
          Writer w = unpack(start, carried);
          Ring ring = w.tiles.ring;
          h.wait(tileFull(ring.stage), ring.parity);
          Tile tile = readTile(ring.stage);
          h.arrive(tileEmpty(ring.stage));
          return {isTile(tile.number), pack(WithTile{tile.block, tile.batchAndHead, w})};
        },
        loop);
    h.waitStores(0, /*read=*/false);
  }

  Writer writeHead(Int writer, const Tile &tile, Int head, Writer state) {
    Int from = firstStep(tile);
    Int base = batchHead(tile, head) * queryBlocks(a);
    Parity parity =
        forSteps<Parity>(from + (writer ^ state.odd), 2, Parity{state.parity},
                         [&](Int step, Parity s) { return writeStep(writer, tile, base, step, s); });
    state.parity = parity.parity;
    state.odd = state.odd ^ ((stepEnd() - from) & 1);
    return state;
  }

  Parity writeStep(Int writer, const Tile &tile, Int base, Int step, Parity state) {
    Int block = base + step;
    Value to = h.at(b.argument(a.workspace + QueryGrads), block, queryGradBytes), done = flag(block);
    Int from = memory + at.queryGrad;
    h.wait(queryGradFull(writer), state.parity);
    Int before = step / blocksPerTile - tile.block; // key blocks that come first
    h.ifElse(
        before.eq(0), [&] { h.storeBytes(to, from, queryGradBytes); },
        [&] {
          h.waitForFlag(done, before);
          h.fenceGlobalForAsync();
          h.addFloats(to, from, queryGradBytes);
        });
    h.commitStores();
    h.waitStores(0, /*read=*/true);
    h.arrive(queryGradEmpty());
    h.waitStores(0, /*read=*/false);
    h.fenceGlobalForAsync();
    h.releaseFlag(done, before + 1);
    return {state.parity ^ 1};
  }

  //===-- Consumers --------------------------------------------------------===//
  struct State {
    Ring queries;
    Int odd; ///< parity of the number of steps done
    Values keyGrads, valueGrads;
    Values scores; ///< of the next step, if pipelined
    SmallVector<Value *> values() {
      SmallVector<Value *> all = {&queries.stage.value, &queries.parity.value, &odd.value};
      for (Values *list : {&keyGrads, &valueGrads, &scores})
        for (Value &value : *list)
          all.push_back(&value);
      return all;
    }
  };
  /// Between two tiles.
  struct Outer {
    Ring queries;
    Int odd;
    Stage tiles;
    SmallVector<Value *> values() {
      SmallVector<Value *> all = {&queries.stage.value, &queries.parity.value, &odd.value};
      all.append(tiles.values());
      return all;
    }
  };

  void emitConsumer(Int number) {
    consumer = number;
    inGroup = thread & 127;
    warp = inGroup >> 5;
    first = inGroup.eq(0);
    isFirst = h.asWord(first);
    isFirstLane = h.asWord(lane.eq(0));
    row = (consumer << 6) + (warp << 4) + (lane >> 2);
    column = (lane & 3) << 1;
    scale = b.f32(M_LOG2E / std::sqrt(static_cast<double>(a.headDim)));
    Int row8 = lane & 7;
    fragment = (((warp << 4) + row8 + (lane & 8)) << 7) + (((lane >> 4) ^ row8) << 4) + (consumer << 13);
    staging = memory + at.queryGrad + (consumer << 14) + (inGroup << 4);

    Int zero = h.constant(0);
    Outer start{{zero, zero}, zero, {{zero, zero}}};
    struct WithTile {
      Int block, batchAndHead;
      Outer outer;
      SmallVector<Value *> values() {
        SmallVector<Value *> all = {&block.value, &batchAndHead.value};
        all.append(outer.values());
        return all;
      }
    } carriedLike{zero, zero, start};
    h.whileLoop(
        pack(start), ValueRange(pack(carriedLike)).getTypes(),
        [&](ValueRange carried) -> std::pair<Value, Values> {
          Outer outer = unpack(start, carried);
          h.wait(tileFull(outer.tiles.ring.stage), outer.tiles.ring.parity);
          Tile tile = readTile(outer.tiles.ring.stage);
          return {isTile(tile.number), pack(WithTile{tile.block, tile.batchAndHead, outer})};
        },
        [&](ValueRange carried) {
          WithTile state = unpack(carriedLike, carried);
          return pack(emitTile({zero, state.block, state.batchAndHead}, state.outer));
        });
    b.ifThen(first, [&] { h.waitStores(0, /*read=*/false); });
  }

  Outer emitTile(const Tile &tile, Outer outer) {
    Int buffer = outer.tiles.ring.stage;
    keys = keysOf(buffer);
    keyRows = h.descriptor(keys + (consumer << 13));
    valueRows = h.descriptor(keys + at.keyTile + (consumer << 13));
    // With one panel a consumer makes 64 rows of dQ, with two panels 64 columns.
    keyColumns = h.descriptor(a.panels() == 1 ? keys : keys + (consumer << 14));

    State state{outer.queries, outer.odd, {}, {}, {}};
    state.keyGrads.assign(a.padded() / 2, b.f32(0));
    state.valueGrads = state.keyGrads;
    if (pipelined) {
      h.wait(queryFull(state.queries.stage), state.queries.parity);
      state.scores = h.wgmmaWait(0, issueScores(state.queries.stage));
    }
    state = forHeads<State>(0, state, [&](Int head, State s) {
      for (int64_t i = 0; i < blocksPerTile; ++i)
        s = emitStep(tile, head, firstStep(tile) + i, s, /*diagonal=*/true);
      return forSteps<State>(firstStep(tile) + blocksPerTile, 1, s, [&](Int step, State s) {
        return emitStep(tile, head, step, s, /*diagonal=*/false);
      });
    });
    emitOutput(tile, buffer, state);
    return {state.queries, state.odd, {outer.tiles.ring.next(h, at.tileBuffers)}};
  }

  /// S^T = K Q^T, 64 keys of this consumer by the queries of a stage.
  Values issueScores(Int stage) {
    return issueAlongHead(keyRows, h.descriptor(memory + at.queries + stage * at.queryTile));
  }
  Values issueAlongHead(Value rows, Value columns) {
    h.wgmmaFence();
    Values product;
    for (int64_t k = 0; k < a.headSteps(); ++k)
      product = h.wgmma(queryRows, product, h.advance(rows, k / 4 * at.keyPanel + k % 4 * 32),
                        h.advance(columns, k / 4 * at.queryPanel + k % 4 * 32));
    h.wgmmaCommit();
    return product;
  }
  /// sums += pairs * (a tile of queries or their gradients).
  Values issueAlongQueries(Values sums, ArrayRef<Int> pairs, Value tile) {
    h.wgmmaFence();
    for (int64_t k = 0; k < queryRows / 16; ++k)
      sums = h.wgmma(a.padded(), sums, pairs.slice(4 * k, 4), h.advance(tile, 2048 * k),
                     {.a = false, .b = true});
    h.wgmmaCommit();
    return sums;
  }

  State emitStep(const Tile &tile, Int head, Int step, State state, bool diagonal) {
    const Int stage = state.queries.stage;
    Int queries = memory + at.queries + stage * at.queryTile,
        grads = memory + at.grads + stage * at.queryTile;
    Int lse = memory + at.lse + stage * at.statistics + (column << 2), delta = lse + (at.delta - at.lse);
    Value gradColumns = h.descriptor(grads, at.queryPanel),
          queryColumns = h.descriptor(queries, at.queryPanel);

    Values scores = state.scores;
    if (!pipelined) {
      h.wait(queryFull(stage), state.queries.parity);
      scores = issueScores(stage);
    }
    h.wait(gradFull(stage), state.queries.parity);
    Values pGrads = issueAlongHead(valueRows, h.descriptor(grads));
    if (!pipelined)
      scores = h.wgmmaWait(1, scores);
    if (diagonal)
      hideLater(scores, tile, step);
    Values p = exponentials(scores, lse);

    Values keyGrads = state.keyGrads, valueGrads = state.valueGrads;
    SmallVector<Int> pPairs, scorePairs;
    if (!mask) {
      pPairs = Fragment::pack(h, p);
      valueGrads = issueAlongQueries(valueGrads, pPairs, gradColumns);
      pGrads = h.wgmmaWait(1, pGrads);
      scorePairs = Fragment::pack(h, scoreGradients(pPairs, pGrads, delta));
    } else {
      pGrads = h.wgmmaWait(0, pGrads);
      dropAndDifferentiate(tile, head, step, p, pGrads, delta);
      pPairs = Fragment::pack(h, p);
      scorePairs = Fragment::pack(h, pGrads);
      valueGrads = issueAlongQueries(valueGrads, pPairs, gradColumns);
    }
    keyGrads = issueAlongQueries(keyGrads, scorePairs, queryColumns);

    // dS^T into shared memory, where all keys of the tile meet for dQ.
    Int scoreGrads = memory + at.scoreGrads + state.odd * at.scoreGrad;
    for (int64_t k = 0; k < queryRows / 16; ++k)
      h.storeMatrices(scoreGrads + k / 4 * at.keyPanel + (fragment ^ (k % 4 * 32)),
                      ArrayRef(scorePairs).slice(4 * k, 4));
    h.fenceSharedForAsync();
    h.syncNamed(h.constant(2), 256);
    Value scoreRows = h.descriptor(a.panels() == 1 ? scoreGrads + (consumer << 14) : scoreGrads);
    Values queryGrads;
    h.wgmmaFence();
    for (int64_t k = 0; k < tileRows / 16; ++k)
      queryGrads = h.wgmma(64, queryGrads, h.advance(scoreRows, 2048 * k), h.advance(keyColumns, 2048 * k),
                           {.a = true, .b = true});
    h.wgmmaCommit();

    // dK and dV are done, dQ may run on: the stage is free.
    Values both = keyGrads;
    both.append(valueGrads);
    SmallVector<Int> held = pPairs;
    held.append(scorePairs);
    both = h.wgmmaWait(1, both, held);
    State next = state;
    next.keyGrads.assign(both.begin(), both.begin() + keyGrads.size());
    next.valueGrads.assign(both.begin() + keyGrads.size(), both.end());
    h.arriveIf(queryEmpty(stage), isFirst);
    h.arriveIf(gradEmpty(stage), isFirst);
    next.queries = state.queries.next(h, stages);
    if (pipelined) {
      // After the last step there is nothing to wait for: what is then computed
      // is not used.
      b.ifThen(hasNext(head, step), [&] { h.wait(queryFull(next.queries.stage), next.queries.parity); });
      next.scores = issueScores(next.queries.stage);
      queryGrads = h.wgmmaWait(1, queryGrads);
    } else {
      queryGrads = h.wgmmaWait(0, queryGrads);
    }
    h.wait(queryGradEmpty(), state.odd ^ 1);
    for (int64_t k = 0; k < 8; ++k)
      h.storeFloats(staging, 2048 * k, ValueRange(queryGrads).slice(4 * k, 4));
    h.fenceSharedForAsync();
    b.warpBarrier();
    h.arriveIf(queryGradFull(state.odd), isFirstLane);
    if (pipelined)
      next.scores = h.wgmmaWait(0, next.scores);
    next.odd = state.odd ^ 1;
    return next;
  }

  Value hasNext(Int head, Int step) {
    Value more = step.slt(stepEnd() - 1);
    if (a.group() > 1)
      more = b.createOrFold<arith::OrIOp>(more, head.slt(a.group() - 1));
    return more;
  }

  /// -infinity where the key is after the query.
  void hideLater(Values &scores, const Tile &tile, Int step) {
    Int distance = tile.firstKey() + row - step * queryRows - column;
    Fragment::hideColumnsBefore(h, scores, distance);
  }

  Values exponentials(const Values &scores, Int lse) {
    Values p(scores.size());
    for (int64_t j = 0; j < queryRows / 8; ++j) {
      auto [even, odd] = h.loadFloats(lse, 32 * j);
      for (int64_t e = 0; e < 2; ++e) {
        Value minus = b.fneg(e ? odd : even);
        for (int64_t half = 0; half < 2; ++half)
          p[Fragment::index(half, j, e)] = h.exp2(b.fma(scores[Fragment::index(half, j, e)], scale, minus));
      }
    }
    return p;
  }

  /// dS = P (dP - delta). P comes from its packed pairs, which wgmma holds
  /// anyway: its f32 registers are free while dP is computed.
  Values scoreGradients(ArrayRef<Int> pPairs, const Values &pGrads, Int delta) {
    Values p(pGrads.size()), result(pGrads.size());
    for (auto [i, pair] : llvm::enumerate(pPairs))
      std::tie(p[2 * i], p[2 * i + 1]) = h.unpackBf16(pair);
    for (int64_t j = 0; j < queryRows / 8; ++j) {
      auto [even, odd] = h.loadFloats(delta, 32 * j);
      for (int64_t e = 0; e < 2; ++e)
        for (int64_t half = 0; half < 2; ++half) {
          int64_t i = Fragment::index(half, j, e);
          result[i] = h.mul(p[i], h.sub(pGrads[i], e ? odd : even));
        }
    }
    return result;
  }

  /// p becomes what dropout keeps of it, pGrads becomes dS.
  void dropAndDifferentiate(const Tile &tile, Int head, Int step, Values &p, Values &pGrads, Int delta) {
    Value element = mask.element(batchHead(tile, head), step * queryRows + column, tile.firstKey() + row);
    Value zero = b.f32(0), factor = b.f32(mask.scale());
    for (int64_t j = 0; j < queryRows / 8; ++j) {
      auto [even, odd] = h.loadFloats(delta, 32 * j);
      for (int64_t e = 0; e < 2; ++e) {
        Value minus = b.fneg(e ? odd : even);
        for (int64_t half = 0; half < 2; ++half) {
          int64_t i = Fragment::index(half, j, e);
          Value keeps = mask.keeps(element, (8 * j + e) * a.length + 8 * half);
          Value grad = b.select(keeps, pGrads[i], zero);
          pGrads[i] = h.mul(p[i], b.fma(grad, factor, minus));
          p[i] = b.select(keeps, p[i], zero);
        }
      }
    }
  }

  /// dV and dK go where V and K were, and from there out.
  void emitOutput(const Tile &tile, Int buffer, const State &state) {
    h.syncNamed(h.constant(2), 256);
    auto stage = [&](const Values &sums, std::optional<double> factor, Int to, bool rotates = false) {
      Values scaled = sums;
      if (factor)
        for (Value &sum : scaled)
          sum = h.mul(sum, b.f32(*factor));
      if (rotates)
        Rotator(h, a, tile.firstKey() + row, column).rotate(scaled);
      for (int64_t p = 0; p < a.panels(); ++p)
        for (int64_t c = 0; c < 4; ++c) {
          SmallVector<Int> words;
          for (int64_t j : {8 * p + 2 * c, 8 * p + 2 * c + 1})
            for (int64_t half = 0; half < 2; ++half)
              words.push_back(h.packBf16(scaled[Fragment::index(half, j, 0)], scaled[Fragment::index(half, j, 1)]));
          h.storeMatrices(to + p * at.keyPanel + (fragment ^ (32 * c)), words);
        }
    };
    stage(state.valueGrads, mask ? std::optional<double>(mask.scale()) : std::nullopt, keys + at.keyTile);
    stage(state.keyGrads, 1 / std::sqrt(static_cast<double>(a.headDim)), keys, a.rotation.has_value());
    h.fenceSharedForAsync();
    h.syncNamed(consumer + 5, 128);
    b.ifThen(first, [&] {
      for (int64_t which : {1, 0})
        for (int64_t p = 0; p < a.panels(); ++p)
          h.storeTile(keys + which * at.keyTile + p * at.keyPanel + (consumer << 13), b.tensorMap(3),
                      {h.constant(64 * p), tile.kvHead() + a.heads + which * a.kvHeads,
                       tile.firstKey() + (consumer << 6), tile.batch()});
      h.commitStores();
      h.waitStores(0, /*read=*/true);
      h.arrive(tileEmpty(buffer));
    });
  }

  Hopper h;
  GpuBuilder &b;
  const Attention &a;
  Layout at;
  Schedule schedule;
  int64_t queryRows, blocksPerTile;
  DropoutMask mask;
  bool pipelined; ///< scores of the next step are issued in this one
  Int thread, lane, memory, barriers;
  // Of a consumer:
  Int consumer, inGroup, warp, isFirst, isFirstLane;
  Value first;
  Int row, column; ///< the upper key in the tile, and the first query, of a thread
  Int fragment;    ///< where stmatrix puts its rows in a panel of 128 rows
  Int staging;     ///< its place in a tile of dQ
  Value scale;
  Int keys;                             ///< of the present tile
  Value keyRows, valueRows, keyColumns; ///< descriptors
};

//===-- Prepare ------------------------------------------------------------===//

constexpr int64_t prepareThreads = 256, rowsPerThread = 4;
/// Threads of a row, 16 bytes each.
int64_t threadsPerRow(const Attention &a) { return a.padded() / 8; }
int64_t prepareRows(const Attention &a) { return rowsPerThread * prepareThreads / threadsPerRow(a); }

void emitPrepare(GpuBuilder &b, const Attention &a) {
  Hopper h(b);
  int64_t perHead = a.paddedLength() / prepareRows(a), width = threadsPerRow(a);
  assert(perHead == queryBlocks(a) && "a block has one flag to zero");
  Int thread = h.thread(), block = h.blockX();
  Int batchHead = block / perHead, inRow = thread & (width - 1);
  Int firstRow = block % perHead * prepareRows(a) + thread / width;
  Value firstThread = thread.eq(0), flags = b.argument(a.workspace + Flags);
  b.ifThen(firstThread, [&] {
    h.storeWord(h.at(flags, block, 4), h.constant(0));
    b.ifThen(block.eq(0), [&] {
      h.storeWord(h.at(flags, h.constant(a.batch * a.heads * queryBlocks(a)), 4), h.constant(0));
    });
  });
  // All loads first.
  struct Row {
    Int position;
    SmallVector<Int> output, grad;
    Value lse;
  };
  SmallVector<Row> rows;
  for (int64_t i = 0; i < rowsPerThread; ++i) {
    Int position = firstRow + i * (prepareThreads / width);
    Value exists = position.slt(a.length), hasColumns = (inRow << 3).slt(a.headDim);
    Int row = (batchHead / a.heads * a.length + position) * a.heads + batchHead % a.heads;
    Value offset = b.add(b.mul(b.extendTo(row, b.getI64Type()), b.i64(a.headDim * 2)),
                         b.extendTo(inRow << 4, b.getI64Type()));
    Int loads = h.both(exists, hasColumns);
    rows.push_back(
        {position, h.loadWordsIf(h.at(b.argument(a.output), offset), loads),
         h.loadWordsIf(h.at(b.argument(a.grad), offset), loads),
         h.loadFloatIf(h.at(b.argument(a.lse), batchHead * a.length + position, 4), h.asWord(exists))});
  }
  for (Row &row : rows) {
    Value sum = dotAcross(h, row.output, row.grad, width);
    b.ifThen(inRow.eq(0), [&] {
      Int to = batchHead * a.paddedLength() + row.position;
      b.create<LLVM::StoreOp>(sum, h.at(b.argument(a.workspace + Delta), to, 4), 4);
      b.create<LLVM::StoreOp>(h.mul(row.lse, b.f32(M_LOG2E)),
                              h.at(b.argument(a.workspace + ScaledLse), to, 4), 4);
    });
  }
}

//===-- Finish -------------------------------------------------------------===//

/// Pieces of dQ (64 x 64, one consumer's each) of a block: whole rows of the head.
int64_t piecesTogether(const Attention &a) { return a.panels(); }

/// Heads whose rows at the same positions one block turns: they share the angles.
int64_t headsFinished(const Attention &a) {
  for (int64_t heads : {4, 3, 2})
    if (a.rotation && a.heads % heads == 0)
      return heads;
  return 1;
}

/// A block turns 64 rows of dQ of some heads into bf16.
void emitFinish(GpuBuilder &b, const Attention &a) {
  Hopper h(b);
  int64_t together = piecesTogether(a), perHead = consumers * queryBlocks(a) / together, heads = headsFinished(a);
  Int thread = h.thread(), number = h.blockX(), memory = h.dynamicShared();
  Int firstHead = number / perHead * heads, rows = number % perHead << 6;
  Int lane = thread & 31, warp = thread >> 5, row8 = lane & 7;
  Int to = (((warp << 4) + row8 + (lane & 8)) << 7) + (((lane >> 4) ^ row8) << 4);
  Value isFirst = thread.eq(0);
  std::optional<Rotator> rotator;
  if (a.rotation) {
    rotator.emplace(h, a, rows + (warp << 4) + (lane >> 2), (lane & 3) << 1);
    if (heads > 1)
      rotator->load();
  }
  auto four = VectorType::get({4}, b.getF32Type());
  Value factor = b.f32(1 / std::sqrt(static_cast<double>(a.headDim)));
  for (int64_t head = 0; head < heads; ++head) {
    Int batchHead = firstHead + head, piece = (batchHead * perHead + number % perHead) * together;
    Values loaded, elements;
    // The consumers share a query block by rows (one panel) or by columns (two).
    for (int64_t p = 0; p < together; ++p) {
      Value from = h.at(h.at(b.argument(a.workspace + QueryGrads), piece + p, pieceBytes), thread, 16);
      for (int64_t k = 0; k < 8; ++k)
        loaded.push_back(b.create<LLVM::LoadOp>(four, h.at(from, b.i64(2048 * k)), 16));
    }
    for (Value vector : loaded)
      for (int64_t i = 0; i < 4; ++i)
        elements.push_back(h.mul(b.create<vector::ExtractOp>(vector, i), factor));
    if (rotator)
      rotator->rotate(elements);
    // Two buffers take turns: all but the last store have left the one that is written.
    int64_t buffer = head % 2 * together * (pieceBytes / 2);
    if (head > 1) {
      b.ifThen(isFirst, [&] { h.waitStores(1, /*read=*/true); });
      b.barrier();
    }
    for (int64_t c = 0; c < 4 * together; ++c) {
      SmallVector<Int> words;
      for (int64_t j : {2 * c, 2 * c + 1})
        for (int64_t half = 0; half < 2; ++half)
          words.push_back(h.packBf16(elements[Fragment::index(half, j, 0)], elements[Fragment::index(half, j, 1)]));
      h.storeMatrices(memory + (buffer + c / 4 * (pieceBytes / 2)) + (to ^ (32 * (c % 4))), words);
    }
    h.fenceSharedForAsync();
    b.barrier();
    b.ifThen(isFirst, [&] {
      for (int64_t p = 0; p < together; ++p)
        h.storeTile(memory + (buffer + p * (pieceBytes / 2)), b.tensorMap(0),
                    {h.constant(64 * p), batchHead % a.heads, rows, batchHead / a.heads});
      h.commitStores();
    });
  }
  b.ifThen(isFirst, [&] { h.waitStores(0, /*read=*/false); });
}

} // namespace

GpuShape describeBackward(const Attention &a, const GpuTarget &target) {
  int64_t rows = a.batch * a.heads * a.paddedLength(), blocks = a.batch * a.heads * queryBlocks(a);
  GpuPhase prepare, main, finish;
  prepare.grid = {blocks, 1, 1};
  prepare.block = {prepareThreads, 1, 1};
  main.grid = {0, 1, 1};
  main.block = {threads, 1, 1};
  main.shared = Layout(a).end;
  main.minBlocks = 1;
  main.maps = {a.qkvMap(a.qkv, tileRows), a.qkvMap(a.qkv, queryRows(a)), a.outputMap(a.grad, queryRows(a)),
               a.qkvMap(a.qkvGrad, 64)};
  finish.grid = {consumers * blocks / piecesTogether(a) / headsFinished(a), 1, 1};
  finish.block = {Hopper::warpgroup, 1, 1};
  finish.shared = std::min<int64_t>(headsFinished(a), 2) * piecesTogether(a) * pieceBytes / 2;
  finish.maps = {a.qkvMap(a.qkvGrad, 64)};
  return {{prepare, main, finish}, {rows * 4, rows * 4, blocks * queryGradBytes, (blocks + 1) * 4}};
}

void emitBackward(GpuBuilder &b, const Attention &a, int64_t phase) {
  if (phase == 0)
    emitPrepare(b, a);
  else if (phase == 1)
    Main(b, a).emit();
  else
    emitFinish(b, a);
}

} // namespace txc::codegen::gpu
