// RUN: tx-opt %s --split-input-file --tx-interp-check-gradients="ignored=0.1" -o /dev/null | FileCheck %s

// Whole models of two blocks.

// Pre-norm: RMSNorm, rope by halves, grouped queries, SwiGLU, untied, dropout.
// CHECK: gradient of wte: max error {{.*}} over 56 elements
// CHECK: gradient of b0_attn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of b0_attn_qkv: max error {{.*}} over 64 elements
// CHECK: gradient of b0_attn_proj: max error {{.*}} over 64 elements
// CHECK: gradient of b0_ffn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of b0_ffn_gate_up: max error {{.*}} over 64 elements
// CHECK: gradient of b0_ffn_down: max error {{.*}} over 48 elements
// CHECK: gradient of b1_attn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of b1_attn_qkv: max error {{.*}} over 64 elements
// CHECK: gradient of b1_attn_proj: max error {{.*}} over 64 elements
// CHECK: gradient of b1_ffn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of b1_ffn_gate_up: max error {{.*}} over 64 elements
// CHECK: gradient of b1_ffn_down: max error {{.*}} over 48 elements
// CHECK: gradient of final_norm: max error {{.*}} over 8 elements
// CHECK: gradient of lm_head: max error {{.*}} over 56 elements
tx.param @wte : tensor<7x8xf32> init = normal(1.0) site = 0 decay
tx.param @b0_attn_norm : tensor<8xf32> init = ones(0.0) site = 1
tx.param @b0_attn_qkv : tensor<32x8xf32> init = normal(1.0) site = 2 decay
tx.param @b0_attn_proj : tensor<8x16xf32> init = normal(1.0) site = 3 decay
tx.param @b0_ffn_norm : tensor<8xf32> init = ones(0.0) site = 4
tx.param @b0_ffn_gate_up : tensor<12x8xf32> init = normal(1.0) site = 5 decay
tx.param @b0_ffn_down : tensor<8x6xf32> init = normal(1.0) site = 6 decay
tx.param @b1_attn_norm : tensor<8xf32> init = ones(0.0) site = 7
tx.param @b1_attn_qkv : tensor<32x8xf32> init = normal(1.0) site = 8 decay
tx.param @b1_attn_proj : tensor<8x16xf32> init = normal(1.0) site = 9 decay
tx.param @b1_ffn_norm : tensor<8xf32> init = ones(0.0) site = 10
tx.param @b1_ffn_gate_up : tensor<12x8xf32> init = normal(1.0) site = 11 decay
tx.param @b1_ffn_down : tensor<8x6xf32> init = normal(1.0) site = 12 decay
tx.param @final_norm : tensor<8xf32> init = ones(0.0) site = 13
tx.param @lm_head : tensor<7x8xf32> init = normal(1.0) site = 14 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %wte = tx.read @wte value : tensor<7x8xf32>
  %b0_attn_norm = tx.read @b0_attn_norm value : tensor<8xf32>
  %b0_attn_qkv = tx.read @b0_attn_qkv value : tensor<32x8xf32>
  %b0_attn_proj = tx.read @b0_attn_proj value : tensor<8x16xf32>
  %b0_ffn_norm = tx.read @b0_ffn_norm value : tensor<8xf32>
  %b0_ffn_gate_up = tx.read @b0_ffn_gate_up value : tensor<12x8xf32>
  %b0_ffn_down = tx.read @b0_ffn_down value : tensor<8x6xf32>
  %b1_attn_norm = tx.read @b1_attn_norm value : tensor<8xf32>
  %b1_attn_qkv = tx.read @b1_attn_qkv value : tensor<32x8xf32>
  %b1_attn_proj = tx.read @b1_attn_proj value : tensor<8x16xf32>
  %b1_ffn_norm = tx.read @b1_ffn_norm value : tensor<8xf32>
  %b1_ffn_gate_up = tx.read @b1_ffn_gate_up value : tensor<12x8xf32>
  %b1_ffn_down = tx.read @b1_ffn_down value : tensor<8x6xf32>
  %final_norm = tx.read @final_norm value : tensor<8xf32>
  %lm_head = tx.read @lm_head value : tensor<7x8xf32>
  %cos, %sin = tx.rope_table theta 1.0e+04 : tensor<5x2xf32>, tensor<5x2xf32>
  %v1 = tx.embedding %tokens, %wte : tensor<2x5xi32>, tensor<7x8xf32> -> tensor<2x5x8xf32>
  %v2 = tx.dropout %v1, %hyper p 1.0e-01 site 0 : tensor<2x5x8xf32>
  %v3, %v3_r = tx.rms_norm %v2, %b0_attn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>
  %v4 = tx.linear %v3, %b0_attn_qkv : tensor<2x5x8xf32>, tensor<32x8xf32> -> tensor<2x5x32xf32>
  %v5 = tx.rope %v4, %cos, %sin half heads 6 head_dim 4 : tensor<2x5x32xf32>, tensor<5x2xf32>
  %v6, %v6_l = tx.attention %v5, hyper %hyper heads 4 kv_heads 2 {dropout = 1.0e-01 : f64, site = 1 : i32} : tensor<2x5x32xf32> -> tensor<2x5x16xf32>, tensor<2x4x5xf32>
  %v7 = tx.linear %v6, %b0_attn_proj : tensor<2x5x16xf32>, tensor<8x16xf32> -> tensor<2x5x8xf32>
  %v8 = tx.dropout %v7, %hyper p 1.0e-01 site 2 : tensor<2x5x8xf32>
  %v9 = tx.add %v2, %v8 : tensor<2x5x8xf32>
  %v10, %v10_r = tx.rms_norm %v9, %b0_ffn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>
  %v11 = tx.linear %v10, %b0_ffn_gate_up : tensor<2x5x8xf32>, tensor<12x8xf32> -> tensor<2x5x12xf32>
  %v12 = tx.swiglu %v11 : tensor<2x5x12xf32> -> tensor<2x5x6xf32>
  %v13 = tx.linear %v12, %b0_ffn_down : tensor<2x5x6xf32>, tensor<8x6xf32> -> tensor<2x5x8xf32>
  %v14 = tx.dropout %v13, %hyper p 1.0e-01 site 3 : tensor<2x5x8xf32>
  %v15 = tx.add %v9, %v14 : tensor<2x5x8xf32>
  %v16, %v16_r = tx.rms_norm %v15, %b1_attn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>
  %v17 = tx.linear %v16, %b1_attn_qkv : tensor<2x5x8xf32>, tensor<32x8xf32> -> tensor<2x5x32xf32>
  %v18 = tx.rope %v17, %cos, %sin half heads 6 head_dim 4 : tensor<2x5x32xf32>, tensor<5x2xf32>
  %v19, %v19_l = tx.attention %v18, hyper %hyper heads 4 kv_heads 2 {dropout = 1.0e-01 : f64, site = 4 : i32} : tensor<2x5x32xf32> -> tensor<2x5x16xf32>, tensor<2x4x5xf32>
  %v20 = tx.linear %v19, %b1_attn_proj : tensor<2x5x16xf32>, tensor<8x16xf32> -> tensor<2x5x8xf32>
  %v21 = tx.dropout %v20, %hyper p 1.0e-01 site 5 : tensor<2x5x8xf32>
  %v22 = tx.add %v15, %v21 : tensor<2x5x8xf32>
  %v23, %v23_r = tx.rms_norm %v22, %b1_ffn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>
  %v24 = tx.linear %v23, %b1_ffn_gate_up : tensor<2x5x8xf32>, tensor<12x8xf32> -> tensor<2x5x12xf32>
  %v25 = tx.swiglu %v24 : tensor<2x5x12xf32> -> tensor<2x5x6xf32>
  %v26 = tx.linear %v25, %b1_ffn_down : tensor<2x5x6xf32>, tensor<8x6xf32> -> tensor<2x5x8xf32>
  %v27 = tx.dropout %v26, %hyper p 1.0e-01 site 6 : tensor<2x5x8xf32>
  %v28 = tx.add %v22, %v27 : tensor<2x5x8xf32>
  %v29, %v29_r = tx.rms_norm %v28, %final_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>
  %logits = tx.linear %v29, %lm_head : tensor<2x5x8xf32>, tensor<7x8xf32> -> tensor<2x5x7xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x5x7xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Post-norm: RMSNorm, interleaved rope, SiLU, tied, dropout.
