//===- cpu_matrix_products.cpp - Which library multiplies fastest here? ---===//
//
// Times fp32 matrix products of a training step through OpenBLAS and oneDNN on
// all threads of OMP_NUM_THREADS: for every linear layer the forward product
// Y = X W^T, the input gradient dX = dY W and the weight gradient
// dW += dY^T X. Candidates take turns on each repetition, so that a change of
// clock or a noisy neighbour hits them alike; the median of each is printed,
// and the sum of each over the products of one step.
//
// oneDNN is called in four ways: its BLAS function (dnnl_sgemm), its matmul
// primitive on plain row-major operands, the primitive after a reorder of the
// weights into the layout that it prefers (the reorder is counted, since a
// training step changes the weights between any two products), and as txrun
// calls it (runtime/src/device/matrix_products.cpp).
//
// build: cmake --preset release -DTXC_BUILD_BENCHMARKS=ON &&
//        ninja -C build/release cpu-matrix-products
// usage: cpu-matrix-products [repetitions=9]
//
//===----------------------------------------------------------------------===//
#include "device/matrix_products.h"

#include <algorithm>
#include <cblas.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <dnnl.hpp>
#include <functional>
#include <omp.h>
#include <string>
#include <vector>

namespace {

struct Layer {
  const char *name;
  int64_t n, k;  // weight [n, k]
  int64_t times; // how often it stands in the model
};
struct Model {
  const char *name;
  int64_t tokens;
  std::vector<Layer> layers;
};

struct Product {
  int64_t m, n, k;
  bool transA, transB, accumulate;
};

struct Buffers {
  std::vector<float> a, b, c;
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void callOpenBlas(const Product &p, Buffers &x) {
  cblas_sgemm(CblasRowMajor, p.transA ? CblasTrans : CblasNoTrans, p.transB ? CblasTrans : CblasNoTrans, p.m,
              p.n, p.k, 1.0f, x.a.data(), p.transA ? p.m : p.k, x.b.data(), p.transB ? p.k : p.n,
              p.accumulate ? 1.0f : 0.0f, x.c.data(), p.n);
}

void callDnnlSgemm(const Product &p, Buffers &x) {
  dnnl_sgemm(p.transA ? 'T' : 'N', p.transB ? 'T' : 'N', p.m, p.n, p.k, 1.0f, x.a.data(),
             p.transA ? p.m : p.k, x.b.data(), p.transB ? p.k : p.n, p.accumulate ? 1.0f : 0.0f, x.c.data(),
             p.n);
}

void callRuntime(const txc::MatrixProducts &products, const Product &p, Buffers &x) {
  txc_gemm_t gemm = {};
  gemm.name = "benchmark";
  gemm.transpose_a = p.transA, gemm.transpose_b = p.transB, gemm.accumulate = p.accumulate;
  gemm.m = p.m, gemm.n = p.n, gemm.k = p.k;
  gemm.lda = p.transA ? p.m : p.k, gemm.ldb = p.transB ? p.k : p.n, gemm.ldc = p.n;
  // The buffers stand in for an arena that begins at A.
  char *arena = reinterpret_cast<char *>(x.a.data());
  gemm.b = static_cast<uint64_t>(reinterpret_cast<char *>(x.b.data()) - arena);
  gemm.c = static_cast<uint64_t>(reinterpret_cast<char *>(x.c.data()) - arena);
  if (txc::Status status = products.run(arena, gemm); !status.ok())
    std::fprintf(stderr, "%s\n", status.message().c_str()), std::exit(1);
}

// One matmul primitive with its memory objects; `reorderWeights` asks for the
// library's own layout of B.
class Matmul {
public:
  Matmul(dnnl::engine &engine, const Product &p, Buffers &x, bool reorderWeights)
      : stream_(engine), reorder_(reorderWeights) {
    using namespace dnnl;
    using Dims = memory::dims;
    auto f32 = memory::data_type::f32;
    memory::desc a({p.m, p.k}, f32, p.transA ? Dims{1, p.m} : Dims{p.k, 1});
    memory::desc b({p.k, p.n}, f32, p.transB ? Dims{1, p.k} : Dims{p.n, 1});
    memory::desc bAny({p.k, p.n}, f32, memory::format_tag::any);
    memory::desc c({p.m, p.n}, f32, Dims{p.n, 1});
    primitive_attr attributes;
    attributes.set_scratchpad_mode(scratchpad_mode::user);
    if (p.accumulate) {
      post_ops ops;
      ops.append_sum(1.0f);
      attributes.set_post_ops(ops);
    }
    matmul::primitive_desc pd(matmul::desc(a, reorderWeights ? bAny : b, c), attributes, engine);
    primitive_ = matmul(pd);
    memory memoryB(b, engine, x.b.data());
    memory packed = pd.weights_desc() == b ? memoryB : memory(pd.weights_desc(), engine);
    if (reorder_ && pd.weights_desc() != b) {
      reorderPrimitive_ = dnnl::reorder(memoryB, packed);
      reorderArgs_ = {{DNNL_ARG_FROM, memoryB}, {DNNL_ARG_TO, packed}};
    } else {
      reorder_ = false;
    }
    args_ = {{DNNL_ARG_SRC, memory(a, engine, x.a.data())},
             {DNNL_ARG_WEIGHTS, packed},
             {DNNL_ARG_DST, memory(c, engine, x.c.data())},
             {DNNL_ARG_SCRATCHPAD, memory(pd.scratchpad_desc(), engine)}};
  }
  void operator()() {
    if (reorder_)
      reorderPrimitive_.execute(stream_, reorderArgs_);
    primitive_.execute(stream_, args_);
  }

private:
  dnnl::stream stream_;
  bool reorder_;
  dnnl::matmul primitive_;
  dnnl::reorder reorderPrimitive_;
  std::unordered_map<int, dnnl::memory> args_, reorderArgs_;
};

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

} // namespace

int main(int argc, char **argv) {
  int repetitions = argc > 1 ? std::atoi(argv[1]) : 9;
  const std::vector<Model> models = {
      {"6L/6H/384, T 256, B 8, V 256",
       2048,
       {{"qkv", 1152, 384, 6},
        {"proj", 384, 384, 6},
        {"up (gelu)", 1536, 384, 6},
        {"down (gelu)", 384, 1536, 6},
        {"gate_up (swiglu)", 2048, 384, 6},
        {"down (swiglu)", 384, 1024, 6},
        {"lm_head", 256, 384, 1}}},
      {"12L/12H/768, T 1024, B 1, V 50304",
       1024,
       {{"qkv", 2304, 768, 12},
        {"proj", 768, 768, 12},
        {"up (gelu)", 3072, 768, 12},
        {"down (gelu)", 768, 3072, 12},
        {"lm_head", 50304, 768, 1}}},
  };
  const char *names[] = {"OpenBLAS", "dnnl_sgemm", "matmul", "reorder", "txrun"};
  txc::Result<txc::MatrixProducts> loaded = txc::MatrixProducts::load();
  if (!loaded.ok()) {
    std::fprintf(stderr, "%s\n", loaded.status().message().c_str());
    return 1;
  }
  const txc::MatrixProducts &runtime = *loaded;
  dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  std::printf("threads %d; OpenBLAS: %s; oneDNN %d.%d.%d; medians of %d, ms\n", omp_get_max_threads(),
              openblas_get_config(), dnnl_version()->major, dnnl_version()->minor, dnnl_version()->patch,
              repetitions);
  for (const Model &model : models) {
    std::printf("\n%s: tokens %ld\n%-18s %-3s %6s %6s %6s", model.name, model.tokens, "layer", "", "m", "n",
                "k");
    for (const char *name : names)
      std::printf(" %10.10s %7s", name, "GF/s");
    std::printf("\n");
    double sums[5] = {};
    for (const Layer &layer : model.layers) {
      const Product products[3] = {{model.tokens, layer.n, layer.k, false, true, false},
                                   {model.tokens, layer.k, layer.n, false, false, false},
                                   {layer.n, layer.k, model.tokens, true, false, true}};
      const char *kinds[3] = {"Y", "dX", "dW"};
      for (int i = 0; i < 3; ++i) {
        const Product &p = products[i];
        Buffers x;
        x.a.resize(p.m * p.k), x.b.resize(p.k * p.n), x.c.resize(p.m * p.n);
        for (size_t j = 0; j < x.a.size(); ++j)
          x.a[j] = 1e-3f * static_cast<float>(j % 1013);
        for (size_t j = 0; j < x.b.size(); ++j)
          x.b[j] = 1e-3f * static_cast<float>(j % 1019);
        Matmul plain(engine, p, x, false), packed(engine, p, x, true);
        std::function<void()> calls[5] = {[&] { callOpenBlas(p, x); }, [&] { callDnnlSgemm(p, x); },
                                          [&] { plain(); }, [&] { packed(); },
                                          [&] { callRuntime(runtime, p, x); }};
        std::vector<double> times[5];
        for (int repetition = -1; repetition < repetitions; ++repetition)
          for (int c = 0; c < 5; ++c) {
            double start = now();
            calls[c]();
            if (repetition >= 0)
              times[c].push_back(now() - start);
          }
        std::printf("%-18s %-3s %6ld %6ld %6ld", layer.name, kinds[i], p.m, p.n, p.k);
        for (int c = 0; c < 5; ++c) {
          double t = median(times[c]);
          sums[c] += t * static_cast<double>(layer.times);
          std::printf(" %10.3f %7.1f", t * 1e3, 2e-9 * p.m * p.n * p.k / t);
        }
        std::printf("\n");
      }
    }
    std::printf("%-41s", "sum, ms, each as often as it occurs");
    for (double sum : sums)
      std::printf(" %10.1f %7s", sum * 1e3, "");
    std::printf("\n");
  }
  return 0;
}
