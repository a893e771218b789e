// RUN: tx-opt %s --split-input-file --verify-diagnostics

// tx.slice_rows (C1)
func.func @f(%x: tensor<2x3x4xf32>) {
  // expected-error @+1 {{(C1): a part of 'tensor<2x3x4xf32>' must be rows of it, [1, N, ...], found 'tensor<2x1x4xf32>'}}
  %y = tx.slice_rows %x from 0 : tensor<2x3x4xf32> -> tensor<2x1x4xf32>
  return
}

// -----

// tx.slice_rows (C2)
func.func @f(%x: tensor<2x3x4xf32>) {
  // expected-error @+1 {{(C2): rows 4 to 7 are not all in the 6 rows of 'tensor<2x3x4xf32>'}}
  %y = tx.slice_rows %x from 4 : tensor<2x3x4xf32> -> tensor<1x3x4xf32>
  return
}

// -----

// tx.concat_rows (C1)
func.func @f(%x: tensor<1x3xf32>, %y: tensor<1x3xi32>) {
  // expected-error @+1 {{(C1): a part of 'tensor<2x3xf32>' must be rows of it, [1, N, ...], found 'tensor<1x3xi32>'}}
  %z = tx.concat_rows %x, %y : tensor<1x3xf32>, tensor<1x3xi32> -> tensor<2x3xf32>
  return
}

// -----

// tx.concat_rows (C2)
func.func @f(%x: tensor<1x3xf32>, %y: tensor<1x2xf32>) {
  // expected-error @+1 {{(C2): the parts have 5 rows, 'tensor<2x3xf32>' has 6}}
  %z = tx.concat_rows %x, %y : tensor<1x3xf32>, tensor<1x2xf32> -> tensor<2x3xf32>
  return
}
