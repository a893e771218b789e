//===- Version.h - Name and version of this compiler -------------*- C++ -*-===//
#ifndef TXC_SUPPORT_VERSION_H
#define TXC_SUPPORT_VERSION_H

namespace txc {

/// "txc 0.1.0": what step.so records as its compiler.
const char *getCompilerVersion();

} // namespace txc

#endif // TXC_SUPPORT_VERSION_H
