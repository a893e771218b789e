//===- cublas_lt.cpp - Matrix products on a GPU by cuBLASLt ----------------===//
#include "device/cublas_lt.h"

#include "device/product_tuning.h"
#include "support/text.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <glob.h>

namespace txc {

using cuda::LtAlgorithm;
using cuda::LtHeuristicResult;
using cuda::LtStatus;

// Of an option that may have any range. Today's have 8 values at most.
static constexpr uint32_t kMostCustomOption = 31;

//===-- Loading -------------------------------------------------------------===//

// Existing files of a name, in folders that may have wildcards.
static void addMatches(const std::string &pattern, std::vector<std::string> &paths) {
  glob_t found = {};
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0)
    // Newest version last by name, so first here.
    for (size_t i = found.gl_pathc; i-- > 0;)
      paths.push_back(found.gl_pathv[i]);
  ::globfree(&found);
}

static std::vector<std::string> libraryPaths(int driverVersion) {
  auto variable = [](const char *name) {
    const char *value = std::getenv(name);
    return value ? std::string(value) : "";
  };
  if (std::string named = variable("TXC_CUBLASLT_LIBRARY"); !named.empty())
    return {named};
  std::vector<std::string> names = {"libcublasLt.so.13", "libcublasLt.so.12"};
  if (driverVersion < 13000)
    std::swap(names[0], names[1]);
  std::vector<std::string> folders;
  for (const char *home : {"CUDA_HOME", "CUDA_PATH"})
    if (std::string folder = variable(home); !folder.empty())
      folders.insert(folders.end(), {folder + "/lib64", folder + "/targets/x86_64-linux/lib"});
  folders.insert(folders.end(), {"/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib",
                                 "/usr/local/cuda-*/lib64", "/usr/local/cuda-*/targets/x86_64-linux/lib"});
  // Where pip and conda put NVIDIA's packages.
  if (std::string folder = variable("CONDA_PREFIX"); !folder.empty())
    folders.push_back(folder + "/lib");
  for (const std::string &root :
       {variable("VIRTUAL_ENV"), variable("HOME").empty() ? "" : variable("HOME") + "/.local"})
    if (!root.empty())
      for (const char *package : {"cu13", "cublas"})
        folders.push_back(root + "/lib/python3*/site-packages/nvidia/" + package + "/lib");
  std::vector<std::string> paths = names; // LD_LIBRARY_PATH and the system's folders
  for (const std::string &name : names)
    for (const std::string &folder : folders)
      addMatches(folder + "/" + name, paths);
  return paths;
}

Result<std::unique_ptr<CublasLt>> CublasLt::load(int driverVersion, const std::string &gpu, bool allowTf32) {
  cuda::FoundLibrary library = cuda::openLibrary(libraryPaths(driverVersion));
  if (!library.handle)
    return Status{
        Code::Device,
        "cannot load cuBLASLt, which multiplies matrices on the GPU:\n" + library.tried +
            "\nalso looked in lib64 of $CUDA_HOME, of $CUDA_PATH and of /usr/local/cuda*, and in the "
            "packages of $VIRTUAL_ENV, $CONDA_PREFIX and ~/.local; install CUDA's cuBLAS 12 or 13 (apt "
            "install libcublas-13-0, or pip install nvidia-cublas), or name the file in "
            "TXC_CUBLASLT_LIBRARY"};
  std::unique_ptr<CublasLt> out(new CublasLt);
  const char *missing = nullptr;
#define TXC_LOAD(function, symbol, ...)                                                                      \
  out->lt_.function = reinterpret_cast<decltype(out->lt_.function)>(::dlsym(library.handle, symbol));        \
  if (!out->lt_.function && !missing)                                                                        \
    missing = symbol;
  TXC_CUBLASLT_FUNCTIONS(TXC_LOAD)
#undef TXC_LOAD
  if (missing)
    return Status{Code::Device,
                  library.path + ": it has no function " + missing + "; install cuBLAS 12 or 13"};
  out->lt_.statusName =
      reinterpret_cast<decltype(out->lt_.statusName)>(::dlsym(library.handle, "cublasLtGetStatusName"));
  if (auto version = reinterpret_cast<size_t (*)()>(::dlsym(library.handle, "cublasLtGetVersion"))) {
    // 120803 and 130001, in versions before 12 with two digits less.
    const unsigned number = static_cast<unsigned>(version());
    out->version_ = format("%u.%u.%u", number / 10000, number / 100 % 100, number % 100);
  }
  if (LtStatus status = out->lt_.create(&out->handle_); status != 0)
    return Status{Code::Device, library.path + ": cublasLtCreate failed: " +
                                    (out->lt_.statusName ? out->lt_.statusName(status) : "?") +
                                    format(" (%d); its version must fit the driver, which speaks CUDA %d.%d",
                                           status, driverVersion / 1000, driverVersion % 1000 / 10)};
  out->allowTf32_ = allowTf32;
  out->cache_ = TuningCache::load(gpu, "cuBLASLt " + out->version_);
  return out;
}

