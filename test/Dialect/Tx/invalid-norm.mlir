// RUN: tx-opt %s --split-input-file --verify-diagnostics

// tx.rms_norm (C1)
func.func @f(%x: tensor<2x4xf32>, %g: tensor<5xf32>) {
  // expected-error @+1 {{(C1): gain must be 1-D of the input's innermost size 4, found 'tensor<5xf32>'}}
  %y, %rstd = tx.rms_norm %x, %g epsilon 1.0e-05 : tensor<2x4xf32>, tensor<5xf32> -> tensor<2xf32>
  return
}

// -----

// tx.rms_norm (C1): a 0-d tensor has no rows.
func.func @f(%x: tensor<f32>, %g: tensor<1xf32>) {
  // expected-error @+1 {{(C1): input must have at least one dimension}}
  %y, %rstd = tx.rms_norm %x, %g epsilon 1.0e-05 : tensor<f32>, tensor<1xf32> -> tensor<f32>
  return
}

// -----

// tx.rms_norm (C2)
func.func @f(%x: tensor<2x3x4xf32>, %g: tensor<4xf32>) {
  // expected-error @+1 {{(C2): rstd must have the shape of 'tensor<2x3x4xf32>' less its innermost dimension, found 'tensor<6xf32>'}}
  %y, %rstd = tx.rms_norm %x, %g epsilon 1.0e-05 : tensor<2x3x4xf32>, tensor<4xf32> -> tensor<6xf32>
  return
}

// -----

// tx.rms_norm (C3)
func.func @f(%x: tensor<2x4xf32>, %g: tensor<4xf32>) {
  // expected-error @+1 {{(C3): epsilon must be positive, found 0}}
  %y, %rstd = tx.rms_norm %x, %g epsilon 0.0 : tensor<2x4xf32>, tensor<4xf32> -> tensor<2xf32>
  return
}

// -----

// tx.rms_norm_vjp (C1)
func.func @f(%x: tensor<2x4xf32>, %g: tensor<2xf32>, %rstd: tensor<2xf32>) {
  // expected-error @+1 {{(C1): gain must be 1-D}}
  %dx, %dg = tx.rms_norm_vjp %x, %x, %g, %rstd : tensor<2x4xf32>, tensor<2xf32>, tensor<2xf32>
  return
}

// -----

