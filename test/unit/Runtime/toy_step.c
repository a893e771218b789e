/*===- toy_step.c - A step written by hand, to test the runtime ------------===//
 *
 * A bigram model through the whole ABI: logits = onehot(tokens) * W, with a
 * [16, 16] matrix W and a bias b of 16. It uses launches, matrix products with
 * both transposes and with beta 1, fills and all four entries.
 * seal_step.py makes a step.so of it: it adds the hash to the note.
 */
#include "txc/step_abi.h"

#include <math.h>

#define V 16
#define B 2
#define T 8
#define N (B * T)

#ifndef TOY_ABI
#define TOY_ABI TXC_STEP_ABI_VERSION
#endif
#ifndef TOY_KIND
#define TOY_KIND TXC_TARGET_CPU_X86_64
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
__attribute__((section(".txc.metadata,\"\",@progbits#"),
               used)) static const char metadata_section[sizeof(METADATA) - 1] = METADATA;

/* Arena. */
enum {
  W = 0,
  BIAS = W + 4 * V * V,
  G = BIAS + 64,
  GBIAS = G + 4 * V * V,
  M1 = GBIAS + 64,
  M1BIAS = M1 + 4 * V * V,
  M2 = M1BIAS + 64,
  M2BIAS = M2 + 4 * V * V,
  TOKENS = M2BIAS + 64,
  TARGETS = TOKENS + 64,
  HYPER = TARGETS + 64,
  LOSS = HYPER + 64,
  STATS = LOSS + 64,
  ONEHOT = STATS + 64,
  LOGITS = ONEHOT + 4 * N * V,
  ROWLOSS = LOGITS + 4 * N * V,
  ARENA = ROWLOSS + 64,
};

static float *f32(char *arena, uint64_t offset) { return (float *)(arena + offset); }

static void onehot(char *arena, const uint64_t *offsets, int64_t begin, int64_t end) {
  const int32_t *tokens = (const int32_t *)(arena + offsets[0]);
  for (int64_t row = begin; row < end; ++row)
    for (int v = 0; v < V; ++v)
      f32(arena, offsets[1])[row * V + v] = tokens[row] == v ? 1.0f : 0.0f;
}

/* Row losses; in training the logits become their gradients. */
static void softmax_loss(char *arena, const uint64_t *offsets, int64_t begin, int64_t end, int train) {
  const int32_t *targets = (const int32_t *)(arena + offsets[0]);
  const float *bias = f32(arena, offsets[2]);
  for (int64_t row = begin; row < end; ++row) {
    float *x = f32(arena, offsets[1]) + row * V, most = -INFINITY, sum = 0;
    for (int v = 0; v < V; ++v) {
      x[v] += bias[v];
      most = x[v] > most ? x[v] : most;
    }
    for (int v = 0; v < V; ++v)
      sum += expf(x[v] - most);
    f32(arena, offsets[3])[row] = most + logf(sum) - x[targets[row]];
    for (int v = 0; train && v < V; ++v)
      x[v] = (expf(x[v] - most) / sum - (v == targets[row])) / N;
  }
}
static void train_loss(char *arena, const uint64_t *offsets, int64_t begin, int64_t end) {
  softmax_loss(arena, offsets, begin, end, 1);
}
static void eval_loss(char *arena, const uint64_t *offsets, int64_t begin, int64_t end) {
  softmax_loss(arena, offsets, begin, end, 0);
}

static void mean_loss(char *arena, const uint64_t *offsets, int64_t begin, int64_t end) {
  txc_loss_result_t *loss = (txc_loss_result_t *)(arena + offsets[1]);
  float sum = 0;
  for (int row = 0; row < N; ++row)
    sum += f32(arena, offsets[0])[row];
  loss->loss = sum / N;
  loss->target_count = N;
}

static void bias_gradient(char *arena, const uint64_t *offsets, int64_t begin, int64_t end) {
  for (int64_t v = begin; v < end; ++v)
    for (int row = 0; row < N; ++row)
      f32(arena, offsets[1])[v] += f32(arena, offsets[0])[row * V + v];
}

static void init_weights(char *arena, const uint64_t *offsets, int64_t begin, int64_t end) {
  const txc_hyper_t *hyper = (const txc_hyper_t *)(arena + HYPER);
  for (int64_t i = begin; i < end; ++i)
    f32(arena, offsets[0])[i] = 0.01f * sinf((float)i + (float)(hyper->seed_lo % 1000));
}

