//===- matrix_products.cpp - Matrix products by oneDNN ---------------------===//
#include "device/matrix_products.h"

#include "support/text.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <ctime>
#include <dlfcn.h>
#include <malloc.h>
#include <omp.h>
#include <vector>

namespace txc {

// Products with A transposed (weight gradients) go faster in pieces of K.
static constexpr int64_t kTransposedDepth = 512;

namespace {
// How C is cut. Its rows or columns go to threads in multiples of `tile`. The result must not
// depend on how many threads there are: the library's kernels with AVX-512 give an element
// the same bits in whatever part of C they compute it, so a thread's part is one call. Those
// without do not: there, every tile is a call of its own.
struct Cut {
  bool callsPerTile = !__builtin_cpu_supports("avx512f");
  int64_t tile = callsPerTile ? 96 : 48;
};
} // namespace

Result<MatrixProducts> MatrixProducts::load() {
  MatrixProducts products;
  // Never unloaded: its threads are ours, and it keeps generated code.
  for (const char *name : {"libdnnl.so.2", "libdnnl.so.3"}) {
    void *library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library)
      continue;
    products.sgemm_ = reinterpret_cast<Sgemm>(::dlsym(library, "dnnl_sgemm"));
    if (!products.sgemm_)
      continue;
    struct Version {
      int major, minor, patch;
    };
    auto version = reinterpret_cast<const Version *(*)()>(::dlsym(library, "dnnl_version"));
    products.name_ = "oneDNN";
    if (version)
      products.name_ += format(" %d.%d.%d", version()->major, version()->minor, version()->patch);
    // The library packs its operands into memory from malloc at every call.
    // Keep that memory in the heap instead of returning it to the system and
    // faulting it in again.
    ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
    ::mallopt(M_TRIM_THRESHOLD, 512 << 20);
    ::mallopt(M_TOP_PAD, 1 << 20);
    return products;
  }
  return Status{Code::Device,
                "cannot load oneDNN (libdnnl.so.2), which multiplies matrices on the CPU; install it "
                "(Debian: apt install libdnnl2)"};
}

int MatrixProducts::multiply(const txc_gemm_t &p, float beta, const float *a, const float *b,
                             float *c) const {
  static const Cut cut;
  const bool byRows = p.m >= p.n;
  const int64_t extent = byRows ? p.m : p.n, tiles = (extent + cut.tile - 1) / cut.tile;
  const int64_t depth = p.transpose_a ? kTransposedDepth : p.k;
  std::atomic<int> failure{0};
  auto multiplyPart = [&](int64_t begin, int64_t end) {
    const int64_t m = byRows ? end - begin : p.m, n = byRows ? p.n : end - begin;
    const float *aPart = a + (byRows ? begin * (p.transpose_a ? 1 : p.lda) : 0);
    const float *bPart = b + (byRows ? 0 : begin * (p.transpose_b ? p.ldb : 1));
    float *cPart = c + (byRows ? begin * p.ldc : begin);
    for (int64_t k = 0; k < p.k; k += depth) {
      int status =
          sgemm_(p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N', m, n, std::min(depth, p.k - k), 1.0f,
                 aPart + k * (p.transpose_a ? p.lda : 1), p.lda, bPart + k * (p.transpose_b ? 1 : p.ldb),
                 p.ldb, k == 0 ? beta : 1.0f, cPart, p.ldc);
      if (status != 0)
        failure = status;
    }
  };
#pragma omp parallel
  {
    // The library sees that it is called from a parallel region and uses the
    // calling thread only, so nothing is oversubscribed.
    const int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    const int64_t begin = std::min(extent, tiles * thread / threads * cut.tile);
    const int64_t end = std::min(extent, tiles * (thread + 1) / threads * cut.tile);
    const int64_t part = cut.callsPerTile ? cut.tile : end - begin;
    for (int64_t at = begin; at < end; at += part)
      multiplyPart(at, std::min(end, at + part));
  }
  return failure;
}

