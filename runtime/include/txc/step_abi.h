/*===- step_abi.h - The contract between step.so and whoever runs it -------===//
 *
 * The only header that the compiler (lib/) and the runtime (runtime/) share.
 * C11, no CUDA, no dependencies. Sizes are asserted at the end.
 *
 * Who owns what
 *   step.so   holds constant tables and native code. It owns no memory.
 *   runtime   allocates one arena of `arena_bytes` bytes, aligned to
 *             TXC_ARENA_ALIGNMENT, and passes its address to every entry.
 *             All buffers are offsets into it.
 *
 * How it is loaded
 *   1. Read the ELF note TXC_NOTE_NAME/TXC_NOTE_TYPE (struct txc_note)
 *      *before* dlopen, since loading runs code: magic, ABI version, CPU
 *      level and the SHA-256 of the file.
 *   2. dlopen, look up TXC_QUERY_SYMBOL, call it with TXC_STEP_ABI_VERSION.
 *      It returns NULL for a version that it does not speak.
 *   3. Zero the arena, fill TXC_BUFFER_HYPER, call the entries:
 *        init once; then per iteration `micro` gradient_accumulation_steps
 *        times and `update` once; `eval` whenever wanted. If there is
 *        `micro_last`, it takes the place of `micro` for the last micro batch of
 *        an iteration. If there is `decode`: for positions 0, 1, ... of a
 *        sequence, with its tokens, and no other entry in between.
 *
 * Several ranks
 *   One file serves all `num_ranks` ranks: each has its own arena and runs the
 *   same entries in the same order; HYPER says which rank it is. `micro` (or
 *   `micro_last`), `eval` and `update` end in the same results on all ranks.
 *
 * On a GPU the arena is device memory, and the device's functions enqueue on one
 * stream, collectives on one beside it: an entry can be captured in a graph and
 * replayed.
 *
 *===----------------------------------------------------------------------===*/
#ifndef TXC_STEP_ABI_H
#define TXC_STEP_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TXC_STEP_ABI_VERSION 6u
#define TXC_QUERY_SYMBOL "txc_step_query"
#define TXC_ARENA_ALIGNMENT 4096u
/* Every buffer starts on a multiple of this many bytes. */
#define TXC_BUFFER_ALIGNMENT 64u

/*===-- The ELF note -------------------------------------------------------===
 * Section ".note.txc" (a PT_NOTE segment), name "txc\0", type 1.
 * `sha256` is the SHA-256 of the whole file with the 32 bytes of this field
 * read as zero.
 */
#define TXC_NOTE_SECTION ".note.txc"
#define TXC_NOTE_NAME "txc"
#define TXC_NOTE_TYPE 1u
#define TXC_NOTE_MAGIC UINT64_C(0x0a1a50455453cb74) /* 't' 0xcb "STEP" 0x1a '\n' */

typedef enum txc_target_kind {
  TXC_TARGET_CPU_X86_64 = 0,
  TXC_TARGET_CUDA = 1,
} txc_target_kind_t;

typedef struct txc_note {
  uint64_t magic;        /* TXC_NOTE_MAGIC */
  uint32_t abi_version;  /* TXC_STEP_ABI_VERSION of the compiler */
  uint32_t target_kind;  /* txc_target_kind_t */
  uint32_t target_level; /* CPU: x86-64 micro-architecture level, 2, 3 or 4 (all its
                            features are required). CUDA: 90 for sm_90a, ... */
  uint32_t reserved;     /* 0 */
  uint8_t sha256[32];    /* content hash, see above */
} txc_note_t;

/* Section with the JSON metadata (no terminating zero), readable without
 * loading the file; `txc explain step.so` prints it. docs/abi.md has its keys. */
#define TXC_METADATA_SECTION ".txc.metadata"

/*===-- Buffers ------------------------------------------------------------===*/
typedef enum txc_dtype {
  TXC_DTYPE_F32 = 0,
  TXC_DTYPE_BF16 = 1,
  TXC_DTYPE_I32 = 2,
  TXC_DTYPE_F64 = 3,
  TXC_DTYPE_U8 = 4,
} txc_dtype_t;

