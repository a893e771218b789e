//===- Factors.h - Options and the values that a test gives them -----------===//
#ifndef TXC_TEST_UNIT_COMBINATIONS_FACTORS_H
#define TXC_TEST_UNIT_COMBINATIONS_FACTORS_H

#include "txc/Import/Spec.h"

#include <functional>
#include <string>
#include <vector>

namespace combinations {

/// One way to set an option, or a few that belong together.
struct Level {
  std::vector<txc::import::Override> overrides;
};

/// An option and its levels.
struct Factor {
  std::string name;
  std::vector<Level> levels;
};

/// The number of a level for every factor.
using Row = std::vector<size_t>;

/// Whether level `a` of factor `f` may meet level `b` of factor `g`; asked with f < g.
using MayMeet = std::function<bool(size_t f, size_t a, size_t g, size_t b)>;

/// Rows in which every two levels of different factors that may meet do meet.
///
/// Greedy and without chance: a row begins with the first pair that is missing;
/// then each factor in turn takes the level that adds most missing pairs with the
/// levels chosen so far (of equals, the one after that of the row before). Empty if
/// a row cannot be completed.
std::vector<Row> coverPairs(const std::vector<Factor> &factors, const MayMeet &mayMeet);

/// --key=value for all of a row.
std::vector<txc::import::Override> overridesOf(const std::vector<Factor> &factors, const Row &row);

/// The overrides as one writes them.
std::string textOf(const std::vector<txc::import::Override> &overrides);

} // namespace combinations

#endif // TXC_TEST_UNIT_COMBINATIONS_FACTORS_H