// CHECK: gradient of wte: max error {{.*}} over 56 elements
// CHECK: gradient of b0_attn_qkv: max error {{.*}} over 64 elements
// CHECK: gradient of b0_attn_proj: max error {{.*}} over 64 elements
// CHECK: gradient of b0_attn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of b0_ffn_up: max error {{.*}} over 48 elements
// CHECK: gradient of b0_ffn_down: max error {{.*}} over 48 elements
// CHECK: gradient of b0_ffn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of b1_attn_qkv: max error {{.*}} over 64 elements
// CHECK: gradient of b1_attn_proj: max error {{.*}} over 64 elements
// CHECK: gradient of b1_attn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of b1_ffn_up: max error {{.*}} over 48 elements
// CHECK: gradient of b1_ffn_down: max error {{.*}} over 48 elements
// CHECK: gradient of b1_ffn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of final_norm: max error {{.*}} over 8 elements
tx.param @wte : tensor<7x8xf32> init = normal(1.0) site = 0 decay
tx.param @b0_attn_qkv : tensor<32x8xf32> init = normal(1.0) site = 1 decay
tx.param @b0_attn_proj : tensor<8x16xf32> init = normal(1.0) site = 2 decay
tx.param @b0_attn_norm : tensor<8xf32> init = ones(0.0) site = 3
tx.param @b0_ffn_up : tensor<6x8xf32> init = normal(1.0) site = 4 decay
tx.param @b0_ffn_down : tensor<8x6xf32> init = normal(1.0) site = 5 decay
tx.param @b0_ffn_norm : tensor<8xf32> init = ones(0.0) site = 6
tx.param @b1_attn_qkv : tensor<32x8xf32> init = normal(1.0) site = 7 decay
tx.param @b1_attn_proj : tensor<8x16xf32> init = normal(1.0) site = 8 decay
tx.param @b1_attn_norm : tensor<8xf32> init = ones(0.0) site = 9
tx.param @b1_ffn_up : tensor<6x8xf32> init = normal(1.0) site = 10 decay
tx.param @b1_ffn_down : tensor<8x6xf32> init = normal(1.0) site = 11 decay
tx.param @b1_ffn_norm : tensor<8xf32> init = ones(0.0) site = 12
tx.param @final_norm : tensor<8xf32> init = ones(0.0) site = 13
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
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
  %v2 = tx.dropout %v1, %hyper p 1.0e-01 site 0 : tensor<2x5x8xf32>
  %v3 = tx.linear %v2, %b0_attn_qkv : tensor<2x5x8xf32>, tensor<32x8xf32> -> tensor<2x5x32xf32>
  %v4 = tx.rope %v3, %cos, %sin interleaved heads 6 head_dim 4 : tensor<2x5x32xf32>, tensor<5x2xf32>
  %v5, %v5_l = tx.attention %v4, hyper %hyper heads 4 kv_heads 2 {dropout = 1.0e-01 : f64, site = 1 : i32} : tensor<2x5x32xf32> -> tensor<2x5x16xf32>, tensor<2x4x5xf32>
  %v6 = tx.linear %v5, %b0_attn_proj : tensor<2x5x16xf32>, tensor<8x16xf32> -> tensor<2x5x8xf32>
  %v7 = tx.dropout %v6, %hyper p 1.0e-01 site 2 : tensor<2x5x8xf32>
  %v8 = tx.add %v2, %v7 : tensor<2x5x8xf32>
  %v9, %v9_r = tx.rms_norm %v8, %b0_attn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>
  %v10 = tx.linear %v9, %b0_ffn_up : tensor<2x5x8xf32>, tensor<6x8xf32> -> tensor<2x5x6xf32>
  %v11 = tx.activation silu %v10 : tensor<2x5x6xf32>
  %v12 = tx.linear %v11, %b0_ffn_down : tensor<2x5x6xf32>, tensor<8x6xf32> -> tensor<2x5x8xf32>
  %v13 = tx.dropout %v12, %hyper p 1.0e-01 site 3 : tensor<2x5x8xf32>
  %v14 = tx.add %v9, %v13 : tensor<2x5x8xf32>
  %v15, %v15_r = tx.rms_norm %v14, %b0_ffn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>
  %v16 = tx.linear %v15, %b1_attn_qkv : tensor<2x5x8xf32>, tensor<32x8xf32> -> tensor<2x5x32xf32>
  %v17 = tx.rope %v16, %cos, %sin interleaved heads 6 head_dim 4 : tensor<2x5x32xf32>, tensor<5x2xf32>
  %v18, %v18_l = tx.attention %v17, hyper %hyper heads 4 kv_heads 2 {dropout = 1.0e-01 : f64, site = 4 : i32} : tensor<2x5x32xf32> -> tensor<2x5x16xf32>, tensor<2x4x5xf32>
  %v19 = tx.linear %v18, %b1_attn_proj : tensor<2x5x16xf32>, tensor<8x16xf32> -> tensor<2x5x8xf32>
  %v20 = tx.dropout %v19, %hyper p 1.0e-01 site 5 : tensor<2x5x8xf32>
  %v21 = tx.add %v15, %v20 : tensor<2x5x8xf32>
  %v22, %v22_r = tx.rms_norm %v21, %b1_attn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>
  %v23 = tx.linear %v22, %b1_ffn_up : tensor<2x5x8xf32>, tensor<6x8xf32> -> tensor<2x5x6xf32>
  %v24 = tx.activation silu %v23 : tensor<2x5x6xf32>
  %v25 = tx.linear %v24, %b1_ffn_down : tensor<2x5x6xf32>, tensor<8x6xf32> -> tensor<2x5x8xf32>
  %v26 = tx.dropout %v25, %hyper p 1.0e-01 site 6 : tensor<2x5x8xf32>
  %v27 = tx.add %v22, %v26 : tensor<2x5x8xf32>
  %v28, %v28_r = tx.rms_norm %v27, %b1_ffn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>
  %v29, %v29_r = tx.rms_norm %v28, %final_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>
  %logits = tx.linear %v29, %wte : tensor<2x5x8xf32>, tensor<7x8xf32> -> tensor<2x5x7xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x5x7xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Pre-norm: LayerNorm with biases, learned positions, GELU, tied, dropout.
