/*===- toy_step.c - A step written by hand, to test the runtime ------------===//
 *
 * A bigram model through the whole ABI: logits = onehot(tokens) * W, with a
 * [16, 16] matrix W and a bias b of 16. It uses launches, matrix products with
 * both transposes, adding and overwriting, fills and all four entries.
 * seal_step.py makes a step.so of it: it adds the hash to the note.
 *
 * With TOY_RANKS=N it is the step of N ranks, which add up their gradients.
 *
 * With TOY_GPU the same for a GPU, with a few entries more that test/unit/Cuda
 * uses; the kernels are then those of gpu_kernels.c there.
 */
#include "txc/step_abi.h"

#include <math.h>

#ifndef TOY_ABI
#define TOY_ABI TXC_STEP_ABI_VERSION
#endif
#ifndef TOY_KIND
#define TOY_KIND TXC_TARGET_CPU_X86_64
#endif
#ifndef TOY_RANKS
#define TOY_RANKS 1
#endif
#ifndef TOY_LEVEL
#define TOY_LEVEL 2
#endif

__attribute__((section(".note.txc,\"a\",@note#"), used, aligned(8))) static const struct {
  uint32_t name_size, descriptor_size, type;
  char name[4];
  txc_note_t note;
} note = {4,
          sizeof(txc_note_t),
          TXC_NOTE_TYPE,
          TXC_NOTE_NAME,
          {TXC_NOTE_MAGIC, TOY_ABI, TOY_KIND, TOY_LEVEL, 0, {0}}};

#define METADATA                                                                                             \
  "{\"name\":\"toy\",\"flops_per_token\":{\"full\":1536,\"logits\":1536},"                                   \
  "\"parameters\":{\"total\":272,\"trainable\":272,\"non_embedding\":272},\"architecture_name\":\"toy-"      \
  "bigram\",\"config\":{\"model\":{\"n_layer\":1,\"n_embd\":"                                                \
  "16},"                                                                                                     \
  "\"train\":{\"learning_rate\":0.1,\"min_lr\":0.01,\"warmup_iters\":2,\"lr_decay_iters\":null,\"max_"       \
  "iters\":20,"                                                                                              \
  "\"gradient_accumulation_steps\":2,\"eval_interval\":10,\"eval_iters\":4,\"batch_size\":2}}}"
static const char metadata[] = METADATA;
#ifdef __clang__
#define METADATA_SECTION ".txc.metadata"
#else // what GCC puts behind a name is then a comment: the section is not loaded
#define METADATA_SECTION ".txc.metadata,\"\",@progbits#"
#endif
__attribute__((section(METADATA_SECTION), used)) static const char metadata_section[sizeof(METADATA) - 1] =
    METADATA;

#include "toy_kernels.h"

/* A launch on a GPU has no pointer. */
#if TOY_GPU
#define KERNEL(function) 0
#else
#define KERNEL(function) function
#endif

static const uint64_t onehot_args[] = {TOKENS, ONEHOT}, loss_args[] = {TARGETS, LOGITS, BIAS, ROWLOSS},
                      mean_args[] = {ROWLOSS, LOSS}, bias_args[] = {LOGITS, GBIAS}, init_args[] = {W, HYPER},
                      update_args[] = {W, G, M1, M2, HYPER, STATS};
static const txc_launch_t onehot_launch = {"onehot", KERNEL(onehot), 0, 2, onehot_args, N},
                          train_launch = {"train_loss", KERNEL(train_loss), 1, 4, loss_args, N},
                          eval_launch = {"eval_loss", KERNEL(eval_loss), 2, 4, loss_args, N},
                          mean_launch = {"mean_loss", KERNEL(mean_loss), 3, 2, mean_args, 1},
                          bias_launch = {"bias_gradient", KERNEL(bias_gradient), 4, 2, bias_args, V},
                          init_launch = {"init", KERNEL(init_weights), 5, 2, init_args, V *V},
                          update_launch = {"update", KERNEL(update_all), 6, 6, update_args, 1};
