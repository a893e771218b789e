//===- EditDistance.h - How many slips apart two words are ------*- C++ -*-===//
//
// For txc and txrun alike; needs the standard library only.
//
//===----------------------------------------------------------------------===//

#ifndef TXC_SUPPORT_EDITDISTANCE_H
#define TXC_SUPPORT_EDITDISTANCE_H

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

namespace txc {

/// Levenshtein's distance, with a swap of neighbours as one change: the commonest slip.
inline size_t editDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}

} // namespace txc

#endif // TXC_SUPPORT_EDITDISTANCE_H
