// RUN: tx-opt %s --tx-autodiff-build-eval --tx-autodiff-differentiate --tx-autodiff-build-update \
// RUN:   --tx-interp-run="steps=3 micro_batches=2 lr=0.01 clip=0.5 ignored=0.1" -o /dev/null > %t.before
// RUN: tx-opt %s --tx-autodiff-build-eval --tx-autodiff-differentiate --tx-autodiff-build-update \
// RUN:   --tx-fuse-expand-accumulations --tx-fuse-form-kernels --tx-fuse-assign-inplace --tx-fuse-merge-updates --tx-fuse-verify \
// RUN:   --tx-interp-run="steps=3 micro_batches=2 lr=0.01 clip=0.5 ignored=0.1" -o %t.fused.mlir > %t.after
// RUN: diff %t.before %t.after
// RUN: FileCheck %s < %t.before
// RUN: FileCheck %s --check-prefix=FUSED < %t.fused.mlir

// A post-norm model computes the same before and after fuse, to the last digit:
// RMSNorm, interleaved rope, SiLU, tied head.

// Three updates ran, and what ran the second time was kernels.
// CHECK: step 3 gradients norm
// CHECK: after 3 steps
// CHECK: eval loss
// FUSED: tx.kernel

tx.param @wte : tensor<7x8xf32> init = normal(3.0e-01) site = 0 decay
tx.param @b0_attn_qkv : tensor<32x8xf32> init = normal(3.0e-01) site = 1 decay
tx.param @b0_attn_proj : tensor<8x16xf32> init = normal(3.0e-01) site = 2 decay
tx.param @b0_attn_norm : tensor<8xf32> init = ones(0.0) site = 3
tx.param @b0_ffn_up : tensor<6x8xf32> init = normal(3.0e-01) site = 4 decay
tx.param @b0_ffn_down : tensor<8x6xf32> init = normal(3.0e-01) site = 5 decay
tx.param @b0_ffn_norm : tensor<8xf32> init = ones(0.0) site = 6
tx.param @b1_attn_qkv : tensor<32x8xf32> init = normal(3.0e-01) site = 7 decay
tx.param @b1_attn_proj : tensor<8x16xf32> init = normal(3.0e-01) site = 8 decay
tx.param @b1_attn_norm : tensor<8xf32> init = ones(0.0) site = 9
tx.param @b1_ffn_up : tensor<6x8xf32> init = normal(3.0e-01) site = 10 decay
tx.param @b1_ffn_down : tensor<8x6xf32> init = normal(3.0e-01) site = 11 decay
tx.param @b1_ffn_norm : tensor<8xf32> init = ones(0.0) site = 12
tx.param @final_norm : tensor<8xf32> init = ones(0.0) site = 13

func.func @init(%hyper: !tx.hyper) {
  tx.init @wte, %hyper
  tx.init @b0_attn_qkv, %hyper
  tx.init @b0_attn_proj, %hyper
  tx.init @b0_attn_norm, %hyper
  tx.init @b0_ffn_up, %hyper
  tx.init @b0_ffn_down, %hyper
  tx.init @b0_ffn_norm, %hyper
  tx.init @b1_attn_qkv, %hyper
  tx.init @b1_attn_proj, %hyper
  tx.init @b1_attn_norm, %hyper
  tx.init @b1_ffn_up, %hyper
  tx.init @b1_ffn_down, %hyper
  tx.init @b1_ffn_norm, %hyper
  tx.init @final_norm, %hyper
  return
}

