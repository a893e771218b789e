// RUN: tx-opt %s --split-input-file --tx-autodiff-differentiate | FileCheck %s
// RUN: tx-opt %s --split-input-file --tx-autodiff-differentiate --mlir-print-debuginfo | FileCheck %s --check-prefix=PATHS

// One case for each derivative rule (lib/Autodiff/Rules), then the pass itself.

// The gradient of the loss starts at 1; the mean spreads it over all losses. Of
// an embedding only the table has a gradient.
// CHECK-LABEL: module @embedding
module @embedding {
  tx.param @w : tensor<5x4xf32> init = normal(2.0e-02) site = 0 decay
  // CHECK: func.func @micro(%[[TOKENS:.*]]: tensor<2x3xi32>, %[[COUNT:.*]]: tensor<f32>)
  func.func @forward(%tokens: tensor<2x3xi32>, %count: tensor<f32>) -> tensor<f32> {
    %w = tx.read @w value : tensor<5x4xf32>
    %y = tx.embedding %tokens, %w : tensor<2x3xi32>, tensor<5x4xf32> -> tensor<2x3x4xf32> loc("wte")
    // CHECK: %[[LOSS:.*]] = tx.mean_loss
    %loss = tx.mean_loss %y, %count : tensor<2x3x4xf32>, tensor<f32> -> tensor<f32> loc("loss")
    // CHECK-NEXT: %[[ONE:.*]] = arith.constant dense<1.000000e+00> : tensor<f32>
    // CHECK-NEXT: %[[DY:.*]] = tx.mean_loss_vjp %[[ONE]], %[[COUNT]]
    // CHECK-NEXT: %[[DW:.*]] = tx.embedding_vjp %[[TOKENS]], %[[DY]]
    // CHECK-NEXT: tx.accumulate @w, %[[DW]] : tensor<5x4xf32>
    // CHECK-NEXT: return %[[LOSS]]
    return %loss : tensor<f32>
  }
}
// Backward ops have the path of the op whose derivative they are.
// PATHS-LABEL: module @embedding
// PATHS-DAG: tx.mean_loss_vjp {{.*}} loc(#[[LOSS:.*]])
// PATHS-DAG: tx.embedding_vjp {{.*}} loc(#[[WTE:.*]])
// PATHS-DAG: tx.accumulate {{.*}} loc(#[[WTE]])
// PATHS-DAG: #[[WTE]] = loc("wte")
// PATHS-DAG: #[[LOSS]] = loc("loss")

// -----

// CHECK-LABEL: module @add_position
module @add_position {
  tx.param @x : tensor<2x3x4xf32> init = normal(2.0e-02) site = 0 decay
  tx.param @p : tensor<3x4xf32> init = normal(2.0e-02) site = 1 decay
  func.func @forward(%count: tensor<f32>) -> tensor<f32> {
    %x = tx.read @x value : tensor<2x3x4xf32>
    %p = tx.read @p value : tensor<3x4xf32>
    %y = tx.add_position %x, %p : tensor<2x3x4xf32>, tensor<3x4xf32>
    %loss = tx.mean_loss %y, %count : tensor<2x3x4xf32>, tensor<f32> -> tensor<f32>
    // The gradient of x is that of the sum, so it is accumulated where that is computed.
    // CHECK: %[[DY:.*]] = tx.mean_loss_vjp
    // CHECK-NEXT: tx.accumulate @x, %[[DY]]
    // CHECK-NEXT: %[[DP:.*]] = tx.position_vjp %[[DY]] : tensor<2x3x4xf32> -> tensor<3x4xf32>
    // CHECK-NEXT: tx.accumulate @p, %[[DP]]
    return %loss : tensor<f32>
  }
}

// -----

