//===- world.h - Which rank this process is --------------------------------===//
//
// What launchers write into the environment of the processes that they start;
// docs/launch.md lists the variables.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_COMM_WORLD_H
#define TXC_RUNTIME_COMM_WORLD_H

#include "support/status.h"

#include <functional>
#include <string>

namespace txc {

struct World {
  int rank = 0, size = 1;
  int localRank = 0; // on its host
  // Where rank 0 waits for the others.
  std::string address = "127.0.0.1";
  int port = 29500;
  std::string launcher; // "mpirun", ...; empty: started alone
};

using Variables = std::function<const char *(const char *)>;

// Reads the variables of torchrun (and txrun --nproc), mpirun, MPICH and srun,
// in this order.
Result<World> worldOf(const Variables &variables);

// The first host of Slurm's short form: "node[03-05,9],other" -> "node03".
std::string firstHost(const std::string &list);

} // namespace txc

#endif // TXC_RUNTIME_COMM_WORLD_H
