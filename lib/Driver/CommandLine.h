//===- CommandLine.h - What txc was asked to do ------------------*- C++ -*-===//
#ifndef TXC_LIB_DRIVER_COMMANDLINE_H
#define TXC_LIB_DRIVER_COMMANDLINE_H

#include "txc/Import/Spec.h"
#include "txc/Manual/Manual.h"
#include "txc/Pipeline/Pipeline.h"

namespace txc::driver {

enum class Command { Help, Version, SpecReference, StageReference, Compile, Explain };

struct CommandLine {
  Command command = Command::Help;
  std::string helpOn; ///< a command; empty: all of txc
  std::string input;
  std::vector<import::Override> overrides; ///< --key=value of the spec's keys
  std::string target = "auto";
  std::string cpu; ///< empty: this machine's level
  pipeline::Stage emit = pipeline::Stage::Link;
  std::optional<pipeline::Stage> from;
  std::string dumpStages; ///< folder; empty: none
  std::string output;     ///< "-": standard output
  bool json = false;
};

/// Reads the command line. MLIR's own options (--mlir-...) are handed to LLVM's
/// command-line library. On a mistake prints it to `errors` and returns nothing:
/// exit code 2.
std::optional<CommandLine> parseCommandLine(int argc, char **argv, llvm::raw_ostream &errors);

/// Commands and options, for --help, the man page and completion.
manual::Tool describeTool();
void printStageReference(llvm::raw_ostream &os);

} // namespace txc::driver

#endif // TXC_LIB_DRIVER_COMMANDLINE_H
