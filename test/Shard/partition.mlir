// RUN: tx-opt %s --tx-shard-partition | FileCheck %s --check-prefix=ONE
// RUN: tx-opt %s --tx-shard-partition="mesh=dp:1,tp:1" | FileCheck %s --check-prefix=AXES
// RUN: tx-opt %s --tx-shard-partition="mesh=dp:2 bucket_mb=0" --tx-shard-verify | FileCheck %s --check-prefixes=CHECK,ZERO0
// RUN: tx-opt %s --tx-shard-partition="mesh=dp:2 zero=1" --tx-shard-verify | FileCheck %s --check-prefixes=CHECK,ZERO1
// RUN: tx-opt %s --tx-shard-partition="mesh=dp:2 zero=2" --tx-shard-verify | FileCheck %s --check-prefixes=CHECK,ZERO2
// RUN: tx-opt %s --tx-shard-partition="mesh=dp:2 zero=3 bucket_mb=0" --tx-shard-verify | FileCheck %s --check-prefixes=CHECK,ZERO3
// RUN: not tx-opt %s --tx-shard-partition="mesh=dp:2,tp:2" 2>&1 | FileCheck %s --check-prefix=TENSOR
// RUN: not tx-opt %s --tx-shard-partition="mesh=dp:one" 2>&1 | FileCheck %s --check-prefix=TEXT
// RUN: not tx-opt %s --tx-shard-partition="mesh=dp:1,dp:1" 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: not tx-opt %s --tx-shard-partition="mesh=a:1000000,b:1000000,c:1000000,d:1000000" 2>&1 \
// RUN:   | FileCheck %s --check-prefix=MANY
// RUN: not tx-opt %s --tx-shard-partition --tx-shard-partition 2>&1 | FileCheck %s --check-prefix=AGAIN
// RUN: not tx-opt %s --tx-shard-partition="zero=1" 2>&1 | FileCheck %s --check-prefix=ALONE
// RUN: not tx-opt %s --tx-shard-partition="mesh=dp:2 zero=4" 2>&1 | FileCheck %s --check-prefix=LEVEL

// One rank does the whole step: only the mark is new.
// ONE: module attributes {tx.mesh = "dp:1"}
// ONE-NOT: shards
// ONE-NOT: @micro_last
// ONE-NOT: tx.all_reduce
// AXES: module attributes {tx.mesh = "dp:1,tp:1"}

// TENSOR: error: mesh "dp:2,tp:2": axis tp has 2 ranks; only dp, data-parallel ranks, can have more than 1
// TEXT: error: mesh "dp:one": found "dp:one", expected an axis name and its size, as in dp:1
// TWICE: error: mesh "dp:1,dp:1": axis dp appears twice
// MANY: more than 1048576 ranks
// AGAIN: error: is partitioned already, over "dp:1"
// ALONE: error: zero 1 shares state among ranks, but mesh "dp:1" has 1 rank; use zero 0, or more ranks, as in dp:2
// LEVEL: error: zero must be 0 to 3 and bucket_mb 0 to 1048576, found 4 and 25

// Of 8 x 4 elements a rank has 16, rounded up to 64. The gain stays whole.
// CHECK: module attributes {tx.mesh = "dp:2", tx.zero = {{[0-3]}} : i64}
// ZERO0: tx.param @wte.weight : tensor<8x4xf32> init = normal(2.000000e-02) site = 0 decay{{$}}
// ZERO1: tx.param @wte.weight : tensor<8x4xf32> init = normal(2.000000e-02) site = 0 decay shards = 2
// ZERO3: tx.param @blocks.0.w : tensor<4x4xf32> init = normal(2.000000e-02) site = 1 decay shards = 2
// CHECK: tx.param @blocks.0.gain : tensor<4xf32> init = ones(0.000000e+00) site = 2{{$}}
tx.param @"wte.weight" : tensor<8x4xf32> init = normal(2.0e-02) site = 0 decay
tx.param @"blocks.0.w" : tensor<4x4xf32> init = normal(2.0e-02) site = 1 decay
tx.param @"blocks.0.gain" : tensor<4xf32> init = ones(0.0) site = 2

