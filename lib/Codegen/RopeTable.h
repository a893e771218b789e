//===- RopeTable.h - Angles of the rotary position embedding ---------------===//
//
// The frequencies theta^(-2j/D) are constants of the code, in f64. Angles, their
// reduction to [-pi/4, pi/4] (Cody and Waite, pi/2 in three parts) and the
// polynomials are f64 too; only the results are rounded to f32.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_ROPETABLE_H
#define TXC_CODEGEN_ROPETABLE_H

#include "txc/Codegen/KernelBuilder.h"
#include "txc/Dialect/Tx/Tx.h"

namespace txc::codegen {

/// Adds the frequencies of `op` beside `function`, in address space `space`;
/// their address.
mlir::Value emitFrequencies(KernelBuilder &b, mlir::Operation *function, llvm::StringRef name,
                            tx::RopeTableOp op, unsigned space = 0);

/// (sin, cos) of f64 angles below 2^30.
std::pair<mlir::Value, mlir::Value> sinCosF64(KernelBuilder &b, mlir::Value angle);

} // namespace txc::codegen

#endif // TXC_CODEGEN_ROPETABLE_H