typedef enum txc_buffer_kind {
  TXC_BUFFER_PARAM = 0,      /* master weights; consecutive in the flat parameter arena */
  TXC_BUFFER_GRAD = 1,       /* gradients, same order and spacing as PARAM */
  TXC_BUFFER_MOMENT1 = 2,    /* AdamW first moments, same order and spacing */
  TXC_BUFFER_MOMENT2 = 3,    /* AdamW second moments, same order and spacing */
  TXC_BUFFER_TOKENS = 4,     /* i32 [batch, block]: inputs of micro and eval */
  TXC_BUFFER_TARGETS = 5,    /* i32 [batch, block]: next tokens, or ignore_index */
  TXC_BUFFER_HYPER = 6,      /* struct txc_hyper, written by the runtime */
  TXC_BUFFER_LOSS = 7,       /* struct txc_loss_result, written by micro and eval */
  TXC_BUFFER_STATS = 8,      /* struct txc_update_result, written by update */
  TXC_BUFFER_ACTIVATION = 9, /* a value of the program; lives from `begin` to `end` */
  TXC_BUFFER_WORKSPACE = 10, /* partial sums and library scratch; one command */
  TXC_BUFFER_COMPUTE = 11,   /* bf16 copies of PARAM, same order; kept by init and update */
  TXC_BUFFER_CACHE = 12,     /* [S, K, T, D]: keys or values of past tokens, from one call of
                                decode to the next; destroyed by any other entry */
  TXC_BUFFER_DECODE_TOKENS = 13, /* i32 [S, 1]: inputs of decode, written by the runtime */
  TXC_BUFFER_DECODE_STATE = 14,  /* struct txc_decode_state, written by the runtime */
  TXC_BUFFER_LOGITS = 15,        /* f32 [S, 1, vocab]: written by decode */
  TXC_BUFFER_GRAD_SHARD = 16,    /* this rank's part of the reduced gradients, as PARAM */
  TXC_BUFFER_COMPUTE_SHARD = 17, /* this rank's part of COMPUTE, sent to the others */
  TXC_BUFFER_COMMUNICATION = 18, /* what a collective reads or writes; lives from `begin` to `end`,
                                    which is the wait for the collective or a later use */
} txc_buffer_kind_t;

#define TXC_MAX_RANK 4

typedef struct txc_buffer {
  const char *name; /* YAML path, e.g. "blocks.3.attn.qkv.weight" */
  uint64_t offset;  /* bytes from the start of the arena */
  uint64_t bytes;   /* exact size; the slot is rounded up to TXC_BUFFER_ALIGNMENT */
  uint32_t kind;    /* txc_buffer_kind_t */
  uint32_t dtype;   /* txc_dtype_t */
  uint32_t entry;   /* index into entries; UINT32_MAX: lives in all of them */
  uint32_t rank;
  int64_t shape[TXC_MAX_RANK]; /* unused dimensions are 1 */
  uint32_t begin, end;         /* first and last command of `entry` that touches it */
  uint64_t full_elements;      /* 0: a whole tensor. Otherwise this is a shard of one of so many
                                  elements: [rank * n, (rank + 1) * n) of it, n the elements of
                                  this buffer; those past `full_elements` are zero and stay so */
} txc_buffer_t;

/* What the runtime tells the compiled code, in the arena (kind HYPER).
 * bias_correctionN = 1 - betaN^t for update number t = 1, 2, ... */
typedef struct txc_hyper {
  float learning_rate;
  float beta1;
  float beta2;
  float epsilon;
  float weight_decay;     /* applied to tensors of 2 or more dimensions */
  float grad_clip;        /* global norm limit; 0 or less: no clipping */
  float grad_scale;       /* 1 / micro batches per update (over all ranks) */
  float bias_correction1;
  float bias_correction2;
  uint32_t seed_lo;       /* key of the counter-based generator */
  uint32_t seed_hi;
  uint32_t step_lo;       /* number of the micro batch since the start of training (modulo
                             2^32), so that dropout differs from one to the next */
  uint32_t accumulated;   /* micro batches of this rank that the gradients hold already; 0:
                             none, so what they hold is of an earlier update */
  uint32_t rank;          /* 0 ... num_ranks - 1 */
  uint32_t num_ranks;     /* as in txc_step; 0 and 1 are both one rank */
  uint32_t skip_nonfinite; /* not 0: an update leaves weights and moments alone if any gradient
                              is infinite or not a number */
} txc_hyper_t;

