//===- element_order.cpp - Types and orders of a tensor's elements ----------===//
#include "interchange/element_order.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace txc::interchange {

bool isExactInFloat(std::string_view dtype) { return dtype == "F32" || dtype == "BF16" || dtype == "F16"; }

// Bits of the float32 that a float16 is: 5 bits of exponent less 15, 10 of fraction.
static uint32_t widenHalf(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, exponent = half >> 10 & 31;
  uint32_t fraction = half & 1023;
  if (exponent == 31) // infinity and NaN
    return sign | 0x7f800000 | fraction << 13;
  if (exponent != 0)
    return sign | (exponent + 112) << 23 | fraction << 13;
  if (fraction == 0)
    return sign;
  // fraction * 2^-24, which float32 holds as a normal number.
  uint32_t shift = 0;
  for (; !(fraction & 1024); ++shift)
    fraction <<= 1;
  return sign | (113 - shift) << 23 | (fraction & 1023) << 13;
}

void toFloat(std::string_view dtype, const void *from, uint64_t count, float *to) {
  if (dtype == "F32") {
    std::memcpy(to, from, count * 4);
    return;
  }
  const char *bytes = static_cast<const char *>(from);
  for (uint64_t i = 0; i < count; ++i) {
    uint16_t narrow;
    std::memcpy(&narrow, bytes + 2 * i, 2);
    const uint32_t wide = dtype == "BF16" ? static_cast<uint32_t>(narrow) << 16 : widenHalf(narrow);
    std::memcpy(to + i, &wide, 4);
  }
}

void reorderHeads(float *rows, uint64_t numRows, uint64_t headDim, uint64_t width, RopeOrder from,
                  RopeOrder to) {
  if (from == to || headDim < 2)
    return;
  std::vector<float> head(headDim * width);
  for (uint64_t first = 0; first + headDim <= numRows; first += headDim) {
    float *begin = rows + first * width;
    std::copy(begin, begin + headDim * width, head.begin());
    for (uint64_t i = 0; i < headDim; ++i) {
      // Where element i of the interleaved order is in halves.
      const uint64_t half = i / 2 + i % 2 * (headDim / 2);
      const uint64_t source = from == RopeOrder::Half ? half : i, target = from == RopeOrder::Half ? i : half;
      std::memcpy(begin + target * width, head.data() + source * width, width * 4);
    }
  }
}

void transpose(const float *from, uint64_t rows, uint64_t columns, float *to) {
  constexpr uint64_t kTile = 32;
  for (uint64_t r0 = 0; r0 < rows; r0 += kTile)
    for (uint64_t c0 = 0; c0 < columns; c0 += kTile)
      for (uint64_t r = r0; r < std::min(rows, r0 + kTile); ++r)
        for (uint64_t c = c0; c < std::min(columns, c0 + kTile); ++c)
          std::memcpy(to + c * rows + r, from + r * columns + c, 4);
}

} // namespace txc::interchange
