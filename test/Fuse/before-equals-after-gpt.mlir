// RUN: tx-opt %s --tx-autodiff-build-eval --tx-autodiff-differentiate --tx-autodiff-build-update \
// RUN:   --tx-interp-run="steps=3 micro_batches=2 lr=0.01 clip=0.5 ignored=0.1" -o /dev/null > %t.before
// RUN: tx-opt %s --tx-autodiff-build-eval --tx-autodiff-differentiate --tx-autodiff-build-update \
// RUN:   --tx-fuse-expand-accumulations --tx-fuse-form-kernels --tx-fuse-assign-inplace --tx-fuse-merge-updates --tx-fuse-verify \
// RUN:   --tx-interp-run="steps=3 micro_batches=2 lr=0.01 clip=0.5 ignored=0.1" -o %t.fused.mlir > %t.after
// RUN: diff %t.before %t.after
// RUN: FileCheck %s < %t.before
// RUN: FileCheck %s --check-prefix=FUSED < %t.fused.mlir

// A GPT-like model computes the same before and after fuse, to the last digit:
// pre-norm, LayerNorm, biases, learned positions, GELU, tied head, dropout.

// Three updates ran, and what ran the second time was kernels.
// CHECK: step 3 gradients norm
// CHECK: after 3 steps
// CHECK: eval loss
// FUSED: tx.kernel

tx.param @wte : tensor<7x8xf32> init = normal(3.0e-01) site = 0 decay
tx.param @wpe : tensor<5x8xf32> init = normal(3.0e-01) site = 1 decay
tx.param @b0_attn_norm : tensor<8xf32> init = ones(0.0) site = 2
tx.param @b0_attn_norm_bias : tensor<8xf32> init = zeros(0.0) site = 3
tx.param @b0_attn_qkv : tensor<16x8xf32> init = normal(3.0e-01) site = 4 decay
tx.param @b0_attn_qkv_bias : tensor<16xf32> init = zeros(0.0) site = 5
tx.param @b0_attn_proj : tensor<8x8xf32> init = normal(3.0e-01) site = 6 decay
tx.param @b0_attn_proj_bias : tensor<8xf32> init = zeros(0.0) site = 7
tx.param @b0_ffn_norm : tensor<8xf32> init = ones(0.0) site = 8
tx.param @b0_ffn_norm_bias : tensor<8xf32> init = zeros(0.0) site = 9
tx.param @b0_ffn_up : tensor<6x8xf32> init = normal(3.0e-01) site = 10 decay
tx.param @b0_ffn_up_bias : tensor<6xf32> init = zeros(0.0) site = 11
tx.param @b0_ffn_down : tensor<8x6xf32> init = normal(3.0e-01) site = 12 decay
tx.param @b0_ffn_down_bias : tensor<8xf32> init = zeros(0.0) site = 13
tx.param @b1_attn_norm : tensor<8xf32> init = ones(0.0) site = 14
tx.param @b1_attn_norm_bias : tensor<8xf32> init = zeros(0.0) site = 15
tx.param @b1_attn_qkv : tensor<16x8xf32> init = normal(3.0e-01) site = 16 decay
tx.param @b1_attn_qkv_bias : tensor<16xf32> init = zeros(0.0) site = 17
tx.param @b1_attn_proj : tensor<8x8xf32> init = normal(3.0e-01) site = 18 decay
tx.param @b1_attn_proj_bias : tensor<8xf32> init = zeros(0.0) site = 19
tx.param @b1_ffn_norm : tensor<8xf32> init = ones(0.0) site = 20
tx.param @b1_ffn_norm_bias : tensor<8xf32> init = zeros(0.0) site = 21
tx.param @b1_ffn_up : tensor<6x8xf32> init = normal(3.0e-01) site = 22 decay
tx.param @b1_ffn_up_bias : tensor<6xf32> init = zeros(0.0) site = 23
tx.param @b1_ffn_down : tensor<8x6xf32> init = normal(3.0e-01) site = 24 decay
tx.param @b1_ffn_down_bias : tensor<8xf32> init = zeros(0.0) site = 25
tx.param @final_norm : tensor<8xf32> init = ones(0.0) site = 26
tx.param @final_norm_bias : tensor<8xf32> init = zeros(0.0) site = 27