/* Where the tokens of a call of decode stand in their sequences (kind
 * DECODE_STATE). The cache holds positions 0 ... position - 1. */
typedef struct txc_decode_state {
  int32_t position; /* 0 ... block_size - 1 */
  uint32_t reserved[15];
} txc_decode_state_t;

/* With several ranks: the mean of their losses, the sum of their counts. */
typedef struct txc_loss_result {
  float loss;         /* mean cross-entropy over the counted tokens, in nats */
  float target_count; /* tokens whose target is not ignore_index */
} txc_loss_result_t;

/* Statistics of the gradients after grad_scale and before clipping, over all
 * elements of all parameters of all ranks; "tensor" figures are over
 * per-parameter norms. */
typedef struct txc_update_result {
  float grad_norm;
  float clip_scale; /* min(1, grad_clip / grad_norm) */
  float grad_mean;
  float grad_std;
  float grad_min;
  float grad_max;
  float tensor_norm_mean;
  float tensor_norm_max;
  float tensor_norm_min;
  float nonfinite; /* gradient elements that are infinite or not a number; exact up to 2^24 */
  float skipped;   /* 1: the update was not made, see txc_hyper.skip_nonfinite; else 0 */
} txc_update_result_t;

/*===-- Commands -----------------------------------------------------------===
 * Entry functions call the device's functions with constant descriptors.
 * A status of 0 is success; any other value makes the entry return it at once.
 */

/* A CPU kernel works on blocks [begin, end) of its iteration space. The result
 * does not depend on how blocks are spread over threads. `offsets[i]` is the
 * arena offset of argument i. */
typedef void (*txc_cpu_kernel_fn)(char *arena, const uint64_t *offsets, int64_t begin, int64_t end);

/* Runs `kernel` on the CPU, or the GPU kernel whose row of txc_step.kernels is
 * `kernel_index`. */
typedef struct txc_launch {
  const char *name;         /* YAML path and kernel, for traces */
  txc_cpu_kernel_fn kernel; /* NULL on a GPU target */
  uint32_t kernel_index;    /* index into txc_step.kernels */
  uint32_t num_args;
  const uint64_t *offsets;  /* num_args arena offsets */
  int64_t blocks;           /* CPU: size of the iteration space */
  /* NULL, or num_args numbers: rank r has argument i at offsets[i] + r * rank_strides[i]. */
  const uint64_t *rank_strides;
} txc_launch_t;

/* What a product does to its sums before they are rounded to dtype_c. */
typedef enum txc_epilogue {
  TXC_EPILOGUE_NONE = 0,
} txc_epilogue_t;

/* Whether a product is added to something. */
typedef enum txc_accumulate {
  TXC_ACCUMULATE_NEVER = 0,
  TXC_ACCUMULATE_ALWAYS = 1,
  TXC_ACCUMULATE_AFTER_FIRST = 2, /* overwrites if the hyper's `accumulated` is 0 */
} txc_accumulate_t;

/* C[m,n] = op(A)[m,k] * op(B)[k,n] + beta * addend, row-major, leading dimensions
 * in elements. op(X) is X or its transpose. `accumulate` says whether beta is 0 or
 * 1; the addend is C itself, or laid out as C is, and not read with beta 0. `batch`
 * products, each `stride_x` elements after the one before it. Sums are kept in f32. */
typedef struct txc_gemm {
  const char *name;
  uint32_t dtype;   /* of A and B */
  uint32_t dtype_c; /* of C */
  uint32_t transpose_a, transpose_b;
  uint32_t accumulate; /* txc_accumulate_t */
  uint32_t batch; /* 1 or more */
  int64_t m, n, k;
  int64_t lda, ldb, ldc;
  int64_t stride_a, stride_b, stride_c;
  uint64_t a, b, c;                    /* arena offsets */
  uint64_t workspace, workspace_bytes; /* library scratch on a GPU; 0 bytes on the CPU */
  uint32_t epilogue;                   /* txc_epilogue_t */
  uint32_t reserved;
  uint64_t bias;   /* arena offset of what the epilogue reads; 0 if it reads nothing */
  uint64_t addend; /* arena offset; c to add in place */
  uint64_t hyper;  /* arena offset of the txc_hyper, for AFTER_FIRST */
} txc_gemm_t;

