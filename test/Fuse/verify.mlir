// RUN: tx-opt %s --tx-fuse-verify --split-input-file --verify-diagnostics

func.func @outside(%x: tensor<1x4x8xf32>) -> tensor<1x4x8xf32> {
  // expected-error @+1 {{is outside of a tx.kernel after fuse}}
  %a = tx.activation relu %x : tensor<1x4x8xf32>
  return %a : tensor<1x4x8xf32>
}

// -----

tx.param @w : tensor<4x8xf32> init = normal(0.02) site = 0 decay
func.func @not_in_place(%g: tensor<4x8xf32>) {
  // expected-error @+1 {{is not written in place after fuse}}
  tx.assign @w grad, %g : tensor<4x8xf32>
  return
}

// -----

// expected-error @+1 {{must have a body without branches, found 0 blocks}}
func.func private @micro()
