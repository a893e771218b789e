/*===- toy_kernels.h - The kernels of the toy step --------------------------===//
 *
 * Each works on blocks [begin, end) as txc_cpu_kernel_fn does. Includes no C
 * library, so that it can be compiled for a GPU too; whoever includes it has
 * expf, logf, sinf, sqrtf, sqrt, fmin and fmax.
 */
#ifndef TOY_KERNELS_H
#define TOY_KERNELS_H

#include "toy_layout.h"
#include "txc/step_abi.h"

/* On a GPU `arena` is 0 and offsets are addresses. */
static inline void *at(char *arena, uint64_t offset) { return (void *)((uintptr_t)arena + offset); }
static inline float *f32(char *arena, uint64_t offset) { return (float *)at(arena, offset); }

static inline void onehot(char *arena, const uint64_t *offsets, int64_t begin, int64_t end) {
  const int32_t *tokens = (const int32_t *)at(arena, offsets[0]);
  for (int64_t row = begin; row < end; ++row)
    for (int v = 0; v < V; ++v)
      f32(arena, offsets[1])[row * V + v] = tokens[row] == v ? 1.0f : 0.0f;
}

/* Row losses; in training the logits become their gradients. */
static inline void softmax_loss(char *arena, const uint64_t *offsets, int64_t begin, int64_t end, int train) {
  const int32_t *targets = (const int32_t *)at(arena, offsets[0]);
  const float *bias = f32(arena, offsets[2]);
  for (int64_t row = begin; row < end; ++row) {
    float *x = f32(arena, offsets[1]) + row * V, most = -__builtin_inff(), sum = 0;
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
static inline void train_loss(char *arena, const uint64_t *offsets, int64_t begin, int64_t end) {
  softmax_loss(arena, offsets, begin, end, 1);
}
static inline void eval_loss(char *arena, const uint64_t *offsets, int64_t begin, int64_t end) {
  softmax_loss(arena, offsets, begin, end, 0);
}

static inline void mean_loss(char *arena, const uint64_t *offsets, int64_t begin, int64_t end) {
  txc_loss_result_t *loss = (txc_loss_result_t *)at(arena, offsets[1]);
  float sum = 0;
  for (int row = 0; row < N; ++row)
    sum += f32(arena, offsets[0])[row];
  loss->loss = sum / N;
  loss->target_count = N;
}

static inline void bias_gradient(char *arena, const uint64_t *offsets, int64_t begin, int64_t end) {
  for (int64_t v = begin; v < end; ++v)
    for (int row = 0; row < N; ++row)
      f32(arena, offsets[1])[v] += f32(arena, offsets[0])[row * V + v];
}

static inline void init_weights(char *arena, const uint64_t *offsets, int64_t begin, int64_t end) {
  const txc_hyper_t *hyper = (const txc_hyper_t *)at(arena, offsets[1]);
  for (int64_t i = begin; i < end; ++i)
    f32(arena, offsets[0])[i] = 0.01f * sinf((float)i + (float)(hyper->seed_lo % 1000));
}

static inline void update_all(char *arena, const uint64_t *offsets, int64_t begin, int64_t end) {
  const txc_hyper_t *h = (const txc_hyper_t *)at(arena, offsets[4]);
  txc_update_result_t *stats = (txc_update_result_t *)at(arena, offsets[5]);
  float *w = f32(arena, offsets[0]), *g = f32(arena, offsets[1]), *m1 = f32(arena, offsets[2]),
        *m2 = f32(arena, offsets[3]);
  const int size[2] = {V * V, V}, start[2] = {0, V * V};
  double norm[2] = {0, 0}, sum = 0;
  stats->grad_min = __builtin_inff();
  stats->grad_max = -__builtin_inff();
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

#endif /* TOY_KERNELS_H */
