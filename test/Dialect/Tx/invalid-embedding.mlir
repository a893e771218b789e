// RUN: tx-opt %s --split-input-file --verify-diagnostics

// tx.embedding (C1): the result is as wide as the table.
func.func @f(%tokens: tensor<2x3xi32>, %w: tensor<5x4xf32>) {
  // expected-error @+1 {{(C1): for tokens 'tensor<2x3xi32>' and a table of shape [V, C] expects [B, T, C], found 'tensor<5x4xf32>' and 'tensor<2x3x8xf32>'}}
  %x = tx.embedding %tokens, %w : tensor<2x3xi32>, tensor<5x4xf32> -> tensor<2x3x8xf32>
  return
}

// -----

// tx.embedding (C1): no hidden cast.
func.func @f(%tokens: tensor<2x3xi32>, %w: tensor<5x4xf32>) {
  // expected-error @+1 {{(C1): for tokens}}
  %x = tx.embedding %tokens, %w : tensor<2x3xi32>, tensor<5x4xf32> -> tensor<2x3x4xbf16>
  return
}

// -----

// Tokens are a [B, T] tensor of i32.
func.func @f(%tokens: tensor<6xi32>, %w: tensor<5x4xf32>) {
  // expected-error @+1 {{operand #0 must be i32 tensor of shape [B, T]}}
  %x = tx.embedding %tokens, %w : tensor<6xi32>, tensor<5x4xf32> -> tensor<6x4xf32>
  return
}

// -----

// tx.embedding_vjp (C1)
func.func @f(%tokens: tensor<2x3xi32>, %dy: tensor<2x3x4xf32>) {
  // expected-error @+1 {{(C1): for tokens}}
  %x = tx.embedding_vjp %tokens, %dy : tensor<2x3xi32>, tensor<2x3x4xf32> -> tensor<5x3xf32>
  return
}

// -----

// tx.add_position (C1)
func.func @f(%x: tensor<2x3x4xf32>, %p: tensor<2x4xf32>) {
  // expected-error @+1 {{(C1): expects [B, T, C] and [T, C], found 'tensor<2x3x4xf32>' and 'tensor<2x4xf32>'}}
  %y = tx.add_position %x, %p : tensor<2x3x4xf32>, tensor<2x4xf32>
  return
}

// -----

// tx.position_vjp (C1)
func.func @f(%dy: tensor<3x4xf32>) {
  // expected-error @+1 {{(C1): expects [B, T, C] and [T, C], found 'tensor<3x4xf32>' and 'tensor<4xf32>'}}
  %y = tx.position_vjp %dy : tensor<3x4xf32> -> tensor<4xf32>
  return
}

// -----

// tx.add_position (C2): a position is that of one row.
func.func @f(%x: tensor<2x3x4xf32>, %p: tensor<3x4xf32>, %at: tensor<i32>) {
  // expected-error @+1 {{(C2): with a position expects [B, 1, C] and [P, C], found 'tensor<2x3x4xf32>' and 'tensor<3x4xf32>'}}
  %y = tx.add_position %x, %p at %at : tensor<2x3x4xf32>, tensor<3x4xf32>
  return
}

// -----

// tx.embedding_vjp (C2)
func.func @f(%tokens: tensor<2x3xi32>, %dy: tensor<2x3x4xbf16>) {
  // expected-error @+1 {{(C2): result must be of 'f32' for 'tensor<2x3x4xbf16>', found 'tensor<5x4xbf16>'}}
  %dw = tx.embedding_vjp %tokens, %dy : tensor<2x3xi32>, tensor<2x3x4xbf16> -> tensor<5x4xbf16>
  return
}

// -----

// tx.add_position (C3)
func.func @f(%x: tensor<2x3x4xbf16>, %p: tensor<3x4xf32>) {
  // expected-error @+1 {{(C3): input and table must have one element type, found 'tensor<2x3x4xbf16>' and 'tensor<3x4xf32>'}}
  %y = tx.add_position %x, %p : tensor<2x3x4xbf16>, tensor<3x4xf32>
  return
}

// -----

// tx.position_vjp (C2)
func.func @f(%dy: tensor<2x3x4xbf16>) {
  // expected-error @+1 {{(C2): result must be of 'f32' for 'tensor<2x3x4xbf16>', found 'tensor<3x4xbf16>'}}
  %dp = tx.position_vjp %dy : tensor<2x3x4xbf16> -> tensor<3x4xbf16>
  return
}