CublasLt::~CublasLt() {
  for (auto &[key, shape] : shapes_) {
    for (cuda::LtLayout layout : {shape->a, shape->b, shape->c})
      if (layout)
        lt_.layoutDestroy(layout);
    if (shape->desc)
      lt_.matmulDescDestroy(shape->desc);
    if (shape->preference)
      lt_.preferenceDestroy(shape->preference);
  }
  if (handle_)
    lt_.destroy(handle_);
}

std::string CublasLt::describe() const {
  size_t tuned = 0;
  for (const Shape *shape : order_)
    tuned += shape->tuned;
  return "cuBLASLt " + version_ + format(", %zu of %zu shapes tuned", tuned, order_.size());
}

//===-- Products ------------------------------------------------------------===//

Status CublasLt::fail(const txc_gemm_t &p, const std::string &what, LtStatus status) const {
  std::string message =
      format("matrix product '%s' (m %lld, n %lld, k %lld, batch %u, workspace %llu bytes): ",
             p.name ? p.name : "?", static_cast<long long>(p.m), static_cast<long long>(p.n),
             static_cast<long long>(p.k), p.batch, static_cast<unsigned long long>(p.workspace_bytes)) +
      what;
  if (status != 0)
    message += std::string(": cuBLASLt says ") + (lt_.statusName ? lt_.statusName(status) : "") +
               format(" (status %d)", status);
  return {Code::Device, message};
}

static const char *dtypeName(uint32_t dtype) {
  return dtype == TXC_DTYPE_F32 ? "f32" : dtype == TXC_DTYPE_BF16 ? "bf16" : nullptr;
}

static int dataType(uint32_t dtype) { return dtype == TXC_DTYPE_F32 ? cuda::kR32F : cuda::kR16BF; }

// The greatest power of two up to 256 that divides all addresses of a matrix.
static uint32_t alignmentOf(uint64_t address, uint64_t strideBytes) {
  uint64_t bits = address | strideBytes | 256;
  return static_cast<uint32_t>(bits & (~bits + 1));
}