func.func @init(%hyper: !tx.hyper) {
  tx.init @wte, %hyper
  tx.init @wpe, %hyper
  tx.init @b0_attn_norm, %hyper
  tx.init @b0_attn_norm_bias, %hyper
  tx.init @b0_attn_qkv, %hyper
  tx.init @b0_attn_qkv_bias, %hyper
  tx.init @b0_attn_proj, %hyper
  tx.init @b0_attn_proj_bias, %hyper
  tx.init @b0_ffn_norm, %hyper
  tx.init @b0_ffn_norm_bias, %hyper
  tx.init @b0_ffn_up, %hyper
  tx.init @b0_ffn_up_bias, %hyper
  tx.init @b0_ffn_down, %hyper
  tx.init @b0_ffn_down_bias, %hyper
  tx.init @b1_attn_norm, %hyper
  tx.init @b1_attn_norm_bias, %hyper
  tx.init @b1_attn_qkv, %hyper
  tx.init @b1_attn_qkv_bias, %hyper
  tx.init @b1_attn_proj, %hyper
  tx.init @b1_attn_proj_bias, %hyper
  tx.init @b1_ffn_norm, %hyper
  tx.init @b1_ffn_norm_bias, %hyper
  tx.init @b1_ffn_up, %hyper
  tx.init @b1_ffn_up_bias, %hyper
  tx.init @b1_ffn_down, %hyper
  tx.init @b1_ffn_down_bias, %hyper
  tx.init @final_norm, %hyper
  tx.init @final_norm_bias, %hyper
  return
}

