// RUN: tx-opt %s | tx-opt | FileCheck %s
// RUN: tx-opt %s --mlir-print-op-generic | tx-opt | FileCheck %s

// Every tx op is read as it is printed.

// CHECK: tx.param @wte.weight : tensor<5x4xf32> init = normal(2.000000e-02) site = 0 decay
tx.param @"wte.weight" : tensor<5x4xf32> init = normal(2.0e-02) site = 0 decay
// CHECK: tx.param @blocks.0.attn_norm.weight : tensor<4xf32> init = ones(0.000000e+00) site = 1
tx.param @"blocks.0.attn_norm.weight" : tensor<4xf32> init = ones(0.0) site = 1
// CHECK: tx.param @b : tensor<4xf32> init = zeros(0.000000e+00) site = 2
tx.param @b : tensor<4xf32> init = zeros(0.0) site = 2

// CHECK-LABEL: func.func @state(%{{.*}}: !tx.hyper)
func.func @state(%hyper: !tx.hyper) {
  // CHECK-NEXT: tx.init @b, %{{.*}}
  tx.init @b, %hyper
  // CHECK-NEXT: tx.read @b value : tensor<4xf32>
  %w = tx.read @b value : tensor<4xf32>
  // CHECK-NEXT: tx.read @b grad : tensor<4xf32>
  %g = tx.read @b grad : tensor<4xf32>
  // CHECK-NEXT: tx.read @b moment1 : tensor<4xf32>
  %m = tx.read @b moment1 : tensor<4xf32>
  // CHECK-NEXT: tx.assign @b moment2, %{{.*}} : tensor<4xf32>
  tx.assign @b moment2, %m : tensor<4xf32>
  // CHECK-NEXT: tx.accumulate @b, %{{.*}} : tensor<4xf32>
  tx.accumulate @b, %g : tensor<4xf32>
  // CHECK-NEXT: tx.global_norm [@wte.weight, @b], %{{.*}} : tensor<11xf32>
  %stats = tx.global_norm [@"wte.weight", @b], %hyper : tensor<11xf32>
  // CHECK-NEXT: tx.adamw [@wte.weight, @b], %{{.*}}, %{{.*}} : tensor<11xf32>
  tx.adamw [@"wte.weight", @b], %stats, %hyper : tensor<11xf32>
  return
}

// Programs in bf16 keep a copy of weights in it; gains, biases and gradients of
// weights are f32.
// CHECK-LABEL: func.func @compute(%{{.*}}: !tx.hyper
func.func @compute(%hyper: !tx.hyper, %stats: tensor<11xf32>, %x: tensor<2x4xbf16>) {
  // CHECK-NEXT: tx.init @wte.weight, %{{.*}} compute
  tx.init @"wte.weight", %hyper compute
  // CHECK-NEXT: tx.adamw [@wte.weight], %{{.*}}, %{{.*}} compute : tensor<11xf32>
  tx.adamw [@"wte.weight"], %stats, %hyper compute : tensor<11xf32>
  // CHECK-NEXT: tx.read @wte.weight compute : tensor<5x4xbf16>
  %w = tx.read @"wte.weight" compute : tensor<5x4xbf16>
  // CHECK-NEXT: tx.read @b value : tensor<4xf32>
  %b = tx.read @b value : tensor<4xf32>
  // CHECK-NEXT: tx.linear %{{.*}}, %{{.*}} : tensor<2x4xbf16>, tensor<5x4xbf16> -> tensor<2x5xbf16>
  %y = tx.linear %x, %w : tensor<2x4xbf16>, tensor<5x4xbf16> -> tensor<2x5xbf16>
  // CHECK-NEXT: tx.linear_weight_vjp %{{.*}}, %{{.*}} : tensor<2x5xbf16>, tensor<2x4xbf16> -> tensor<5x4xf32>
  %dw = tx.linear_weight_vjp %y, %x : tensor<2x5xbf16>, tensor<2x4xbf16> -> tensor<5x4xf32>
  // CHECK-NEXT: tx.add_bias %{{.*}}, %{{.*}} : tensor<2x4xbf16>, tensor<4xf32>
  %z = tx.add_bias %x, %b : tensor<2x4xbf16>, tensor<4xf32>
  // CHECK-NEXT: tx.bias_vjp %{{.*}} : tensor<2x4xbf16> -> tensor<4xf32>
  %db = tx.bias_vjp %z : tensor<2x4xbf16> -> tensor<4xf32>
  return
}

