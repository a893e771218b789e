// RUN: tx-opt %s --split-input-file --verify-diagnostics

// tx.param (C1)
// expected-error @+1 {{(C1): must be a static tensor of f32, found 'tensor<?x4xf32>'}}
tx.param @w : tensor<?x4xf32> init = zeros(0.0) site = 0

// -----

// tx.param (C1): masters are f32.
// expected-error @+1 {{(C1): must be a static tensor of f32, found 'tensor<4xbf16>'}}
tx.param @w : tensor<4xbf16> init = zeros(0.0) site = 0

// -----

// tx.param (C2)
// expected-error @+1 {{(C2): init = normal with stddev}}
tx.param @w : tensor<4xf32> init = normal(0.0) site = 0

// -----

// tx.param (C2)
// expected-error @+1 {{(C2): init = ones with stddev}}
tx.param @w : tensor<4xf32> init = ones(1.0) site = 0

// -----

// tx.param (C3)
// expected-error @+1 {{(C3): weight decay needs at least two dimensions, found 'tensor<4xf32>'}}
tx.param @w : tensor<4xf32> init = ones(0.0) site = 0 decay

// -----

// tx.read (C1)
func.func @f() {
  // expected-error @+1 {{(C1): @w does not name a tx.param}}
  %w = tx.read @w value : tensor<4xf32>
  return
}

// -----

// tx.read (C1)
// expected-note @+1 {{declared here}}
tx.param @w : tensor<4xf32> init = ones(0.0) site = 0
func.func @f() {
  // expected-error @+1 {{(C1): has type 'tensor<5xf32>' but @w has type 'tensor<4xf32>'}}
  %w = tx.read @w value : tensor<5xf32>
  return
}

// -----

// tx.assign (C1)
// expected-note @+1 {{declared here}}
tx.param @w : tensor<4xf32> init = ones(0.0) site = 0
func.func @f(%x: tensor<2x2xf32>) {
  // expected-error @+1 {{(C1): has type 'tensor<2x2xf32>' but @w has type 'tensor<4xf32>'}}
  tx.assign @w grad, %x : tensor<2x2xf32>
  return
}

// -----

// tx.accumulate (C1)
// expected-note @+1 {{declared here}}
tx.param @w : tensor<4xf32> init = ones(0.0) site = 0
func.func @f(%x: tensor<2x2xf32>) {
  // expected-error @+1 {{(C1): has type 'tensor<2x2xf32>' but @w has type 'tensor<4xf32>'}}
  tx.accumulate @w, %x : tensor<2x2xf32>
  return
}

// -----

// tx.init (C1): a function is no parameter.
func.func @f(%hyper: !tx.hyper) {
  // expected-error @+1 {{(C1): @f does not name a tx.param}}
  tx.init @f, %hyper
  return
}

// -----

// tx.cache (C1)
// expected-error @+1 {{(C1): must be a static tensor of floats of rank 4, [S, K, T, D], found 'tensor<2x5x4xf32>'}}
tx.cache @c : tensor<2x5x4xf32>

// -----

// tx.cache (C1)
// expected-error @+1 {{(C1): must be a static tensor of floats of rank 4}}
tx.cache @c : tensor<1x2x5x4xi32>

// -----

// tx.read (C2): a cache has no gradient.
// expected-note @+1 {{declared here}}
tx.cache @c : tensor<1x2x5x4xf32>
func.func @f() {
  // expected-error @+1 {{(C2): has state grad and type 'tensor<1x2x5x4xf32>', but the cache @c has only a value of type 'tensor<1x2x5x4xf32>'}}
  %c = tx.read @c grad : tensor<1x2x5x4xf32>
  return
}

// -----

// tx.read (C3)
tx.param @w : tensor<2x2xf32> init = zeros(0.0) site = 0
func.func @f() {
  // expected-error @+1 {{(C3): compute must be of bf16, found 'tensor<2x2xf32>'}}
  %w = tx.read @w compute : tensor<2x2xf32>
  return
}

// -----

// tx.assign (C2)
// expected-note @+1 {{declared here}}
tx.cache @c : tensor<1x2x5x4xf32>
func.func @f(%x: tensor<1x2x4x4xf32>) {
  // expected-error @+1 {{(C2): has state value and type 'tensor<1x2x4x4xf32>', but the cache @c has only a value of type}}
  tx.assign @c value, %x : tensor<1x2x4x4xf32>
  return
}

// -----

// tx.assign (C3)
tx.param @w : tensor<2x2xf32> init = zeros(0.0) site = 0
func.func @f(%x: tensor<2x2xf32>) {
  // expected-error @+1 {{(C3): compute cannot be assigned; tx.init and tx.adamw keep it}}
  tx.assign @w compute, %x : tensor<2x2xf32>
  return
}

// -----

// tx.param (C4)
// expected-error @+1 {{(C4): shards must be 2 or more, found 1}}
tx.param @w : tensor<4x4xf32> init = zeros(0.0) site = 0 shards = 1

// -----

// tx.read (C1): a rank has no more than its shard of the value.
// expected-note @+1 {{declared here}}
tx.param @w : tensor<30x10xf32> init = zeros(0.0) site = 0 shards = 2
func.func @f() {
  // expected-error @+1 {{(C1): has type 'tensor<30x10xf32>' but @w has type 'tensor<192xf32>'}}
  %w = tx.read @w value : tensor<30x10xf32>
  return
}

// -----

// tx.read (C1)
// expected-note @+1 {{declared here}}
tx.param @w : tensor<4xf32> init = zeros(0.0) site = 0
func.func @f() {
  // expected-error @+1 {{(C1): has type 'tensor<64xf32>' but @w has no shards}}
  %w = tx.read @w grad_shard : tensor<64xf32>
  return
}

// -----

// tx.assign (C3)
tx.param @w : tensor<2x2xf32> init = zeros(0.0) site = 0 shards = 2
func.func @f(%x: tensor<64xbf16>) {
  // expected-error @+1 {{(C3): compute_shard cannot be assigned; tx.init and tx.adamw keep it}}
  tx.assign @w compute_shard, %x : tensor<64xbf16>
  return
}

// -----

// tx.accumulate_shards (C1)
// expected-note @+1 {{declared here}}
tx.param @w : tensor<4xf32> init = zeros(0.0) site = 0
func.func @f(%x: tensor<64xf32>) {
  // expected-error @+1 {{(C1): @w has no shards}}
  tx.accumulate_shards [@w], (%x) : tensor<64xf32>
  return
}

// -----

// tx.accumulate_shards (C2)
tx.param @w : tensor<4x4xf32> init = zeros(0.0) site = 0 shards = 2
func.func @f(%x: tensor<64xf32>) {
  // expected-error @+1 {{(C2): must have one value for each of 1 parameters, found 2}}
  tx.accumulate_shards [@w], (%x, %x) : tensor<64xf32>, tensor<64xf32>
  return
}

// -----

// tx.accumulate_shards (C2)
tx.param @w : tensor<4x4xf32> init = zeros(0.0) site = 0 shards = 2
func.func @f(%x: tensor<4x4xf32>) {
  // expected-error @+1 {{(C2): the gradient shard of @w has type 'tensor<64xf32>', found 'tensor<4x4xf32>'}}
  tx.accumulate_shards [@w], (%x) : tensor<4x4xf32>
  return
}

// -----

// tx.clear_gradients (C1)
tx.param @w : tensor<4x4xf32> init = zeros(0.0) site = 0 shards = 2
func.func @f() {
  // expected-error @+1 {{(C1): @w is named twice}}
  tx.clear_gradients [@w, @w]
  return
}
