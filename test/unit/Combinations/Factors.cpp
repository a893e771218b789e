//===- Factors.cpp - Options and the values that a test gives them ---------===//

#include "Factors.h"

#include <optional>
#include <set>
#include <tuple>

namespace combinations {
namespace {

using Pair = std::tuple<size_t, size_t, size_t, size_t>; // f < g: f, a, g, b

Pair pairOf(size_t f, size_t a, size_t g, size_t b) { return f < g ? Pair(f, a, g, b) : Pair(g, b, f, a); }

} // namespace

std::vector<Row> coverPairs(const std::vector<Factor> &factors, const MayMeet &mayMeet) {
  auto allowed = [&](const Pair &pair) {
    auto [f, a, g, b] = pair;
    return mayMeet(f, a, g, b);
  };
  std::set<Pair> missing;
  for (size_t f = 0; f < factors.size(); ++f)
    for (size_t g = f + 1; g < factors.size(); ++g)
      for (size_t a = 0; a < factors[f].levels.size(); ++a)
        for (size_t b = 0; b < factors[g].levels.size(); ++b)
          if (mayMeet(f, a, g, b))
            missing.insert({f, a, g, b});

  std::vector<Row> rows;
  Row before(factors.size(), 0);
  while (!missing.empty()) {
    std::vector<std::optional<size_t>> chosen(factors.size());
    auto [f0, a0, g0, b0] = *missing.begin();
    chosen[f0] = a0;
    chosen[g0] = b0;
    for (size_t f = 0; f < factors.size(); ++f) {
      if (chosen[f])
        continue;
      int most = -1;
      size_t count = factors[f].levels.size();
      for (size_t i = 1; i <= count; ++i) {
        size_t a = (before[f] + i) % count;
        int gain = 0;
        bool fits = true;
        for (size_t g = 0; g < factors.size() && fits; ++g) {
          if (!chosen[g])
            continue;
          Pair pair = pairOf(f, a, g, *chosen[g]);
          fits = allowed(pair);
          gain += missing.count(pair);
        }
        if (fits && gain > most) {
          most = gain;
          chosen[f] = a;
        }
      }
      if (!chosen[f])
        return {};
    }
    Row row;
    for (const auto &level : chosen)
      row.push_back(*level);
    for (size_t f = 0; f < row.size(); ++f)
      for (size_t g = f + 1; g < row.size(); ++g)
        missing.erase({f, row[f], g, row[g]});
    rows.push_back(row);
    before = row;
  }
  return rows;
}

std::vector<txc::import::Override> overridesOf(const std::vector<Factor> &factors, const Row &row) {
  std::vector<txc::import::Override> overrides;
  for (size_t f = 0; f < factors.size(); ++f)
    for (const txc::import::Override &override : factors[f].levels[row[f]].overrides)
      overrides.push_back(override);
  return overrides;
}

std::string textOf(const std::vector<txc::import::Override> &overrides) {
  std::string text;
  for (const txc::import::Override &override : overrides)
    text += (text.empty() ? "--" : " --") + override.key + "=" + override.value;
  return text;
}

} // namespace combinations