Status CublasLt::prepare(const txc_gemm_t &p, cuda::Address arena) {
  const char *type = dtypeName(p.dtype), *typeC = dtypeName(p.dtype_c);
  if (!type || !typeC)
    return fail(p,
                format("dtypes %u and %u; a GPU has f32 (%u) and bf16 (%u)", p.dtype, p.dtype_c,
                       TXC_DTYPE_F32, TXC_DTYPE_BF16),
                0);
  if (p.accumulate > TXC_ACCUMULATE_AFTER_FIRST)
    return fail(p,
                format("accumulate is %u; expected %d to %d", p.accumulate, TXC_ACCUMULATE_NEVER,
                       TXC_ACCUMULATE_AFTER_FIRST),
                0);
  if (p.batch == 0 || p.m <= 0 || p.n <= 0 || p.k <= 0 || p.lda < (p.transpose_a ? p.m : p.k) ||
      p.ldb < (p.transpose_b ? p.k : p.n) || p.ldc < p.n)
    return fail(p,
                format("batch %u and leading dimensions %lld, %lld, %lld do not fit", p.batch,
                       static_cast<long long>(p.lda), static_cast<long long>(p.ldb),
                       static_cast<long long>(p.ldc)),
                0);

  const uint64_t size = p.dtype == TXC_DTYPE_BF16 ? 2 : 4, sizeC = p.dtype_c == TXC_DTYPE_BF16 ? 2 : 4;
  auto stride = [&](int64_t elements, uint64_t bytes) {
    return p.batch > 1 ? static_cast<uint64_t>(elements) * bytes : 0;
  };
  const uint32_t alignA = alignmentOf(arena + p.a, stride(p.stride_a, size)),
                 alignB = alignmentOf(arena + p.b, stride(p.stride_b, size)),
                 alignC = alignmentOf((arena + p.c) | (arena + p.addend), stride(p.stride_c, sizeC));
  auto number = [](int64_t value) { return std::to_string(value); };
  std::string key = std::string(type) + (p.dtype == TXC_DTYPE_F32 && allowTf32_ ? "/tf32" : "") + ">" +
                    typeC + " " + (p.transpose_a ? "t" : "n") + (p.transpose_b ? "t" : "n") +
                    (p.accumulate == TXC_ACCUMULATE_ALWAYS        ? (p.addend == p.c ? "+" : "+r")
                     : p.accumulate == TXC_ACCUMULATE_AFTER_FIRST ? "?"
                                                                  : "") +
                    " " + number(p.m) + "x" + number(p.n) + "x" + number(p.k) + " ld " + number(p.lda) + "," +
                    number(p.ldb) + "," + number(p.ldc);
  if (p.batch > 1)
    key += " batch " + number(p.batch) + " by " + number(p.stride_a) + "," + number(p.stride_b) + "," +
           number(p.stride_c);
  key += " align " + number(alignA) + "," + number(alignB) + "," + number(alignC) + " workspace " +
         number(static_cast<int64_t>(p.workspace_bytes));
  std::unique_ptr<Shape> &slot = shapes_[key];
  if (slot) {
    products_[&p] = slot.get();
    return {};
  }
  slot = std::make_unique<Shape>();
  Shape &shape = *slot;
  shape.key = key;
  shape.first = &p;
  shape.workspaceBytes = p.workspace_bytes;
  products_[&p] = &shape;
  order_.push_back(&shape);

  const int compute = p.dtype == TXC_DTYPE_F32 && allowTf32_ ? cuda::kCompute32FFastTf32 : cuda::kCompute32F;
  const int32_t opA = p.transpose_b ? cuda::kOpT : cuda::kOpN, opB = p.transpose_a ? cuda::kOpT : cuda::kOpN;
  LtStatus status = lt_.matmulDescCreate(&shape.desc, compute, cuda::kR32F);
  auto then = [&](auto &&call) {
    if (status == 0)
      status = call();
  };
  then([&] { return lt_.matmulDescSetAttribute(shape.desc, cuda::kMatmulTransA, &opA, sizeof(opA)); });
  then([&] { return lt_.matmulDescSetAttribute(shape.desc, cuda::kMatmulTransB, &opB, sizeof(opB)); });
  // Rows of a row-major matrix are columns of the library's.
  auto layout = [&](cuda::LtLayout &out, uint32_t dtype, int64_t rows, int64_t columns, int64_t leading,
                    int64_t batchStride) {
    then([&] {
      return lt_.layoutCreate(&out, dataType(dtype), static_cast<uint64_t>(columns),
                              static_cast<uint64_t>(rows), leading);
    });
    if (p.batch == 1)
      return;
    const int32_t batch = static_cast<int32_t>(p.batch);
    then([&] { return lt_.layoutSetAttribute(out, cuda::kLayoutBatchCount, &batch, sizeof(batch)); });
    then([&] {
      return lt_.layoutSetAttribute(out, cuda::kLayoutBatchStride, &batchStride, sizeof(batchStride));
    });
  };
  layout(shape.a, p.dtype, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.ldb, p.stride_b);
  layout(shape.b, p.dtype, p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.lda, p.stride_a);
  layout(shape.c, p.dtype_c, p.m, p.n, p.ldc, p.stride_c);

  const uint32_t reduction =
      cuda::kReduceComputeType |
      (p.dtype_c == TXC_DTYPE_F32 ? cuda::kReduceInPlace | cuda::kReduceOutputType : 0u);
  const size_t workspace = p.workspace_bytes;
  then([&] { return lt_.preferenceCreate(&shape.preference); });
  auto prefer = [&](int attribute, const auto &value) {
    then([&] { return lt_.preferenceSetAttribute(shape.preference, attribute, &value, sizeof(value)); });
  };
  prefer(cuda::kPreferenceMaxWorkspaceBytes, workspace);
  prefer(cuda::kPreferenceReductionMask, reduction);
  prefer(cuda::kPreferenceAlignmentA, alignB);
  prefer(cuda::kPreferenceAlignmentB, alignA);
  prefer(cuda::kPreferenceAlignmentC, alignC);
  prefer(cuda::kPreferenceAlignmentD, alignC);
  if (status != 0)
    return fail(p, "describing it", status);

  if (auto found = cache_.products.find(key); found != cache_.products.end()) {
    LtHeuristicResult result = {};
    if (lt_.algoCheck(handle_, shape.desc, shape.a, shape.b, shape.c, shape.c, &found->second.algorithm,
                      &result) == 0 &&
        result.workspaceBytes <= shape.workspaceBytes) {
      shape.algorithm = found->second.algorithm;
      shape.tuned = true;
      return {};
    }
    cache_.warning = cache_.path + ": the library refuses what it has for " + key + "; --tune writes it anew";
    cache_.products.erase(found);
  }
  Result<std::vector<LtHeuristicResult>> best = candidates(shape, 1);
  if (!best.ok())
    return best.status();
  shape.algorithm = best->front().algorithm;
  return {};
}

