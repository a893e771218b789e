//===- cublas_lt.h - Matrix products on a GPU by cuBLASLt ------------------===//
//
// The library is column-major; a row-major C = op(A) op(B) is the column-major
// C^T = op(B)^T op(A)^T of the same memory, so operands change places and no
// data moves.
//
// Descriptors and the algorithm are made once per shape, which is all that the
// choice can depend on: types, transposes, accumulation, sizes, leading dimensions,
// strides, alignment, workspace. The algorithm is the one that was measured
// (tuning_cache.h), else the first that the library's heuristic proposes.
//
// Sums stay in f32: an algorithm that splits K may add parts in C only if C is
// f32. All algorithms that the library offers sum in a fixed order.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_DEVICE_CUBLAS_LT_H
#define TXC_RUNTIME_DEVICE_CUBLAS_LT_H

#include "device/cuda_driver.h"
#include "device/tuning_cache.h"
#include "txc/step_abi.h"

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace txc {

class CublasLt {
public:
  // `driverVersion` of 13000 or more: version 13 of the library is looked for
  // before version 12, else after it.
  static Result<std::unique_ptr<CublasLt>> load(int driverVersion, const std::string &gpu, bool allowTf32);
  ~CublasLt();

  // Makes all that running the product needs. The arena's address matters for
  // alignment. `product` must stay where it is.
  Status prepare(const txc_gemm_t &product, cuda::Address arena);
  // Enqueues a prepared product; `first`: in the first micro batch of an update.
  Status run(const txc_gemm_t &product, cuda::Address arena, cuda::Stream stream, bool first);

  // Measures every shape that has no measured algorithm (product_tuning.h) and keeps
  // the choice. Leaves nothing in the arena as it was.
  Result<std::string> tune(const cuda::Driver &driver, cuda::Address arena, cuda::Stream stream);

  // E.g. "cuBLASLt 13.1.0, 3 of 21 shapes tuned".
  std::string describe() const;
  const std::string &warning() const { return cache_.warning; }

private:
  friend class ProductTuning;
  // What products have in common that run with one algorithm.
  struct Shape {
    std::string key;
    const txc_gemm_t *first = nullptr; // a product of this shape
    uint64_t workspaceBytes = 0;
    cuda::LtMatmulDesc desc = nullptr;
    cuda::LtLayout a = nullptr, b = nullptr, c = nullptr; // as the library sees them: a is our B
    cuda::LtPreference preference = nullptr;
    cuda::LtAlgorithm algorithm = {};
    bool tuned = false;
  };

  CublasLt() = default;
  Status fail(const txc_gemm_t &product, const std::string &what, cuda::LtStatus status) const;
  Result<std::vector<cuda::LtHeuristicResult>> candidates(const Shape &shape, int most) const;
  // What differs in one setting or two and can run.
  std::vector<cuda::LtAlgorithm> neighbours(const Shape &shape, const cuda::LtAlgorithm &algorithm) const;
  cuda::LtStatus enqueue(const Shape &shape, const cuda::LtAlgorithm &algorithm, const txc_gemm_t &product,
                         cuda::Address arena, cuda::Stream stream, bool first) const;

#define TXC_DECLARE(function, symbol, ...) cuda::LtStatus (*function)(__VA_ARGS__) = nullptr;
  struct Functions {
    using LtHandle = cuda::LtHandle;
    using LtMatmulDesc = cuda::LtMatmulDesc;
    using LtLayout = cuda::LtLayout;
    using LtPreference = cuda::LtPreference;
    using LtHeuristicResult = cuda::LtHeuristicResult;
    using LtAlgorithm = cuda::LtAlgorithm;
    using Stream = cuda::Stream;
    TXC_CUBLASLT_FUNCTIONS(TXC_DECLARE)
    const char *(*statusName)(cuda::LtStatus) = nullptr; // may be missing
  } lt_;
#undef TXC_DECLARE
  cuda::LtHandle handle_ = nullptr;
  std::string version_;
  bool allowTf32_ = false;
  TuningCache cache_;
  std::unordered_map<std::string, std::unique_ptr<Shape>> shapes_; // by key
  std::vector<Shape *> order_;                                     // as they were met
  std::unordered_map<const txc_gemm_t *, Shape *> products_;
};

} // namespace txc

#endif // TXC_RUNTIME_DEVICE_CUBLAS_LT_H