// tx.rms_norm_vjp (C2)
func.func @f(%x: tensor<2x4xf32>, %g: tensor<4xf32>, %rstd: tensor<4xf32>) {
  // expected-error @+1 {{(C2): rstd must have the shape}}
  %dx, %dg = tx.rms_norm_vjp %x, %x, %g, %rstd : tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// tx.layer_norm (C1)
func.func @f(%x: tensor<2x4xf32>, %g: tensor<1x4xf32>) {
  // expected-error @+1 {{(C1): gain must be 1-D}}
  %y, %mean, %rstd = tx.layer_norm %x, %g epsilon 1.0e-05 : tensor<2x4xf32>, tensor<1x4xf32> -> tensor<2xf32>, tensor<2xf32>
  return
}

// -----

// tx.layer_norm (C2)
func.func @f(%x: tensor<2x4xf32>, %g: tensor<4xf32>) {
  // expected-error @+1 {{(C2): mean must have the shape}}
  %y, %mean, %rstd = tx.layer_norm %x, %g epsilon 1.0e-05 : tensor<2x4xf32>, tensor<4xf32> -> tensor<1xf32>, tensor<2xf32>
  return
}

// -----

// tx.layer_norm (C2)
func.func @f(%x: tensor<2x4xf32>, %g: tensor<4xf32>) {
  // expected-error @+1 {{(C2): rstd must have the shape}}
  %y, %mean, %rstd = tx.layer_norm %x, %g epsilon 1.0e-05 : tensor<2x4xf32>, tensor<4xf32> -> tensor<2xf32>, tensor<1xf32>
  return
}

// -----

// tx.layer_norm (C3)
func.func @f(%x: tensor<2x4xf32>, %g: tensor<4xf32>) {
  // expected-error @+1 {{(C3): epsilon must be positive}}
  %y, %mean, %rstd = tx.layer_norm %x, %g epsilon -1.0 : tensor<2x4xf32>, tensor<4xf32> -> tensor<2xf32>, tensor<2xf32>
  return
}

// -----

// tx.layer_norm_vjp (C1)
func.func @f(%x: tensor<2x4xf32>, %g: tensor<2xf32>, %s: tensor<2xf32>) {
  // expected-error @+1 {{(C1): gain must be 1-D}}
  %dx, %dg = tx.layer_norm_vjp %x, %x, %g, %s, %s : tensor<2x4xf32>, tensor<2xf32>, tensor<2xf32>
  return
}

// -----

// tx.layer_norm_vjp (C2)
func.func @f(%x: tensor<2x4xf32>, %g: tensor<4xf32>, %s: tensor<4xf32>) {
  // expected-error @+1 {{(C2): mean and rstd must have the shape}}
  %dx, %dg = tx.layer_norm_vjp %x, %x, %g, %s, %s : tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// tx.rms_norm (C4)
func.func @f(%x: tensor<2x4xbf16>, %g: tensor<4xbf16>) {
  // expected-error @+1 {{(C4): gain must be of 'f32' for 'tensor<2x4xbf16>', found 'tensor<4xbf16>'}}
  %y, %r = tx.rms_norm %x, %g epsilon 1.0e-05 : tensor<2x4xbf16>, tensor<4xbf16> -> tensor<2xf32>
  return
}

// -----

// tx.rms_norm_vjp (C3)
func.func @f(%x: tensor<2x4xbf16>, %g: tensor<4xbf16>, %r: tensor<2xf32>) {
  // expected-error @+1 {{(C3): gain must be of 'f32'}}
  %dx, %dg = tx.rms_norm_vjp %x, %x, %g, %r : tensor<2x4xbf16>, tensor<4xbf16>, tensor<2xf32>
  return
}

// -----

// tx.layer_norm (C4)
func.func @f(%x: tensor<2x4xbf16>, %g: tensor<4xbf16>) {
  // expected-error @+1 {{(C4): gain must be of 'f32'}}
  %y, %m, %r = tx.layer_norm %x, %g epsilon 1.0e-05 : tensor<2x4xbf16>, tensor<4xbf16> -> tensor<2xf32>, tensor<2xf32>
  return
}

// -----

// tx.layer_norm_vjp (C3)
func.func @f(%x: tensor<2x4xbf16>, %g: tensor<4xbf16>, %r: tensor<2xf32>) {
  // expected-error @+1 {{(C3): gain must be of 'f32'}}
  %dx, %dg = tx.layer_norm_vjp %x, %x, %g, %r, %r : tensor<2x4xbf16>, tensor<4xbf16>, tensor<2xf32>
  return
}

// -----

// tx.normalized (C1)
func.func @f(%x: tensor<2x4xf32>, %g: tensor<3xf32>, %r: tensor<2xf32>) {
  // expected-error @+1 {{(C1): gain must be 1-D of the input's innermost size 4, found 'tensor<3xf32>'}}
  %y = tx.normalized %x, %g by %r : tensor<2x4xf32>, tensor<3xf32> by tensor<2xf32>
  return
}

// -----

// tx.normalized (C2)
func.func @f(%x: tensor<2x4xf32>, %g: tensor<4xf32>, %r: tensor<2xf32>) {
  // expected-error @+1 {{(C2): statistics must be mean and rstd, or rstd, found 3 values}}
  %y = tx.normalized %x, %g by %r, %r, %r : tensor<2x4xf32>, tensor<4xf32> by tensor<2xf32>, tensor<2xf32>, tensor<2xf32>
  return
}

// -----

// tx.normalized (C2)
func.func @f(%x: tensor<2x4xf32>, %g: tensor<4xf32>, %r: tensor<4xf32>) {
  // expected-error @+1 {{(C2): each of the statistics must have the shape of 'tensor<2x4xf32>' less its innermost dimension, found 'tensor<4xf32>'}}
  %y = tx.normalized %x, %g by %r : tensor<2x4xf32>, tensor<4xf32> by tensor<4xf32>
  return
}

// -----

// tx.normalized (C3)
func.func @f(%x: tensor<2x4xbf16>, %g: tensor<4xbf16>, %r: tensor<2xf32>) {
  // expected-error @+1 {{(C3): gain must be of 'f32'}}
  %y = tx.normalized %x, %g by %r : tensor<2x4xbf16>, tensor<4xbf16> by tensor<2xf32>
  return
}
