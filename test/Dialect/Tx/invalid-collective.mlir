// RUN: tx-opt %s --split-input-file --verify-diagnostics

// tx.all_reduce (C1)
func.func @f(%x: tensor<4xf32>) {
  // expected-error @+1 {{(C1): the results must have the types of the inputs, at least one}}
  %y = tx.all_reduce sum "x" (%x) : (tensor<4xf32>) -> tensor<5xf32>
  return
}

// -----

// tx.all_reduce (C1)
func.func @f() {
  // expected-error @+1 {{(C1): the results must have the types of the inputs, at least one}}
  tx.all_reduce max "x" () : () -> ()
  return
}

// -----

// tx.reduce_scatter (C1)
func.func @f(%x: tensor<30x10xf32>) {
  // expected-error @+1 {{(C1): must have one result for each input, at least one, found 1 for 2}}
  %y = tx.reduce_scatter "x" (%x, %x) over 2 : (tensor<30x10xf32>, tensor<30x10xf32>) -> tensor<192xf32>
  return
}

// -----

// tx.reduce_scatter (C1)
func.func @f(%x: tensor<30x10xf32>) {
  // expected-error @+1 {{(C1): a tensor and its shard must have one element type, found 'tensor<30x10xf32>' and 'tensor<192xbf16>'}}
  %y = tx.reduce_scatter "x" (%x) over 2 : (tensor<30x10xf32>) -> tensor<192xbf16>
  return
}

// -----

// tx.reduce_scatter (C2): half of 300 elements, rounded up to a multiple of 64.
func.func @f(%x: tensor<30x10xf32>) {
  // expected-error @+1 {{(C2): the shard of 'tensor<30x10xf32>' over 2 ranks has 192 elements, found 'tensor<150xf32>'}}
  %y = tx.reduce_scatter "x" (%x) over 2 : (tensor<30x10xf32>) -> tensor<150xf32>
  return
}

// -----

// tx.all_gather (C1)
func.func @f() {
  // expected-error @+1 {{(C1): must have one result for each input, at least one, found 0 for 0}}
  tx.all_gather "x" () over 2 : () -> ()
  return
}

// -----

// tx.all_gather (C2)
func.func @f(%x: tensor<192xf32>) {
  // expected-error @+1 {{(C2): the shard of 'tensor<30x10xf32>' over 3 ranks has 128 elements, found 'tensor<192xf32>'}}
  %y = tx.all_gather "x" (%x) over 3 : (tensor<192xf32>) -> tensor<30x10xf32>
  return
}
