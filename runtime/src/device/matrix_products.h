//===- matrix_products.h - Matrix products by oneDNN -----------------------===//
//
// fp32 products on all OpenMP threads. oneDNN is loaded when the first device
// is made, so that txrun starts on machines without it. Why oneDNN and why in
// this way: docs/rationale/cpu-matrix-products.md.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_DEVICE_MATRIX_PRODUCTS_H
#define TXC_RUNTIME_DEVICE_MATRIX_PRODUCTS_H

#include "support/status.h"
#include "txc/step_abi.h"

#include <string>

namespace txc {

class MatrixProducts {
public:
  static Result<MatrixProducts> load();

  // C = op(A) op(B) [+ C], as txc_gemm says. The sum of each element of C
  // is made in an order that does not depend on the number of threads.
  Status run(char *arena, const txc_gemm_t &product) const;

  // FLOP/s of the best of several products [1536, 768] x [768, 1536], or the sum
  // over threads of each thread's best of many short ones in processor time, whichever
  // is more: on a machine that does other work no long product runs undisturbed.
  // Takes about 200 ms. A step whose products are of better shapes can be faster
  // than this.
  static constexpr int64_t kPeakSize = 1536, kPeakDepth = 768, kShortSize = 384;
  double measurePeak() const;

  const std::string &libraryName() const { return name_; }

private:
  using Sgemm = int (*)(char transA, char transB, int64_t m, int64_t n, int64_t k, float alpha,
                        const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c,
                        int64_t ldc);
  double measureShort() const;
  int multiply(const txc_gemm_t &product, float beta, const float *a, const float *b, float *c) const;

  Sgemm sgemm_ = nullptr;
  std::string name_;
};

} // namespace txc

#endif // TXC_RUNTIME_DEVICE_MATRIX_PRODUCTS_H
