// RUN: tx-opt %s --split-input-file --verify-diagnostics --tx-plan-size-workspaces=target=x86-64-v3 | FileCheck %s
// RUN: tx-opt %s --split-input-file --verify-diagnostics --tx-plan-size-workspaces=target=x86-64-v3 -o %t
// RUN: tx-opt %s --split-input-file --verify-diagnostics --tx-plan-size-workspaces=target=x86-64-v4 | diff %t -
// RUN: not tx-opt %s --split-input-file --tx-plan-size-workspaces=target=x86-64-v2 2>&1 | FileCheck %s --check-prefix=CPU

// The level must be one that codegen knows. The cut of these kernels is the same
// for both that are: it is of the kernel, and so are its results.
// CPU: error: unknown CPU level 'x86-64-v2', expected x86-64-v3 or x86-64-v4

// A sum over rows takes two phases: each block of rows writes its partial sum to
// the workspace (2 blocks of 8 floats), then the partial sums are added. Each
// launch has a workspace of its own, which lives in the launch's entry, after
// the results.
// CHECK-LABEL: step.program @own_workspace
step.program @own_workspace {
  step.alloc @gain param : tensor<8xf32> bytes 32
  step.alloc @x activation : tensor<64x8xf32> bytes 2048 in @micro
  step.alloc @rstd activation : tensor<64xf32> bytes 256 in @micro
  step.alloc @dx activation : tensor<64x8xf32> bytes 2048 in @micro
  // CHECK: step.alloc @dg {{ *}}activation
  step.alloc @dg activation : tensor<8xf32> bytes 32 in @micro
  // CHECK-NEXT: step.alloc @"micro/a.workspace" {{ *}}workspace : tensor<64xi8> bytes 64 in @micro
  // CHECK-NEXT: step.alloc @"micro/b.workspace" {{ *}}workspace : tensor<64xi8> bytes 64 in @micro
  // CHECK-NEXT: step.kernel @rms_norm_vjp "row_wise" inplace [-1, -1] blocks [2, 1] workspace [64]
  step.kernel @rms_norm_vjp "row_wise" inplace [-1, -1] {
  ^bb0(%dy: tensor<64x8xf32>, %x: tensor<64x8xf32>, %g: tensor<8xf32>, %r: tensor<64xf32>):
    %dx, %dg = tx.rms_norm_vjp %dy, %x, %g, %r : tensor<64x8xf32>, tensor<8xf32>, tensor<64xf32>
    tx.yield %dx, %dg : tensor<64x8xf32>, tensor<8xf32>
  }
  step.entry @micro {
    // CHECK: step.launch "a" @rms_norm_vjp [@x, @x, @gain, @rstd, @dx, @dg, @"micro/a.workspace"] offsets [0, 0, 0, 0, 0, 0, 0] inputs 4
    step.launch "a" @rms_norm_vjp [@x, @x, @gain, @rstd, @dx, @dg] offsets [0, 0, 0, 0, 0, 0] inputs 4
    // CHECK-NEXT: step.launch "b" @rms_norm_vjp [@x, @x, @gain, @rstd, @dx, @dg, @"micro/b.workspace"] offsets [0, 0, 0, 0, 0, 0, 0] inputs 4
    step.launch "b" @rms_norm_vjp [@x, @x, @gain, @rstd, @dx, @dg] offsets [0, 0, 0, 0, 0, 0] inputs 4
  }
}

// -----

// A kernel with two sums has two workspaces, and their names differ. The offset
// of an argument within its buffer stays with it.
// CHECK-LABEL: step.program @two_workspaces
step.program @two_workspaces {
  step.alloc @x activation : tensor<64x8xf32> bytes 2048 in @micro
  step.alloc @y activation : tensor<64x4xf32> bytes 1024 in @micro
  // CHECK: step.alloc @db
  step.alloc @db activation : tensor<12xf32> bytes 48 in @micro
  // CHECK-NEXT: step.alloc @[[FIRST:.*workspace"]] {{ *}}workspace : tensor<64xi8> bytes 64 in @micro
  // CHECK-NEXT: step.alloc @[[SECOND:.*workspace_0"]] {{ *}}workspace : tensor<32xi8> bytes 32 in @micro
  // CHECK-NEXT: step.kernel @sums {{.*}} blocks [2, 2] workspace [64, 32]
  step.kernel @sums "row_wise" inplace [-1, -1] {
  ^bb0(%x: tensor<64x8xf32>, %y: tensor<64x4xf32>):
    %a = tx.bias_vjp %x : tensor<64x8xf32> -> tensor<8xf32>
    %b = tx.bias_vjp %y : tensor<64x4xf32> -> tensor<4xf32>
    tx.yield %a, %b : tensor<8xf32>, tensor<4xf32>
  }
  step.entry @micro {
    // CHECK: step.launch "sums" @sums [@x, @y, @db, @db, @[[FIRST]], @[[SECOND]]] offsets [0, 0, 0, 32, 0, 0] inputs 2
    step.launch "sums" @sums [@x, @y, @db, @db] offsets [0, 0, 0, 32] inputs 2
  }
}

