//===- mpi_collectives.cpp - Collectives of CPUs ---------------------------===//
//
// After a failure MPI is left as it is: its end would wait for the dead.
//
//===----------------------------------------------------------------------===//
#include "comm/collectives.h"
#include "comm/mpi/mpi_plugin.h"
#include "support/text.h"

#include <cstdlib>
#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

namespace txc {

namespace {

class MpiCollectives final : public HostCollectives {
public:
  MpiCollectives(Control &control, const txc_mpi_plugin_t &plugin) : control_(control), plugin_(plugin) {}
  ~MpiCollectives() override {
    if (!control_.failed() && !failed_)
      plugin_.close();
  }

  Status start(char *arena, const txc_collective_t &collective) override {
    control_.enter(collective.name);
    return check(plugin_.start(arena, &collective), collective.name);
  }

  Status wait(const txc_wait_t &wait) override {
    int done = 0;
    for (uint64_t turn = 0;; ++turn) {
      if (Status status = check(plugin_.test(static_cast<int>(wait.event), &done), wait.name); !status.ok())
        return status;
      if (done)
        break;
      // Only a wait that takes long is worth telling; and the others, on the same
      // core perhaps, must get their turn.
      if (turn == 1000)
        control_.waiting(true);
      if (turn > 50)
        ::sched_yield();
      if (control_.failed()) {
        failed_ = true;
        return control_.failure();
      }
    }
    control_.waiting(false);
    return {};
  }

  void progress() override { plugin_.test(-1, nullptr); }
  std::string name() const override { return plugin_.name(); }

private:
  Status check(int code, const char *what) {
    if (code == 0)
      return {};
    failed_ = true;
    char text[256];
    plugin_.error(code, text, sizeof(text));
    // That another rank died may show here first.
    if (control_.failed())
      return control_.failure();
    return {Code::Device, format("collective '%s': %s", what, text)};
  }

  Control &control_;
  const txc_mpi_plugin_t &plugin_;
  bool failed_ = false;
};

} // namespace

static std::string ownFolder() {
  char path[4096] = {};
  ssize_t size = ::readlink("/proc/self/exe", path, sizeof(path) - 1);
  std::string text(path, size > 0 ? static_cast<size_t>(size) : 0);
  return text.substr(0, text.find_last_of('/'));
}

Result<std::unique_ptr<HostCollectives>> openMpi(Control &control, uint32_t numEvents) {
  const char *named = std::getenv("TXC_MPI_LIBRARY");
  const std::string path = named && *named ? named : ownFolder() + "/../lib/txc/libtxc_mpi.so";
  // MPI's own plugins look for its symbols among the global ones.
  void *handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (!handle) {
    const char *why = ::dlerror();
    return Status{Code::Device,
                  "several ranks on the CPU need MPI, and its plugin cannot be loaded: " + std::string(why ? why : path) +
                      "; install Open MPI (Debian: apt install libopenmpi-dev openmpi-bin), configure and build txc "
                      "again, or name the file in TXC_MPI_LIBRARY"};
  }
  auto query = reinterpret_cast<const txc_mpi_plugin_t *(*)()>(::dlsym(handle, TXC_MPI_PLUGIN_SYMBOL));
  const txc_mpi_plugin_t *plugin = query ? query() : nullptr;
  if (!plugin || plugin->version != TXC_MPI_PLUGIN_VERSION)
    return Status{Code::Device, path + ": not the MPI plugin of this txrun; build both from one tree"};
  int rank = 0, size = 1;
  const World &world = control.world();
  if (int code = plugin->open(&rank, &size, static_cast<int>(numEvents)); code != 0) {
    char text[256];
    plugin->error(code, text, sizeof(text));
    return Status{Code::Device, std::string("starting MPI: ") + text};
  }
  if (rank != world.rank || size != world.size)
    return Status{Code::Device,
                  format("%s says that this process is rank %d of %d, %s that it is rank %d of %d; on the CPU start "
                         "the ranks with `txrun --nproc=%d`, `mpirun -n %d`, or with `srun --mpi=pmix`",
                         plugin->name(), rank, size, world.launcher.c_str(), world.rank, world.size, world.size,
                         world.size)};
  return std::unique_ptr<HostCollectives>(new MpiCollectives(control, *plugin));
}

} // namespace txc
