// RUN: tx-opt %s --tx-fuse-form-kernels --split-input-file --verify-diagnostics

// expected-error @+1 {{must have a body of one block to form kernels}}
func.func private @declaration(tensor<1x4x8xf32>)

// -----

func.func @not_tx(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{has no kernel kind; fuse takes tx ops only}}
  %y = arith.addf %x, %x : tensor<4xf32>
  return %y : tensor<4xf32>
}