Result<std::vector<LtHeuristicResult>> CublasLt::candidates(const Shape &shape, int most) const {
  std::vector<LtHeuristicResult> results(static_cast<size_t>(most));
  int found = 0;
  LtStatus status = lt_.algoGetHeuristic(handle_, shape.desc, shape.a, shape.b, shape.c, shape.c,
                                         shape.preference, most, results.data(), &found);
  results.resize(static_cast<size_t>(status == 0 ? found : 0));
  std::erase_if(results, [&](const LtHeuristicResult &result) {
    return result.status != 0 || result.workspaceBytes > shape.workspaceBytes;
  });
  if (results.empty())
    return fail(*shape.first, "cuBLASLt has no algorithm for " + shape.key,
                status ? status : cuda::kLtNotSupported);
  return results;
}

LtStatus CublasLt::enqueue(const Shape &shape, const LtAlgorithm &algorithm, const txc_gemm_t &p,
                           cuda::Address arena, cuda::Stream stream, bool first) const {
  auto at = [&](uint64_t offset) { return reinterpret_cast<void *>(arena + offset); };
  const float alpha = 1;
  const bool overwrites =
      p.accumulate == TXC_ACCUMULATE_NEVER || (p.accumulate == TXC_ACCUMULATE_AFTER_FIRST && first);
  const float beta = overwrites ? 0 : 1;
  return lt_.matmul(handle_, shape.desc, &alpha, at(p.b), shape.a, at(p.a), shape.b, &beta,
                    at(overwrites ? p.c : p.addend), shape.c, at(p.c), shape.c, &algorithm,
                    p.workspace_bytes ? at(p.workspace) : nullptr, p.workspace_bytes, stream);
}

Status CublasLt::run(const txc_gemm_t &p, cuda::Address arena, cuda::Stream stream, bool first) {
  auto found = products_.find(&p);
  if (found == products_.end())
    return fail(p, "the entry asks for a product that it did not ask for before", 0);
  if (LtStatus status = enqueue(*found->second, found->second->algorithm, p, arena, stream, first);
      status != 0)
    return fail(p, "starting it", status);
  return {};
}

//===-- Tuning --------------------------------------------------------------===//

std::vector<LtAlgorithm> CublasLt::neighbours(const Shape &shape, const LtAlgorithm &algorithm) const {
  std::vector<LtAlgorithm> found;
  auto with = [&](auto... settings) {
    LtAlgorithm changed = algorithm;
    auto set = [&](int attribute, const auto &value) {
      return lt_.algoConfigSetAttribute(&changed, attribute, &value, sizeof(value)) == 0;
    };
    LtHeuristicResult result = {};
    if ((set(settings.first, settings.second) && ...) &&
        lt_.algoCheck(handle_, shape.desc, shape.a, shape.b, shape.c, shape.c, &changed, &result) == 0 &&
        result.workspaceBytes <= shape.workspaceBytes)
      found.push_back(changed);
  };
  for (uint16_t cluster : cuda::kClusterShapes)
    for (uint32_t swizzling : {0u, 1u})
      with(std::pair(cuda::kConfigClusterShape, cluster), std::pair(cuda::kConfigSwizzling, swizzling));
  uint32_t mostCustom = 0;
  size_t written = 0;
  if (lt_.algoCapGetAttribute(&algorithm, cuda::kCapMostCustomOption, &mostCustom, sizeof(mostCustom),
                              &written) != 0)
    mostCustom = 0;
  for (uint32_t option = 0; option <= std::min(mostCustom, kMostCustomOption); ++option)
    with(std::pair(cuda::kConfigCustomOption, option));
  return found;
}

Result<std::string> CublasLt::tune(const cuda::Driver &driver, cuda::Address arena, cuda::Stream stream) {
  ProductTuning tuning(*this, driver, arena, stream);
  for (Shape *shape : order_)
    if (!shape->tuned)
      if (Status status = tuning.measure(*shape); !status.ok())
        return status;
  Result<std::map<std::string, TunedProduct>> chosen = tuning.choose();
  if (!chosen.ok())
    return chosen.status();
  std::string done = format("%zu of %zu shapes measured", chosen->size(), order_.size());
  if (chosen->empty())
    return done + "; the others were measured before (" + cache_.path + ")";
  double before = 0, after = 0;
  for (auto &[key, product] : *chosen) {
    Shape &shape = *shapes_[key];
    shape.algorithm = product.algorithm;
    shape.tuned = true;
    before += product.firstMicroseconds / 1e3;
    after += product.microseconds / 1e3;
    cache_.products[key] = product;
  }
  done += format(": %.3f ms for one product of each, %.3f ms with the library's first choice", after, before);
  if (Status status = cache_.save(); !status.ok())
    return status;
  cache_.warning.clear();
  return done + "; kept in " + cache_.path;
}

} // namespace txc
