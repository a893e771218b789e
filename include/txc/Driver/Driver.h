//===- Driver.h - The txc program --------------------------------*- C++ -*-===//
#ifndef TXC_DRIVER_DRIVER_H
#define TXC_DRIVER_DRIVER_H

namespace txc::driver {

/// Exit codes of txc.
enum ExitCode { Ok = 0, BadInput = 1, BadUsage = 2 };

/// All of txc: reads the command line, does what it says, prints errors to
/// stderr and returns the exit code.
int run(int argc, char **argv);

} // namespace txc::driver

#endif // TXC_DRIVER_DRIVER_H