func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
  %wte = tx.read @wte value : tensor<7x8xf32>
  %b0_attn_qkv = tx.read @b0_attn_qkv value : tensor<32x8xf32>
  %b0_attn_proj = tx.read @b0_attn_proj value : tensor<8x16xf32>
  %b0_attn_norm = tx.read @b0_attn_norm value : tensor<8xf32>
  %b0_ffn_up = tx.read @b0_ffn_up value : tensor<6x8xf32>
  %b0_ffn_down = tx.read @b0_ffn_down value : tensor<8x6xf32>
  %b0_ffn_norm = tx.read @b0_ffn_norm value : tensor<8xf32>
  %b1_attn_qkv = tx.read @b1_attn_qkv value : tensor<32x8xf32>
  %b1_attn_proj = tx.read @b1_attn_proj value : tensor<8x16xf32>
  %b1_attn_norm = tx.read @b1_attn_norm value : tensor<8xf32>
  %b1_ffn_up = tx.read @b1_ffn_up value : tensor<6x8xf32>
  %b1_ffn_down = tx.read @b1_ffn_down value : tensor<8x6xf32>
  %b1_ffn_norm = tx.read @b1_ffn_norm value : tensor<8xf32>
  %final_norm = tx.read @final_norm value : tensor<8xf32>
  %cos, %sin = tx.rope_table theta 1.0e+04 : tensor<5x2xf32>, tensor<5x2xf32>
  %v1 = tx.embedding %tokens, %wte : tensor<2x5xi32>, tensor<7x8xf32> -> tensor<2x5x8xf32>
  %v2 = tx.linear %v1, %b0_attn_qkv : tensor<2x5x8xf32>, tensor<32x8xf32> -> tensor<2x5x32xf32>
  %v3 = tx.rope %v2, %cos, %sin interleaved heads 6 head_dim 4 : tensor<2x5x32xf32>, tensor<5x2xf32>
  %v4, %v4_l = tx.attention %v3 heads 4 kv_heads 2 : tensor<2x5x32xf32> -> tensor<2x5x16xf32>, tensor<2x4x5xf32>
  %v5 = tx.linear %v4, %b0_attn_proj : tensor<2x5x16xf32>, tensor<8x16xf32> -> tensor<2x5x8xf32>
  %v6 = tx.add %v1, %v5 : tensor<2x5x8xf32>
  %v7, %v7_r = tx.rms_norm %v6, %b0_attn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>
  %v8 = tx.linear %v7, %b0_ffn_up : tensor<2x5x8xf32>, tensor<6x8xf32> -> tensor<2x5x6xf32>
  %v9 = tx.activation silu %v8 : tensor<2x5x6xf32>
  %v10 = tx.linear %v9, %b0_ffn_down : tensor<2x5x6xf32>, tensor<8x6xf32> -> tensor<2x5x8xf32>
  %v11 = tx.add %v7, %v10 : tensor<2x5x8xf32>
  %v12, %v12_r = tx.rms_norm %v11, %b0_ffn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>
  %v13 = tx.linear %v12, %b1_attn_qkv : tensor<2x5x8xf32>, tensor<32x8xf32> -> tensor<2x5x32xf32>
  %v14 = tx.rope %v13, %cos, %sin interleaved heads 6 head_dim 4 : tensor<2x5x32xf32>, tensor<5x2xf32>
  %v15, %v15_l = tx.attention %v14 heads 4 kv_heads 2 : tensor<2x5x32xf32> -> tensor<2x5x16xf32>, tensor<2x4x5xf32>
  %v16 = tx.linear %v15, %b1_attn_proj : tensor<2x5x16xf32>, tensor<8x16xf32> -> tensor<2x5x8xf32>
  %v17 = tx.add %v12, %v16 : tensor<2x5x8xf32>
  %v18, %v18_r = tx.rms_norm %v17, %b1_attn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>
  %v19 = tx.linear %v18, %b1_ffn_up : tensor<2x5x8xf32>, tensor<6x8xf32> -> tensor<2x5x6xf32>
  %v20 = tx.activation silu %v19 : tensor<2x5x6xf32>
  %v21 = tx.linear %v20, %b1_ffn_down : tensor<2x5x6xf32>, tensor<8x6xf32> -> tensor<2x5x8xf32>
  %v22 = tx.add %v18, %v21 : tensor<2x5x8xf32>
  %v23, %v23_r = tx.rms_norm %v22, %b1_ffn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>
  %v24, %v24_r = tx.rms_norm %v23, %final_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>
  %logits = tx.linear %v24, %wte : tensor<2x5x8xf32>, tensor<7x8xf32> -> tensor<2x5x7xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x5x7xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss, %count : tensor<f32>, tensor<f32>
}
