// RUN: tx-opt %s --tx-shard-partition | FileCheck %s
// RUN: tx-opt %s --tx-shard-partition="mesh=dp:1,tp:1" | FileCheck %s --check-prefix=AXES
// RUN: not tx-opt %s --tx-shard-partition="mesh=dp:2" 2>&1 | FileCheck %s --check-prefix=RANKS
// RUN: not tx-opt %s --tx-shard-partition="mesh=dp:one" 2>&1 | FileCheck %s --check-prefix=TEXT
// RUN: not tx-opt %s --tx-shard-partition="mesh=dp:1,dp:1" 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: not tx-opt %s --tx-shard-partition="mesh=a:1000000,b:1000000,c:1000000,d:1000000" 2>&1 \
// RUN:   | FileCheck %s --check-prefix=MANY
// RUN: not tx-opt %s --tx-shard-partition --tx-shard-partition 2>&1 | FileCheck %s --check-prefix=AGAIN

// One rank does the whole step: only the mark is new.
// CHECK: module attributes {tx.mesh = "dp:1"}
// CHECK-NEXT: func.func @update(%arg0: tensor<4xf32>) -> tensor<4xf32> {
// CHECK-NEXT: return %arg0
// AXES: module attributes {tx.mesh = "dp:1,tp:1"}

// RANKS: error: mesh "dp:2" has 2 ranks; steps over several ranks are not built yet; use mesh dp:1
// TEXT: error: mesh "dp:one": found "dp:one", expected an axis name and its size, as in dp:1
// TWICE: error: mesh "dp:1,dp:1": axis dp appears twice
// MANY: more than 1048576 ranks
// AGAIN: error: is partitioned already, over "dp:1"
func.func @update(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
