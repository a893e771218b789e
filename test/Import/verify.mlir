// RUN: tx-opt %s --tx-import-verify --split-input-file --verify-diagnostics

// expected-error @+1 {{has no @forward; import makes @init and @forward}}
module {
  func.func @init(%hyper: !tx.hyper) {
    return
  }
}

// -----

module {
  func.func @init(%hyper: !tx.hyper) {
    return
  }
  // expected-error @+1 {{expected (tokens, targets, !tx.hyper) -> (loss, count)}}
  func.func @forward(%tokens: tensor<2x4xi32>, %hyper: !tx.hyper) -> tensor<f32> {
    %loss = arith.constant dense<0.0> : tensor<f32>
    return %loss : tensor<f32>
  }
}

// -----

// Every value has a name: the location that loc("...") gives.
module {
  func.func @init(%hyper: !tx.hyper) {
    return
  }
  func.func @forward(%tokens: tensor<2x4xi32>, %targets: tensor<2x4xi32>, %hyper: !tx.hyper)
      -> (tensor<f32>, tensor<f32>) {
    // expected-error @+1 {{'tx.target_count' has no path: expected a location loc("...")}}
    %count = tx.target_count %targets ignore_index -1 : tensor<2x4xi32> -> tensor<f32>
    return %count, %count : tensor<f32>, tensor<f32>
  }
}

// -----

module {
  func.func @init(%hyper: !tx.hyper) {
    return
  }
  func.func @forward(%tokens: tensor<2x4xi32>, %targets: tensor<2x4xi32>, %hyper: !tx.hyper)
      -> (tensor<f32>, tensor<f32>) {
    // expected-error @+1 {{'arith.constant' is not expected after import}}
    %count = arith.constant dense<1.0> : tensor<f32>
    return %count, %count : tensor<f32>, tensor<f32>
  }
}

// -----

module {
  func.func @init(%hyper: !tx.hyper) {
    return
  }
  func.func @forward(%tokens: tensor<2x4xi32>, %targets: tensor<2x4xi32>, %hyper: !tx.hyper)
      -> (tensor<f32>, tensor<f32>) {
    %count = tx.target_count %targets ignore_index -1 : tensor<2x4xi32> -> tensor<f32> loc("loss.count")
    return %count, %count : tensor<f32>, tensor<f32>
  }
  // expected-error @+1 {{expected only tx.param, @init and @forward after import}}
  func.func private @other()
}
