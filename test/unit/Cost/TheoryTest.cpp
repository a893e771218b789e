//===- TheoryTest.cpp - GPUs that a description could run on --------------===//
#include "txc/Cost/Theory.h"

#include <gtest/gtest.h>
#include <set>

using namespace txc;
namespace json = llvm::json;

namespace {

json::Object describe(llvm::StringRef target, llvm::StringRef dtype, int64_t arenaBytes) {
  return json::Object{
      {"target", target},
      {"arena_bytes", arenaBytes},
      {"flops_per_token", json::Object{{"full", 854654976}}},
      {"buffers", json::Array{json::Object{{"dtype", "f32"}}, json::Object{{"dtype", dtype}}}}};
}

std::set<std::string> names(const json::Object &description) {
  std::set<std::string> out;
  for (const cost::GpuTheory &theory : cost::getTheory(description))
    out.insert(theory.gpu.str());
  return out;
}

TEST(Theory, GpusOfTheTargetsArchitecture) {
  EXPECT_EQ(names(describe("cuda:sm_90a", "bf16", 1)),
            (std::set<std::string>{"NVIDIA H200 SXM", "NVIDIA H200 NVL", "NVIDIA H100 SXM",
                                   "NVIDIA H100 PCIe", "NVIDIA H100 NVL"}));
  EXPECT_EQ(names(describe("cuda:sm_86", "bf16", 1)), std::set<std::string>{"NVIDIA RTX A6000"});
  // A V100 has no bfloat16.
  EXPECT_EQ(names(describe("cuda:sm_70", "f32", 1)),
            (std::set<std::string>{"NVIDIA V100 SXM2", "NVIDIA V100 PCIe"}));
  EXPECT_TRUE(names(describe("cuda:sm_70", "bf16", 1)).empty());
  EXPECT_TRUE(names(describe("cpu:x86-64-v4", "f32", 1)).empty());
  EXPECT_TRUE(names(json::Object{}).empty());
}

TEST(Theory, RateAtHalfOfThePeak) {
  for (auto [dtype, tflops] : {std::pair("bf16", 989.0), std::pair("f32", 67.0)})
    for (const cost::GpuTheory &theory : cost::getTheory(describe("cuda:sm_90a", dtype, 100'000'000'000)))
      if (theory.gpu == "NVIDIA H200 SXM") {
        EXPECT_EQ(theory.peakTflops, tflops);
        EXPECT_DOUBLE_EQ(theory.halfPeakRate, tflops * 1e12 / 2 / 854654976);
        EXPECT_EQ(theory.memoryBytes, 141'000'000'000);
        EXPECT_TRUE(theory.fits);
      } else if (theory.gpu == "NVIDIA H100 SXM") {
        EXPECT_FALSE(theory.fits);
      }
  json::Array rows = cost::describeTheory(describe("cuda:sm_100", "bf16", 1));
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].getAsObject()->getString("precision"), llvm::StringRef("bfloat16"));
  EXPECT_TRUE(rows[0].getAsObject()->getString("source")->contains("datasheet"));
}

} // namespace