// -----

// Every kind of kernel is cut. What needs no scratch memory gets none, and its
// launch stays as it was.
// CHECK-LABEL: step.program @every_kind
step.program @every_kind {
  step.alloc @a activation : tensor<64x8xf32> bytes 2048 in @micro
  // CHECK: step.alloc @b
  step.alloc @b activation : tensor<64x8xf32> bytes 2048 in @micro
  // CHECK-NOT: step.alloc
  // CHECK: step.kernel @row_wise "row_wise" inplace [0] blocks [1] {
  step.kernel @row_wise "row_wise" inplace [0] {
  ^bb0(%x: tensor<64x8xf32>):
    %y = tx.activation relu %x : tensor<64x8xf32>
    tx.yield %y : tensor<64x8xf32>
  }
  // 100 columns in strips of 32.
  // CHECK: step.kernel @scatter "scatter" inplace [-1] blocks [4] {
  step.kernel @scatter "scatter" inplace [-1] {
  ^bb0(%tokens: tensor<2x4xi32>, %dy: tensor<2x4x100xf32>):
    %dw = tx.embedding_vjp %tokens, %dy : tensor<2x4xi32>, tensor<2x4x100xf32> -> tensor<5x100xf32>
    tx.yield %dw : tensor<5x100xf32>
  }
  // CHECK: step.kernel @reduction "reduction" inplace [-1] blocks [1] {
  step.kernel @reduction "reduction" inplace [-1] {
  ^bb0(%targets: tensor<2x4xi32>):
    %n = tx.target_count %targets ignore_index -1 : tensor<2x4xi32> -> tensor<f32>
    tx.yield %n : tensor<f32>
  }
  // 130 positions, 64 at a time.
  // CHECK: step.kernel @table "table" inplace [-1, -1] blocks [3] {
  step.kernel @table "table" inplace [-1, -1] {
    %cos, %sin = tx.rope_table theta 1.0e+04 : tensor<130x4xf32>, tensor<130x4xf32>
    tx.yield %cos, %sin : tensor<130x4xf32>, tensor<130x4xf32>
  }
  // One block for each head and block of queries.
  // CHECK: step.kernel @attention "attention" inplace [-1, -1] blocks [4] {
  step.kernel @attention "attention" inplace [-1, -1] {
  ^bb0(%qkv: tensor<2x4x32xf32>):
    %y, %lse = tx.attention %qkv heads 2 kv_heads 1 : tensor<2x4x32xf32> -> tensor<2x4x16xf32>, tensor<2x2x4xf32>
    tx.yield %y, %lse : tensor<2x4x16xf32>, tensor<2x2x4xf32>
  }
  // One block for each key/value head, since its query heads are summed in
  // order; the workspace has a number per query and head.
  // CHECK: step.kernel @attention_vjp "attention" inplace [-1] blocks [2] workspace [64] {
  step.kernel @attention_vjp "attention" inplace [-1] {
  ^bb0(%dy: tensor<2x4x16xf32>, %qkv: tensor<2x4x32xf32>, %y: tensor<2x4x16xf32>, %lse: tensor<2x2x4xf32>):
    %d = tx.attention_vjp %dy, %qkv, %y, %lse heads 2 kv_heads 1 : tensor<2x4x32xf32>, tensor<2x4x16xf32>, tensor<2x2x4xf32>
    tx.yield %d : tensor<2x4x32xf32>
  }
  // Parameters are cut into pieces of 16384 elements, none across two of them;
  // the norm has a second phase that adds what the pieces found.
  // CHECK: step.kernel @init "init" blocks [3] segments
  step.kernel @init "init" segments [0, 20000, 1, 2, 0, 20032, 8, 0, 1, 1] stddevs [2.0e-02, 0.0] {
  }
  // CHECK: step.kernel @global_norm "global_norm" blocks [3, 1] workspace [120] segments
  step.kernel @global_norm "global_norm" segments [0, 20000, 1, 2, 0, 20032, 8, 0, 1, 1] {
  }
  // CHECK: step.kernel @adamw "adamw" blocks [3] segments
  step.kernel @adamw "adamw" segments [0, 20000, 1, 2, 0, 20032, 8, 0, 1, 1] {
  }
  step.entry @micro {
    // CHECK: step.launch "a" @row_wise [@a, @b] offsets [0, 0] inputs 1
    step.launch "a" @row_wise [@a, @b] offsets [0, 0] inputs 1
  }
}

// -----

// A kernel that codegen cannot make is refused here, not after planning.
step.program @unknown_kind {
  // expected-error @+1 {{has kind matrix_product, expected row_wise, attention}}
  step.kernel @k "matrix_product" {
  }
}
