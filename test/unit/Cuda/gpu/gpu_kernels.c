/*===- gpu_kernels.c - The toy step's kernels for a real GPU ----------------===//
 *
 * Compiled by clang for NVPTX, without CUDA's headers (see CMakeLists.txt). A
 * thread does one block.
 */
#define expf(x) __nvvm_ex2_approx_f((x) * 1.44269504f)
#define logf(x) (__nvvm_lg2_approx_f(x) * 0.693147181f)
#define sinf(x) __nvvm_sin_approx_f(x)
#define sqrtf(x) __nvvm_sqrt_rn_f(x)
#define sqrt(x) __nvvm_sqrt_rn_d(x)
#define fmin(a, b) ((a) < (b) ? (a) : (b))
#define fmax(a, b) ((a) > (b) ? (a) : (b))
#define onehot body_onehot
#define train_loss body_train_loss
#define eval_loss body_eval_loss
#define mean_loss body_mean_loss
#define bias_gradient body_bias_gradient
#define init_weights body_init_weights
#define update_all body_update_all
#include "toy_kernels.h"
#undef onehot
#undef train_loss
#undef eval_loss
#undef mean_loss
#undef bias_gradient
#undef init_weights
#undef update_all

#define INDEX (__nvvm_read_ptx_sreg_ctaid_x() * __nvvm_read_ptx_sreg_ntid_x() + __nvvm_read_ptx_sreg_tid_x())
#define KERNEL(name, blocks, parameters, ...)                                                                \
  __attribute__((nvptx_kernel)) void name parameters {                                                       \
    const uint64_t addresses[] = {__VA_ARGS__};                                                              \
    const int64_t block = INDEX;                                                                             \
    if (block < (blocks))                                                                                    \
      body_##name(0, addresses, block, block + 1);                                                           \
  }
KERNEL(onehot, N, (uint64_t a, uint64_t b), a, b)
KERNEL(train_loss, N, (uint64_t a, uint64_t b, uint64_t c, uint64_t d), a, b, c, d)
KERNEL(eval_loss, N, (uint64_t a, uint64_t b, uint64_t c, uint64_t d), a, b, c, d)
KERNEL(mean_loss, 1, (uint64_t a, uint64_t b), a, b)
KERNEL(bias_gradient, V, (uint64_t a, uint64_t b), a, b)
KERNEL(init_weights, V *V, (uint64_t a, uint64_t b), a, b)
KERNEL(update_all, 1, (uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f), a, b, c, d, e, f)

__attribute__((nvptx_kernel)) void broken(uint64_t a) { *(volatile uint32_t *)(a & 16) = 1; }