// CHECK-LABEL: func.func @embedding
func.func @embedding(%tokens: tensor<2x3xi32>, %w: tensor<5x4xf32>, %p: tensor<3x4xf32>) {
  // CHECK-NEXT: tx.embedding %{{.*}}, %{{.*}} : tensor<2x3xi32>, tensor<5x4xf32> -> tensor<2x3x4xf32>
  %x = tx.embedding %tokens, %w : tensor<2x3xi32>, tensor<5x4xf32> -> tensor<2x3x4xf32>
  // CHECK-NEXT: tx.add_position %{{.*}}, %{{.*}} : tensor<2x3x4xf32>, tensor<3x4xf32>
  %y = tx.add_position %x, %p : tensor<2x3x4xf32>, tensor<3x4xf32>
  // CHECK-NEXT: tx.position_vjp %{{.*}} : tensor<2x3x4xf32> -> tensor<3x4xf32>
  %dp = tx.position_vjp %y : tensor<2x3x4xf32> -> tensor<3x4xf32>
  // CHECK-NEXT: tx.embedding_vjp %{{.*}}, %{{.*}} : tensor<2x3xi32>, tensor<2x3x4xf32> -> tensor<5x4xf32>
  %dw = tx.embedding_vjp %tokens, %y : tensor<2x3xi32>, tensor<2x3x4xf32> -> tensor<5x4xf32>
  return
}

// CHECK-LABEL: func.func @norm
func.func @norm(%x: tensor<2x4xf32>, %g: tensor<4xf32>) {
  // CHECK-NEXT: tx.rms_norm %{{.*}}, %{{.*}} epsilon 1.000000e-05 : tensor<2x4xf32>, tensor<4xf32> -> tensor<2xf32>
  %y, %r = tx.rms_norm %x, %g epsilon 1.0e-05 : tensor<2x4xf32>, tensor<4xf32> -> tensor<2xf32>
  // CHECK-NEXT: tx.rms_norm_vjp %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : tensor<2x4xf32>, tensor<4xf32>, tensor<2xf32>
  %dx, %dg = tx.rms_norm_vjp %y, %x, %g, %r : tensor<2x4xf32>, tensor<4xf32>, tensor<2xf32>
  // CHECK-NEXT: tx.layer_norm %{{.*}}, %{{.*}} epsilon 1.000000e-05 : tensor<2x4xf32>, tensor<4xf32> -> tensor<2xf32>, tensor<2xf32>
  %z, %m, %s = tx.layer_norm %x, %g epsilon 1.0e-05 : tensor<2x4xf32>, tensor<4xf32> -> tensor<2xf32>, tensor<2xf32>
  // CHECK-NEXT: tx.layer_norm_vjp %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : tensor<2x4xf32>, tensor<4xf32>, tensor<2xf32>
  %dz, %dh = tx.layer_norm_vjp %z, %x, %g, %m, %s : tensor<2x4xf32>, tensor<4xf32>, tensor<2xf32>
  return
}

// CHECK-LABEL: func.func @normalized
func.func @normalized(%x: tensor<2x4xbf16>, %g: tensor<4xf32>, %m: tensor<2xf32>, %r: tensor<2xf32>) {
  // CHECK-NEXT: tx.normalized %{{.*}}, %{{.*}} by %{{.*}} : tensor<2x4xbf16>, tensor<4xf32> by tensor<2xf32>
  %y = tx.normalized %x, %g by %r : tensor<2x4xbf16>, tensor<4xf32> by tensor<2xf32>
  // CHECK-NEXT: tx.normalized %{{.*}}, %{{.*}} by %{{.*}}, %{{.*}} : tensor<2x4xbf16>, tensor<4xf32> by tensor<2xf32>, tensor<2xf32>
  %z = tx.normalized %y, %g by %m, %r : tensor<2x4xbf16>, tensor<4xf32> by tensor<2xf32>, tensor<2xf32>
  return
}