func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
  %wte = tx.read @wte value : tensor<7x8xf32>
  %wpe = tx.read @wpe value : tensor<5x8xf32>
  %b0_attn_norm = tx.read @b0_attn_norm value : tensor<8xf32>
  %b0_attn_norm_bias = tx.read @b0_attn_norm_bias value : tensor<8xf32>
  %b0_attn_qkv = tx.read @b0_attn_qkv value : tensor<16x8xf32>
  %b0_attn_qkv_bias = tx.read @b0_attn_qkv_bias value : tensor<16xf32>
  %b0_attn_proj = tx.read @b0_attn_proj value : tensor<8x8xf32>
  %b0_attn_proj_bias = tx.read @b0_attn_proj_bias value : tensor<8xf32>
  %b0_ffn_norm = tx.read @b0_ffn_norm value : tensor<8xf32>
  %b0_ffn_norm_bias = tx.read @b0_ffn_norm_bias value : tensor<8xf32>
  %b0_ffn_up = tx.read @b0_ffn_up value : tensor<6x8xf32>
  %b0_ffn_up_bias = tx.read @b0_ffn_up_bias value : tensor<6xf32>
  %b0_ffn_down = tx.read @b0_ffn_down value : tensor<8x6xf32>
  %b0_ffn_down_bias = tx.read @b0_ffn_down_bias value : tensor<8xf32>
  %b1_attn_norm = tx.read @b1_attn_norm value : tensor<8xf32>
  %b1_attn_norm_bias = tx.read @b1_attn_norm_bias value : tensor<8xf32>
  %b1_attn_qkv = tx.read @b1_attn_qkv value : tensor<16x8xf32>
  %b1_attn_qkv_bias = tx.read @b1_attn_qkv_bias value : tensor<16xf32>
  %b1_attn_proj = tx.read @b1_attn_proj value : tensor<8x8xf32>
  %b1_attn_proj_bias = tx.read @b1_attn_proj_bias value : tensor<8xf32>
  %b1_ffn_norm = tx.read @b1_ffn_norm value : tensor<8xf32>
  %b1_ffn_norm_bias = tx.read @b1_ffn_norm_bias value : tensor<8xf32>
  %b1_ffn_up = tx.read @b1_ffn_up value : tensor<6x8xf32>
  %b1_ffn_up_bias = tx.read @b1_ffn_up_bias value : tensor<6xf32>
  %b1_ffn_down = tx.read @b1_ffn_down value : tensor<8x6xf32>
  %b1_ffn_down_bias = tx.read @b1_ffn_down_bias value : tensor<8xf32>
  %final_norm = tx.read @final_norm value : tensor<8xf32>
  %final_norm_bias = tx.read @final_norm_bias value : tensor<8xf32>
  %v1 = tx.embedding %tokens, %wte : tensor<2x5xi32>, tensor<7x8xf32> -> tensor<2x5x8xf32>
  %v2 = tx.add_position %v1, %wpe : tensor<2x5x8xf32>, tensor<5x8xf32>
  %v3 = tx.dropout %v2, %hyper p 1.0e-01 site 0 : tensor<2x5x8xf32>
  %v4, %v4_m, %v4_r = tx.layer_norm %v3, %b0_attn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %v5 = tx.add_bias %v4, %b0_attn_norm_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v6 = tx.linear %v5, %b0_attn_qkv : tensor<2x5x8xf32>, tensor<16x8xf32> -> tensor<2x5x16xf32>
  %v7 = tx.add_bias %v6, %b0_attn_qkv_bias : tensor<2x5x16xf32>, tensor<16xf32>
  %v8, %v8_l = tx.attention %v7, hyper %hyper heads 4 kv_heads 2 {dropout = 1.0e-01 : f64, site = 1 : i32} : tensor<2x5x16xf32> -> tensor<2x5x8xf32>, tensor<2x4x5xf32>
  %v9 = tx.linear %v8, %b0_attn_proj : tensor<2x5x8xf32>, tensor<8x8xf32> -> tensor<2x5x8xf32>
  %v10 = tx.add_bias %v9, %b0_attn_proj_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v11 = tx.dropout %v10, %hyper p 1.0e-01 site 2 : tensor<2x5x8xf32>
  %v12 = tx.add %v3, %v11 : tensor<2x5x8xf32>
  %v13, %v13_m, %v13_r = tx.layer_norm %v12, %b0_ffn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %v14 = tx.add_bias %v13, %b0_ffn_norm_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v15 = tx.linear %v14, %b0_ffn_up : tensor<2x5x8xf32>, tensor<6x8xf32> -> tensor<2x5x6xf32>
  %v16 = tx.add_bias %v15, %b0_ffn_up_bias : tensor<2x5x6xf32>, tensor<6xf32>
  %v17 = tx.activation gelu %v16 : tensor<2x5x6xf32>
  %v18 = tx.linear %v17, %b0_ffn_down : tensor<2x5x6xf32>, tensor<8x6xf32> -> tensor<2x5x8xf32>
  %v19 = tx.add_bias %v18, %b0_ffn_down_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v20 = tx.dropout %v19, %hyper p 1.0e-01 site 3 : tensor<2x5x8xf32>
  %v21 = tx.add %v12, %v20 : tensor<2x5x8xf32>
  %v22, %v22_m, %v22_r = tx.layer_norm %v21, %b1_attn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %v23 = tx.add_bias %v22, %b1_attn_norm_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v24 = tx.linear %v23, %b1_attn_qkv : tensor<2x5x8xf32>, tensor<16x8xf32> -> tensor<2x5x16xf32>
  %v25 = tx.add_bias %v24, %b1_attn_qkv_bias : tensor<2x5x16xf32>, tensor<16xf32>
  %v26, %v26_l = tx.attention %v25, hyper %hyper heads 4 kv_heads 2 {dropout = 1.0e-01 : f64, site = 4 : i32} : tensor<2x5x16xf32> -> tensor<2x5x8xf32>, tensor<2x4x5xf32>
  %v27 = tx.linear %v26, %b1_attn_proj : tensor<2x5x8xf32>, tensor<8x8xf32> -> tensor<2x5x8xf32>
  %v28 = tx.add_bias %v27, %b1_attn_proj_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v29 = tx.dropout %v28, %hyper p 1.0e-01 site 5 : tensor<2x5x8xf32>
  %v30 = tx.add %v21, %v29 : tensor<2x5x8xf32>
  %v31, %v31_m, %v31_r = tx.layer_norm %v30, %b1_ffn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %v32 = tx.add_bias %v31, %b1_ffn_norm_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v33 = tx.linear %v32, %b1_ffn_up : tensor<2x5x8xf32>, tensor<6x8xf32> -> tensor<2x5x6xf32>
  %v34 = tx.add_bias %v33, %b1_ffn_up_bias : tensor<2x5x6xf32>, tensor<6xf32>
  %v35 = tx.activation gelu %v34 : tensor<2x5x6xf32>
  %v36 = tx.linear %v35, %b1_ffn_down : tensor<2x5x6xf32>, tensor<8x6xf32> -> tensor<2x5x8xf32>
  %v37 = tx.add_bias %v36, %b1_ffn_down_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v38 = tx.dropout %v37, %hyper p 1.0e-01 site 6 : tensor<2x5x8xf32>
  %v39 = tx.add %v30, %v38 : tensor<2x5x8xf32>
  %v40, %v40_m, %v40_r = tx.layer_norm %v39, %final_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %v41 = tx.add_bias %v40, %final_norm_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %logits = tx.linear %v41, %wte : tensor<2x5x8xf32>, tensor<7x8xf32> -> tensor<2x5x7xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x5x7xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss, %count : tensor<f32>, tensor<f32>
}
