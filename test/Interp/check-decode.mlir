// RUN: tx-opt %s --tx-interp-check-decode --split-input-file --verify-diagnostics

// Decoding that leaves out the learned positions is caught at the first.
module {
  tx.param @w : tensor<5x4xf32> init = normal(5.0e-01) site = 0 decay
  tx.param @p : tensor<3x4xf32> init = normal(5.0e-01) site = 1 decay
  func.func @eval(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) -> (tensor<f32>, tensor<f32>) {
    %w = tx.read @w value : tensor<5x4xf32>
    %p = tx.read @p value : tensor<3x4xf32>
    %x = tx.embedding %tokens, %w : tensor<2x3xi32>, tensor<5x4xf32> -> tensor<2x3x4xf32>
    %y = tx.add_position %x, %p : tensor<2x3x4xf32>, tensor<3x4xf32>
    %logits = tx.linear %y, %w : tensor<2x3x4xf32>, tensor<5x4xf32> -> tensor<2x3x5xf32>
    %count = tx.target_count %targets ignore_index -1 : tensor<2x3xi32> -> tensor<f32>
    %losses, %lse = tx.cross_entropy %logits, %targets ignore_index -1 : tensor<2x3x5xf32>, tensor<2x3xi32> -> tensor<2x3xf32>, tensor<2x3xf32>
    %loss = tx.mean_loss %losses, %count : tensor<2x3xf32>, tensor<f32> -> tensor<f32>
    return %loss, %count : tensor<f32>, tensor<f32>
  }
  // expected-error @+1 {{as logit 0 of position 0 of sequence 0, but @eval has}}
  func.func @decode(%tokens: tensor<1x1xi32>, %position: tensor<i32>) -> tensor<1x1x5xf32> {
    %w = tx.read @w value : tensor<5x4xf32>
    %y = tx.embedding %tokens, %w : tensor<1x1xi32>, tensor<5x4xf32> -> tensor<1x1x4xf32>
    %logits = tx.linear %y, %w : tensor<1x1x4xf32>, tensor<5x4xf32> -> tensor<1x1x5xf32>
    return %logits : tensor<1x1x5xf32>
  }
}

// -----

// expected-error @+1 {{has no @decode to compare}}
module {
  func.func @eval(%tokens: tensor<2x3xi32>, %targets: tensor<2x3xi32>, %hyper: !tx.hyper) {
    return
  }
}
