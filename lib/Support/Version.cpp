//===- Version.cpp - Name and version of this compiler --------------------===//

#include "txc/Support/Version.h"

const char *txc::getCompilerVersion() { return "txc " TXC_VERSION; }
