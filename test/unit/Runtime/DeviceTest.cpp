//===- DeviceTest.cpp - Commands on the CPU --------------------------------===//
#include "device/arena.h"
#include "device/cpu_device.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <omp.h>

using namespace txc;

namespace {

std::unique_ptr<CpuDevice> makeDevice(int threads, uint64_t arenaBytes) {
  Result<std::unique_ptr<CpuDevice>> device = CpuDevice::create(arenaBytes, threads);
  EXPECT_TRUE(device.ok()) << device.status().message();
  return std::move(*device);
}

float pseudoRandom(size_t i) { return static_cast<float>((i * 2654435761u >> 8) % 2001) / 1000.0f - 1.0f; }

// Runs a product with guards around C and strides wider than needed. The addend is
// as C was, in C or elsewhere.
std::vector<float> product(CpuDevice &device, txc_gemm_t p, bool addendElsewhere = false) {
  float *data = reinterpret_cast<float *>(device.arena());
  size_t aSize = static_cast<size_t>(p.lda * (p.transpose_a ? p.k : p.m));
  size_t bSize = static_cast<size_t>(p.ldb * (p.transpose_b ? p.n : p.k));
  size_t cSize = static_cast<size_t>(p.ldc * p.m);
  for (size_t i = 0; i < aSize + bSize + cSize; ++i)
    data[i] = pseudoRandom(i);
  p.a = 0, p.b = aSize * 4, p.c = p.addend = (aSize + bSize) * 4;
  if (addendElsewhere) {
    p.addend = (aSize + bSize + cSize) * 4;
    std::memcpy(data + aSize + bSize + cSize, data + aSize + bSize, cSize * 4);
    for (int64_t row = 0; row < p.m; ++row)
      std::fill_n(data + aSize + bSize + row * p.ldc, p.n, NAN);
  }
  EXPECT_EQ(device.table().gemm(device.table().self, device.arena(), &p), 0);
  return {data + aSize + bSize, data + aSize + bSize + cSize};
}

} // namespace

TEST(CpuDevice, ProductsEqualTheDefinition) {
  std::unique_ptr<CpuDevice> device = makeDevice(2, 64 << 20);
  for (int threads : {1, 2, 3})
    for (uint32_t ta : {0u, 1u})
      for (uint32_t tb : {0u, 1u})
        for (auto [accumulate, elsewhere] :
             {std::pair(TXC_ACCUMULATE_NEVER, false), std::pair(TXC_ACCUMULATE_ALWAYS, false),
              std::pair(TXC_ACCUMULATE_ALWAYS, true)})
          for (auto [m, n, k] :
               std::vector<std::array<int64_t, 3>>{{1, 1, 1}, {5, 7, 3}, {130, 50, 1100}, {47, 200, 64}}) {
            omp_set_num_threads(threads);
            txc_gemm_t p = {};
            p.batch = 1;
            p.name = "test";
            p.transpose_a = ta, p.transpose_b = tb, p.accumulate = accumulate;
            p.m = m, p.n = n, p.k = k;
            p.lda = (ta ? m : k) + 3, p.ldb = (tb ? k : n) + 1, p.ldc = n + 2;
            std::vector<float> c = product(*device, p, elsewhere);
            const float *a = reinterpret_cast<float *>(device->arena());
            size_t aSize = static_cast<size_t>(p.lda * (ta ? k : m)),
                   bSize = static_cast<size_t>(p.ldb * (tb ? n : k));
            const float *b = a + aSize;
            for (int64_t i = 0; i < m; ++i)
              for (int64_t j = 0; j < p.ldc; ++j) {
                float before = pseudoRandom(aSize + bSize + static_cast<size_t>(i * p.ldc + j));
                if (j >= n) {
                  ASSERT_EQ(c[static_cast<size_t>(i * p.ldc + j)], before) << "outside of C";
                  continue;
                }
                double sum = accumulate ? before : 0;
                for (int64_t x = 0; x < k; ++x)
                  sum += static_cast<double>(a[ta ? x * p.lda + i : i * p.lda + x]) *
                         static_cast<double>(b[tb ? j * p.ldb + x : x * p.ldb + j]);
                ASSERT_NEAR(c[static_cast<size_t>(i * p.ldc + j)], sum, 2e-5 * (1 + std::sqrt(k)))
                    << ta << tb << accumulate << " m " << m << " n " << n << " k " << k;
              }
          }
}