// CHECK-LABEL: func.func @rows
func.func @rows(%x: tensor<2x3x4xf32>, %targets: tensor<2x3xi32>) {
  // CHECK-NEXT: tx.slice_rows %{{.*}} from 1 : tensor<2x3x4xf32> -> tensor<1x4x4xf32>
  %a = tx.slice_rows %x from 1 : tensor<2x3x4xf32> -> tensor<1x4x4xf32>
  // CHECK-NEXT: tx.slice_rows %{{.*}} from 4 : tensor<2x3xi32> -> tensor<1x2xi32>
  %b = tx.slice_rows %targets from 4 : tensor<2x3xi32> -> tensor<1x2xi32>
  // CHECK-NEXT: tx.concat_rows %{{.*}}, %{{.*}} : tensor<1x4x4xf32>, tensor<1x4x4xf32> -> tensor<2x4x4xf32>
  %c = tx.concat_rows %a, %a : tensor<1x4x4xf32>, tensor<1x4x4xf32> -> tensor<2x4x4xf32>
  return
}

// CHECK-LABEL: func.func @linear
func.func @linear(%x: tensor<2x3x4xf32>, %w: tensor<5x4xf32>, %b: tensor<5xf32>) {
  // CHECK-NEXT: tx.linear %{{.*}}, %{{.*}} : tensor<2x3x4xf32>, tensor<5x4xf32> -> tensor<2x3x5xf32>
  %y = tx.linear %x, %w : tensor<2x3x4xf32>, tensor<5x4xf32> -> tensor<2x3x5xf32>
  // CHECK-NEXT: tx.add_bias %{{.*}}, %{{.*}} : tensor<2x3x5xf32>, tensor<5xf32>
  %z = tx.add_bias %y, %b : tensor<2x3x5xf32>, tensor<5xf32>
  // CHECK-NEXT: tx.bias_vjp %{{.*}} : tensor<2x3x5xf32> -> tensor<5xf32>
  %db = tx.bias_vjp %z : tensor<2x3x5xf32> -> tensor<5xf32>
  // CHECK-NEXT: tx.linear_weight_vjp %{{.*}}, %{{.*}} : tensor<2x3x5xf32>, tensor<2x3x4xf32> -> tensor<5x4xf32>
  %dw = tx.linear_weight_vjp %z, %x : tensor<2x3x5xf32>, tensor<2x3x4xf32> -> tensor<5x4xf32>
  // CHECK-NEXT: tx.linear_input_vjp %{{.*}}, %{{.*}} : tensor<2x3x5xf32>, tensor<5x4xf32> -> tensor<2x3x4xf32>
  %dx = tx.linear_input_vjp %z, %w : tensor<2x3x5xf32>, tensor<5x4xf32> -> tensor<2x3x4xf32>
  return
}

// CHECK-LABEL: func.func @attention
func.func @attention(%qkv: tensor<2x3x16xf32>, %hyper: !tx.hyper) {
  // CHECK-NEXT: tx.rope_table theta 1.000000e+04 : tensor<3x2xf32>, tensor<3x2xf32>
  %cos, %sin = tx.rope_table theta 1.0e+04 : tensor<3x2xf32>, tensor<3x2xf32>
  // CHECK-NEXT: tx.rope %{{.*}}, %{{.*}}, %{{.*}} half heads 3 head_dim 4 : tensor<2x3x16xf32>, tensor<3x2xf32>
  %r = tx.rope %qkv, %cos, %sin half heads 3 head_dim 4 : tensor<2x3x16xf32>, tensor<3x2xf32>
  // CHECK-NEXT: tx.rope %{{.*}}, %{{.*}}, %{{.*}} interleaved inverse heads 3 head_dim 4 : tensor<2x3x16xf32>, tensor<3x2xf32>
  %i = tx.rope %r, %cos, %sin interleaved inverse heads 3 head_dim 4 : tensor<2x3x16xf32>, tensor<3x2xf32>
  // CHECK-NEXT: %[[Y:.*]], %[[LSE:.*]] = tx.attention %{{.*}} heads 2 kv_heads 1 : tensor<2x3x16xf32> -> tensor<2x3x8xf32>, tensor<2x2x3xf32>
  %y, %lse = tx.attention %i heads 2 kv_heads 1 : tensor<2x3x16xf32> -> tensor<2x3x8xf32>, tensor<2x2x3xf32>
  // CHECK-NEXT: tx.attention %{{.*}}, hyper %{{.*}} heads 2 kv_heads 1 {dropout = 2.500000e-01 : f64, site = 65537 : i32}
  %z, %lsz = tx.attention %i, hyper %hyper heads 2 kv_heads 1 {dropout = 0.25 : f64, site = 65537 : i32} : tensor<2x3x16xf32> -> tensor<2x3x8xf32>, tensor<2x2x3xf32>
  // CHECK-NEXT: tx.attention_vjp %[[Y]], %{{.*}}, %[[Y]], %[[LSE]] heads 2 kv_heads 1 : tensor<2x3x16xf32>, tensor<2x3x8xf32>, tensor<2x2x3xf32>
  %d = tx.attention_vjp %y, %i, %y, %lse heads 2 kv_heads 1 : tensor<2x3x16xf32>, tensor<2x3x8xf32>, tensor<2x2x3xf32>
  // CHECK-NEXT: tx.attention_vjp %{{.*}}, hyper %{{.*}} heads 2 kv_heads 1 {dropout = 2.500000e-01 : f64, site = 65537 : i32}
  %e = tx.attention_vjp %z, %i, %z, %lsz, hyper %hyper heads 2 kv_heads 1 {dropout = 0.25 : f64, site = 65537 : i32} : tensor<2x3x16xf32>, tensor<2x3x8xf32>, tensor<2x2x3xf32>
  return
}