static const txc_gemm_t forward_gemm = {.name = "logits",
                                        .batch = 1,
                                        .m = N,
                                        .n = V,
                                        .k = V,
                                        .lda = V,
                                        .ldb = V,
                                        .ldc = V,
                                        .a = ONEHOT,
                                        .b = W,
                                        .c = LOGITS,
                                        .addend = LOGITS},
                        weight_gemm = {.name = "logits_vjp",
                                       .batch = 1,
                                       .transpose_a = 1,
                                       .accumulate = TXC_ACCUMULATE_AFTER_FIRST,
                                       .m = V,
                                       .n = V,
                                       .k = N,
                                       .lda = V,
                                       .ldb = V,
                                       .ldc = V,
                                       .a = ONEHOT,
                                       .b = LOGITS,
                                       .c = G,
                                       .addend = G,
                                       .hyper = HYPER};
/* The bias's; the product overwrites the weight's. */
static const txc_fill_t zero_gradients = {"zero_gradients", G + 4 * V *V, 64, 0, {0}};

#define RUN(call)                                                                                            \
  if ((status = (call)) != 0)                                                                                \
  return status

#if TOY_RANKS > 1
/* The weight's while the bias's gradient is computed; then that and the loss in one group. */
static const txc_collective_part_t weight_part[] = {{G, G, V *V}},
                                   last_parts[] = {{GBIAS, GBIAS, V}, {LOSS, LOSS, 2}};
static const txc_collective_t reduce_weight = {.name = "lm_head.weight.grad",
                                               .kind = TXC_COLLECTIVE_ALL_REDUCE,
                                               .op = TXC_REDUCE_SUM,
                                               .dtype = TXC_DTYPE_F32,
                                               .num_parts = 1,
                                               .parts = weight_part,
                                               .event = 0},
                              reduce_last = {.name = "lm_head.bias.grad",
                                             .kind = TXC_COLLECTIVE_ALL_REDUCE,
                                             .op = TXC_REDUCE_SUM,
                                             .dtype = TXC_DTYPE_F32,
                                             .num_parts = 2,
                                             .parts = last_parts,
                                             .event = 1};
static const txc_wait_t weight_wait = {.name = "lm_head.weight.grad", .event = 0},
                        last_wait = {.name = "lm_head.bias.grad", .event = 1};
#endif

static int32_t run_init(const txc_device_t *d, char *arena) {
  int32_t status;
  RUN(d->launch(d->self, arena, &init_launch));
  return 0;
}
static int32_t run_forward(const txc_device_t *d, char *arena, const txc_launch_t *loss) {
  int32_t status;
  RUN(d->launch(d->self, arena, &onehot_launch));
  RUN(d->gemm(d->self, arena, &forward_gemm));
  RUN(d->launch(d->self, arena, loss));
  RUN(d->launch(d->self, arena, &mean_launch));
  return 0;
}
static int32_t run_micro(const txc_device_t *d, char *arena) {
  int32_t status;
  RUN(run_forward(d, arena, &train_launch));
  RUN(d->gemm(d->self, arena, &weight_gemm));
#if TOY_RANKS > 1
  RUN(d->collective(d->self, arena, &reduce_weight));
#endif
  RUN(d->launch(d->self, arena, &bias_launch));
#if TOY_RANKS > 1
  RUN(d->collective(d->self, arena, &reduce_last));
  RUN(d->wait(d->self, arena, &weight_wait));
  RUN(d->wait(d->self, arena, &last_wait));
#endif
  return 0;
}
static int32_t run_update(const txc_device_t *d, char *arena) {
  int32_t status;
  RUN(d->launch(d->self, arena, &update_launch));
  RUN(d->fill(d->self, arena, &zero_gradients));
  return 0;
}
static int32_t run_eval(const txc_device_t *d, char *arena) { return run_forward(d, arena, &eval_launch); }

#define STATE(kind, at)                                                                                      \
  {"lm_head.weight", at, 4 * V * V, kind, TXC_DTYPE_F32, UINT32_MAX, 2, {V, V, 1, 1}, 0, 0},                 \
      {"lm_head.bias", at + 4 * V * V, 4 * V, kind, TXC_DTYPE_F32, UINT32_MAX, 1, {V, 1, 1, 1}, 0, 0}
