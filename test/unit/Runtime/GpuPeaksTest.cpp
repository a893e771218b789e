//===- GpuPeaksTest.cpp - Peak rates by the name of a GPU ------------------===//
#include "report/gpu_peaks.h"

#include <gtest/gtest.h>

using namespace txc;

#define EXPECT_MENTIONS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(GpuPeaks, DenseFigures) {
  struct Row {
    const char *device;
    double bf16, fp16, tf32, fp32, fp8; // TFLOP/s; 0: none
  };
  const Row rows[] = {
      {"NVIDIA B200", 2250, 2250, 1125, 75, 4500},        {"NVIDIA H200", 989, 989, 494, 67, 1979},
      {"NVIDIA H100 80GB HBM3", 989, 989, 494, 67, 1979}, {"NVIDIA A100-SXM4-80GB", 312, 312, 156, 19.5, 0},
      {"NVIDIA A100-PCIE-40GB", 312, 312, 156, 19.5, 0},  {"NVIDIA A100 80GB PCIe", 312, 312, 156, 19.5, 0},
      {"NVIDIA RTX A6000", 155, 155, 77, 38.7, 0},        {"Tesla V100-SXM2-16GB", 0, 125, 0, 15.7, 0},
      {"Tesla V100-SXM2-32GB-LS", 0, 125, 0, 15.7, 0},
  };
  for (const Row &row : rows) {
    const std::pair<const char *, double> figures[] = {{"bfloat16", row.bf16},
                                                       {"float16", row.fp16},
                                                       {"tf32", row.tf32},
                                                       {"float32", row.fp32},
                                                       {"fp8", row.fp8}};
    for (auto [precision, teraflops] : figures) {
      Result<GpuPeak> peak = findGpuPeak(row.device, precision);
      ASSERT_EQ(peak.ok(), teraflops != 0) << row.device << " " << precision;
      if (peak.ok()) {
        EXPECT_DOUBLE_EQ(peak->flops, teraflops * 1e12) << row.device << " " << precision;
        EXPECT_MENTIONS(peak->source, "datasheet");
        EXPECT_MENTIONS(peak->source, precision);
      } else {
        EXPECT_MENTIONS(peak.status().message(), "configs/gpus.yaml");
      }
    }
  }
  Result<GpuPeak> h200 = findGpuPeak("NVIDIA H200", "bfloat16");
  EXPECT_EQ(h200->gpu, "NVIDIA H200 SXM");
  EXPECT_EQ(h200->memoryBytes, 141000000000u);
  EXPECT_DOUBLE_EQ(h200->bytesPerSecond, 4.8e12);
}

// A board of the same chip with other clocks is another row, not a prefix.
TEST(GpuPeaks, VariantsAreNotConfused) {
  EXPECT_EQ(findGpuPeak("NVIDIA H200 NVL", "bfloat16")->flops, 835.5e12);
  EXPECT_EQ(findGpuPeak("NVIDIA H100 PCIe", "bfloat16")->flops, 756.5e12);
  EXPECT_EQ(findGpuPeak("Tesla V100-PCIE-16GB", "float16")->flops, 112e12);
}

TEST(GpuPeaks, UnknownIsAnErrorThatNamesTheFile) {
  for (const char *device :
       {"NVIDIA H300", "NVIDIA H200 MIG 1g.18gb", "", "nvidia h200", "NVIDIA GeForce RTX 4090"}) {
    Result<GpuPeak> peak = findGpuPeak(device, "bfloat16");
    ASSERT_FALSE(peak.ok()) << device;
    EXPECT_MENTIONS(peak.status().message(), "configs/gpus.yaml");
    EXPECT_MENTIONS(peak.status().message(), device);
  }
  EXPECT_MENTIONS(findGpuPeak("NVIDIA H200", "bf16").status().message(), "expected bfloat16");
}

TEST(GpuPeaks, Patterns) {
  EXPECT_TRUE(matchesPattern("abc", "abc"));
  EXPECT_TRUE(matchesPattern("abc", "a*"));
  EXPECT_TRUE(matchesPattern("abc", "*c"));
  EXPECT_TRUE(matchesPattern("abcbd", "a*b*d"));
  EXPECT_TRUE(matchesPattern("", "*"));
  EXPECT_FALSE(matchesPattern("abc", "ab"));
  EXPECT_FALSE(matchesPattern("abc", "b*"));
  EXPECT_FALSE(matchesPattern("abc", "a*d"));
}