// CHECK-LABEL: module @rms_norm
module @rms_norm {
  tx.param @x : tensor<2x3x4xf32> init = normal(2.0e-02) site = 0 decay
  tx.param @g : tensor<4xf32> init = ones(0.0) site = 1
  func.func @forward(%count: tensor<f32>) -> tensor<f32> {
    // CHECK: %[[X:.*]] = tx.read @x value
    %x = tx.read @x value : tensor<2x3x4xf32>
    // CHECK: %[[G:.*]] = tx.read @g value
    %g = tx.read @g value : tensor<4xf32>
    // CHECK: %{{.*}}, %[[RSTD:.*]] = tx.rms_norm
    %y, %rstd = tx.rms_norm %x, %g epsilon 1.0e-05 : tensor<2x3x4xf32>, tensor<4xf32> -> tensor<2x3xf32>
    %loss = tx.mean_loss %y, %count : tensor<2x3x4xf32>, tensor<f32> -> tensor<f32>
    // CHECK: %[[DY:.*]] = tx.mean_loss_vjp
    // CHECK-NEXT: %[[DX:.*]], %[[DG:.*]] = tx.rms_norm_vjp %[[DY]], %[[X]], %[[G]], %[[RSTD]]
    // CHECK-DAG: tx.accumulate @x, %[[DX]]
    // CHECK-DAG: tx.accumulate @g, %[[DG]]
    return %loss : tensor<f32>
  }
}

// -----

// CHECK-LABEL: module @layer_norm
module @layer_norm {
  tx.param @x : tensor<2x3x4xf32> init = normal(2.0e-02) site = 0 decay
  tx.param @g : tensor<4xf32> init = ones(0.0) site = 1
  func.func @forward(%count: tensor<f32>) -> tensor<f32> {
    // CHECK: %[[X:.*]] = tx.read @x value
    %x = tx.read @x value : tensor<2x3x4xf32>
    // CHECK: %[[G:.*]] = tx.read @g value
    %g = tx.read @g value : tensor<4xf32>
    // CHECK: %{{.*}}, %[[MEAN:.*]], %[[RSTD:.*]] = tx.layer_norm
    %y, %mean, %rstd = tx.layer_norm %x, %g epsilon 1.0e-05 : tensor<2x3x4xf32>, tensor<4xf32> -> tensor<2x3xf32>, tensor<2x3xf32>
    %loss = tx.mean_loss %y, %count : tensor<2x3x4xf32>, tensor<f32> -> tensor<f32>
    // CHECK: %[[DX:.*]], %[[DG:.*]] = tx.layer_norm_vjp %{{.*}}, %[[X]], %[[G]], %[[MEAN]], %[[RSTD]]
    // CHECK-DAG: tx.accumulate @x, %[[DX]]
    // CHECK-DAG: tx.accumulate @g, %[[DG]]
    return %loss : tensor<f32>
  }
}

// -----

// The weight's gradient comes first and is accumulated before the input's.
// CHECK-LABEL: module @linear
module @linear {
  tx.param @x : tensor<2x3x4xf32> init = normal(2.0e-02) site = 0 decay
  tx.param @w : tensor<5x4xf32> init = normal(2.0e-02) site = 1 decay
  tx.param @b : tensor<5xf32> init = zeros(0.0) site = 2
  func.func @forward(%count: tensor<f32>) -> tensor<f32> {
    // CHECK: %[[X:.*]] = tx.read @x value
    %x = tx.read @x value : tensor<2x3x4xf32>
    // CHECK: %[[W:.*]] = tx.read @w value
    %w = tx.read @w value : tensor<5x4xf32>
    %b = tx.read @b value : tensor<5xf32>
    %y = tx.linear %x, %w : tensor<2x3x4xf32>, tensor<5x4xf32> -> tensor<2x3x5xf32>
    %z = tx.add_bias %y, %b : tensor<2x3x5xf32>, tensor<5xf32>
    %loss = tx.mean_loss %z, %count : tensor<2x3x5xf32>, tensor<f32> -> tensor<f32>
    // CHECK: %[[DY:.*]] = tx.mean_loss_vjp
    // CHECK-NEXT: %[[DB:.*]] = tx.bias_vjp %[[DY]]
    // CHECK-NEXT: tx.accumulate @b, %[[DB]]
    // CHECK-NEXT: %[[DW:.*]] = tx.linear_weight_vjp %[[DY]], %[[X]]
    // CHECK-NEXT: tx.accumulate @w, %[[DW]]
    // CHECK-NEXT: %[[DX:.*]] = tx.linear_input_vjp %[[DY]], %[[W]]
    // CHECK-NEXT: tx.accumulate @x, %[[DX]]
    return %loss : tensor<f32>
  }
}

