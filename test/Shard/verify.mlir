// RUN: tx-opt %s --tx-shard-verify --split-input-file --verify-diagnostics

module attributes {tx.mesh = "dp:1"} {
  func.func private @init()
  func.func private @micro()
  func.func private @update()
  func.func private @eval()
}

// -----

// expected-error @+1 {{has no tx.mesh after shard}}
module {
}

// -----

// expected-error @+1 {{mesh "dp:0": found "dp:0", expected an axis name and its size, as in dp:1}}
module attributes {tx.mesh = "dp:0"} {
}

// -----

// expected-error @+1 {{mesh "dp:2" has 2 ranks, but the step has no collectives}}
module attributes {tx.mesh = "dp:2"} {
}

// -----

// expected-error @+1 {{has no @update after shard}}
module attributes {tx.mesh = "dp:1"} {
  func.func private @init()
  func.func private @micro()
}
