//===- AttentionTiles.cpp - Small products and block copies for attention --===//

#include "AttentionTiles.h"

#include <cmath>

using namespace mlir;

namespace txc::codegen {

/// Accumulators + vectors of b + one broadcast element fit the register file
/// (32 with 64-byte vectors, else 16), and there are at least eight
/// accumulators, enough to hide the latency of a fused multiply-add.
TileSize getTileSize(const CpuTarget &target, int64_t vectors) {
  if (target.vectorBytes < 64)
    return {4, std::min<int64_t>(vectors, 2)};
  if (vectors % 3 == 0)
    return {8, 3};
  return {8, std::min<int64_t>(vectors, 2)};
}

void emitBlockProduct(CpuBuilder &b, const BlockProduct &p) {
  int64_t lanes = b.lanes, vectors = p.width / lanes;
  TileSize tile = getTileSize(b.target, vectors);
  Type f32 = b.getF32Type();
  for (int64_t first = 0; first < vectors; first += tile.vectors) {
    int64_t count = std::min(tile.vectors, vectors - first);
    auto [rowBegin, rowEnd] = p.rows(first * lanes);
    b.forLoop(rowBegin, rowEnd, b.i64(tile.rows), [&](Value row) {
      Value cBase = b.add(b.mul(row, b.i64(p.cRow)), b.i64(first * lanes));
      auto cIndex = [&](int64_t r, int64_t v) { return b.add(cBase, b.i64(r * p.cRow + v * lanes)); };
      SmallVector<Value> sums;
      for (int64_t r = 0; r < tile.rows; ++r) {
        Value scale;
        if (p.rowScale)
          scale = b.splat(b.load(p.rowScale, b.add(row, b.i64(r)), f32), lanes);
        for (int64_t v = 0; v < count; ++v) {
          Value sum = b.splat(b.f32(0), lanes);
          if (p.accumulate)
            sum = b.loadVector(p.c, cIndex(r, v), f32, lanes);
          sums.push_back(scale ? b.fmul(sum, scale) : sum);
        }
      }
      Value aBase = b.mul(row, b.i64(p.aRow));
      auto [kBegin, kEnd] = p.ks(row);
      sums = b.forLoop(kBegin, kEnd, b.i64(1), sums, [&](Value k, ValueRange carried) {
        Value bBase = b.add(b.mul(k, b.i64(p.bRow)), b.i64(first * lanes));
        SmallVector<Value> columns, next;
        for (int64_t v = 0; v < count; ++v)
          columns.push_back(b.loadVector(p.b, b.add(bBase, b.i64(v * lanes)), f32, lanes));
        Value aColumn = b.add(aBase, b.mul(k, b.i64(p.aColumn)));
        for (int64_t r = 0; r < tile.rows; ++r) {
          Value element = b.splat(b.load(p.a, b.add(aColumn, b.i64(r * p.aRow)), f32), lanes);
          for (int64_t v = 0; v < count; ++v)
            next.push_back(b.fma(element, columns[v], carried[r * count + v]));
        }
        return next;
      });
      for (int64_t r = 0; r < tile.rows; ++r)
        for (int64_t v = 0; v < count; ++v)
          b.storeVector(sums[r * count + v], p.c, cIndex(r, v), f32);
    });
  }
}

/// Lanes of the columns [column, column + lanes) that are below the width; null if all.
static Value columnMask(CpuBuilder &b, const MemoryBlock &block, int64_t column) {
  int64_t left = block.width - column;
  return left >= b.lanes ? Value() : b.tailMask(b.lanes, left);
}

void emitCopyIn(CpuBuilder &b, const MemoryBlock &block, Value to) {
  int64_t lanes = b.lanes, padded = llvm::alignTo(block.width, lanes);
  Type f32 = b.getF32Type();
  b.forLoop(b.i64(0), block.valid, b.i64(1), [&](Value row) {
    Value from = b.add(block.index, b.mul(row, b.i64(block.stride))), target = b.mul(row, b.i64(padded));
    for (int64_t n = 0; n < padded; n += lanes)
      b.storeVector(b.loadVector(block.pointer, b.add(from, b.i64(n)), f32, lanes, columnMask(b, block, n)),
                    to, b.add(target, b.i64(n)), f32);
  });
  Value zero = b.splat(b.f32(0), lanes);
  b.forLoop(block.valid, b.i64(attentionBlock), b.i64(1), [&](Value row) {
    for (int64_t n = 0; n < padded; n += lanes)
      b.storeVector(zero, to, b.add(b.mul(row, b.i64(padded)), b.i64(n)), f32);
  });
}

/// Transposes lanes x lanes elements held as rows: in round `bit`, rows r and
/// r + bit swap the two off-diagonal halves of each of their 2*bit-wide squares.
static void transposeRows(CpuBuilder &b, MutableArrayRef<Value> rows) {
  int32_t lanes = rows.size();
  for (int32_t bit = 1; bit < lanes; bit *= 2) {
    SmallVector<int32_t> low, high;
    for (int32_t lane = 0; lane < lanes; ++lane) {
      low.push_back(lane & bit ? lanes + lane - bit : lane);
      high.push_back(lane & bit ? lanes + lane : lane + bit);
    }
    for (int32_t r = 0; r < lanes; ++r)
      if (!(r & bit)) {
        Value upper = rows[r], lower = rows[r + bit];
        rows[r] = b.shuffle(upper, lower, low);
        rows[r + bit] = b.shuffle(upper, lower, high);
      }
  }
}

void emitTransposeIn(CpuBuilder &b, const MemoryBlock &block, Value to, double scale) {
  int64_t lanes = b.lanes, padded = llvm::alignTo(block.width, lanes);
  Type f32 = b.getF32Type();
  Value factor = b.splat(b.f32(scale), lanes);
  b.forLoop(b.i64(0), b.i64(attentionBlock), b.i64(lanes), [&](Value row) {
    b.forLoop(b.i64(0), b.i64(padded), b.i64(lanes), [&](Value column) {
      SmallVector<Value> rows;
      Value columnsLeft = b.sub(b.i64(block.width), column);
      for (int64_t r = 0; r < lanes; ++r) {
        Value number = b.add(row, b.i64(r));
        Value exists = b.icmp(arith::CmpIPredicate::slt, number, block.valid);
        Value mask = b.tailMask(lanes, b.select(exists, columnsLeft, b.i64(0)));
        Value index = b.add(b.add(block.index, b.mul(number, b.i64(block.stride))), column);
        Value elements = b.loadVector(block.pointer, index, f32, lanes, mask);
        rows.push_back(scale == 1.0 ? elements : b.fmul(elements, factor));
      }
      transposeRows(b, rows);
      for (int64_t r = 0; r < lanes; ++r)
        b.storeVector(rows[r], to, b.add(b.mul(b.add(column, b.i64(r)), b.i64(attentionBlock)), row), f32);
    });
  });
}

void emitCopyOut(CpuBuilder &b, Value from, const MemoryBlock &block, bool accumulate, Value rowScale) {
  int64_t lanes = b.lanes, padded = llvm::alignTo(block.width, lanes);
  Type f32 = b.getF32Type();
  b.forLoop(b.i64(0), block.valid, b.i64(1), [&](Value row) {
    Value source = b.mul(row, b.i64(padded)), target = b.add(block.index, b.mul(row, b.i64(block.stride)));
    Value scale;
    if (rowScale)
      scale = b.splat(b.load(rowScale, row, f32), lanes);
    for (int64_t n = 0; n < padded; n += lanes) {
      Value elements = b.loadVector(from, b.add(source, b.i64(n)), f32, lanes);
      Value index = b.add(target, b.i64(n)), mask = columnMask(b, block, n);
      if (scale)
        elements = b.fmul(elements, scale);
      if (accumulate)
        elements = b.fadd(b.loadVector(block.pointer, index, f32, lanes, mask), elements);
      b.storeVector(elements, block.pointer, index, f32, mask);
    }
  });
}

void emitZero(CpuBuilder &b, Value pointer, int64_t count) {
  Value zero = b.splat(b.f32(0), b.lanes);
  b.forLoop(b.i64(0), b.i64(count), b.i64(b.lanes),
            [&](Value i) { b.storeVector(zero, pointer, i, b.getF32Type()); });
}

Value emitExp2(CpuBuilder &b, Value x) {
  // x = n + f with |f| <= 1/2: adding 1.5 * 2^23 leaves n in the low bits.
  // 2^f is the polynomial of least relative error (1.9e-9) of degree 6.
  static constexpr double coefficients[] = {
      0.00015345812, 0.0013399931219, 0.0096184889571, 0.0555032877697, 0.2402264689, 0.6931472057, 1.0};
  Value least = b.constant(x, -125.0), shift = b.constant(x, 12582912.0);
  Value clamped = b.fmax(x, least);
  Value shifted = b.fadd(clamped, shift);
  Value f = b.fsub(clamped, b.fsub(shifted, shift));
  Value power = b.constant(x, coefficients[0]);
  for (double coefficient : ArrayRef(coefficients).drop_front())
    power = b.fma(power, f, b.constant(x, coefficient));
  Value bits = b.bitcast(shifted, b.getI32Type());
  Value exponent = b.create<arith::ShLIOp>(bits, b.intConstant(bits, 23));
  Value result = b.bitcast(b.add(b.bitcast(power, b.getI32Type()), exponent), b.getF32Type());
  return b.select(b.fcmp(arith::CmpFPredicate::OLT, x, least), b.constant(x, 0.0), result);
}

AttentionSizes getAttentionSizes(Value qkv, int64_t heads, int64_t kvHeads, const CpuTarget &target) {
  auto type = cast<RankedTensorType>(qkv.getType());
  int64_t rowSize = type.getDimSize(2), headDim = rowSize / (heads + 2 * kvHeads);
  return {type.getDimSize(0),
          type.getDimSize(1),
          heads,
          kvHeads,
          headDim,
          (int64_t)llvm::alignTo(headDim, target.floatLanes()),
          rowSize};
}

unsigned getInputArgument(Value operand) { return cast<BlockArgument>(operand).getArgNumber(); }

std::optional<unsigned> getResultArgument(step::KernelOp kernel, Value result) {
  Block &body = kernel.getBody().front();
  for (auto [index, value] : llvm::enumerate(body.back().getOperands()))
    if (value == result)
      return body.getNumArguments() + index;
  return std::nullopt;
}

} // namespace txc::codegen
