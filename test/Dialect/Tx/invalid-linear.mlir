// RUN: tx-opt %s --split-input-file --verify-diagnostics

// tx.linear (C1): weights are [out, in].
func.func @f(%x: tensor<2x3x4xf32>, %w: tensor<4x5xf32>) {
  // expected-error @+1 {{(C1): weight must be [out, in] with in the innermost size of 'tensor<2x3x4xf32>', found 'tensor<4x5xf32>'}}
  %y = tx.linear %x, %w : tensor<2x3x4xf32>, tensor<4x5xf32> -> tensor<2x3x5xf32>
  return
}

// -----

// tx.linear (C2)
func.func @f(%x: tensor<2x3x4xf32>, %w: tensor<5x4xf32>) {
  // expected-error @+1 {{(C2): result must have the shape of 'tensor<2x3x4xf32>' with 5 innermost, found 'tensor<2x5xf32>'}}
  %y = tx.linear %x, %w : tensor<2x3x4xf32>, tensor<5x4xf32> -> tensor<2x5xf32>
  return
}

// -----

// tx.linear_input_vjp (C1)
func.func @f(%dy: tensor<2x3x4xf32>, %w: tensor<5x4xf32>) {
  // expected-error @+1 {{(C1): weight must be [out, in] with out the innermost size}}
  %dx = tx.linear_input_vjp %dy, %w : tensor<2x3x4xf32>, tensor<5x4xf32> -> tensor<2x3x4xf32>
  return
}

// -----

// tx.linear_input_vjp (C2)
func.func @f(%dy: tensor<2x3x5xf32>, %w: tensor<5x4xf32>) {
  // expected-error @+1 {{(C2): result must have the shape}}
  %dx = tx.linear_input_vjp %dy, %w : tensor<2x3x5xf32>, tensor<5x4xf32> -> tensor<2x3x5xf32>
  return
}

// -----

// tx.linear_weight_vjp (C1)
func.func @f(%dy: tensor<2x3x5xf32>, %x: tensor<3x4xf32>) {
  // expected-error @+1 {{(C1): grad and input must have the same leading dimensions, found 'tensor<2x3x5xf32>' and 'tensor<3x4xf32>'}}
  %dw = tx.linear_weight_vjp %dy, %x : tensor<2x3x5xf32>, tensor<3x4xf32> -> tensor<5x4xf32>
  return
}

// -----

// tx.linear_weight_vjp (C2)
func.func @f(%dy: tensor<2x3x5xf32>, %x: tensor<2x3x4xf32>) {
  // expected-error @+1 {{(C2): result must be [5, 4], found 'tensor<4x5xf32>'}}
  %dw = tx.linear_weight_vjp %dy, %x : tensor<2x3x5xf32>, tensor<2x3x4xf32> -> tensor<4x5xf32>
  return
}

// -----

// tx.add_bias (C1)
func.func @f(%x: tensor<2x4xf32>, %b: tensor<2xf32>) {
  // expected-error @+1 {{(C1): bias must be 1-D of the input's innermost size 4, found 'tensor<2xf32>'}}
  %y = tx.add_bias %x, %b : tensor<2x4xf32>, tensor<2xf32>
  return
}

// -----

// tx.bias_vjp (C1)
func.func @f(%dy: tensor<2x4xf32>) {
  // expected-error @+1 {{(C1): result must be 1-D}}
  %db = tx.bias_vjp %dy : tensor<2x4xf32> -> tensor<2xf32>
  return
}

// -----

// tx.linear (C3)
func.func @f(%x: tensor<2x3x4xbf16>, %w: tensor<5x4xf32>) {
  // expected-error @+1 {{(C3): rows, weight and result must have one element type, found 'tensor<2x3x4xbf16>', 'tensor<5x4xf32>' and 'tensor<2x3x5xbf16>'}}
  %y = tx.linear %x, %w : tensor<2x3x4xbf16>, tensor<5x4xf32> -> tensor<2x3x5xbf16>
  return
}

// -----

// tx.linear_input_vjp (C3)
func.func @f(%dy: tensor<2x3x5xbf16>, %w: tensor<5x4xbf16>) {
  // expected-error @+1 {{(C3): rows, weight and result must have one element type}}
  %dx = tx.linear_input_vjp %dy, %w : tensor<2x3x5xbf16>, tensor<5x4xbf16> -> tensor<2x3x4xf32>
  return
}

// -----

// tx.linear_weight_vjp (C3)
func.func @f(%dy: tensor<2x3x5xbf16>, %x: tensor<2x3x4xf32>) {
  // expected-error @+1 {{(C3): grad and input must have one element type, found 'tensor<2x3x5xbf16>' and 'tensor<2x3x4xf32>'}}
  %dw = tx.linear_weight_vjp %dy, %x : tensor<2x3x5xbf16>, tensor<2x3x4xf32> -> tensor<5x4xf32>
  return
}

// -----

// tx.linear_weight_vjp (C4): no gradient of a weight is rounded to bf16.
func.func @f(%dy: tensor<2x3x5xbf16>, %x: tensor<2x3x4xbf16>) {
  // expected-error @+1 {{(C4): result must be of 'f32' for 'tensor<2x3x5xbf16>', found 'tensor<5x4xbf16>'}}
  %dw = tx.linear_weight_vjp %dy, %x : tensor<2x3x5xbf16>, tensor<2x3x4xbf16> -> tensor<5x4xbf16>
  return
}

// -----

// tx.add_bias (C2)
func.func @f(%x: tensor<2x4xbf16>, %b: tensor<4xbf16>) {
  // expected-error @+1 {{(C2): bias must be of 'f32' for 'tensor<2x4xbf16>', found 'tensor<4xbf16>'}}
  %y = tx.add_bias %x, %b : tensor<2x4xbf16>, tensor<4xbf16>
  return
}

// -----

// tx.bias_vjp (C2)
func.func @f(%dy: tensor<2x4xbf16>) {
  // expected-error @+1 {{(C2): result must be of 'f32' for 'tensor<2x4xbf16>', found 'tensor<4xbf16>'}}
  %db = tx.bias_vjp %dy : tensor<2x4xbf16> -> tensor<4xbf16>
  return
}
