// One read of each input and one write of each output, 16 bytes at a time: two rows
// of 768 bf16 come in as 3 accesses per thread each, the gain as 6 (f32).
// RUN: tx-opt %s --pass-pipeline='builtin.module(tx-plan-size-workspaces{target=sm_90a},step.program(tx-codegen-emit-kernels{target=sm_90a emit=asm}))' 2>&1 >/dev/null | FileCheck %s
// RUN: tx-opt %s --pass-pipeline='builtin.module(tx-plan-size-workspaces{target=sm_90a})' | FileCheck %s --check-prefix=SHAPE

// CHECK: .target sm_90a
// CHECK: .visible .entry norm_p0(
// CHECK: .reqntid 128, 1, 1
// CHECK-NOT: ld.global.u
// CHECK-COUNT-12: ld.global.v4
// CHECK-NOT: ld.global
// CHECK-COUNT-6: st.global.v4
// CHECK: st.global.f32
// CHECK-NOT: st.global
// CHECK: ret;

// Sums over rows: rows of partial sums, then a phase that adds them; no atomics.
// CHECK: .visible .entry bias_p0(
// CHECK-NOT: atom
// CHECK-NOT: red.
// CHECK: .visible .entry bias_p1(
// CHECK-NOT: atom
// CHECK: ret;

// Sums of f32, as over ranks: neighbouring threads touch neighbouring 16 bytes.
// CHECK: .visible .entry sum_p0(
// CHECK-NOT: +16]
// CHECK-COUNT-6: ld.global.v4
// CHECK-NOT: ld.global
// CHECK-COUNT-3: st.global.v4
// CHECK-NOT: +16]
// CHECK: ret;

// Other kernels of f32, one of whose operands is no tensor: 32 bytes per thread.
// CHECK: .visible .entry dropout_p0(
// CHECK: ld.global.v4{{.*}}+16]
// CHECK: ret;

// SHAPE: step.kernel @norm "row_wise" inplace [-1, -1, -1] blocks [64] {
// SHAPE: step.kernel @bias "row_wise" inplace [-1] blocks [64, 24] workspace [786432] {
step.program @p {
  step.kernel @norm "row_wise" inplace [-1, -1, -1] {
  ^bb0(%x: tensor<4x64x768xbf16>, %y: tensor<4x64x768xbf16>, %g: tensor<768xf32>):
    %s = tx.add %x, %y : tensor<4x64x768xbf16>
    %r, %rstd = tx.rms_norm %s, %g epsilon 1.0e-5 : tensor<4x64x768xbf16>, tensor<768xf32> -> tensor<4x64xf32>
    tx.yield %s, %r, %rstd : tensor<4x64x768xbf16>, tensor<4x64x768xbf16>, tensor<4x64xf32>
  }
  step.kernel @bias "row_wise" inplace [-1] {
  ^bb0(%x: tensor<4x64x768xf32>):
    %b = tx.bias_vjp %x : tensor<4x64x768xf32> -> tensor<768xf32>
    tx.yield %b : tensor<768xf32>
  }
  step.kernel @sum "row_wise" inplace [0] {
  ^bb0(%x: tensor<4x64x768xf32>, %y: tensor<4x64x768xf32>):
    %s = tx.add %x, %y : tensor<4x64x768xf32>
    tx.yield %s : tensor<4x64x768xf32>
  }
  step.kernel @dropout "row_wise" inplace [0] {
  ^bb0(%x: tensor<4x64x768xf32>, %h: !tx.hyper):
    %d = tx.dropout %x, %h p 1.0e-1 site 77 : tensor<4x64x768xf32>
    tx.yield %d : tensor<4x64x768xf32>
  }
}