Status MatrixProducts::run(char *arena, const txc_gemm_t &p) const {
  auto fail = [&](const std::string &what) {
    return Status{Code::Device, format("matrix product '%s' (m %lld, n %lld, k %lld): ",
                                       p.name ? p.name : "?", static_cast<long long>(p.m),
                                       static_cast<long long>(p.n), static_cast<long long>(p.k)) +
                                    what};
  };
  if (p.dtype != TXC_DTYPE_F32 || p.dtype_c != TXC_DTYPE_F32)
    return fail(format("dtypes %u and %u; the CPU has f32 (%u) only", p.dtype, p.dtype_c, TXC_DTYPE_F32));
  if (p.accumulate > TXC_ACCUMULATE_AFTER_FIRST)
    return fail(format("accumulate is %u; expected %d to %d", p.accumulate, TXC_ACCUMULATE_NEVER,
                       TXC_ACCUMULATE_AFTER_FIRST));
  if (p.m <= 0 || p.n <= 0 || p.k <= 0 || p.lda < (p.transpose_a ? p.m : p.k) ||
      p.ldb < (p.transpose_b ? p.k : p.n) || p.ldc < p.n)
    return fail(format("leading dimensions %lld, %lld, %lld do not fit", static_cast<long long>(p.lda),
                       static_cast<long long>(p.ldb), static_cast<long long>(p.ldc)));
  if (p.batch == 0)
    return fail("batch is 0; expected 1 or more");
  bool adds = p.accumulate != TXC_ACCUMULATE_NEVER;
  if (p.accumulate == TXC_ACCUMULATE_AFTER_FIRST)
    adds = reinterpret_cast<const txc_hyper_t *>(arena + p.hyper)->accumulated != 0;
  if (adds && p.addend != p.c)
    for (int64_t i = 0; i < p.batch; ++i)
      for (int64_t row = 0; row < p.m; ++row) {
        const int64_t at = i * p.stride_c + row * p.ldc;
        std::memcpy(reinterpret_cast<float *>(arena + p.c) + at,
                    reinterpret_cast<const float *>(arena + p.addend) + at,
                    static_cast<size_t>(p.n) * sizeof(float));
      }
  int status = 0;
  for (int64_t i = 0; i < p.batch && status == 0; ++i)
    status = multiply(p, adds ? 1.0f : 0.0f, reinterpret_cast<const float *>(arena + p.a) + i * p.stride_a,
                      reinterpret_cast<const float *>(arena + p.b) + i * p.stride_b,
                      reinterpret_cast<float *>(arena + p.c) + i * p.stride_c);
  if (status != 0)
    return fail(name_ + format(" returned status %d", status) +
                (status == 1
                     ? ": it has no memory to pack its operands; raise the limit (ulimit -v, ulimit -d, the "
                       "control group's) or take a smaller batch_size when compiling"
                     : ""));
  return {};
}

double MatrixProducts::measurePeak() const {
  // A multiple of the tile for up to 32 threads, so that all have equal parts.
  const int64_t size = kPeakSize, depth = kPeakDepth;
  std::vector<float> a(size * depth, 0.5f), b(size * depth, 0.25f), c(size * size);
  txc_gemm_t product = {};
  product.batch = 1;
  product.m = product.n = product.ldb = product.ldc = size;
  product.k = product.lda = depth;
  double best = 0, spent = 0;
  // The first ones warm up: code is generated, pages are faulted in, the clock settles.
  for (int repetition = 0; repetition < 24 && spent < 0.15; ++repetition) {
    auto start = std::chrono::steady_clock::now();
    if (multiply(product, 0.0f, a.data(), b.data(), c.data()) != 0)
      return 0;
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    spent += seconds;
    best = std::max(best, 2.0 * size * size * depth / seconds);
  }
  return std::max(best, measureShort());
}

double MatrixProducts::measureShort() const {
  constexpr int64_t size = kShortSize;
  double sum = 0;
#pragma omp parallel reduction(+ : sum)
  {
    // The thread's own processor time: it stands still while others have the core.
    auto now = [] {
      timespec time;
      ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
    };
    std::vector<float> a(size * size, 0.5f), b(size * size, 0.25f), c(size * size);
    double least = 0, start = now();
#pragma omp barrier
    for (int repetition = 0; repetition < 40; ++repetition) {
      const bool failed =
          sgemm_('N', 'N', size, size, size, 1.0f, a.data(), size, b.data(), size, 0.0f, c.data(), size) != 0;
      const double end = now();
      if (!failed && (least == 0 || end - start < least))
        least = end - start;
      start = end;
    }
    if (least > 0)
      sum += 2.0 * size * size * size / least;
  }
  return sum;
}

} // namespace txc