// CHECK: gradient of wte: max error {{.*}} over 56 elements
// CHECK: gradient of wpe: max error {{.*}} over 40 elements
// CHECK: gradient of b0_attn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of b0_attn_norm_bias: max error {{.*}} over 8 elements
// CHECK: gradient of b0_attn_qkv: max error {{.*}} over 64 elements
// CHECK: gradient of b0_attn_qkv_bias: max error {{.*}} over 16 elements
// CHECK: gradient of b0_attn_proj: max error {{.*}} over 64 elements
// CHECK: gradient of b0_attn_proj_bias: max error {{.*}} over 8 elements
// CHECK: gradient of b0_ffn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of b0_ffn_norm_bias: max error {{.*}} over 8 elements
// CHECK: gradient of b0_ffn_up: max error {{.*}} over 48 elements
// CHECK: gradient of b0_ffn_up_bias: max error {{.*}} over 6 elements
// CHECK: gradient of b0_ffn_down: max error {{.*}} over 48 elements
// CHECK: gradient of b0_ffn_down_bias: max error {{.*}} over 8 elements
// CHECK: gradient of b1_attn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of b1_attn_norm_bias: max error {{.*}} over 8 elements
// CHECK: gradient of b1_attn_qkv: max error {{.*}} over 64 elements
// CHECK: gradient of b1_attn_qkv_bias: max error {{.*}} over 16 elements
// CHECK: gradient of b1_attn_proj: max error {{.*}} over 64 elements
// CHECK: gradient of b1_attn_proj_bias: max error {{.*}} over 8 elements
// CHECK: gradient of b1_ffn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of b1_ffn_norm_bias: max error {{.*}} over 8 elements
// CHECK: gradient of b1_ffn_up: max error {{.*}} over 48 elements
// CHECK: gradient of b1_ffn_up_bias: max error {{.*}} over 6 elements
// CHECK: gradient of b1_ffn_down: max error {{.*}} over 48 elements
// CHECK: gradient of b1_ffn_down_bias: max error {{.*}} over 8 elements
// CHECK: gradient of final_norm: max error {{.*}} over 8 elements
// CHECK: gradient of final_norm_bias: max error {{.*}} over 8 elements
tx.param @wte : tensor<7x8xf32> init = normal(1.0) site = 0 decay
tx.param @wpe : tensor<5x8xf32> init = normal(1.0) site = 1 decay
tx.param @b0_attn_norm : tensor<8xf32> init = ones(0.0) site = 2
tx.param @b0_attn_norm_bias : tensor<8xf32> init = zeros(0.0) site = 3
tx.param @b0_attn_qkv : tensor<16x8xf32> init = normal(1.0) site = 4 decay
tx.param @b0_attn_qkv_bias : tensor<16xf32> init = zeros(0.0) site = 5
tx.param @b0_attn_proj : tensor<8x8xf32> init = normal(1.0) site = 6 decay
tx.param @b0_attn_proj_bias : tensor<8xf32> init = zeros(0.0) site = 7
tx.param @b0_ffn_norm : tensor<8xf32> init = ones(0.0) site = 8
tx.param @b0_ffn_norm_bias : tensor<8xf32> init = zeros(0.0) site = 9
tx.param @b0_ffn_up : tensor<6x8xf32> init = normal(1.0) site = 10 decay
tx.param @b0_ffn_up_bias : tensor<6xf32> init = zeros(0.0) site = 11
tx.param @b0_ffn_down : tensor<8x6xf32> init = normal(1.0) site = 12 decay
tx.param @b0_ffn_down_bias : tensor<8xf32> init = zeros(0.0) site = 13
tx.param @b1_attn_norm : tensor<8xf32> init = ones(0.0) site = 14
tx.param @b1_attn_norm_bias : tensor<8xf32> init = zeros(0.0) site = 15
tx.param @b1_attn_qkv : tensor<16x8xf32> init = normal(1.0) site = 16 decay
tx.param @b1_attn_qkv_bias : tensor<16xf32> init = zeros(0.0) site = 17
tx.param @b1_attn_proj : tensor<8x8xf32> init = normal(1.0) site = 18 decay
tx.param @b1_attn_proj_bias : tensor<8xf32> init = zeros(0.0) site = 19
tx.param @b1_ffn_norm : tensor<8xf32> init = ones(0.0) site = 20
tx.param @b1_ffn_norm_bias : tensor<8xf32> init = zeros(0.0) site = 21
tx.param @b1_ffn_up : tensor<6x8xf32> init = normal(1.0) site = 22 decay
tx.param @b1_ffn_up_bias : tensor<6xf32> init = zeros(0.0) site = 23
tx.param @b1_ffn_down : tensor<8x6xf32> init = normal(1.0) site = 24 decay
tx.param @b1_ffn_down_bias : tensor<8xf32> init = zeros(0.0) site = 25
tx.param @final_norm : tensor<8xf32> init = ones(0.0) site = 26
tx.param @final_norm_bias : tensor<8xf32> init = zeros(0.0) site = 27
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
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
  return %loss : tensor<f32>
}