// With zero 1 and 2 every rank keeps whole copies, gathered here: first those that
// the forward pass reads first.
// CHECK-LABEL: func.func @init
// CHECK: tx.init @blocks.0.gain
// ZERO1: %[[E:.*]] = tx.read @wte.weight value : tensor<64xf32>
// ZERO1: %[[B:.*]] = tx.read @blocks.0.w value : tensor<64xf32>
// ZERO1: %[[W:.*]]:2 = tx.all_gather "weights/{{.*}}"(%[[E]], %[[B]]) over 2 : (tensor<64xf32>, tensor<64xf32>) -> (tensor<8x4xf32>, tensor<4x4xf32>)
// ZERO1: tx.assign @wte.weight compute, %[[W]]#0 : tensor<8x4xf32>
// ZERO1: tx.assign @blocks.0.w compute, %[[W]]#1 : tensor<4x4xf32>
// ZERO3-NOT: tx.all_gather
// CHECK: return
func.func @init(%hyper: !tx.hyper) {
  tx.init @"wte.weight", %hyper
  tx.init @"blocks.0.w", %hyper
  tx.init @"blocks.0.gain", %hyper
  return
}

// A tied table, a block with a product and a norm: two contributions to the
// table's gradient, at the beginning and the end of the backward pass.
// CHECK-LABEL: func.func @micro(
func.func @micro(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
  // A copy with zero 1 and 2; with 3 it comes before its first use.
  // ZERO0: tx.read @wte.weight value : tensor<8x4xf32>
  // ZERO1: tx.read @wte.weight compute : tensor<8x4xf32>
  // ZERO2: tx.read @wte.weight compute : tensor<8x4xf32>
  // ZERO3-DAG: tx.read @blocks.0.gain value : tensor<4xf32>
  // ZERO3: %[[S:.*]] = tx.read @wte.weight value : tensor<64xf32>
  // ZERO3-NEXT: %[[W:.*]] = tx.all_gather "weights/wte"(%[[S]]) over 2 : (tensor<64xf32>) -> tensor<8x4xf32>
  // ZERO3-NEXT: tx.embedding %{{.*}}, %[[W]]
  %w = tx.read @"wte.weight" value : tensor<8x4xf32>
  %b = tx.read @"blocks.0.w" value : tensor<4x4xf32>
  %gain = tx.read @"blocks.0.gain" value : tensor<4xf32>
  %x = tx.embedding %tokens, %w : tensor<2x3xi32>, tensor<8x4xf32> -> tensor<2x3x4xf32>
  %n, %rstd = tx.rms_norm %x, %gain epsilon 1.0e-05 : tensor<2x3x4xf32>, tensor<4xf32> -> tensor<2x3xf32>
  // ZERO3: tx.all_gather "weights/blocks.0"
  // ZERO3-NEXT: tx.linear
  %y = tx.linear %n, %b : tensor<2x3x4xf32>, tensor<4x4xf32> -> tensor<2x3x4xf32>
  // The table again, once for the product and its derivative.
  // ZERO3: %[[TABLE:.*]] = tx.all_gather "weights/wte"
  // ZERO3-NEXT: tx.linear %{{.*}}, %[[TABLE]]
  %logits = tx.linear %y, %w : tensor<2x3x4xf32>, tensor<8x4xf32> -> tensor<2x3x8xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x3xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x3x8xf32>, tensor<2x3xi32> -> tensor<2x3xf32>, tensor<2x3xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x3xf32>, tensor<f32> -> tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %dl = tx.mean_loss_vjp %one, %count : tensor<f32>, tensor<f32> -> tensor<2x3xf32>
  %dlogits = tx.cross_entropy_vjp %dl, %logits, %targets, %lse ignore_index -1 : tensor<2x3x8xf32>, tensor<2x3xi32>, tensor<2x3xf32>
  // The first contribution to a gradient that does not outlive the function.
  // ZERO0: tx.accumulate @wte.weight
  // ZERO1: tx.accumulate @wte.weight
  // ZERO2: tx.assign @wte.weight grad
  // ZERO3: tx.assign @wte.weight grad
  %dw = tx.linear_weight_vjp %dlogits, %y : tensor<2x3x8xf32>, tensor<2x3x4xf32> -> tensor<8x4xf32>
  tx.accumulate @"wte.weight", %dw : tensor<8x4xf32>
  // ZERO3-NOT: tx.all_gather
  // ZERO3: tx.linear_input_vjp %{{.*}}, %[[TABLE]]
  %dy = tx.linear_input_vjp %dlogits, %w : tensor<2x3x8xf32>, tensor<8x4xf32> -> tensor<2x3x4xf32>
  // The last block's weights have their turn at the end.
  %db = tx.linear_weight_vjp %dy, %n : tensor<2x3x4xf32>, tensor<2x3x4xf32> -> tensor<4x4xf32>
  tx.accumulate @"blocks.0.w", %db : tensor<4x4xf32>
  // ZERO3: tx.all_gather "weights/blocks.0"
  // ZERO3-NEXT: tx.linear_input_vjp
  %dn = tx.linear_input_vjp %dy, %b : tensor<2x3x4xf32>, tensor<4x4xf32> -> tensor<2x3x4xf32>
  %dx, %dgain = tx.rms_norm_vjp %dn, %x, %gain, %rstd : tensor<2x3x4xf32>, tensor<4xf32>, tensor<2x3xf32>
  // CHECK: tx.accumulate @blocks.0.gain
  tx.accumulate @"blocks.0.gain", %dgain : tensor<4xf32>
  // ZERO2: tx.accumulate @wte.weight
  // ZERO2-NEXT: tx.linear_weight_vjp
  // ZERO2-NEXT: tx.assign @blocks.0.w grad
  // ZERO2-NEXT: %[[G0:.*]] = tx.read @wte.weight grad
  // ZERO2-NEXT: %[[G1:.*]] = tx.read @blocks.0.w grad
  // ZERO2-NEXT: tx.reduce_scatter "gradients/{{.*}}"(%[[G0]], %[[G1]]) over 2
  // ZERO2-NEXT: tx.accumulate_shards [@wte.weight, @blocks.0.w]
  %de = tx.embedding_vjp %tokens, %dx : tensor<2x3xi32>, tensor<2x3x4xf32> -> tensor<8x4xf32>
  tx.accumulate @"wte.weight", %de : tensor<8x4xf32>
  // ZERO3: tx.reduce_scatter "gradients/wte"
  // ZERO3: tx.linear_weight_vjp
  // ZERO3-NEXT: tx.assign @blocks.0.w grad
  // ZERO3-NEXT: %[[G:.*]] = tx.read @blocks.0.w grad : tensor<4x4xf32>
  // ZERO3-NEXT: %[[R:.*]] = tx.reduce_scatter "gradients/blocks.0"(%[[G]]) over 2 : (tensor<4x4xf32>) -> tensor<64xf32>
  // ZERO3-NEXT: tx.accumulate_shards [@blocks.0.w], (%[[R]]) : tensor<64xf32>
  // The mean over ranks, and the sum of targets.
  // CHECK: %[[N:.*]] = arith.constant dense<2.000000e+00> : tensor<f32>
  // CHECK-NEXT: %[[SHARE:.*]] = tx.mean_loss %{{.*}}, %[[N]]
  // CHECK-NEXT: %[[ALL:.*]]:2 = tx.all_reduce sum "loss"(%[[SHARE]], %{{.*}})
  // CHECK-NEXT: return %[[ALL]]#0, %[[ALL]]#1
  return %loss, %count : tensor<f32>, tensor<f32>
}