// -----

// The derivative of a rotation is the opposite one; of the opposite, the
// rotation. The angles have no gradient.
// CHECK-LABEL: module @rope
module @rope {
  tx.param @x : tensor<2x3x8xf32> init = normal(2.0e-02) site = 0 decay
  func.func @forward(%count: tensor<f32>) -> tensor<f32> {
    %x = tx.read @x value : tensor<2x3x8xf32>
    // CHECK: %[[COS:.*]], %[[SIN:.*]] = tx.rope_table
    %cos, %sin = tx.rope_table theta 1.0e+04 : tensor<3x2xf32>, tensor<3x2xf32>
    %y = tx.rope %x, %cos, %sin half heads 2 head_dim 4 : tensor<2x3x8xf32>, tensor<3x2xf32>
    %z = tx.rope %y, %cos, %sin interleaved inverse heads 1 head_dim 4 : tensor<2x3x8xf32>, tensor<3x2xf32>
    %loss = tx.mean_loss %z, %count : tensor<2x3x8xf32>, tensor<f32> -> tensor<f32>
    // CHECK: %[[DZ:.*]] = tx.mean_loss_vjp
    // CHECK-NEXT: %[[DY:.*]] = tx.rope %[[DZ]], %[[COS]], %[[SIN]] interleaved heads 1 head_dim 4
    // CHECK-NEXT: %[[DX:.*]] = tx.rope %[[DY]], %[[COS]], %[[SIN]] half inverse heads 2 head_dim 4
    // CHECK-NEXT: tx.accumulate @x, %[[DX]]
    return %loss : tensor<f32>
  }
}

// -----

// The backward pass drops what the forward pass dropped: same probability, site
// and hyper.
// CHECK-LABEL: module @attention
module @attention {
  tx.param @qkv : tensor<2x3x16xf32> init = normal(2.0e-02) site = 0 decay
  // CHECK: func.func @micro(%{{.*}}: tensor<f32>, %[[HYPER:.*]]: !tx.hyper)
  func.func @forward(%count: tensor<f32>, %hyper: !tx.hyper) -> tensor<f32> {
    // CHECK: %[[QKV:.*]] = tx.read @qkv value
    %qkv = tx.read @qkv value : tensor<2x3x16xf32>
    // CHECK: %[[Y:.*]], %[[LSE:.*]] = tx.attention
    %y, %lse = tx.attention %qkv, hyper %hyper heads 2 kv_heads 1 {dropout = 0.25 : f64, site = 65537 : i32} : tensor<2x3x16xf32> -> tensor<2x3x8xf32>, tensor<2x2x3xf32>
    %loss = tx.mean_loss %y, %count : tensor<2x3x8xf32>, tensor<f32> -> tensor<f32>
    // CHECK: %[[DY:.*]] = tx.mean_loss_vjp
    // CHECK-NEXT: %[[D:.*]] = tx.attention_vjp %[[DY]], %[[QKV]], %[[Y]], %[[LSE]], hyper %[[HYPER]] heads 2 kv_heads 1
    // CHECK-SAME: dropout = 2.500000e-01
    // CHECK-SAME: site = 65537
    // CHECK-NEXT: tx.accumulate @qkv, %[[D]]
    return %loss : tensor<f32>
  }
}

// -----