typedef struct txc_fill {
  const char *name;
  uint64_t offset, bytes;
  uint8_t value; /* each byte becomes this */
  uint8_t reserved[7];
} txc_fill_t;

/*===-- Communication ------------------------------------------------------===
 * A collective starts after everything enqueued before it and may run beside
 * what is enqueued after it, until a wait for its event. All ranks issue the same
 * collectives in the same order. Within an entry an event belongs to one
 * collective, and every collective is waited for.
 */
typedef enum txc_collective_kind {
  TXC_COLLECTIVE_ALL_REDUCE = 0, /* receive[i] = op over ranks of send[i] */
  TXC_COLLECTIVE_EXCHANGE = 1,   /* receive[k * count + i] = send[rank * count + i] of rank
                                    (rank + 1 + k) % num_ranks, k = 0 .. num_ranks - 2 */
  TXC_COLLECTIVE_ALL_GATHER = 2, /* receive[r * count + i] = send[i] of rank r; in place:
                                    send[r * count + i] of rank r */
} txc_collective_kind_t;

typedef enum txc_reduce_op {
  TXC_REDUCE_SUM = 0,
  TXC_REDUCE_MIN = 1,
  TXC_REDUCE_MAX = 2,
} txc_reduce_op_t;

/* `send` and `receive` are arena offsets. They are equal (in place: not for an
 * exchange) or their memory is apart. */
typedef struct txc_collective_part {
  uint64_t send, receive;
  uint64_t count; /* elements: all-reduce of both; exchange of what a rank has from one
                     other; all-gather of what it has from each rank */
} txc_collective_part_t;

/* The parts are reduced, exchanged or gathered as one command. */
typedef struct txc_collective {
  const char *name;
  uint32_t kind;  /* txc_collective_kind_t */
  uint32_t op;    /* txc_reduce_op_t; 0 but for an all-reduce */
  uint32_t dtype; /* txc_dtype_t: f32, bf16 or f64 */
  uint32_t num_parts;
  const txc_collective_part_t *parts;
  uint32_t event; /* below txc_step.num_events */
  uint32_t reserved;
} txc_collective_t;

/* What is enqueued after it starts when the collective of `event` is complete. */
typedef struct txc_wait {
  const char *name; /* of the collective */
  uint32_t event;
  uint32_t reserved;
} txc_wait_t;

typedef struct txc_device {
  uint32_t struct_size;
  uint32_t abi_version;
  void *self;
  int32_t (*launch)(void *self, char *arena, const txc_launch_t *command);
  int32_t (*gemm)(void *self, char *arena, const txc_gemm_t *command);
  int32_t (*fill)(void *self, char *arena, const txc_fill_t *command);
  int32_t (*collective)(void *self, char *arena, const txc_collective_t *command);
  int32_t (*wait)(void *self, char *arena, const txc_wait_t *command);
} txc_device_t;

typedef int32_t (*txc_entry_fn)(const txc_device_t *device, char *arena);

typedef struct txc_entry {
  const char *name; /* "init", "micro", "update", "eval"; perhaps "micro_last", "decode" */
  txc_entry_fn run;
  uint32_t num_commands;
  uint32_t reserved;
} txc_entry_t;

/*===-- GPU kernels --------------------------------------------------------===
 * The parameters of a GPU kernel are, in this order: its tensor maps (128 bytes
 * each, __grid_constant__), one address per argument of the launch, and its
 * scalars (i32 each).
 */

/* Machine code of one or more kernels: a cubin for `arch`, and PTX for later
 * architectures. Either may be absent (NULL, 0). PTX ends in a zero byte. */
typedef struct txc_image {
  const char *arch; /* "sm_90a" */
  const void *cubin;
  const void *ptx;
  uint64_t cubin_bytes, ptx_bytes;
} txc_image_t;

#define TXC_MAX_TENSOR_MAP_RANK 5

/* What cuTensorMapEncodeTiled is asked for; dimension 0 is the innermost. */
typedef struct txc_tensor_map {
  uint32_t argument; /* of the launch, whose address is the base */
  uint32_t dtype;    /* txc_dtype_t */
  uint32_t rank;
  uint32_t swizzle;  /* bytes: 0, 32, 64 or 128 */
  uint64_t offset;   /* bytes added to the base */
  uint64_t dims[TXC_MAX_TENSOR_MAP_RANK];
  uint64_t strides[TXC_MAX_TENSOR_MAP_RANK]; /* bytes; [0] is the element size */
  uint32_t box[TXC_MAX_TENSOR_MAP_RANK];
  uint32_t reserved;
} txc_tensor_map_t;

