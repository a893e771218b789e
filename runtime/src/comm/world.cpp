//===- world.cpp - Which rank this process is ------------------------------===//
#include "comm/world.h"

#include "support/text.h"

#include <cstdint>

namespace txc {

namespace {

// The variables of one launcher.
struct Launcher {
  const char *name, *rank, *size, *localRank, *localSize, *job;
};
constexpr Launcher kLaunchers[] = {
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"},
    {"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE", "PMIX_NAMESPACE"},
    {"mpiexec", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "PMI_JOBID"},
    {"srun", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", nullptr, "SLURM_JOB_ID"},
};

// A port that jobs on one host most likely do not share.
int portOfJob(const std::string &job) {
  uint32_t hash = 2166136261u;
  for (unsigned char c : job)
    hash = (hash ^ c) * 16777619u;
  return 20000 + static_cast<int>(hash % 10000);
}

} // namespace

std::string firstHost(const std::string &list) {
  const size_t open = list.find('[');
  if (open == std::string::npos || list.find(',') < open)
    return list.substr(0, list.find(','));
  const size_t end = list.find_first_of(",-]", open);
  const size_t close = list.find(']', open);
  if (end == std::string::npos || close == std::string::npos)
    return list;
  const size_t after = list.find(',', close);
  return list.substr(0, open) + list.substr(open + 1, end - open - 1) +
         list.substr(close + 1, after == std::string::npos ? after : after - close - 1);
}

Result<World> worldOf(const Variables &variables) {
  auto text = [&](const char *name) -> std::string {
    const char *value = name ? variables(name) : nullptr;
    return value ? value : "";
  };
  World world;
  for (const Launcher &launcher : kLaunchers) {
    if (text(launcher.rank).empty() || text(launcher.size).empty())
      continue;
    const bool slurm = std::string(launcher.name) == "srun";
    // A batch script has a number too; only srun starts several processes.
    if (slurm && text("SLURM_STEP_ID").empty())
      continue;
    auto number = [&](const char *name, int64_t otherwise, int64_t most) -> Result<int64_t> {
      const std::string value = text(name);
      if (value.empty())
        return otherwise;
      Result<int64_t> parsed = parseWholeNumber(value);
      if (!parsed.ok() || *parsed < 0 || *parsed > most)
        return Status::usage(std::string(name) + "=" + value + " in the environment: expected a number of 0 to " +
                             std::to_string(most) + ", as " + launcher.name + " writes it");
      return *parsed;
    };
    Result<int64_t> size = number(launcher.size, 1, 1 << 20);
    if (!size.ok())
      return size.status();
    Result<int64_t> rank = number(launcher.rank, 0, std::max<int64_t>(*size - 1, 0));
    if (!rank.ok())
      return rank.status();
    Result<int64_t> localRank = number(launcher.localRank, *rank, 1 << 20);
    if (!localRank.ok())
      return localRank.status();
    Result<int64_t> port = number("MASTER_PORT", portOfJob(text(launcher.job)), 65535);
    if (!port.ok())
      return port.status();
    world.launcher = text("TXC_SUPERVISED").empty() ? launcher.name : "txrun --nproc";
    world.rank = static_cast<int>(*rank);
    world.size = static_cast<int>(*size);
    world.localRank = static_cast<int>(*localRank);
    world.port = static_cast<int>(*port);
    // torchrun itself listens at MASTER_PORT.
    if (text("TORCHELASTIC_USE_AGENT_STORE") == "True")
      ++world.port;
    world.address = text("MASTER_ADDR");
    if (!world.address.empty())
      return world;
    std::string hosts = text("SLURM_STEP_NODELIST").empty() ? text("SLURM_JOB_NODELIST") : text("SLURM_STEP_NODELIST");
    const std::string localSize = text(launcher.localSize);
    if (slurm && !hosts.empty())
      world.address = firstHost(hosts);
    else if (world.size == 1 || localSize.empty() || localSize == text(launcher.size))
      world.address = "127.0.0.1";
    else
      return Status::usage(format("%s started %d ranks, %s of them on this host, and MASTER_ADDR is not set; "
                                  "give all ranks the name of rank 0's host (%s)",
                                  launcher.name, world.size, localSize.c_str(),
                                  world.launcher == "mpirun" ? "mpirun -x MASTER_ADDR=host ..."
                                                             : "MASTER_ADDR=host in the environment"));
    return world;
  }
  return world;
}

} // namespace txc