// CHECK-LABEL: func.func @pointwise
func.func @pointwise(%x: tensor<2x8xf32>, %hyper: !tx.hyper) {
  // CHECK-NEXT: tx.add %{{.*}}, %{{.*}} : tensor<2x8xf32>
  %a = tx.add %x, %x : tensor<2x8xf32>
  // CHECK-NEXT: tx.activation gelu %
  %b = tx.activation gelu %a : tensor<2x8xf32>
  // CHECK-NEXT: tx.activation gelu_tanh %
  %c = tx.activation gelu_tanh %b : tensor<2x8xf32>
  // CHECK-NEXT: tx.activation silu %
  %d = tx.activation silu %c : tensor<2x8xf32>
  // CHECK-NEXT: tx.activation relu %
  %e = tx.activation relu %d : tensor<2x8xf32>
  // CHECK-NEXT: tx.activation leaky_relu %{{.*}} : tensor<2x8xf32>
  %f = tx.activation leaky_relu %e : tensor<2x8xf32>
  // CHECK-NEXT: tx.activation_vjp leaky_relu %{{.*}}, %{{.*}} : tensor<2x8xf32>
  %g = tx.activation_vjp leaky_relu %f, %e : tensor<2x8xf32>
  // CHECK-NEXT: tx.swiglu %{{.*}} : tensor<2x8xf32> -> tensor<2x4xf32>
  %h = tx.swiglu %g : tensor<2x8xf32> -> tensor<2x4xf32>
  // CHECK-NEXT: tx.swiglu_vjp %{{.*}}, %{{.*}} : tensor<2x4xf32>, tensor<2x8xf32>
  %i = tx.swiglu_vjp %h, %g : tensor<2x4xf32>, tensor<2x8xf32>
  // CHECK-NEXT: tx.dropout %{{.*}}, %{{.*}} p 2.500000e-01 site 65536 : tensor<2x8xf32>
  %j = tx.dropout %i, %hyper p 0.25 site 65536 : tensor<2x8xf32>
  // CHECK-NEXT: tx.cast %{{.*}} : tensor<2x8xf32> -> tensor<2x8xbf16>
  %k = tx.cast %j : tensor<2x8xf32> -> tensor<2x8xbf16>
  return
}