// CHECK-LABEL: module @pointwise
module @pointwise {
  tx.param @x : tensor<2x3x8xf32> init = normal(2.0e-02) site = 0 decay
  // CHECK: func.func @micro(%{{.*}}: tensor<f32>, %[[HYPER:.*]]: !tx.hyper)
  func.func @forward(%count: tensor<f32>, %hyper: !tx.hyper) -> tensor<f32> {
    // CHECK: %[[X:.*]] = tx.read @x value
    %x = tx.read @x value : tensor<2x3x8xf32>
    // CHECK: %[[A:.*]] = tx.activation gelu_tanh
    %a = tx.activation gelu_tanh %x : tensor<2x3x8xf32>
    %s = tx.swiglu %a : tensor<2x3x8xf32> -> tensor<2x3x4xf32>
    %d = tx.dropout %s, %hyper p 0.25 site 7 : tensor<2x3x4xf32>
    %c = tx.cast %d : tensor<2x3x4xf32> -> tensor<2x3x4xbf16>
    %f = tx.cast %c : tensor<2x3x4xbf16> -> tensor<2x3x4xf32>
    %loss = tx.mean_loss %f, %count : tensor<2x3x4xf32>, tensor<f32> -> tensor<f32>
    // CHECK: %[[DF:.*]] = tx.mean_loss_vjp
    // CHECK-NEXT: %[[DC:.*]] = tx.cast %[[DF]] : tensor<2x3x4xf32> -> tensor<2x3x4xbf16>
    // CHECK-NEXT: %[[DD:.*]] = tx.cast %[[DC]] : tensor<2x3x4xbf16> -> tensor<2x3x4xf32>
    // CHECK-NEXT: %[[DS:.*]] = tx.dropout %[[DD]], %[[HYPER]] p 2.500000e-01 site 7
    // CHECK-NEXT: %[[DA:.*]] = tx.swiglu_vjp %[[DS]], %[[A]]
    // CHECK-NEXT: %[[DX:.*]] = tx.activation_vjp gelu_tanh %[[DA]], %[[X]]
    // CHECK-NEXT: tx.accumulate @x, %[[DX]]
    return %loss : tensor<f32>
  }
}

// -----

// CHECK-LABEL: module @cross_entropy
module @cross_entropy {
  tx.param @x : tensor<2x3x5xf32> init = normal(2.0e-02) site = 0 decay
  // CHECK: func.func @micro(%[[TARGETS:.*]]: tensor<2x3xi32>)
  func.func @forward(%targets: tensor<2x3xi32>) -> (tensor<f32>, tensor<f32>) {
    // CHECK: %[[X:.*]] = tx.read @x value
    %x = tx.read @x value : tensor<2x3x5xf32>
    // CHECK: %[[COUNT:.*]] = tx.target_count
    %count = tx.target_count %targets ignore_index -1 : tensor<2x3xi32> -> tensor<f32>
    // CHECK: %[[LOSSES:.*]], %[[LSE:.*]] = tx.cross_entropy
    %losses, %lse = tx.cross_entropy %x, %targets ignore_index -1 : tensor<2x3x5xf32>, tensor<2x3xi32> -> tensor<2x3xf32>, tensor<2x3xf32>
    %loss = tx.mean_loss %losses, %count : tensor<2x3xf32>, tensor<f32> -> tensor<f32>
    // CHECK: %[[DL:.*]] = tx.mean_loss_vjp %{{.*}}, %[[COUNT]]
    // CHECK-NEXT: %[[DX:.*]] = tx.cross_entropy_vjp %[[DL]], %[[X]], %[[TARGETS]], %[[LSE]] ignore_index -1
    // CHECK-NEXT: tx.accumulate @x, %[[DX]]
    return %loss, %count : tensor<f32>, tensor<f32>
  }
}

// -----

// A value that is used twice gets the sum of both gradients; x + x is two uses.
// CHECK-LABEL: module @shared_value
module @shared_value {
  tx.param @x : tensor<2x4xf32> init = normal(2.0e-02) site = 0 decay
  func.func @forward(%count: tensor<f32>) -> tensor<f32> {
    %x = tx.read @x value : tensor<2x4xf32>
    // CHECK: %[[A:.*]] = tx.activation relu
    %a = tx.activation relu %x : tensor<2x4xf32>
    %b = tx.activation silu %a : tensor<2x4xf32>
    %c = tx.add %a, %b : tensor<2x4xf32>
    %d = tx.add %c, %c : tensor<2x4xf32>
    %loss = tx.mean_loss %d, %count : tensor<2x4xf32>, tensor<f32> -> tensor<f32>
    // CHECK: %[[DD:.*]] = tx.mean_loss_vjp
    // CHECK-NEXT: %[[DC:.*]] = tx.add %[[DD]], %[[DD]]
    // CHECK-NEXT: %[[DB:.*]] = tx.activation_vjp silu %[[DC]], %[[A]]
    // CHECK-NEXT: %[[DA:.*]] = tx.add %[[DC]], %[[DB]]
    // CHECK-NEXT: tx.activation_vjp relu %[[DA]]
    return %loss : tensor<f32>
  }
}

