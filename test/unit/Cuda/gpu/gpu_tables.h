/*===- gpu_tables.h - What the toy step has on a GPU ------------------------===//
 *
 * Included by ../Runtime/toy_step.c. The image is either a table of functions
 * for fake_cuda.cpp, or, with TOY_CUBIN and TOY_PTX, files made of gpu_kernels.c.
 *
 * Entries beyond those of any step:
 *   product0   XC = XA XB^T, f32, with a workspace
 *   product1   XC += XA^T XB, bf16 to f32
 *   product2   two products XC = XA XB, bf16
 *   product3   XC = XA XB^T + the beginning of XA, bf16
 *   copy       ONEHOT = W through a tensor map of 16 x 16
 *   broken     a kernel that writes where it must not
 */
#ifdef TOY_CUBIN
/* PTX ends in a zero. Sizes are not known here; the runtime needs none but to
 * look for the .target line of PTX, which is in its first bytes. */
#define INCLUDE_FILE(name, file)                                                                             \
  __asm__(".section .rodata\n.balign 64\n" #name ":\n.incbin \"" file "\"\n.byte 0\n.previous\n");            \
  extern const char name[] __attribute__((visibility("hidden")))
INCLUDE_FILE(toy_cubin, TOY_CUBIN);
INCLUDE_FILE(toy_ptx, TOY_PTX);
INCLUDE_FILE(copy_cubin, TOY_COPY_CUBIN);
#ifdef TOY_PTX_ONLY
#define TOY_MACHINE_CODE 0, toy_ptx, 0
#else
#define TOY_MACHINE_CODE toy_cubin, toy_ptx, 1
#endif
static const txc_image_t images[] = {{"sm_" TOY_ARCH, TOY_MACHINE_CODE, 4096}, {"sm_90a", copy_cubin, 0, 1, 0}};
#else
#include "fake_image.h"
#define FAKE(function, arguments, blocks)                                                                    \
  static void fake_##function(void **parameters) {                                                           \
    uint64_t addresses[arguments];                                                                           \
    for (int i = 0; i < arguments; ++i)                                                                      \
      addresses[i] = *(uint64_t *)parameters[i];                                                             \
    function(0, addresses, 0, blocks);                                                                       \
  }
FAKE(onehot, 2, N)
FAKE(train_loss, 4, N)
FAKE(eval_loss, 4, N)
FAKE(mean_loss, 2, 1)
FAKE(bias_gradient, 2, V)
FAKE(init_weights, 2, V *V)
FAKE(update_all, 6, 1)
/* The map holds what cuTensorMapEncodeTiled was given; the scalar is a check. */
static void fake_copy_tile(void **parameters) {
  const struct fake_tensor_map *map = (const struct fake_tensor_map *)parameters[0];
  float *to = *(float **)parameters[2];
  for (uint64_t row = 0; row < map->box[1] && *(int32_t *)parameters[3] == 1234; ++row)
    for (uint64_t column = 0; column < map->box[0]; ++column)
      to[row * map->box[0] + column] = *(const float *)(map->address + row * map->strides[0] + 4 * column);
}
static void fake_broken(void **parameters) { (void)parameters; }
static const struct fake_image fake_image = {FAKE_MAGIC,
                                             {{"onehot", fake_onehot},
                                              {"train_loss", fake_train_loss},
                                              {"eval_loss", fake_eval_loss},
                                              {"mean_loss", fake_mean_loss},
                                              {"bias_gradient", fake_bias_gradient},
                                              {"init_weights", fake_init_weights},
                                              {"update_all", fake_update_all},
                                              {"copy_tile", fake_copy_tile},
                                              {"broken", fake_broken}}};
static const char fake_ptx[] = ".version 7.0\n.target sm_80\n";
static const txc_image_t images[] = {{"sm_" TOY_ARCH, &fake_image, fake_ptx, sizeof(fake_image), sizeof(fake_ptx)},
                                     {"sm_90a", &fake_image, 0, sizeof(fake_image), 0}};
#endif

static const txc_tensor_map_t copy_map = {.argument = 0,
                                          .dtype = TXC_DTYPE_F32,
                                          .rank = 2,
                                          .swizzle = 0,
                                          .dims = {V, V},
                                          .strides = {4, 4 * V},
                                          .box = {V, V}};
static const int32_t copy_scalar = 1234;
#define ROW(function)                                                                                        \
  {#function, #function, 0, {2, 1, 1}, {128, 1, 1}, 0, 0, 0, 0, 0}
static const txc_kernel_t kernels[] = {
    ROW(onehot),
    ROW(train_loss),
    ROW(eval_loss),
    ROW(mean_loss),
    ROW(bias_gradient),
    ROW(init_weights),
    ROW(update_all),
    /* As many blocks as multiprocessors; all but the first do nothing. */
    {"copy_tile", "copy_tile", 1, {0, 1, 1}, {32, 1, 1}, 64 << 10, 1, 1, &copy_map, &copy_scalar},
    ROW(broken),
};

static const txc_gemm_t product0 = {"product0", TXC_DTYPE_F32, TXC_DTYPE_F32, 0, 1, 0, 1, XM, XN, XK, XK, XK, XN,
                                    0, 0, 0, XA, XB, XC, XWORK, XWORK_BYTES},
                        product1 = {"product1", TXC_DTYPE_BF16, TXC_DTYPE_F32, 1, 0, 1, 1, XM, XN, XK, XM, XN, XN,
                                    0, 0, 0, XA, XB, XC, XWORK, XWORK_BYTES, 0, 0, 0, XC},
                        product2 = {"product2", TXC_DTYPE_BF16, TXC_DTYPE_BF16, 0, 0, 0, 2, XM, XN, XK, XK, XN, XN,
                                    XM *XK, XK *XN, XM *XN, XA, XB, XC, 0, 0},
                        product3 = {"product3", TXC_DTYPE_BF16, TXC_DTYPE_BF16, 0, 1, 1, 1, XM, XN, XK, XK, XK, XN,
                                    0, 0, 0, XA, XB, XC, 0, 0, 0, 0, 0, XA};
static const uint64_t copy_args[] = {W, ONEHOT}, broken_args[] = {W};
static const txc_launch_t copy_launch = {"lm_head.copy", 0, 7, 2, copy_args, 1},
                          broken_launch = {"lm_head.broken", 0, 8, 1, broken_args, 1};
static int32_t run_product0(const txc_device_t *d, char *arena) { return d->gemm(d->self, arena, &product0); }
static int32_t run_product1(const txc_device_t *d, char *arena) { return d->gemm(d->self, arena, &product1); }
static int32_t run_product2(const txc_device_t *d, char *arena) { return d->gemm(d->self, arena, &product2); }
static int32_t run_product3(const txc_device_t *d, char *arena) { return d->gemm(d->self, arena, &product3); }
static int32_t run_copy(const txc_device_t *d, char *arena) { return d->launch(d->self, arena, &copy_launch); }
static int32_t run_broken(const txc_device_t *d, char *arena) { return d->launch(d->self, arena, &broken_launch); }
#define GPU_ENTRIES                                                                                          \
  , {"product0", run_product0, 1, 0}, {"product1", run_product1, 1, 0}, {"product2", run_product2, 1, 0},    \
      {"product3", run_product3, 1, 0}, {"copy", run_copy, 1, 0}, {"broken", run_broken, 1, 0}