// CHECK-LABEL: func.func @loss
func.func @loss(%x: tensor<2x3x5xf32>, %targets: tensor<2x3xi32>) {
  // CHECK-NEXT: %[[COUNT:.*]] = tx.target_count %{{.*}} ignore_index -1 : tensor<2x3xi32> -> tensor<f32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x3xi32> -> tensor<f32>
  // CHECK-NEXT: tx.cross_entropy %{{.*}}, %{{.*}} ignore_index -1 : tensor<2x3x5xf32>, tensor<2x3xi32> -> tensor<2x3xf32>, tensor<2x3xf32>
  %losses, %lse = tx.cross_entropy %x, %targets ignore_index -1 : tensor<2x3x5xf32>, tensor<2x3xi32> -> tensor<2x3xf32>, tensor<2x3xf32>
  // CHECK-NEXT: %[[LOSS:.*]] = tx.mean_loss %{{.*}}, %[[COUNT]] : tensor<2x3xf32>, tensor<f32> -> tensor<f32>
  %loss = tx.mean_loss %losses, %count : tensor<2x3xf32>, tensor<f32> -> tensor<f32>
  // CHECK-NEXT: tx.mean_loss_vjp %[[LOSS]], %[[COUNT]] : tensor<f32>, tensor<f32> -> tensor<2x3xf32>
  %d = tx.mean_loss_vjp %loss, %count : tensor<f32>, tensor<f32> -> tensor<2x3xf32>
  // CHECK-NEXT: tx.cross_entropy_vjp %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} ignore_index -1 : tensor<2x3x5xf32>, tensor<2x3xi32>, tensor<2x3xf32>
  %dx = tx.cross_entropy_vjp %d, %x, %targets, %lse ignore_index -1 : tensor<2x3x5xf32>, tensor<2x3xi32>, tensor<2x3xf32>
  return
}

// CHECK-LABEL: func.func @kernels
func.func @kernels(%x: tensor<2x3x4xf32>, %w: tensor<4x4xf32>, %targets: tensor<2x3xi32>, %qkv: tensor<2x3x16xf32>) {
  // CHECK-NEXT: tx.kernel row_wise "blocks.0.residual"(%{{.*}}, %{{.*}}) inplace [0] : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  // CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<2x3x4xf32>, %[[B:.*]]: tensor<2x3x4xf32>):
  // CHECK-NEXT: %[[C:.*]] = tx.add %[[A]], %[[B]]
  // CHECK-NEXT: tx.yield %[[C]] : tensor<2x3x4xf32>
  %y = tx.kernel row_wise "blocks.0.residual" (%x, %x) inplace [0] : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  ^bb0(%a: tensor<2x3x4xf32>, %b: tensor<2x3x4xf32>):
    %c = tx.add %a, %b : tensor<2x3x4xf32>
    tx.yield %c : tensor<2x3x4xf32>
  }
  // CHECK: tx.kernel matrix_product "product"(%{{.*}}, %{{.*}}) inplace [-1]
  %z = tx.kernel matrix_product "product" (%y, %w) inplace [-1] : (tensor<2x3x4xf32>, tensor<4x4xf32>) -> tensor<2x3x4xf32> {
  ^bb0(%a: tensor<2x3x4xf32>, %b: tensor<4x4xf32>):
    %c = tx.linear %a, %b : tensor<2x3x4xf32>, tensor<4x4xf32> -> tensor<2x3x4xf32>
    tx.yield %c : tensor<2x3x4xf32>
  }
  // CHECK: tx.kernel attention "attn"
  %o:2 = tx.kernel attention "attn" (%qkv) inplace [-1, -1] : (tensor<2x3x16xf32>) -> (tensor<2x3x8xf32>, tensor<2x2x3xf32>) {
  ^bb0(%a: tensor<2x3x16xf32>):
    %b, %lse = tx.attention %a heads 2 kv_heads 1 : tensor<2x3x16xf32> -> tensor<2x3x8xf32>, tensor<2x2x3xf32>
    tx.yield %b, %lse : tensor<2x3x8xf32>, tensor<2x2x3xf32>
  }
  // CHECK: tx.kernel scatter "wpe"
  %dp = tx.kernel scatter "wpe" (%z) inplace [-1] : (tensor<2x3x4xf32>) -> tensor<3x4xf32> {
  ^bb0(%a: tensor<2x3x4xf32>):
    %b = tx.position_vjp %a : tensor<2x3x4xf32> -> tensor<3x4xf32>
    tx.yield %b : tensor<3x4xf32>
  }
  // CHECK: tx.kernel reduction "loss.count"
  %count = tx.kernel reduction "loss.count" (%targets) inplace [-1] : (tensor<2x3xi32>) -> tensor<f32> {
  ^bb0(%a: tensor<2x3xi32>):
    %b = tx.target_count %a ignore_index -1 : tensor<2x3xi32> -> tensor<f32>
    tx.yield %b : tensor<f32>
  }
  // CHECK: tx.kernel table "rope"() inplace [-1, -1] : () -> (tensor<3x2xf32>, tensor<3x2xf32>) {
  %t:2 = tx.kernel table "rope" () inplace [-1, -1] : () -> (tensor<3x2xf32>, tensor<3x2xf32>) {
    %cos, %sin = tx.rope_table theta 1.0e+04 : tensor<3x2xf32>, tensor<3x2xf32>
    tx.yield %cos, %sin : tensor<3x2xf32>, tensor<3x2xf32>
  }
  return
}