// The last micro batch of an iteration.
// ZERO0-LABEL: func.func @micro_last(
// The gain's gradient is on its way before that of the table is complete, and that before
// the last block's weights have theirs.
// ZERO0: tx.accumulate @blocks.0.gain
// ZERO0-NEXT: %[[G0:.*]] = tx.read @blocks.0.gain grad : tensor<4xf32>
// ZERO0-NEXT: %[[R0:.*]] = tx.all_reduce sum "gradients/blocks.0"(%[[G0]])
// ZERO0-NEXT: tx.assign @blocks.0.gain grad, %[[R0]]
// ZERO0-NEXT: tx.embedding_vjp
// ZERO0: tx.all_reduce sum "gradients/wte"
// ZERO0-NEXT: tx.assign @wte.weight grad
// ZERO0-NEXT: tx.linear_weight_vjp
// ZERO0-NEXT: tx.accumulate @blocks.0.w
// ZERO0-NEXT: %[[G1:.*]] = tx.read @blocks.0.w grad : tensor<4x4xf32>
// ZERO0-NEXT: %[[R1:.*]] = tx.all_reduce sum "gradients/blocks.0"(%[[G1]])
// ZERO0-NEXT: tx.assign @blocks.0.w grad, %[[R1]]
// ZERO0: tx.all_reduce sum "loss"
// ZERO1-LABEL: func.func @micro_last(
// ZERO1: tx.accumulate @wte.weight
// ZERO1: %[[R:.*]]:2 = tx.reduce_scatter "gradients/
// ZERO1-NEXT: tx.assign @wte.weight grad_shard, %[[R]]#0 : tensor<64xf32>
// ZERO1-NEXT: tx.assign @blocks.0.w grad_shard, %[[R]]#1 : tensor<64xf32>
// ZERO2-NOT: @micro_last
// ZERO3-NOT: @micro_last

