// RUN: tx-opt %s --split-input-file --pass-pipeline='builtin.module(step.program(tx-codegen-emit-kernels{target=x86-64-v4 emit=mlir}))' | FileCheck %s
// RUN: tx-opt %s --split-input-file --pass-pipeline='builtin.module(step.program(tx-codegen-emit-kernels{target=x86-64-v3 emit=llvm}))' | FileCheck %s --check-prefix=V3
// RUN: tx-opt %s --split-input-file --pass-pipeline='builtin.module(step.program(tx-codegen-emit-kernels{target=x86-64-v4}))' -o %t.1
// RUN: tx-opt %s --split-input-file --pass-pipeline='builtin.module(step.program(tx-codegen-emit-kernels{target=x86-64-v4}))' -o %t.2
// RUN: cmp %t.1 %t.2
// RUN: FileCheck %s --check-prefix=OBJECT < %t.1

// Pointwise ops become one expression per chunk: one load per input, one store.
// 40 columns are two vectors of 16 lanes and a masked tail.
// CHECK-LABEL: func.func @bias_relu.0
// CHECK: llvm.load %{{.*}} : !llvm.ptr -> vector<16xf32>
// CHECK: llvm.load %{{.*}} : !llvm.ptr -> vector<16xf32>
// CHECK: arith.addf
// CHECK: arith.select
// CHECK: llvm.store %{{.*}} : vector<16xf32>, !llvm.ptr
// CHECK: llvm.intr.masked.load
// CHECK: llvm.intr.masked.load
// CHECK: llvm.intr.masked.store
// CHECK-NOT: store
// CHECK: return
// The vectors of x86-64-v3 have 8 lanes, so 40 columns have no tail.
// V3-LABEL: llvm.func @bias_relu.0
// V3-NOT: masked
// V3: llvm.return
// OBJECT: step.kernel @bias_relu "row_wise"
// OBJECT-NOT: tx.
// OBJECT: step.object "x86-64-v4" "\7FELF
step.program @pointwise {
  step.kernel @bias_relu "row_wise" inplace [0] blocks [1] {
  ^bb0(%x: tensor<2x3x40xf32>, %b: tensor<40xf32>):
    %h = tx.add_bias %x, %b : tensor<2x3x40xf32>, tensor<40xf32>
    %r = tx.activation relu %h : tensor<2x3x40xf32>
    tx.yield %r : tensor<2x3x40xf32>
  }
}

// -----

// A sum over rows has a second phase that adds the blocks' rows of the workspace.
// CHECK-LABEL: func.func @bias_vjp.0
// CHECK-LABEL: func.func @bias_vjp.1
// OBJECT: step.kernel @bias_vjp "row_wise"
step.program @column_sum {
  step.kernel @bias_vjp "row_wise" inplace [-1] blocks [4, 2] workspace [8192] {
  ^bb0(%g: tensor<4x32x512xf32>):
    %b = tx.bias_vjp %g : tensor<4x32x512xf32> -> tensor<512xf32>
    tx.yield %b : tensor<512xf32>
  }
}

// -----

// Kernels that differ only in the site of their dropout share one function.
// CHECK-LABEL: func.func @first.0.shared
// CHECK-SAME: i32)
// CHECK: vector.splat %arg4 : vector<16xi32>
// CHECK: func.func @first.0
// CHECK: %[[FIRST:.*]] = arith.constant 3 : i32
// CHECK: call @first.0.shared({{.*}}, %[[FIRST]])
// CHECK: func.func @second.0
// CHECK: %[[SECOND:.*]] = arith.constant 4 : i32
// CHECK: call @first.0.shared({{.*}}, %[[SECOND]])
// CHECK-LABEL: func.func @third.0
// CHECK-NOT: call
step.program @shared {
  step.kernel @first "row_wise" inplace [0] blocks [1] {
  ^bb0(%x: tensor<2x3x40xf32>, %hyper: !tx.hyper):
    %d = tx.dropout %x, %hyper p 0.1 site 3 : tensor<2x3x40xf32>
    tx.yield %d : tensor<2x3x40xf32>
  }
  step.kernel @second "row_wise" inplace [0] blocks [1] {
  ^bb0(%x: tensor<2x3x40xf32>, %hyper: !tx.hyper):
    %d = tx.dropout %x, %hyper p 0.1 site 4 : tensor<2x3x40xf32>
    tx.yield %d : tensor<2x3x40xf32>
  }
  step.kernel @third "row_wise" inplace [0] blocks [1] {
  ^bb0(%x: tensor<2x3x40xf32>, %hyper: !tx.hyper):
    %d = tx.dropout %x, %hyper p 0.2 site 5 : tensor<2x3x40xf32>
    tx.yield %d : tensor<2x3x40xf32>
  }
}