// CHECK: tx.cache @blocks.0.attn.keys : tensor<2x1x5x4xf32>
tx.cache @"blocks.0.attn.keys" : tensor<2x1x5x4xf32>

// CHECK-LABEL: func.func @decoding
func.func @decoding(%x: tensor<2x1x16xf32>, %p: tensor<5x16xf32>, %at: tensor<i32>) {
  // CHECK-NEXT: %[[CACHE:.*]] = tx.read @blocks.0.attn.keys value : tensor<2x1x5x4xf32>
  %c = tx.read @"blocks.0.attn.keys" value : tensor<2x1x5x4xf32>
  // CHECK-NEXT: tx.rope_table theta 1.000000e+04 from %[[AT:.*]] : tensor<1x2xf32>, tensor<1x2xf32>
  %cos, %sin = tx.rope_table theta 1.0e+04 from %at : tensor<1x2xf32>, tensor<1x2xf32>
  // CHECK-NEXT: tx.add_position %{{.*}}, %{{.*}} at %[[AT]] : tensor<2x1x16xf32>, tensor<5x16xf32>
  %y = tx.add_position %x, %p at %at : tensor<2x1x16xf32>, tensor<5x16xf32>
  // CHECK-NEXT: %[[RESULT:.*]], %[[KEYS:.*]], %{{.*}} = tx.decode_attention %{{.*}}, %[[CACHE]], %[[CACHE]] at %[[AT]] heads 2 kv_heads 1 : tensor<2x1x16xf32>, tensor<2x1x5x4xf32>, tensor<2x1x5x4xf32> -> tensor<2x1x8xf32>
  %r, %k, %v = tx.decode_attention %y, %c, %c at %at heads 2 kv_heads 1 : tensor<2x1x16xf32>, tensor<2x1x5x4xf32>, tensor<2x1x5x4xf32> -> tensor<2x1x8xf32>
  // CHECK-NEXT: tx.assign @blocks.0.attn.keys value, %[[KEYS]] : tensor<2x1x5x4xf32>
  tx.assign @"blocks.0.attn.keys" value, %k : tensor<2x1x5x4xf32>
  return
}

// CHECK: tx.param @shared : tensor<30x10xf32> init = normal(2.000000e-02) site = 3 decay shards = 2
tx.param @shared : tensor<30x10xf32> init = normal(2.0e-02) site = 3 decay shards = 2

// A parameter of 300 elements that two ranks share: 150 each, rounded up to 192.
// CHECK-LABEL: func.func @shards
func.func @shards(%g: tensor<30x10xf32>, %hyper: !tx.hyper) {
  // CHECK-NEXT: tx.read @shared value : tensor<192xf32>
  %v = tx.read @shared value : tensor<192xf32>
  // CHECK-NEXT: tx.read @shared compute_shard : tensor<192xbf16>
  %c = tx.read @shared compute_shard : tensor<192xbf16>
  // CHECK-NEXT: tx.all_gather "weights/shared"(%{{.*}}, %{{.*}}) over 2 : (tensor<192xf32>, tensor<192xbf16>) -> (tensor<30x10xf32>, tensor<30x10xbf16>)
  %w:2 = tx.all_gather "weights/shared" (%v, %c) over 2 : (tensor<192xf32>, tensor<192xbf16>) -> (tensor<30x10xf32>, tensor<30x10xbf16>)
  // CHECK-NEXT: tx.assign @shared compute, %{{.*}} : tensor<30x10xf32>
  tx.assign @shared compute, %w#0 : tensor<30x10xf32>
  // CHECK-NEXT: tx.assign @shared compute, %{{.*}} : tensor<30x10xbf16>
  tx.assign @shared compute, %w#1 : tensor<30x10xbf16>
  // CHECK-NEXT: tx.accumulate @shared, %{{.*}} : tensor<30x10xf32>
  tx.accumulate @shared, %g : tensor<30x10xf32>
  // CHECK-NEXT: %[[S:.*]] = tx.reduce_scatter "gradients/shared"(%{{.*}}) over 2 : (tensor<30x10xf32>) -> tensor<192xf32>
  %s = tx.reduce_scatter "gradients/shared" (%g) over 2 : (tensor<30x10xf32>) -> tensor<192xf32>
  // CHECK-NEXT: tx.accumulate_shards [@shared], (%[[S]]) : tensor<192xf32>
  tx.accumulate_shards [@shared], (%s) : tensor<192xf32>
  // CHECK-NEXT: tx.clear_gradients [@shared]
  tx.clear_gradients [@shared]
  // CHECK-NEXT: tx.gradient_sums [@shared, @b], %{{.*}} : tensor<4xf64>, tensor<2xf32>
  %sums, %extrema = tx.gradient_sums [@shared, @b], %hyper : tensor<4xf64>, tensor<2xf32>
  // CHECK-NEXT: tx.all_reduce sum "statistics"(%{{.*}}) : (tensor<4xf64>) -> tensor<4xf64>
  %all = tx.all_reduce sum "statistics" (%sums) : (tensor<4xf64>) -> tensor<4xf64>
  // CHECK-NEXT: tx.all_reduce min "extrema"(%{{.*}}) : (tensor<2xf32>) -> tensor<2xf32>
  %least = tx.all_reduce min "extrema" (%extrema) : (tensor<2xf32>) -> tensor<2xf32>
  // CHECK-NEXT: tx.gradient_stats [@shared, @b], %{{.*}}, %{{.*}}, %{{.*}} : tensor<4xf64>, tensor<2xf32> -> tensor<11xf32>
  %stats = tx.gradient_stats [@shared, @b], %all, %least, %hyper : tensor<4xf64>, tensor<2xf32> -> tensor<11xf32>
  return
}

