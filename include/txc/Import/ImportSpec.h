//===- ImportSpec.h - From a spec to tx --------------------------*- C++ -*-===//
#ifndef TXC_IMPORT_IMPORTSPEC_H
#define TXC_IMPORT_IMPORTSPEC_H

#include "txc/Import/Spec.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace txc::import {

/// Attributes of the module, all strings.
constexpr llvm::StringLiteral configAttrName = "tx.config";             ///< Spec::toJson
constexpr llvm::StringLiteral architectureAttrName = "tx.architecture"; ///< Spec::architectureName

/// The module of a spec: a tx.param for every weight, @init and @forward.
/// Loads the dialects it needs into `context`. Never fails: loadSpec has checked
/// the spec. `dtype: auto` must have been settled; it counts as float32.
mlir::OwningOpRef<mlir::ModuleOp> importSpec(mlir::MLIRContext &context, const Spec &spec);

} // namespace txc::import

#endif // TXC_IMPORT_IMPORTSPEC_H