// -----

// Post-norm: LayerNorm with biases, learned positions, tanh GELU, untied, no dropout.
// CHECK: gradient of wte: max error {{.*}} over 56 elements
// CHECK: gradient of wpe: max error {{.*}} over 40 elements
// CHECK: gradient of b0_attn_qkv: max error {{.*}} over 64 elements
// CHECK: gradient of b0_attn_qkv_bias: max error {{.*}} over 16 elements
// CHECK: gradient of b0_attn_proj: max error {{.*}} over 64 elements
// CHECK: gradient of b0_attn_proj_bias: max error {{.*}} over 8 elements
// CHECK: gradient of b0_attn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of b0_attn_norm_bias: max error {{.*}} over 8 elements
// CHECK: gradient of b0_ffn_up: max error {{.*}} over 48 elements
// CHECK: gradient of b0_ffn_up_bias: max error {{.*}} over 6 elements
// CHECK: gradient of b0_ffn_down: max error {{.*}} over 48 elements
// CHECK: gradient of b0_ffn_down_bias: max error {{.*}} over 8 elements
// CHECK: gradient of b0_ffn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of b0_ffn_norm_bias: max error {{.*}} over 8 elements
// CHECK: gradient of b1_attn_qkv: max error {{.*}} over 64 elements
// CHECK: gradient of b1_attn_qkv_bias: max error {{.*}} over 16 elements
// CHECK: gradient of b1_attn_proj: max error {{.*}} over 64 elements
// CHECK: gradient of b1_attn_proj_bias: max error {{.*}} over 8 elements
// CHECK: gradient of b1_attn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of b1_attn_norm_bias: max error {{.*}} over 8 elements
// CHECK: gradient of b1_ffn_up: max error {{.*}} over 48 elements
// CHECK: gradient of b1_ffn_up_bias: max error {{.*}} over 6 elements
// CHECK: gradient of b1_ffn_down: max error {{.*}} over 48 elements
// CHECK: gradient of b1_ffn_down_bias: max error {{.*}} over 8 elements
// CHECK: gradient of b1_ffn_norm: max error {{.*}} over 8 elements
// CHECK: gradient of b1_ffn_norm_bias: max error {{.*}} over 8 elements
// CHECK: gradient of final_norm: max error {{.*}} over 8 elements
// CHECK: gradient of final_norm_bias: max error {{.*}} over 8 elements
// CHECK: gradient of lm_head: max error {{.*}} over 56 elements
tx.param @wte : tensor<7x8xf32> init = normal(1.0) site = 0 decay
tx.param @wpe : tensor<5x8xf32> init = normal(1.0) site = 1 decay
tx.param @b0_attn_qkv : tensor<16x8xf32> init = normal(1.0) site = 2 decay
tx.param @b0_attn_qkv_bias : tensor<16xf32> init = zeros(0.0) site = 3
tx.param @b0_attn_proj : tensor<8x8xf32> init = normal(1.0) site = 4 decay
tx.param @b0_attn_proj_bias : tensor<8xf32> init = zeros(0.0) site = 5
tx.param @b0_attn_norm : tensor<8xf32> init = ones(0.0) site = 6
tx.param @b0_attn_norm_bias : tensor<8xf32> init = zeros(0.0) site = 7
tx.param @b0_ffn_up : tensor<6x8xf32> init = normal(1.0) site = 8 decay
tx.param @b0_ffn_up_bias : tensor<6xf32> init = zeros(0.0) site = 9
tx.param @b0_ffn_down : tensor<8x6xf32> init = normal(1.0) site = 10 decay
tx.param @b0_ffn_down_bias : tensor<8xf32> init = zeros(0.0) site = 11
tx.param @b0_ffn_norm : tensor<8xf32> init = ones(0.0) site = 12
tx.param @b0_ffn_norm_bias : tensor<8xf32> init = zeros(0.0) site = 13
tx.param @b1_attn_qkv : tensor<16x8xf32> init = normal(1.0) site = 14 decay
tx.param @b1_attn_qkv_bias : tensor<16xf32> init = zeros(0.0) site = 15
tx.param @b1_attn_proj : tensor<8x8xf32> init = normal(1.0) site = 16 decay
tx.param @b1_attn_proj_bias : tensor<8xf32> init = zeros(0.0) site = 17
tx.param @b1_attn_norm : tensor<8xf32> init = ones(0.0) site = 18
tx.param @b1_attn_norm_bias : tensor<8xf32> init = zeros(0.0) site = 19
tx.param @b1_ffn_up : tensor<6x8xf32> init = normal(1.0) site = 20 decay
tx.param @b1_ffn_up_bias : tensor<6xf32> init = zeros(0.0) site = 21
tx.param @b1_ffn_down : tensor<8x6xf32> init = normal(1.0) site = 22 decay
tx.param @b1_ffn_down_bias : tensor<8xf32> init = zeros(0.0) site = 23
tx.param @b1_ffn_norm : tensor<8xf32> init = ones(0.0) site = 24
tx.param @b1_ffn_norm_bias : tensor<8xf32> init = zeros(0.0) site = 25
tx.param @final_norm : tensor<8xf32> init = ones(0.0) site = 26
tx.param @final_norm_bias : tensor<8xf32> init = zeros(0.0) site = 27
tx.param @lm_head : tensor<7x8xf32> init = normal(1.0) site = 28 decay
func.func @forward(%tokens: tensor<2x5xi32>, %targets: tensor<2x5xi32>, %hyper: !tx.hyper) -> tensor<f32> {
  %wte = tx.read @wte value : tensor<7x8xf32>
  %wpe = tx.read @wpe value : tensor<5x8xf32>
  %b0_attn_qkv = tx.read @b0_attn_qkv value : tensor<16x8xf32>
  %b0_attn_qkv_bias = tx.read @b0_attn_qkv_bias value : tensor<16xf32>
  %b0_attn_proj = tx.read @b0_attn_proj value : tensor<8x8xf32>
  %b0_attn_proj_bias = tx.read @b0_attn_proj_bias value : tensor<8xf32>
  %b0_attn_norm = tx.read @b0_attn_norm value : tensor<8xf32>
  %b0_attn_norm_bias = tx.read @b0_attn_norm_bias value : tensor<8xf32>
  %b0_ffn_up = tx.read @b0_ffn_up value : tensor<6x8xf32>
  %b0_ffn_up_bias = tx.read @b0_ffn_up_bias value : tensor<6xf32>
  %b0_ffn_down = tx.read @b0_ffn_down value : tensor<8x6xf32>
  %b0_ffn_down_bias = tx.read @b0_ffn_down_bias value : tensor<8xf32>
  %b0_ffn_norm = tx.read @b0_ffn_norm value : tensor<8xf32>
  %b0_ffn_norm_bias = tx.read @b0_ffn_norm_bias value : tensor<8xf32>
  %b1_attn_qkv = tx.read @b1_attn_qkv value : tensor<16x8xf32>
  %b1_attn_qkv_bias = tx.read @b1_attn_qkv_bias value : tensor<16xf32>
  %b1_attn_proj = tx.read @b1_attn_proj value : tensor<8x8xf32>
  %b1_attn_proj_bias = tx.read @b1_attn_proj_bias value : tensor<8xf32>
  %b1_attn_norm = tx.read @b1_attn_norm value : tensor<8xf32>
  %b1_attn_norm_bias = tx.read @b1_attn_norm_bias value : tensor<8xf32>
  %b1_ffn_up = tx.read @b1_ffn_up value : tensor<6x8xf32>
  %b1_ffn_up_bias = tx.read @b1_ffn_up_bias value : tensor<6xf32>
  %b1_ffn_down = tx.read @b1_ffn_down value : tensor<8x6xf32>
  %b1_ffn_down_bias = tx.read @b1_ffn_down_bias value : tensor<8xf32>
  %b1_ffn_norm = tx.read @b1_ffn_norm value : tensor<8xf32>
  %b1_ffn_norm_bias = tx.read @b1_ffn_norm_bias value : tensor<8xf32>
  %final_norm = tx.read @final_norm value : tensor<8xf32>
  %final_norm_bias = tx.read @final_norm_bias value : tensor<8xf32>
  %lm_head = tx.read @lm_head value : tensor<7x8xf32>
  %v1 = tx.embedding %tokens, %wte : tensor<2x5xi32>, tensor<7x8xf32> -> tensor<2x5x8xf32>
  %v2 = tx.add_position %v1, %wpe : tensor<2x5x8xf32>, tensor<5x8xf32>
  %v3 = tx.linear %v2, %b0_attn_qkv : tensor<2x5x8xf32>, tensor<16x8xf32> -> tensor<2x5x16xf32>
  %v4 = tx.add_bias %v3, %b0_attn_qkv_bias : tensor<2x5x16xf32>, tensor<16xf32>
  %v5, %v5_l = tx.attention %v4 heads 4 kv_heads 2 : tensor<2x5x16xf32> -> tensor<2x5x8xf32>, tensor<2x4x5xf32>
  %v6 = tx.linear %v5, %b0_attn_proj : tensor<2x5x8xf32>, tensor<8x8xf32> -> tensor<2x5x8xf32>
  %v7 = tx.add_bias %v6, %b0_attn_proj_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v8 = tx.add %v2, %v7 : tensor<2x5x8xf32>
  %v9, %v9_m, %v9_r = tx.layer_norm %v8, %b0_attn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %v10 = tx.add_bias %v9, %b0_attn_norm_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v11 = tx.linear %v10, %b0_ffn_up : tensor<2x5x8xf32>, tensor<6x8xf32> -> tensor<2x5x6xf32>
  %v12 = tx.add_bias %v11, %b0_ffn_up_bias : tensor<2x5x6xf32>, tensor<6xf32>
  %v13 = tx.activation gelu_tanh %v12 : tensor<2x5x6xf32>
  %v14 = tx.linear %v13, %b0_ffn_down : tensor<2x5x6xf32>, tensor<8x6xf32> -> tensor<2x5x8xf32>
  %v15 = tx.add_bias %v14, %b0_ffn_down_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v16 = tx.add %v10, %v15 : tensor<2x5x8xf32>
  %v17, %v17_m, %v17_r = tx.layer_norm %v16, %b0_ffn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %v18 = tx.add_bias %v17, %b0_ffn_norm_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v19 = tx.linear %v18, %b1_attn_qkv : tensor<2x5x8xf32>, tensor<16x8xf32> -> tensor<2x5x16xf32>
  %v20 = tx.add_bias %v19, %b1_attn_qkv_bias : tensor<2x5x16xf32>, tensor<16xf32>
  %v21, %v21_l = tx.attention %v20 heads 4 kv_heads 2 : tensor<2x5x16xf32> -> tensor<2x5x8xf32>, tensor<2x4x5xf32>
  %v22 = tx.linear %v21, %b1_attn_proj : tensor<2x5x8xf32>, tensor<8x8xf32> -> tensor<2x5x8xf32>
  %v23 = tx.add_bias %v22, %b1_attn_proj_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v24 = tx.add %v18, %v23 : tensor<2x5x8xf32>
  %v25, %v25_m, %v25_r = tx.layer_norm %v24, %b1_attn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %v26 = tx.add_bias %v25, %b1_attn_norm_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v27 = tx.linear %v26, %b1_ffn_up : tensor<2x5x8xf32>, tensor<6x8xf32> -> tensor<2x5x6xf32>
  %v28 = tx.add_bias %v27, %b1_ffn_up_bias : tensor<2x5x6xf32>, tensor<6xf32>
  %v29 = tx.activation gelu_tanh %v28 : tensor<2x5x6xf32>
  %v30 = tx.linear %v29, %b1_ffn_down : tensor<2x5x6xf32>, tensor<8x6xf32> -> tensor<2x5x8xf32>
  %v31 = tx.add_bias %v30, %b1_ffn_down_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v32 = tx.add %v26, %v31 : tensor<2x5x8xf32>
  %v33, %v33_m, %v33_r = tx.layer_norm %v32, %b1_ffn_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %v34 = tx.add_bias %v33, %b1_ffn_norm_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %v35, %v35_m, %v35_r = tx.layer_norm %v34, %final_norm epsilon 1.0e-05 : tensor<2x5x8xf32>, tensor<8xf32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %v36 = tx.add_bias %v35, %final_norm_bias : tensor<2x5x8xf32>, tensor<8xf32>
  %logits = tx.linear %v36, %lm_head : tensor<2x5x8xf32>, tensor<7x8xf32> -> tensor<2x5x7xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x5xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x5x7xf32>, tensor<2x5xi32> -> tensor<2x5xf32>, tensor<2x5xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x5xf32>, tensor<f32> -> tensor<f32>
  return %loss : tensor<f32>
}