static void update_all(char *arena, const uint64_t *offsets, int64_t begin, int64_t end) {
  const txc_hyper_t *h = (const txc_hyper_t *)(arena + HYPER);
  txc_update_result_t *stats = (txc_update_result_t *)(arena + STATS);
  float *w = f32(arena, W), *g = f32(arena, G), *m1 = f32(arena, M1), *m2 = f32(arena, M2);
  const int size[2] = {V * V, V}, start[2] = {0, V * V};
  double norm[2] = {0, 0}, sum = 0;
  stats->grad_min = INFINITY;
  stats->grad_max = -INFINITY;
  for (int t = 0; t < 2; ++t)
    for (int i = start[t]; i < start[t] + size[t]; ++i) {
      float x = g[i] * h->grad_scale;
      norm[t] += (double)x * x;
      sum += x;
      stats->grad_min = x < stats->grad_min ? x : stats->grad_min;
      stats->grad_max = x > stats->grad_max ? x : stats->grad_max;
    }
  double all = norm[0] + norm[1], count = V * V + V, mean = sum / count;
  stats->grad_norm = (float)sqrt(all);
  stats->clip_scale =
      h->grad_clip > 0 && stats->grad_norm > h->grad_clip ? h->grad_clip / stats->grad_norm : 1.0f;
  stats->grad_mean = (float)mean;
  stats->grad_std = (float)sqrt(all / count - mean * mean);
  stats->tensor_norm_mean = (float)((sqrt(norm[0]) + sqrt(norm[1])) / 2);
  stats->tensor_norm_max = (float)fmax(sqrt(norm[0]), sqrt(norm[1]));
  stats->tensor_norm_min = (float)fmin(sqrt(norm[0]), sqrt(norm[1]));
  for (int t = 0; t < 2; ++t)
    for (int i = start[t]; i < start[t] + size[t]; ++i) {
      float x = g[i] * h->grad_scale * stats->clip_scale;
      m1[i] = h->beta1 * m1[i] + (1 - h->beta1) * x;
      m2[i] = h->beta2 * m2[i] + (1 - h->beta2) * x * x;
      float step = m1[i] / h->bias_correction1 / (sqrtf(m2[i] / h->bias_correction2) + h->epsilon);
      w[i] -= h->learning_rate * (step + (t == 0 ? h->weight_decay * w[i] : 0));
    }
}

static const uint64_t onehot_args[] = {TOKENS, ONEHOT}, loss_args[] = {TARGETS, LOGITS, BIAS, ROWLOSS},
                      mean_args[] = {ROWLOSS, LOSS}, bias_args[] = {LOGITS, GBIAS}, init_args[] = {W};
static const txc_launch_t onehot_launch = {"onehot", onehot, 0, 2, onehot_args, N},
                          train_launch = {"train_loss", train_loss, 1, 4, loss_args, N},
                          eval_launch = {"eval_loss", eval_loss, 2, 4, loss_args, N},
                          mean_launch = {"mean_loss", mean_loss, 3, 2, mean_args, 1},
                          bias_launch = {"bias_gradient", bias_gradient, 4, 2, bias_args, V},
                          init_launch = {"init", init_weights, 5, 1, init_args, V *V},
                          update_launch = {"update", update_all, 6, 0, init_args, 1};
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
                                        .c = LOGITS},
                        weight_gemm = {.name = "logits_vjp",
                                       .batch = 1,
                                       .transpose_a = 1,
                                       .beta = 1,
                                       .m = V,
                                       .n = V,
                                       .k = N,
                                       .lda = V,
                                       .ldb = V,
                                       .ldc = V,
                                       .a = ONEHOT,
                                       .b = LOGITS,
                                       .c = G};
static const txc_fill_t zero_gradients = {"zero_gradients", G, 4 * V *V + 64, 0, {0}};

#define RUN(call)                                                                                            \
  if ((status = (call)) != 0)                                                                                \
  return status

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
  RUN(d->launch(d->self, arena, &bias_launch));
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
     {9, 1, 1, 1},
     0,
     0},
    {"onehot", ONEHOT, 4 * N *V, TXC_BUFFER_ACTIVATION, TXC_DTYPE_F32, 1, 2, {N, V, 1, 1}, 0, 4},
    {"logits", LOGITS, 4 * N *V, TXC_BUFFER_ACTIVATION, TXC_DTYPE_F32, 1, 2, {N, V, 1, 1}, 1, 5},
    {"row_loss", ROWLOSS, 4 * N, TXC_BUFFER_ACTIVATION, TXC_DTYPE_F32, 1, 1, {N, 1, 1, 1}, 2, 3},
};
static const txc_entry_t entries[] = {{"init", run_init, 1, 0},
                                      {"micro", run_micro, 6, 0},
                                      {"update", run_update, 2, 0},
                                      {"eval", run_eval, 4, 0}};
static const txc_flops_t flops[] = {{"lm_head", "linear", 2ull * N *V *V, 2ull * N *V *V},
                                    {"lm_head", "linear_vjp", 4ull * N *V *V, 4ull * N *V *V}};

__attribute__((visibility("default"))) const txc_step_t *txc_step_query(uint32_t abi_version) {
  static const txc_step_t step = {
      .struct_size = sizeof(txc_step_t),
      .abi_version = TXC_STEP_ABI_VERSION,
      .compiler = "by hand",
      .target = "cpu:x86-64-v2",
      .metadata = metadata,
      .arena_bytes = ARENA,
      .arena_lower_bound = ARENA,
      .batch_size = B,
      .block_size = T,
      .vocab_size = V,
      .ignore_index = -1,
      .num_parameters = V * V + V,
      .flops_per_token_full = 6 * V * V,
      .flops_per_token_causal = 6 * V * V,
      .buffers = buffers,
      .entries = entries,
      .flops = flops,
      .num_buffers = sizeof(buffers) / sizeof(buffers[0]),
      .num_entries = 4,
      .num_flops = 2,
  };
  return abi_version == TXC_STEP_ABI_VERSION ? &step : 0;
}
