//===- launch.h - Several ranks on one host --------------------------------===//
#ifndef TXC_RUNTIME_COMM_LAUNCH_H
#define TXC_RUNTIME_COMM_LAUNCH_H

#include "support/status.h"

#include <string>
#include <vector>

namespace txc {

// What `txrun --nproc=N` does: starts N processes of this program with
// `arguments`, passes signals on and waits for them. On the CPU mpirun starts
// them, which MPI needs; for GPUs this process does. All end with it, however it
// ends, and all end when one has failed. Returns the worst of their exit codes.
Result<int> launchRanks(int ranks, bool gpu, const std::vector<std::string> &arguments);

// In a process that launchRanks started: ends with whoever started it.
void endWithLauncher();

// The worst of how processes ended, as waitpid tells: a code of their own before
// that of a signal.
int worstExitCode(const std::vector<int> &statuses);

} // namespace txc

#endif // TXC_RUNTIME_COMM_LAUNCH_H
