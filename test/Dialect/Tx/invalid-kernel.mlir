// RUN: tx-opt %s --split-input-file --verify-diagnostics

// tx.kernel (C1): arguments.
func.func @f(%x: tensor<2x4xf32>) {
  // expected-error @+1 {{(C1): body arguments must have the types of the operands}}
  %y = tx.kernel row_wise "y" (%x) inplace [-1] : (tensor<2x4xf32>) -> tensor<4x2xf32> {
  ^bb0(%a: tensor<4x2xf32>):
    tx.yield %a : tensor<4x2xf32>
  }
  return
}

// -----

// tx.kernel (C1): results.
func.func @f(%x: tensor<2x4xf32>) {
  // expected-error @+1 {{(C1): yielded values must have the types of the results}}
  %y = tx.kernel row_wise "y" (%x) inplace [-1] : (tensor<2x4xf32>) -> tensor<4x2xf32> {
  ^bb0(%a: tensor<2x4xf32>):
    tx.yield %a : tensor<2x4xf32>
  }
  return
}

// -----

// tx.kernel (C2): a product does not work row by row.
func.func @f(%x: tensor<2x4xf32>, %w: tensor<5x4xf32>) {
  // expected-error @+1 {{(C2): a row_wise kernel cannot hold this op}}
  %y = tx.kernel row_wise "y" (%x, %w) inplace [-1] : (tensor<2x4xf32>, tensor<5x4xf32>) -> tensor<2x5xf32> {
  ^bb0(%a: tensor<2x4xf32>, %b: tensor<5x4xf32>):
    // expected-note @+1 {{see tx.linear}}
    %c = tx.linear %a, %b : tensor<2x4xf32>, tensor<5x4xf32> -> tensor<2x5xf32>
    tx.yield %c : tensor<2x5xf32>
  }
  return
}

// -----

// tx.kernel (C2): one product each.
func.func @f(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>) {
  // expected-error @+1 {{(C2): a matrix_product kernel holds exactly one op and at most one addition or rotation, found 2 and 0}}
  %y = tx.kernel matrix_product "y" (%x, %w) inplace [-1] : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32> {
  ^bb0(%a: tensor<2x4xf32>, %b: tensor<4x4xf32>):
    %c = tx.linear %a, %b : tensor<2x4xf32>, tensor<4x4xf32> -> tensor<2x4xf32>
    %d = tx.linear %c, %b : tensor<2x4xf32>, tensor<4x4xf32> -> tensor<2x4xf32>
    tx.yield %d : tensor<2x4xf32>
  }
  return
}

// -----

// tx.kernel (C3)
func.func @f(%x: tensor<2x4xf32>) {
  // expected-error @+1 {{(C3): inplace must have 1 elements, found 2}}
  %y = tx.kernel row_wise "y" (%x) inplace [-1, 0] : (tensor<2x4xf32>) -> tensor<2x4xf32> {
  ^bb0(%a: tensor<2x4xf32>):
    %b = tx.activation relu %a : tensor<2x4xf32>
    tx.yield %b : tensor<2x4xf32>
  }
  return
}

// -----

// tx.kernel (C3): a result fits only over an operand of its type.
func.func @f(%x: tensor<2x8xf32>) {
  // expected-error @+1 {{(C3): result 0 cannot be written over operand 0}}
  %y = tx.kernel row_wise "y" (%x) inplace [0] : (tensor<2x8xf32>) -> tensor<2x4xf32> {
  ^bb0(%a: tensor<2x8xf32>):
    %b = tx.swiglu %a : tensor<2x8xf32> -> tensor<2x4xf32>
    tx.yield %b : tensor<2x4xf32>
  }
  return
}

// -----

// tx.kernel (C3): two results over one operand.
func.func @f(%x: tensor<2x4xf32>) {
  // expected-error @+1 {{(C3): result 1 cannot be written over operand 0}}
  %y:2 = tx.kernel row_wise "y" (%x) inplace [0, 0] : (tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>) {
  ^bb0(%a: tensor<2x4xf32>):
    %b = tx.activation relu %a : tensor<2x4xf32>
    %c = tx.activation silu %a : tensor<2x4xf32>
    tx.yield %b, %c : tensor<2x4xf32>, tensor<2x4xf32>
  }
  return
}

// -----

// tx.kernel (C3): no such operand.
func.func @f(%x: tensor<2x4xf32>) {
  // expected-error @+1 {{(C3): result 0 cannot be written over operand 1}}
  %y = tx.kernel row_wise "y" (%x) inplace [1] : (tensor<2x4xf32>) -> tensor<2x4xf32> {
  ^bb0(%a: tensor<2x4xf32>):
    %b = tx.activation relu %a : tensor<2x4xf32>
    tx.yield %b : tensor<2x4xf32>
  }
  return
}
