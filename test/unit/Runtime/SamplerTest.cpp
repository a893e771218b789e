//===- SamplerTest.cpp - Tokens drawn from logits --------------------------===//
#include "sample/sampler.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <map>
#include <set>

using namespace txc;

namespace {

// How often each token is drawn, as token number 0 ... draws - 1 of one text.
std::map<uint32_t, int64_t> frequencies(Sampler sampler, const std::vector<float> &logits, int64_t draws) {
  std::map<uint32_t, int64_t> out;
  for (int64_t i = 0; i < draws; ++i)
    ++out[sampler.draw(logits.data(), 0, static_cast<uint64_t>(i)).value()];
  return out;
}

// Sum over the tokens of (found - expected)^2 / expected, for softmax(logits / t).
double chiSquare(const std::vector<float> &logits, double temperature,
                 const std::map<uint32_t, int64_t> &found, int64_t draws) {
  double total = 0, sum = 0;
  for (float x : logits)
    total += std::exp(x / temperature);
  for (size_t i = 0; i < logits.size(); ++i) {
    double expected = static_cast<double>(draws) * std::exp(logits[i] / temperature) / total;
    auto it = found.find(static_cast<uint32_t>(i));
    double difference = (it == found.end() ? 0 : static_cast<double>(it->second)) - expected;
    sum += difference * difference / expected;
  }
  return sum;
}

const std::vector<float> logits = {0.5f, -1.0f, 2.0f, 0.0f, 1.5f, -0.5f, 1.0f, 0.25f};

} // namespace

// With 7 degrees of freedom chi-square is above 24.3 once in a thousand; the seed
// is fixed, so this either always holds or never.
TEST(Sampler, FrequenciesFollowTheSoftmax) {
  const int64_t draws = 100000;
  for (double temperature : {0.5, 1.0, 2.0})
    for (uint64_t seed : {1u, 1337u}) {
      auto found = frequencies(Sampler({temperature, 0, seed}, 8), logits, draws);
      EXPECT_LT(chiSquare(logits, temperature, found, draws), 24.3) << temperature << " " << seed;
    }
}

TEST(Sampler, FrequenciesOfOneTokenInManyTexts) {
  Sampler sampler({1, 0, 1}, 8);
  std::map<uint32_t, int64_t> found;
  for (uint64_t text = 0; text < 50000; ++text)
    ++found[sampler.draw(logits.data(), text, 3).value()];
  EXPECT_LT(chiSquare(logits, 1, found, 50000), 24.3);
}

TEST(Sampler, TopKKeepsExactlyK) {
  const std::vector<uint32_t> byLogit = {2, 4, 6, 0, 7, 3, 5, 1};
  for (int64_t k = 1; k <= 8; ++k) {
    std::set<uint32_t> expected(byLogit.begin(), byLogit.begin() + k), found;
    for (const auto &[token, count] : frequencies(Sampler({10, k, 1}, 8), logits, 4000))
      found.insert(token);
    EXPECT_EQ(found, expected) << k;
  }
}

TEST(Sampler, TopKFrequenciesAreThoseOfTheSoftmaxOfTheKept) {
  auto found = frequencies(Sampler({1, 3, 1}, 8), logits, 60000);
  // 2 degrees of freedom: 13.8 once in a thousand. Tokens 2, 4 and 6 stay.
  std::map<uint32_t, int64_t> kept = {{0, found[2]}, {1, found[4]}, {2, found[6]}};
  EXPECT_LT(chiSquare({2.0f, 1.5f, 1.0f}, 1, kept, 60000), 13.8);
}

TEST(Sampler, OfEqualLogitsTheLowestTokensStay) {
  const std::vector<float> equal = {1, 3, 1, 1, 3, 1};
  std::set<uint32_t> found;
  for (const auto &[token, count] : frequencies(Sampler({5, 4, 1}, 6), equal, 2000))
    found.insert(token);
  EXPECT_EQ(found, (std::set<uint32_t>{0, 1, 2, 4}));
}

TEST(Sampler, TopKOfMoreThanAllIsAll) {
  auto all = frequencies(Sampler({1, 0, 9}, 8), logits, 500),
       more = frequencies(Sampler({1, 100, 9}, 8), logits, 500);
  EXPECT_EQ(all, more);
}

TEST(Sampler, TemperatureZeroIsTheLargestLogit) {
  Sampler sampler({0, 0, 1}, 8);
  for (uint64_t i = 0; i < 100; ++i)
    EXPECT_EQ(sampler.draw(logits.data(), i, i), 2u);
  const std::vector<float> equal = {1, 3, 1, 3};
  EXPECT_EQ(Sampler({0, 2, 1}, 4).draw(equal.data(), 0, 0), 1u);
}

TEST(Sampler, NeverDrawsBeyondTheVocabulary) {
  std::vector<float> wide(10, 0.0f);
  wide[8] = wide[9] = 50;
  for (const auto &[token, count] : frequencies(Sampler({1, 0, 1}, 8), wide, 1000))
    EXPECT_LT(token, 8u);
  EXPECT_LT(Sampler({0, 0, 1}, 8).draw(wide.data(), 0, 0).value(), 8u);
}

TEST(Sampler, DependsOnSeedTextAndIndexAlone) {
  const std::vector<float> flat(1000, 0.0f);
  Sampler a({1, 0, 5}, 1000), b({1, 0, 5}, 1000);
  uint32_t later = a.draw(flat.data(), 2, 7).value();
  for (uint64_t i = 0; i < 5; ++i)
    (void)b.draw(flat.data(), 0, i);
  EXPECT_EQ(b.draw(flat.data(), 2, 7), later);
  EXPECT_NE(a.draw(flat.data(), 2, 8), later);
  EXPECT_NE(a.draw(flat.data(), 3, 7), later);
  EXPECT_NE(Sampler({1, 0, 6}, 1000).draw(flat.data(), 2, 7), later);
  // The inverse of the distribution, in the order of the tokens.
  EXPECT_EQ(later, static_cast<uint32_t>(sampleUniform(5, 2, 7) * 1000));
}

TEST(Sampler, SaysIfALogitIsNotFinite) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> broken = logits;
    broken[3] = bad;
    EXPECT_FALSE(Sampler({1, 0, 1}, 8).draw(broken.data(), 0, 0).has_value());
    EXPECT_FALSE(Sampler({0, 0, 1}, 8).draw(broken.data(), 0, 0).has_value());
  }
}