static const txc_buffer_t buffers[] = {
    STATE(TXC_BUFFER_PARAM, W),
    STATE(TXC_BUFFER_GRAD, G),
    STATE(TXC_BUFFER_MOMENT1, M1),
    STATE(TXC_BUFFER_MOMENT2, M2),
    {"tokens", TOKENS, 4 * N, TXC_BUFFER_TOKENS, TXC_DTYPE_I32, UINT32_MAX, 2, {B, T, 1, 1}, 0, 0},
    {"targets", TARGETS, 4 * N, TXC_BUFFER_TARGETS, TXC_DTYPE_I32, UINT32_MAX, 2, {B, T, 1, 1}, 0, 0},
    {"hyper", HYPER, sizeof(txc_hyper_t), TXC_BUFFER_HYPER, TXC_DTYPE_U8, UINT32_MAX, 1, {64, 1, 1, 1}, 0, 0},
    {"loss",
     LOSS,
     sizeof(txc_loss_result_t),
     TXC_BUFFER_LOSS,
     TXC_DTYPE_F32,
     UINT32_MAX,
     1,
     {2, 1, 1, 1},
     0,
     0},
    {"stats",
     STATS,
     sizeof(txc_update_result_t),
     TXC_BUFFER_STATS,
     TXC_DTYPE_F32,
     UINT32_MAX,
     1,
     {11, 1, 1, 1},
     0,
     0},
    {"onehot", ONEHOT, 4 * N *V, TXC_BUFFER_ACTIVATION, TXC_DTYPE_F32, 1, 2, {N, V, 1, 1}, 0, 4},
    {"logits", LOGITS, 4 * N *V, TXC_BUFFER_ACTIVATION, TXC_DTYPE_F32, 1, 2, {N, V, 1, 1}, 1, 5},
    {"row_loss", ROWLOSS, 4 * N, TXC_BUFFER_ACTIVATION, TXC_DTYPE_F32, 1, 1, {N, 1, 1, 1}, 2, 3},
};
#if TOY_GPU
#include "gpu_tables.h"
#else
#define GPU_ENTRIES
#endif

static const txc_entry_t entries[] = {{"init", run_init, 1, 0},
                                      {"micro", run_micro, TOY_RANKS > 1 ? 10 : 6, 0},
                                      {"update", run_update, 2, 0},
                                      {"eval", run_eval, 4, 0} GPU_ENTRIES};
static const txc_flops_t flops[] = {{"lm_head", "linear", 2ull * N *V *V, 2ull * N *V *V},
                                    {"lm_head", "linear_vjp", 4ull * N *V *V, 4ull * N *V *V}};

__attribute__((visibility("default"))) const txc_step_t *txc_step_query(uint32_t abi_version) {
  static const txc_step_t step = {
      .struct_size = sizeof(txc_step_t),
      .abi_version = TXC_STEP_ABI_VERSION,
      .compiler = "by hand",
#if TOY_GPU
      .target = "cuda:sm_" TOY_ARCH,
      .arena_bytes = GPU_ARENA,
      .arena_lower_bound = GPU_ARENA,
      .kernels = kernels,
      .images = images,
      .num_kernels = sizeof(kernels) / sizeof(kernels[0]),
      .num_images = sizeof(images) / sizeof(images[0]),
#else
      .target = "cpu:x86-64-v2",
      .arena_bytes = CPU_ARENA,
      .arena_lower_bound = CPU_ARENA,
#endif
      .metadata = metadata,
      .batch_size = B,
      .block_size = T,
      .vocab_size = V,
      .ignore_index = -1,
      .num_ranks = TOY_RANKS,
      .num_events = TOY_RANKS > 1 ? 2 : 0,
      .num_parameters = V * V + V,
      .flops_per_token_full = 6 * V * V,
      .flops_per_token_causal = 6 * V * V,
      .buffers = buffers,
      .entries = entries,
      .flops = flops,
      .num_buffers = sizeof(buffers) / sizeof(buffers[0]),
      .num_entries = sizeof(entries) / sizeof(entries[0]),
      .num_flops = 2,
  };
  return abi_version == TXC_STEP_ABI_VERSION ? &step : 0;
}
