// Every kind of kernel becomes PTX; nothing uses an atomic on floats.
// RUN: tx-opt %s --pass-pipeline='builtin.module(tx-plan-size-workspaces{target=sm_90a},step.program(tx-codegen-emit-kernels{target=sm_90a emit=asm}))' 2>&1 >/dev/null | FileCheck %s --implicit-check-not=atom.global.add.f "--implicit-check-not={{[^a]}}red.global"
// RUN: tx-opt %s --pass-pipeline='builtin.module(tx-plan-size-workspaces{target=sm_80},step.program(tx-codegen-emit-kernels{target=sm_80 emit=asm}))' 2>&1 >/dev/null | FileCheck %s --check-prefix=SM80
// SM80: .target sm_80
step.program @p {
  // The histogram counts with integers.
  // CHECK: .visible .entry scatter_p1(
  // CHECK: atom.{{.*}}add.u32
  // CHECK: .visible .entry scatter_p6(
  step.kernel @scatter "scatter" inplace [2] {
  ^bb0(%t: tensor<3x17xi32>, %g: tensor<3x17x768xf32>, %old: tensor<9x768xf32>):
    %d = tx.embedding_vjp %t, %g : tensor<3x17xi32>, tensor<3x17x768xf32> -> tensor<9x768xf32>
    %new = tx.add %d, %old : tensor<9x768xf32>
    tx.yield %new : tensor<9x768xf32>
  }
  // CHECK: .visible .entry positions_p0(
  step.kernel @positions "scatter" inplace [1] {
  ^bb0(%g: tensor<3x17x33xf32>, %old: tensor<17x33xf32>):
    %d = tx.position_vjp %g : tensor<3x17x33xf32> -> tensor<17x33xf32>
    %new = tx.add %old, %d : tensor<17x33xf32>
    tx.yield %new : tensor<17x33xf32>
  }
  // CHECK: .visible .entry count_p0(
  step.kernel @count "reduction" inplace [-1] {
  ^bb0(%t: tensor<3x17xi32>):
    %c = tx.target_count %t ignore_index -1 : tensor<3x17xi32> -> tensor<f32>
    tx.yield %c : tensor<f32>
  }
  // CHECK: .visible .entry mean_p0(
  step.kernel @mean "reduction" inplace [-1] {
  ^bb0(%l: tensor<3x17xf32>, %c: tensor<f32>):
    %m = tx.mean_loss %l, %c : tensor<3x17xf32>, tensor<f32> -> tensor<f32>
    tx.yield %m : tensor<f32>
  }
  // CHECK: .visible .entry table_p0(
  step.kernel @table "table" inplace [-1, -1] {
  ^bb0:
    %cos, %sin = tx.rope_table theta 1.0e+04 : tensor<64x32xf32>, tensor<64x32xf32>
    tx.yield %cos, %sin : tensor<64x32xf32>, tensor<64x32xf32>
  }
  // The loss and its gradient over the logits: rows too wide for registers.
  // CHECK: .visible .entry loss_p0(
  step.kernel @loss "row_wise" inplace [-1, 0] {
  ^bb0(%x: tensor<2x3x50304xbf16>, %t: tensor<2x3xi32>, %c: tensor<2x3xf32>):
    %loss, %lse = tx.cross_entropy %x, %t ignore_index -1 : tensor<2x3x50304xbf16>, tensor<2x3xi32> -> tensor<2x3xf32>, tensor<2x3xf32>
    %d = tx.cross_entropy_vjp %c, %x, %t, %lse ignore_index -1 : tensor<2x3x50304xbf16>, tensor<2x3xi32>, tensor<2x3xf32>
    tx.yield %loss, %d : tensor<2x3xf32>, tensor<2x3x50304xbf16>
  }
  // CHECK: .visible .entry rope_p0(
  step.kernel @rope "row_wise" inplace [0] {
  ^bb0(%x: tensor<2x64x2304xbf16>, %cos: tensor<64x32xf32>, %sin: tensor<64x32xf32>):
    %r = tx.rope %x, %cos, %sin half heads 24 head_dim 64 : tensor<2x64x2304xbf16>, tensor<64x32xf32>
    tx.yield %r : tensor<2x64x2304xbf16>
  }
  // CHECK: .visible .entry dropout_p0(
  // CHECK: .param .u32 dropout_p0_param_3
  step.kernel @dropout "row_wise" inplace [-1] {
  ^bb0(%x: tensor<2x64x2304xbf16>, %h: !tx.hyper):
    %r = tx.dropout %x, %h p 1.0e-1 site 77 : tensor<2x64x2304xbf16>
    tx.yield %r : tensor<2x64x2304xbf16>
  }
  // CHECK: .visible .entry decode_p0(
  step.kernel @decode "attention" inplace [-1, 1, 2] {
  ^bb0(%x: tensor<2x1x640xbf16>, %k: tensor<2x2x64x80xbf16>, %v: tensor<2x2x64x80xbf16>, %p: tensor<i32>):
    %r, %nk, %nv = tx.decode_attention %x, %k, %v at %p heads 4 kv_heads 2 : tensor<2x1x640xbf16>, tensor<2x2x64x80xbf16>, tensor<2x2x64x80xbf16> -> tensor<2x1x320xbf16>
    tx.yield %r, %nk, %nv : tensor<2x1x320xbf16>, tensor<2x2x64x80xbf16>, tensor<2x2x64x80xbf16>
  }
  // CHECK: .visible .entry init_p0(
  step.kernel @init "init" segments [0, 1000, 1, 2, 0, 1008, 7, 0, 1, 1] stddevs [2.0e-02, 0.0] {
  }
  // CHECK: .visible .entry norm_p0(
  // CHECK: .visible .entry norm_p1(
  // CHECK: .visible .entry norm_p2(
  step.kernel @norm "global_norm" segments [0, 100000, 1, 2, 0, 100000, 7, 0, 1, 1] {
  }
  // CHECK: .visible .entry adamw_p0(
  // CHECK: st.global.v4
  step.kernel @adamw "adamw" segments [0, 100000, 1, 2, 0, 100000, 7, 0, 1, 1] {
  }
}
