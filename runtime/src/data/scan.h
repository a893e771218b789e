//===- scan.h - The largest token of a range --------------------------------===//
#ifndef TXC_RUNTIME_DATA_SCAN_H
#define TXC_RUNTIME_DATA_SCAN_H

#include <cstddef>
#include <cstdint>

namespace txc::data {

// 0 for an empty range.
uint32_t largestToken(const uint16_t *tokens, size_t count);
uint32_t largestToken(const uint32_t *tokens, size_t count);

} // namespace txc::data

#endif // TXC_RUNTIME_DATA_SCAN_H
