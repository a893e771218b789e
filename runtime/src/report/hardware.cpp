//===- hardware.cpp - What the process runs on and takes -------------------===//
#include "report/hardware.h"

#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <omp.h>
#include <unistd.h>

namespace txc {

Hardware detectHardware() {
  Hardware hardware;
  std::ifstream cpus("/proc/cpuinfo");
  for (std::string line; std::getline(cpus, line);)
    if (line.compare(0, 10, "model name") == 0) {
      size_t colon = line.find(": ");
      hardware.cpu = colon == std::string::npos ? "" : line.substr(colon + 2);
      break;
    }
  hardware.cores = omp_get_num_procs();
  hardware.memoryBytes =
      static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return hardware;
}

ProcessMemory processMemory() {
  ProcessMemory memory;
  // One read into the stack: this runs every iteration.
  char text[4096];
  int fd = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return memory;
  ssize_t size = ::read(fd, text, sizeof(text) - 1);
  ::close(fd);
  if (size <= 0)
    return memory;
  text[size] = '\0';
  auto field = [&](const char *name) -> uint64_t {
    const char *at = std::strstr(text, name);
    return at ? std::strtoull(at + std::strlen(name), nullptr, 10) * 1024 : 0;
  };
  memory.residentBytes = field("VmRSS:");
  memory.peakBytes = field("VmHWM:");
  return memory;
}

} // namespace txc
