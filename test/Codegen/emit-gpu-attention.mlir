// ptxas takes every attention kernel: registers of all of a warpgroup's threads
// fit (168 at launch, moved between warpgroups later), and nothing spills but a
// few words of the backward pass.
// REQUIRES: ptxas
// RUN: tx-opt %s --pass-pipeline='builtin.module(tx-plan-size-workspaces{target=sm_90a},step.program(tx-codegen-emit-kernels{target=sm_90a}))' 2>/dev/null | FileCheck %s
step.program @p {
  // One panel of 64 columns.
  // CHECK: step.kernel @d64 {{.*}}"d64_p0" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills 0 static_shared
  step.kernel @d64 "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x300x384xbf16>):
    %o, %l = tx.attention %q heads 2 kv_heads 2 : tensor<2x300x384xbf16> -> tensor<2x300x128xbf16>, tensor<2x2x300xf32>
    tx.yield %o, %l : tensor<2x300x128xbf16>, tensor<2x2x300xf32>
  }
  // CHECK: step.kernel @d64_vjp {{.*}}"d64_vjp_p0" {{.*}} spills 0 {{.*}}"d64_vjp_p1" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills {{[0-9]?[0-9]}} static_shared {{.*}}"d64_vjp_p2" {{.*}} spills 0
  step.kernel @d64_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x300x128xbf16>, %q: tensor<2x300x384xbf16>, %o: tensor<2x300x128xbf16>, %l: tensor<2x2x300xf32>):
    %d = tx.attention_vjp %g, %q, %o, %l heads 2 kv_heads 2 : tensor<2x300x384xbf16>, tensor<2x300x128xbf16>, tensor<2x2x300xf32>
    tx.yield %d : tensor<2x300x384xbf16>
  }
  // Two panels.
  // CHECK: step.kernel @d128 {{.*}}"d128_p0" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills 0 static_shared
  step.kernel @d128 "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x300x768xbf16>):
    %o, %l = tx.attention %q heads 2 kv_heads 2 : tensor<2x300x768xbf16> -> tensor<2x300x256xbf16>, tensor<2x2x300xf32>
    tx.yield %o, %l : tensor<2x300x256xbf16>, tensor<2x2x300xf32>
  }
  // CHECK: step.kernel @d128_vjp {{.*}}"d128_vjp_p0" {{.*}} spills 0 {{.*}}"d128_vjp_p1" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills {{[0-9]?[0-9]}} static_shared {{.*}}"d128_vjp_p2" {{.*}} spills 0
  step.kernel @d128_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x300x256xbf16>, %q: tensor<2x300x768xbf16>, %o: tensor<2x300x256xbf16>, %l: tensor<2x2x300xf32>):
    %d = tx.attention_vjp %g, %q, %o, %l heads 2 kv_heads 2 : tensor<2x300x768xbf16>, tensor<2x300x256xbf16>, tensor<2x2x300xf32>
    tx.yield %d : tensor<2x300x768xbf16>
  }
  // Heads that fill a part of their panels, which TMA pads with zeros.
  // CHECK: step.kernel @d32 {{.*}}"d32_p0" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills 0 static_shared
  step.kernel @d32 "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x300x192xbf16>):
    %o, %l = tx.attention %q heads 2 kv_heads 2 : tensor<2x300x192xbf16> -> tensor<2x300x64xbf16>, tensor<2x2x300xf32>
    tx.yield %o, %l : tensor<2x300x64xbf16>, tensor<2x2x300xf32>
  }
  // CHECK: step.kernel @d32_vjp {{.*}}"d32_vjp_p0" {{.*}} spills 0 {{.*}}"d32_vjp_p1" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills {{[0-9]?[0-9]}} static_shared {{.*}}"d32_vjp_p2" {{.*}} spills 0
  step.kernel @d32_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x300x64xbf16>, %q: tensor<2x300x192xbf16>, %o: tensor<2x300x64xbf16>, %l: tensor<2x2x300xf32>):
    %d = tx.attention_vjp %g, %q, %o, %l heads 2 kv_heads 2 : tensor<2x300x192xbf16>, tensor<2x300x64xbf16>, tensor<2x2x300xf32>
    tx.yield %d : tensor<2x300x192xbf16>
  }
  // CHECK: step.kernel @d80 {{.*}}"d80_p0" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills 0 static_shared
  step.kernel @d80 "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x300x480xbf16>):
    %o, %l = tx.attention %q heads 2 kv_heads 2 : tensor<2x300x480xbf16> -> tensor<2x300x160xbf16>, tensor<2x2x300xf32>
    tx.yield %o, %l : tensor<2x300x160xbf16>, tensor<2x2x300xf32>
  }
  // CHECK: step.kernel @d80_vjp {{.*}}"d80_vjp_p0" {{.*}} spills 0 {{.*}}"d80_vjp_p1" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills {{[0-9]?[0-9]}} static_shared {{.*}}"d80_vjp_p2" {{.*}} spills 0
  step.kernel @d80_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x300x160xbf16>, %q: tensor<2x300x480xbf16>, %o: tensor<2x300x160xbf16>, %l: tensor<2x2x300xf32>):
    %d = tx.attention_vjp %g, %q, %o, %l heads 2 kv_heads 2 : tensor<2x300x480xbf16>, tensor<2x300x160xbf16>, tensor<2x2x300xf32>
    tx.yield %d : tensor<2x300x480xbf16>
  }
  // CHECK: step.kernel @d96 {{.*}}"d96_p0" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills 0 static_shared
  step.kernel @d96 "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x300x576xbf16>):
    %o, %l = tx.attention %q heads 2 kv_heads 2 : tensor<2x300x576xbf16> -> tensor<2x300x192xbf16>, tensor<2x2x300xf32>
    tx.yield %o, %l : tensor<2x300x192xbf16>, tensor<2x2x300xf32>
  }
  // CHECK: step.kernel @d96_vjp {{.*}}"d96_vjp_p0" {{.*}} spills 0 {{.*}}"d96_vjp_p1" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills {{[0-9]?[0-9]}} static_shared {{.*}}"d96_vjp_p2" {{.*}} spills 0
  step.kernel @d96_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x300x192xbf16>, %q: tensor<2x300x576xbf16>, %o: tensor<2x300x192xbf16>, %l: tensor<2x2x300xf32>):
    %d = tx.attention_vjp %g, %q, %o, %l heads 2 kv_heads 2 : tensor<2x300x576xbf16>, tensor<2x300x192xbf16>, tensor<2x2x300xf32>
    tx.yield %d : tensor<2x300x576xbf16>
  }
  // Query heads that share keys: a loop over the group.
  // CHECK: step.kernel @grouped {{.*}}"grouped_p0" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills 0 static_shared
  step.kernel @grouped "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x300x768xbf16>):
    %o, %l = tx.attention %q heads 8 kv_heads 2 : tensor<2x300x768xbf16> -> tensor<2x300x512xbf16>, tensor<2x8x300xf32>
    tx.yield %o, %l : tensor<2x300x512xbf16>, tensor<2x8x300xf32>
  }
  // CHECK: step.kernel @grouped_vjp {{.*}}"grouped_vjp_p0" {{.*}} spills 0 {{.*}}"grouped_vjp_p1" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills {{[0-9]?[0-9]}} static_shared {{.*}}"grouped_vjp_p2" {{.*}} spills 0
  step.kernel @grouped_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x300x512xbf16>, %q: tensor<2x300x768xbf16>, %o: tensor<2x300x512xbf16>, %l: tensor<2x8x300xf32>):
    %d = tx.attention_vjp %g, %q, %o, %l heads 8 kv_heads 2 : tensor<2x300x768xbf16>, tensor<2x300x512xbf16>, tensor<2x8x300xf32>
    tx.yield %d : tensor<2x300x768xbf16>
  }
  // CHECK: step.kernel @grouped128 {{.*}}"grouped128_p0" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills 0 static_shared
  step.kernel @grouped128 "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x300x1536xbf16>):
    %o, %l = tx.attention %q heads 8 kv_heads 2 : tensor<2x300x1536xbf16> -> tensor<2x300x1024xbf16>, tensor<2x8x300xf32>
    tx.yield %o, %l : tensor<2x300x1024xbf16>, tensor<2x8x300xf32>
  }
  // CHECK: step.kernel @grouped128_vjp {{.*}}"grouped128_vjp_p0" {{.*}} spills 0 {{.*}}"grouped128_vjp_p1" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills {{[0-9]?[0-9]}} static_shared {{.*}}"grouped128_vjp_p2" {{.*}} spills 0
  step.kernel @grouped128_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x300x1024xbf16>, %q: tensor<2x300x1536xbf16>, %o: tensor<2x300x1024xbf16>, %l: tensor<2x8x300xf32>):
    %d = tx.attention_vjp %g, %q, %o, %l heads 8 kv_heads 2 : tensor<2x300x1536xbf16>, tensor<2x300x1024xbf16>, tensor<2x8x300xf32>
    tx.yield %d : tensor<2x300x1536xbf16>
  }
  // One row.
  // CHECK: step.kernel @one {{.*}}"one_p0" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills 0 static_shared
  step.kernel @one "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x1x384xbf16>):
    %o, %l = tx.attention %q heads 2 kv_heads 2 : tensor<2x1x384xbf16> -> tensor<2x1x128xbf16>, tensor<2x2x1xf32>
    tx.yield %o, %l : tensor<2x1x128xbf16>, tensor<2x2x1xf32>
  }
  // CHECK: step.kernel @one_vjp {{.*}}"one_vjp_p0" {{.*}} spills 0 {{.*}}"one_vjp_p1" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills {{[0-9]*}} static_shared {{.*}}"one_vjp_p2" {{.*}} spills 0
  step.kernel @one_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x1x128xbf16>, %q: tensor<2x1x384xbf16>, %o: tensor<2x1x128xbf16>, %l: tensor<2x2x1xf32>):
    %d = tx.attention_vjp %g, %q, %o, %l heads 2 kv_heads 2 : tensor<2x1x384xbf16>, tensor<2x1x128xbf16>, tensor<2x2x1xf32>
    tx.yield %d : tensor<2x1x384xbf16>
  }
  // Dropout draws numbers between the products: slower, and it spills.
  // CHECK: step.kernel @dropped {{.*}}"dropped_p0" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills {{[0-9]*}} static_shared
  step.kernel @dropped "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x300x384xbf16>, %h: !tx.hyper):
    %o, %l = tx.attention %q, hyper %h heads 2 kv_heads 2 {dropout = 0.1 : f64, site = 65539 : i32} : tensor<2x300x384xbf16> -> tensor<2x300x128xbf16>, tensor<2x2x300xf32>
    tx.yield %o, %l : tensor<2x300x128xbf16>, tensor<2x2x300xf32>
  }
  // CHECK: step.kernel @dropped_vjp {{.*}}"dropped_vjp_p0" {{.*}} spills 0 {{.*}}"dropped_vjp_p1" grid[0, 1, 1] block[384, 1, 1] {{.*}} registers 168 spills {{[0-9]*}} static_shared {{.*}}"dropped_vjp_p2" {{.*}} spills 0
  step.kernel @dropped_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x300x128xbf16>, %q: tensor<2x300x384xbf16>, %o: tensor<2x300x128xbf16>, %l: tensor<2x2x300xf32>, %h: !tx.hyper):
    %d = tx.attention_vjp %g, %q, %o, %l, hyper %h heads 2 kv_heads 2 {dropout = 0.1 : f64, site = 65539 : i32} : tensor<2x300x384xbf16>, tensor<2x300x128xbf16>, tensor<2x2x300xf32>
    tx.yield %d : tensor<2x300x384xbf16>
  }
  // f32: no tensor cores.
  // CHECK: step.kernel @f32 {{.*}}"f32_p0" {{.*}} spills 0
  step.kernel @f32 "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x300x256xf32>, %h: !tx.hyper):
    %o, %l = tx.attention %q, hyper %h heads 2 kv_heads 1 {dropout = 0.1 : f64, site = 65539 : i32} : tensor<2x300x256xf32> -> tensor<2x300x128xf32>, tensor<2x2x300xf32>
    tx.yield %o, %l : tensor<2x300x128xf32>, tensor<2x2x300xf32>
  }
  // CHECK: step.kernel @f32_vjp {{.*}}"f32_vjp_p0" {{.*}} spills 0 {{.*}}"f32_vjp_p1" {{.*}} spills 0 {{.*}}"f32_vjp_p2" {{.*}} spills 0
  step.kernel @f32_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x300x128xf32>, %q: tensor<2x300x256xf32>, %o: tensor<2x300x128xf32>, %l: tensor<2x2x300xf32>, %h: !tx.hyper):
    %d = tx.attention_vjp %g, %q, %o, %l, hyper %h heads 2 kv_heads 1 {dropout = 0.1 : f64, site = 65539 : i32} : tensor<2x300x256xf32>, tensor<2x300x128xf32>, tensor<2x2x300xf32>
    tx.yield %d : tensor<2x300x256xf32>
  }
  // Heads beyond 128 elements: the tensor cores of all GPUs from sm_80 on.
  // CHECK: step.kernel @d256 {{.*}}"d256_p0" grid[20, 1, 1] block[128, 1, 1] {{.*}} spills 0
  step.kernel @d256 "attention" inplace [-1, -1] {
  ^bb0(%q: tensor<2x300x1024xbf16>):
    %o, %l = tx.attention %q heads 2 kv_heads 1 : tensor<2x300x1024xbf16> -> tensor<2x300x512xbf16>, tensor<2x2x300xf32>
    tx.yield %o, %l : tensor<2x300x512xbf16>, tensor<2x2x300xf32>
  }
  // CHECK: step.kernel @d256_vjp {{.*}}"d256_vjp_p0" {{.*}} spills 0 {{.*}}"d256_vjp_p1" {{.*}} spills 0 {{.*}}"d256_vjp_p2" {{.*}} spills 0
  step.kernel @d256_vjp "attention" inplace [-1] {
  ^bb0(%g: tensor<2x300x512xbf16>, %q: tensor<2x300x1024xbf16>, %o: tensor<2x300x512xbf16>, %l: tensor<2x2x300xf32>):
    %d = tx.attention_vjp %g, %q, %o, %l heads 2 kv_heads 1 : tensor<2x300x1024xbf16>, tensor<2x300x512xbf16>, tensor<2x2x300xf32>
    tx.yield %d : tensor<2x300x1024xbf16>
  }
}