// -----

// A parameter that is used twice is accumulated twice, each time right where the
// gradient is computed; no sum of the two is ever held.
// CHECK-LABEL: module @tied_embedding
module @tied_embedding {
  tx.param @w : tensor<5x4xf32> init = normal(2.0e-02) site = 0 decay
  func.func @forward(%tokens: tensor<2x3xi32>, %count: tensor<f32>) -> tensor<f32> {
    %w = tx.read @w value : tensor<5x4xf32>
    %x = tx.embedding %tokens, %w : tensor<2x3xi32>, tensor<5x4xf32> -> tensor<2x3x4xf32>
    %y = tx.linear %x, %w : tensor<2x3x4xf32>, tensor<5x4xf32> -> tensor<2x3x5xf32>
    %loss = tx.mean_loss %y, %count : tensor<2x3x5xf32>, tensor<f32> -> tensor<f32>
    // CHECK: %[[HEAD:.*]] = tx.linear_weight_vjp
    // CHECK-NEXT: tx.accumulate @w, %[[HEAD]]
    // CHECK-NEXT: tx.linear_input_vjp
    // CHECK-NEXT: %[[TABLE:.*]] = tx.embedding_vjp
    // CHECK-NEXT: tx.accumulate @w, %[[TABLE]]
    // CHECK-NOT: tx.add
    // CHECK: return
    return %loss : tensor<f32>
  }
}

// -----

// Gradients of what no parameter reaches are not computed, unless they come with
// one that is needed: here the norm's input is an argument, its gain a parameter.
// CHECK-LABEL: module @only_what_is_needed
module @only_what_is_needed {
  tx.param @g : tensor<4xf32> init = ones(0.0) site = 0
  tx.param @w : tensor<5x4xf32> init = normal(2.0e-02) site = 1 decay
  func.func @forward(%x: tensor<2x3x4xf32>, %y: tensor<2x3x4xf32>, %count: tensor<f32>) -> tensor<f32> {
    %g = tx.read @g value : tensor<4xf32>
    %w = tx.read @w value : tensor<5x4xf32>
    %n, %rstd = tx.rms_norm %x, %g epsilon 1.0e-05 : tensor<2x3x4xf32>, tensor<4xf32> -> tensor<2x3xf32>
    %a = tx.linear %n, %w : tensor<2x3x4xf32>, tensor<5x4xf32> -> tensor<2x3x5xf32>
    %b = tx.linear %y, %w : tensor<2x3x4xf32>, tensor<5x4xf32> -> tensor<2x3x5xf32>
    %c = tx.add %a, %b : tensor<2x3x5xf32>
    // CHECK-NOT: tx.activation
    %unused = tx.activation gelu %y : tensor<2x3x4xf32>
    %loss = tx.mean_loss %c, %count : tensor<2x3x5xf32>, tensor<f32> -> tensor<f32>
    // CHECK: tx.mean_loss_vjp
    // CHECK-NEXT: tx.linear_weight_vjp
    // CHECK-NEXT: tx.accumulate @w
    // CHECK-NEXT: tx.linear_weight_vjp
    // CHECK-NEXT: tx.accumulate @w
    // CHECK-NEXT: %[[DN:.*]] = tx.linear_input_vjp
    // CHECK-NEXT: %{{.*}}, %[[DG:.*]] = tx.rms_norm_vjp %[[DN]]
    // CHECK-NEXT: tx.accumulate @g, %[[DG]]
    // CHECK-NEXT: return
    return %loss : tensor<f32>
  }
}
