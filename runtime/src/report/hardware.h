//===- hardware.h - What the process runs on and takes ---------------------===//
#ifndef TXC_RUNTIME_REPORT_HARDWARE_H
#define TXC_RUNTIME_REPORT_HARDWARE_H

#include <cstdint>
#include <string>

namespace txc {

struct Hardware {
  std::string cpu; // model name of the first core
  int cores = 0;   // that this process may run on
  uint64_t memoryBytes = 0;
};
Hardware detectHardware();

// Memory of this process as the kernel counts it.
struct ProcessMemory {
  uint64_t residentBytes = 0; // VmRSS
  uint64_t peakBytes = 0;     // VmHWM
};
ProcessMemory processMemory();

} // namespace txc

#endif // TXC_RUNTIME_REPORT_HARDWARE_H