/* On the CPU a row names a kernel and the rest is 0: launches carry a pointer. */
typedef struct txc_kernel {
  const char *name;     /* of the step.kernel and its phase */
  const char *function; /* symbol in the image */
  uint32_t image;       /* index into txc_step.images */
  uint32_t grid[3];     /* blocks; grid[0] = 0: as many as multiprocessors */
  uint32_t block[3];    /* threads */
  uint32_t shared_bytes; /* dynamic */
  uint32_t num_tensor_maps, num_scalars;
  const txc_tensor_map_t *tensor_maps;
  const int32_t *scalars;
} txc_kernel_t;

/* One line of the FLOP ledger: multiply-adds of matrix products and attention
 * counted as two FLOPs, per micro batch, forward and backward. */
typedef struct txc_flops {
  const char *name;     /* YAML path of the op group, e.g. "blocks.3.attn.qkv" */
  const char *op;       /* "linear", "linear_vjp", "attention", ... */
  uint64_t full;        /* attention counted over the full T x T square (PaLM) */
  uint64_t causal;      /* attention counted over the visible pairs only */
} txc_flops_t;

typedef struct txc_step {
  uint32_t struct_size;
  uint32_t abi_version;
  const char *compiler;     /* name and version of the compiler */
  const char *target;       /* "cpu:x86-64-v4", "cuda:sm_90a" */
  const char *metadata;     /* JSON, zero-terminated; same text as TXC_METADATA_SECTION */
  uint64_t arena_bytes;
  uint64_t arena_lower_bound; /* most bytes live at once, plus what always lives */
  int64_t batch_size, block_size, vocab_size;
  int64_t ignore_index;
  uint64_t num_parameters;
  uint64_t flops_per_token_full, flops_per_token_causal;
  const txc_buffer_t *buffers;
  const txc_entry_t *entries;
  const txc_kernel_t *kernels;
  const txc_flops_t *flops;
  const txc_image_t *images;
  uint32_t num_buffers, num_entries, num_kernels, num_flops, num_images;
  uint32_t num_events; /* of collectives, numbered from 0 */
  uint32_t num_ranks;  /* that must run it together; 1 or more */
  uint32_t zero_level; /* what is spread over them: 0 nothing, 1 optimizer state, 2 gradients too,
                          3 weights too */
} txc_step_t;

/* The one exported symbol. */
typedef const txc_step_t *(*txc_step_query_fn)(uint32_t abi_version);

#ifdef __cplusplus
#define TXC_ABI_ASSERT(type, bytes) static_assert(sizeof(type) == (bytes), #type " changed size")
#else
#define TXC_ABI_ASSERT(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " changed size")
#endif
TXC_ABI_ASSERT(txc_note_t, 56);
TXC_ABI_ASSERT(txc_buffer_t, 88);
TXC_ABI_ASSERT(txc_hyper_t, 64);
TXC_ABI_ASSERT(txc_decode_state_t, 64);
TXC_ABI_ASSERT(txc_loss_result_t, 8);
TXC_ABI_ASSERT(txc_update_result_t, 44);
TXC_ABI_ASSERT(txc_launch_t, 48);
TXC_ABI_ASSERT(txc_gemm_t, 176);
TXC_ABI_ASSERT(txc_fill_t, 32);
TXC_ABI_ASSERT(txc_collective_part_t, 24);
TXC_ABI_ASSERT(txc_collective_t, 40);
TXC_ABI_ASSERT(txc_wait_t, 16);
TXC_ABI_ASSERT(txc_device_t, 56);
TXC_ABI_ASSERT(txc_entry_t, 24);
TXC_ABI_ASSERT(txc_image_t, 40);
TXC_ABI_ASSERT(txc_tensor_map_t, 128);
TXC_ABI_ASSERT(txc_kernel_t, 72);
TXC_ABI_ASSERT(txc_flops_t, 32);
TXC_ABI_ASSERT(txc_step_t, 176);

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif /* TXC_STEP_ABI_H */
