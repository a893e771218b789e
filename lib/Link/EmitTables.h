//===- EmitTables.h - The tables and entry functions of step.so ------------===//
#ifndef TXC_LIB_LINK_EMITTABLES_H
#define TXC_LIB_LINK_EMITTABLES_H

#include "Program.h"

#include "llvm/IR/Module.h"

namespace txc::link {

/// Fill `module` (whose data layout is set) with everything but the kernels:
/// const tables, metadata, note (hash zero), entry functions, the query symbol.
void emitTables(llvm::Module &module, Program &program, llvm::StringRef metadata);

} // namespace txc::link

#endif // TXC_LIB_LINK_EMITTABLES_H
