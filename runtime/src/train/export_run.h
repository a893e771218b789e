//===- export_run.h - txrun --export ----------------------------------------===//
#ifndef TXC_RUNTIME_TRAIN_EXPORT_RUN_H
#define TXC_RUNTIME_TRAIN_EXPORT_RUN_H

#include "support/status.h"
#include "train/options.h"

#include <functional>
#include <string>

namespace txc {

// Whether the command asks for it.
bool asksForExport(const Command &command);

// Writes the weights that --init_from names to the folder of --export. Only the
// metadata of step.so is read, so it may be for any machine.
Status exportRun(const Command &command, const std::function<void(const std::string &)> &print);

} // namespace txc

#endif // TXC_RUNTIME_TRAIN_EXPORT_RUN_H
