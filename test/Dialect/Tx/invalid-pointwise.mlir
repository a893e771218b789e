// RUN: tx-opt %s --split-input-file --verify-diagnostics

// tx.add (C1): no broadcast.
func.func @f(%x: tensor<2x4xf32>, %y: tensor<4xf32>) {
  // expected-error @+1 {{requires the same type for all operands and results}}
  %z = "tx.add"(%x, %y) : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  return
}

// -----

// tx.activation (C1)
func.func @f(%x: tensor<2x4xf32>) {
  // expected-error @+1 {{requires the same type for all operands and results}}
  %y = "tx.activation"(%x) {kind = #tx<activation_kind gelu>} : (tensor<2x4xf32>) -> tensor<2x4xbf16>
  return
}

// -----

// tx.activation_vjp (C1)
func.func @f(%x: tensor<2x4xf32>, %dy: tensor<4x2xf32>) {
  // expected-error @+1 {{requires the same type for all operands and results}}
  %y = "tx.activation_vjp"(%dy, %x) {kind = #tx<activation_kind silu>} : (tensor<4x2xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return
}

// -----

// tx.swiglu (C1)
func.func @f(%x: tensor<2x8xf32>) {
  // expected-error @+1 {{(C1): input must be twice as wide as the gated row, found 'tensor<2x8xf32>' and 'tensor<2x8xf32>'}}
  %y = tx.swiglu %x : tensor<2x8xf32> -> tensor<2x8xf32>
  return
}

// -----

// tx.swiglu (C1): no hidden cast.
func.func @f(%x: tensor<2x8xf32>) {
  // expected-error @+1 {{(C1): input must be twice as wide}}
  %y = tx.swiglu %x : tensor<2x8xf32> -> tensor<2x4xbf16>
  return
}

// -----

// tx.swiglu_vjp (C1)
func.func @f(%dy: tensor<3x4xf32>, %x: tensor<2x8xf32>) {
  // expected-error @+1 {{(C1): input must be twice as wide}}
  %dx = tx.swiglu_vjp %dy, %x : tensor<3x4xf32>, tensor<2x8xf32>
  return
}

// -----

// tx.dropout (C1): to drop nothing is to have no tx.dropout.
func.func @f(%x: tensor<2x4xf32>, %hyper: !tx.hyper) {
  // expected-error @+1 {{(C1): p must be between 0 and 1, found 0}}
  %y = tx.dropout %x, %hyper p 0.0 site 7 : tensor<2x4xf32>
  return
}

// -----

// tx.dropout (C1)
func.func @f(%x: tensor<2x4xf32>, %hyper: !tx.hyper) {
  // expected-error @+1 {{(C1): p must be between 0 and 1}}
  %y = tx.dropout %x, %hyper p 1.0 site 7 : tensor<2x4xf32>
  return
}

// -----

// tx.cast (C1)
func.func @f(%x: tensor<2x4xf32>) {
  // expected-error @+1 {{(C1): expects the same shape and different element types, found 'tensor<2x4xf32>' and 'tensor<2x4xf32>'}}
  %y = tx.cast %x : tensor<2x4xf32> -> tensor<2x4xf32>
  return
}

// -----

// tx.cast (C1)
func.func @f(%x: tensor<2x4xf32>) {
  // expected-error @+1 {{(C1): expects the same shape}}
  %y = tx.cast %x : tensor<2x4xf32> -> tensor<8xbf16>
  return
}