// Attention in parts.
// CHECK-LABEL: @attention_in_parts
func.func @attention_in_parts(%q: tensor<1x5x16xf32>, %g: tensor<1x5x8xf32>) -> tensor<1x5x16xf32> {
  // CHECK: %[[S:.*]] = tx.attention_scores %{{.*}} heads 2 kv_heads 1 : tensor<1x5x16xf32> -> tensor<1x2x5x5xf32>
  %s = tx.attention_scores %q heads 2 kv_heads 1 : tensor<1x5x16xf32> -> tensor<1x2x5x5xf32>
  // CHECK-NEXT: %[[P:.*]] = tx.causal_softmax %[[S]] scale 5.000000e-01 : tensor<1x2x5x5xf32>
  %p = tx.causal_softmax %s scale 5.0e-01 : tensor<1x2x5x5xf32>
  // CHECK-NEXT: tx.attention_mix %[[P]], %{{.*}} heads 2 kv_heads 1 : tensor<1x2x5x5xf32>, tensor<1x5x16xf32> -> tensor<1x5x8xf32>
  %o = tx.attention_mix %p, %q heads 2 kv_heads 1 : tensor<1x2x5x5xf32>, tensor<1x5x16xf32> -> tensor<1x5x8xf32>
  // CHECK-NEXT: %[[DP:.*]] = tx.attention_mix_vjp %{{.*}}, %{{.*}} heads 2 kv_heads 1 : tensor<1x5x8xf32>, tensor<1x5x16xf32> -> tensor<1x2x5x5xf32>
  %dp = tx.attention_mix_vjp %g, %q heads 2 kv_heads 1 : tensor<1x5x8xf32>, tensor<1x5x16xf32> -> tensor<1x2x5x5xf32>
  // CHECK-NEXT: %[[DS:.*]] = tx.causal_softmax_vjp %[[DP]], %[[P]] scale 5.000000e-01 : tensor<1x2x5x5xf32>
  %ds = tx.causal_softmax_vjp %dp, %p scale 5.0e-01 : tensor<1x2x5x5xf32>
  // CHECK-NEXT: tx.attention_scores_vjp %[[DS]], %[[P]], %{{.*}}, %{{.*}} heads 2 kv_heads 1 : tensor<1x2x5x5xf32>, tensor<1x2x5x5xf32>, tensor<1x5x8xf32>, tensor<1x5x16xf32>
  %d = tx.attention_scores_vjp %ds, %p, %g, %q heads 2 kv_heads 1 : tensor<1x2x5x5xf32>, tensor<1x2x5x5xf32>, tensor<1x5x8xf32>, tensor<1x5x16xf32>
  return %d : tensor<1x5x16xf32>
}