// CHECK-LABEL: func.func @update
func.func @update(%hyper: !tx.hyper) -> tensor<11xf32> {
  // With all gradients everywhere, statistics need no exchange.
  // ZERO0-NEXT: tx.global_norm
  // ZERO1-NEXT: %[[G:.*]] = tx.read @blocks.0.gain grad
  // ZERO1-NEXT: %[[R:.*]] = tx.all_reduce sum "gradients/replicated"(%[[G]])
  // ZERO1-NEXT: tx.assign @blocks.0.gain grad, %[[R]]
  // ZERO1-NEXT: %[[SUMS:.*]], %[[EXTREMA:.*]] = tx.gradient_sums [@wte.weight, @blocks.0.w, @blocks.0.gain]
  // ZERO1-NEXT: %[[S:.*]] = tx.all_reduce sum "statistics/sums"(%[[SUMS]])
  // ZERO1-NEXT: %[[E:.*]] = tx.all_reduce min "statistics/extrema"(%[[EXTREMA]])
  // ZERO1-NEXT: %[[STATS:.*]] = tx.gradient_stats {{.*}}, %[[S]], %[[E]]
  %stats = tx.global_norm [@"wte.weight", @"blocks.0.w", @"blocks.0.gain"], %hyper : tensor<11xf32>
  // ZERO1-NEXT: tx.adamw [@wte.weight], %[[STATS]]
  tx.adamw [@"wte.weight"], %stats, %hyper : tensor<11xf32>
  tx.adamw [@"blocks.0.w"], %stats, %hyper : tensor<11xf32>
  // CHECK: tx.adamw [@blocks.0.gain]
  tx.adamw [@"blocks.0.gain"], %stats, %hyper : tensor<11xf32>
  // ZERO1: tx.all_gather
  // ZERO1: tx.clear_gradients [@wte.weight, @blocks.0.w]
  // ZERO2: tx.all_gather
  // ZERO2-NOT: tx.clear_gradients
  // ZERO3-NOT: tx.all_gather
  // CHECK: return
  return %stats : tensor<11xf32>
}

// CHECK-LABEL: func.func @eval
func.func @eval(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
  // ZERO1: tx.read @wte.weight compute
  // ZERO3: tx.all_gather "weights/wte"
  // ZERO3-NEXT: tx.embedding
  %w = tx.read @"wte.weight" value : tensor<8x4xf32>
  %x = tx.embedding %tokens, %w : tensor<2x3xi32>, tensor<8x4xf32> -> tensor<2x3x4xf32>
  // One use after the other: no second exchange.
  // ZERO3-NOT: tx.all_gather
  %logits = tx.linear %x, %w : tensor<2x3x4xf32>, tensor<8x4xf32> -> tensor<2x3x8xf32>
  %count = tx.target_count %targets ignore_index -1 : tensor<2x3xi32> -> tensor<f32>
  %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x3x8xf32>, tensor<2x3xi32> -> tensor<2x3xf32>, tensor<2x3xf32>
  %loss = tx.mean_loss %losses, %count : tensor<2x3xf32>, tensor<f32> -> tensor<f32>
  // CHECK: tx.all_reduce sum "loss"
  return %loss, %count : tensor<f32>, tensor<f32>
}
