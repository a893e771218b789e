//===- Npy.h - Write tensors for NumPy -------------------------------------===//
#ifndef TXC_INTERP_NPY_H
#define TXC_INTERP_NPY_H

#include "txc/Interp/Frame.h"

namespace txc::interp {

/// Writes a .npy file (format 1.0, little-endian). The error names the file.
llvm::Error writeNpy(llvm::StringRef path, const Tensor &tensor);
llvm::Error writeNpy(llvm::StringRef path, const IntTensor &tensor);

} // namespace txc::interp

#endif // TXC_INTERP_NPY_H