TEST(CpuDevice, ProductsDoNotDependOnThreads) {
  std::unique_ptr<CpuDevice> device = makeDevice(1, 64 << 20);
  for (uint32_t ta : {0u, 1u})
    for (uint32_t tb : {0u, 1u})
      for (auto [m, n, k] :
           std::vector<std::array<int64_t, 3>>{{512, 384, 384}, {384, 1536, 2048}, {100, 700, 1000}}) {
        txc_gemm_t p = {};
        p.batch = 1;
        p.name = "test";
        p.transpose_a = ta, p.transpose_b = tb, p.accumulate = TXC_ACCUMULATE_ALWAYS;
        p.m = m, p.n = n, p.k = k;
        p.lda = ta ? m : k, p.ldb = tb ? k : n, p.ldc = n;
        omp_set_num_threads(1);
        std::vector<float> one = product(*device, p);
        for (int threads : {2, 3, 5}) {
          omp_set_num_threads(threads);
          std::vector<float> many = product(*device, p);
          ASSERT_EQ(std::memcmp(one.data(), many.data(), one.size() * 4), 0)
              << ta << tb << " m " << m << " n " << n << " k " << k << ", threads " << threads;
        }
      }
}

TEST(CpuDevice, RefusesBadProducts) {
  std::unique_ptr<CpuDevice> device = makeDevice(1, 4096);
  txc_gemm_t good = {};
  good.batch = 1;
  good.name = "blocks.0.attn.qkv";
  good.m = good.n = good.k = good.lda = good.ldb = good.ldc = 4;
  auto status = [&](auto change) {
    txc_gemm_t p = good;
    change(p);
    return device->table().gemm(device->table().self, device->arena(), &p);
  };
  EXPECT_EQ(status([](txc_gemm_t &) {}), 0);
  EXPECT_NE(status([](txc_gemm_t &p) { p.dtype = TXC_DTYPE_BF16; }), 0);
  EXPECT_NE(status([](txc_gemm_t &p) { p.dtype_c = TXC_DTYPE_BF16; }), 0);
  EXPECT_NE(status([](txc_gemm_t &p) { p.batch = 0; }), 0);
  EXPECT_NE(status([](txc_gemm_t &p) { p.lda = 3; }), 0);
  EXPECT_NE(status([](txc_gemm_t &p) { p.k = 0; }), 0);
  EXPECT_NE(status([](txc_gemm_t &p) { p.accumulate = 3; }), 0);
  // The message reaches whoever ran the entry.
  static txc_gemm_t bad = good;
  bad.ldc = 1;
  txc_entry_t entry = {
      "micro", [](const txc_device_t *d, char *memory) { return d->gemm(d->self, memory, &bad); }, 1, 0};
  Status failure = device->run(entry);
  EXPECT_EQ(failure.code(), Code::Device);
  EXPECT_NE(failure.message().find("blocks.0.attn.qkv"), std::string::npos) << failure.message();
}

TEST(CpuDevice, LaunchRunsEachBlockOnce) {
  auto count = [](char *memory, const uint64_t *offsets, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      ++memory[offsets[0] + static_cast<uint64_t>(i)];
  };
  const uint64_t offsets[] = {128};
  for (int threads : {1, 2, 4}) {
    std::unique_ptr<CpuDevice> device = makeDevice(threads, 1 << 20);
    for (int64_t blocks : {0, 1, 2, 7, 100, 12345}) {
      std::memset(device->arena(), 0, 1 << 20);
      txc_launch_t launch = {"count", count, 0, 1, offsets, blocks};
      EXPECT_EQ(device->table().launch(device->table().self, device->arena(), &launch), 0);
      for (int64_t i = 0; i < blocks + 64; ++i)
        ASSERT_EQ(device->arena()[128 + i], i < blocks) << i;
    }
  }
}

TEST(CpuDevice, Fill) {
  std::unique_ptr<CpuDevice> device = makeDevice(2, 8 << 20);
  for (uint64_t bytes : {uint64_t(0), uint64_t(5), uint64_t(3 << 20) + 7}) {
    std::memset(device->arena(), 0, 8 << 20);
    txc_fill_t fill = {"fill", 64, bytes, 0xab, {0}};
    EXPECT_EQ(device->table().fill(device->table().self, device->arena(), &fill), 0);
    for (uint64_t i = 0; i < bytes + 128; ++i)
      ASSERT_EQ(static_cast<uint8_t>(device->arena()[i]), i >= 64 && i < 64 + bytes ? 0xab : 0);
  }
}

TEST(Arena, AlignedAndZero) {
  Result<Arena> arena = Arena::allocate(5 << 20);
  ASSERT_TRUE(arena.ok()) << arena.status().message();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(arena->data()) % (2 << 20), 0u);
  for (size_t i = 0; i < arena->bytes(); i += 4096)
    ASSERT_EQ(arena->data()[i], 0);
}

TEST(Arena, TooLargeIsAnErrorWithBothSizes) {
  Result<Arena> arena = Arena::allocate(uint64_t(1) << 50);
  ASSERT_FALSE(arena.ok());
  EXPECT_NE(arena.status().message().find("needs an arena of 1.13 PB"), std::string::npos)
      << arena.status().message();
  EXPECT_NE(arena.status().message().find("available"), std::string::npos);
  EXPECT_FALSE(Arena::allocate(UINT64_MAX).ok());
}
