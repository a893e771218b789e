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

// plan makes an entry of each function of the step.
// expected-error @+2 {{has no @update after fuse; expected @init, @micro, @update and @eval}}
// expected-error @+1 {{has no @eval after fuse}}
module {
  // expected-error @+1 {{@init must have a body without branches, found 0 blocks}}
  func.func private @init(!tx.hyper)
  // expected-error @+1 {{@micro has type '() -> ()'; expected (tokens, targets, !tx.hyper) -> (loss, count)}}
  func.func @micro() {
    return
  }
  // expected-error @+1 {{@other is left after fuse}}
  func.func @other() {
    return
  }
}
