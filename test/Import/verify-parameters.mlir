// RUN: not tx-opt %s --tx-import-verify --split-input-file 2>&1 | FileCheck %s

// Each parameter is initialised once and read.
// CHECK: error: loc("w"): @w is initialised 2 times in @init; expected once
module {
  tx.param @w : tensor<4x8xf32> init = normal(0.02) site = 0 decay loc("w")
  func.func @init(%hyper: !tx.hyper) {
    tx.init @w, %hyper loc("w")
    tx.init @w, %hyper loc("w")
    return
  }
  func.func @forward(%tokens: tensor<2x4xi32>, %targets: tensor<2x4xi32>, %hyper: !tx.hyper)
      -> (tensor<f32>, tensor<f32>) {
    %count = tx.target_count %targets ignore_index -1 : tensor<2x4xi32> -> tensor<f32> loc("loss.count")
    return %count, %count : tensor<f32>, tensor<f32>
  }
}

// -----

// CHECK: error: loc("w"): @w is never read in @forward
module {
  tx.param @w : tensor<4x8xf32> init = normal(0.02) site = 0 decay loc("w")
  func.func @init(%hyper: !tx.hyper) {
    tx.init @w, %hyper loc("w")
    return
  }
  func.func @forward(%tokens: tensor<2x4xi32>, %targets: tensor<2x4xi32>, %hyper: !tx.hyper)
      -> (tensor<f32>, tensor<f32>) {
    %count = tx.target_count %targets ignore_index -1 : tensor<2x4xi32> -> tensor<f32> loc("loss.count")
    return %count, %count : tensor<f32>, tensor<f32>
  }
}

// -----

// CHECK: error: loc("w"): @forward reads grad of @w; expected value
module {
  tx.param @w : tensor<4x8xf32> init = normal(0.02) site = 0 decay loc("w")
  func.func @init(%hyper: !tx.hyper) {
    tx.init @w, %hyper loc("w")
    return
  }
  func.func @forward(%tokens: tensor<2x4xi32>, %targets: tensor<2x4xi32>, %hyper: !tx.hyper)
      -> (tensor<f32>, tensor<f32>) {
    %w = tx.read @w grad : tensor<4x8xf32> loc("w")
    %count = tx.target_count %targets ignore_index -1 : tensor<2x4xi32> -> tensor<f32> loc("loss.count")
    return %count, %count : tensor<f32>, tensor<f32>
  }
}
