//===- element_order.h - Types and orders of a tensor's elements ------------===//
#ifndef TXC_RUNTIME_INTERCHANGE_ELEMENT_ORDER_H
#define TXC_RUNTIME_INTERCHANGE_ELEMENT_ORDER_H

#include <cstdint>
#include <string_view>

namespace txc::interchange {

// The type can be converted to float32 exactly.
bool isExactInFloat(std::string_view dtype);
// `count` elements of such a type.
void toFloat(std::string_view dtype, const void *from, uint64_t count, float *to);

// Which rows of a head rope rotates together: 2i with 2i + 1, or i with i + headDim / 2.
enum class RopeOrder { Interleaved, Half };
// Reorders the rows of each head of `headDim` rows of `width` elements. Bits do not change.
void reorderHeads(float *rows, uint64_t numRows, uint64_t headDim, uint64_t width, RopeOrder from,
                  RopeOrder to);

// [rows, columns] -> [columns, rows].
void transpose(const float *from, uint64_t rows, uint64_t columns, float *to);

} // namespace txc::interchange

#endif // TXC_RUNTIME_INTERCHANGE_ELEMENT_ORDER_H
