// Attention on the tensor cores that all GPUs from sm_80 on have: ptxas takes every
// kernel, and nothing spills.
// REQUIRES: ptxas
// RUN: tx-opt %s --pass-pipeline='builtin.module(tx-plan-size-workspaces{target=sm_80},step.program(tx-codegen-emit-kernels{target=sm_80}))' 2>/dev/null | FileCheck %s
// RUN: tx-opt %s --pass-pipeline='builtin.module(tx-plan-size-workspaces{target=sm_86},step.program(tx-codegen-emit-kernels{target=sm_86}))' 2>/dev/null | FileCheck %s
// RUN: tx-opt %s --pass-pipeline='builtin.module(tx-plan-size-workspaces{target=sm_89},step.program(tx-codegen-emit-kernels{target=sm_89}))' 2>/dev/null | FileCheck %s
// RUN: tx-opt %s --pass-pipeline='builtin.module(tx-plan-size-workspaces{target=sm_90},step.program(tx-codegen-emit-kernels{target=sm_90}))' 2>/dev/null | FileCheck %s
// RUN: tx-opt %s --pass-pipeline='builtin.module(tx-plan-size-workspaces{target=sm_80},step.program(tx-codegen-emit-kernels{target=sm_80 emit=asm}))' 2>&1 >/dev/null | FileCheck %s --check-prefix=PTX
// PTX-LABEL: .entry d64_p0(
// PTX: cp.async.cg.shared.global
// PTX: ldmatrix.sync.aligned.m8n8.x4.shared.b16
// PTX: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// PTX: ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16
// PTX-NOT: wgmma
// PTX-LABEL: .entry d64_vjp_p0(
step.program @p {
  // A block for every 64 queries of a head, or keys of a key/value head; 45 KB.
  // CHECK: step.kernel @d64 {{.*}}"d64_p0" grid[20, 1, 1] block[128, 1, 1] shared 46080 {{.*}} spills 0
  step.kernel @d64 "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x300x384xbf16>):
    %o, %l = tx.attention %q heads 2 kv_heads 2 : tensor<2x300x384xbf16> -> tensor<2x300x128xbf16>, tensor<2x2x300xf32>
    tx.yield %o, %l : tensor<2x300x128xbf16>, tensor<2x2x300xf32>
  }
  // CHECK: step.kernel @d64_vjp {{.*}}"d64_vjp_p0" {{.*}} spills 0 {{.*}}"d64_vjp_p1" grid[20, 1, 1] {{.*}} spills 0 {{.*}}"d64_vjp_p2" grid[20, 1, 1] {{.*}} spills 0
  step.kernel @d64_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x300x128xbf16>, %q: tensor<2x300x384xbf16>, %o: tensor<2x300x128xbf16>, %l: tensor<2x2x300xf32>):
    %d = tx.attention_vjp %g, %q, %o, %l heads 2 kv_heads 2 : tensor<2x300x384xbf16>, tensor<2x300x128xbf16>, tensor<2x2x300xf32>
    tx.yield %d : tensor<2x300x384xbf16>
  }
  // Heads that are no multiple of 16, with query heads that share keys.
  // CHECK: step.kernel @d72 {{.*}}"d72_p0" grid[40, 1, 1] {{.*}} spills 0
  step.kernel @d72 "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x300x576xbf16>):
    %o, %l = tx.attention %q heads 4 kv_heads 2 : tensor<2x300x576xbf16> -> tensor<2x300x288xbf16>, tensor<2x4x300xf32>
    tx.yield %o, %l : tensor<2x300x288xbf16>, tensor<2x4x300xf32>
  }
  // CHECK: step.kernel @d72_vjp {{.*}}"d72_vjp_p0" {{.*}} spills 0 {{.*}}"d72_vjp_p1" grid[40, 1, 1] {{.*}} spills 0 {{.*}}"d72_vjp_p2" grid[20, 1, 1] {{.*}} spills 0
  step.kernel @d72_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x300x288xbf16>, %q: tensor<2x300x576xbf16>, %o: tensor<2x300x288xbf16>, %l: tensor<2x4x300xf32>):
    %d = tx.attention_vjp %g, %q, %o, %l heads 4 kv_heads 2 : tensor<2x300x576xbf16>, tensor<2x300x288xbf16>, tensor<2x4x300xf32>
    tx.yield %d : tensor<2x300x576xbf16>
  }
  // CHECK: step.kernel @d128 {{.*}}"d128_p0" grid[20, 1, 1] {{.*}} spills 0
  step.kernel @d128 "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x300x768xbf16>):
    %o, %l = tx.attention %q heads 2 kv_heads 2 : tensor<2x300x768xbf16> -> tensor<2x300x256xbf16>, tensor<2x2x300xf32>
    tx.yield %o, %l : tensor<2x300x256xbf16>, tensor<2x2x300xf32>
  }
  // CHECK: step.kernel @d128_vjp {{.*}}"d128_vjp_p0" {{.*}} spills 0 {{.*}}"d128_vjp_p1" grid[20, 1, 1] {{.*}} spills 0 {{.*}}"d128_vjp_p2" grid[20, 1, 1] {{.*}} spills 0
  step.kernel @d128_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x300x256xbf16>, %q: tensor<2x300x768xbf16>, %o: tensor<2x300x256xbf16>, %l: tensor<2x2x300xf32>):
    %d = tx.attention_vjp %g, %q, %o, %l heads 2 kv_heads 2 : tensor<2x300x768xbf16>, tensor<2x300x256xbf16>, tensor<2x2x300xf32>
    tx.yield %d : tensor<2x300x768xbf16>
  }
  // All of the shared memory of sm_86; two blocks share the columns of dK and dV.
  // CHECK: step.kernel @d256 {{.*}}"d256_p0" grid[20, 1, 1] block[128, 1, 1] shared 101376 {{.*}} spills 0
  step.kernel @d256 "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x300x1024xbf16>):
    %o, %l = tx.attention %q heads 2 kv_heads 1 : tensor<2x300x1024xbf16> -> tensor<2x300x512xbf16>, tensor<2x2x300xf32>
    tx.yield %o, %l : tensor<2x300x512xbf16>, tensor<2x2x300xf32>
  }
  // CHECK: step.kernel @d256_vjp {{.*}}"d256_vjp_p0" {{.*}} spills 0 {{.*}}"d256_vjp_p1" grid[20, 1, 1] {{.*}} spills 0 {{.*}}"d256_vjp_p2" grid[10, 2, 1] {{.*}} spills 0
  step.kernel @d256_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x300x512xbf16>, %q: tensor<2x300x1024xbf16>, %o: tensor<2x300x512xbf16>, %l: tensor<2x2x300xf32>):
    %d = tx.attention_vjp %g, %q, %o, %l heads 2 kv_heads 1 : tensor<2x300x1024xbf16>, tensor<2x300x512xbf16>, tensor<2x2x300xf32>
    tx.yield %d : tensor<2x300x1024xbf16>
  }
  // Dropout.
  // CHECK: step.kernel @dropped {{.*}}"dropped_p0" {{.*}} spills 0
  step.kernel @dropped "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x300x384xbf16>, %h: !tx.hyper):
    %o, %l = tx.attention %q, hyper %h heads 2 kv_heads 2 {dropout = 0.1 : f64, site = 65539 : i32} : tensor<2x300x384xbf16> -> tensor<2x300x128xbf16>, tensor<2x2x300xf32>
    tx.yield %o, %l : tensor<2x300x128xbf16>, tensor<2x2x300xf32>
  }
  // CHECK: step.kernel @dropped_vjp {{.*}}"dropped_vjp_p0" {{.*}} spills 0 {{.*}}"dropped_vjp_p1" {{.*}} spills 0 {{.*}}"dropped_vjp_p2" {{.*}} spills 0
  step.kernel @dropped_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x300x128xbf16>, %q: tensor<2x300x384xbf16>, %o: tensor<2x300x128xbf16>, %l: tensor<2x2x300xf32>, %h: !tx.hyper):
    %d = tx.attention_vjp %g, %q, %o, %l, hyper %h heads 2 kv_heads 2 {dropout = 0.1 : f64, site = 65539 : i32} : tensor<2x300x384xbf16>, tensor<2x300x128xbf16>, tensor<2x2x300xf32>
    tx.yield %d : tensor<2x300x384xbf16>
  }
}
