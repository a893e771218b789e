//===- gpu_peaks.h - What a GPU can do at most -----------------------------===//
//
// The table of configs/gpus.yaml, in the program.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_REPORT_GPU_PEAKS_H
#define TXC_RUNTIME_REPORT_GPU_PEAKS_H

#include "support/status.h"

#include <cstdint>
#include <string>

namespace txc {

struct GpuPeak {
  std::string gpu;           // its name in the table
  double flops = 0;          // per second; tensor cores, dense
  uint64_t memoryBytes = 0;  // as sold; the driver keeps some of it
  double bytesPerSecond = 0; // of that memory
  std::string source;        // precision, figure and the vendor's document
};

// `deviceName` is what the driver calls the GPU, `precision` that of matrix
// products: bfloat16, float16, tf32, float32 or fp8. A GPU or figure that the
// table lacks is an error which names the file to extend.
Result<GpuPeak> findGpuPeak(const std::string &deviceName, const std::string &precision);

// Whether all of `name` is as `pattern` says, in which * is any text.
bool matchesPattern(const std::string &name, const std::string &pattern);

} // namespace txc

#endif // TXC_RUNTIME_REPORT_GPU_PEAKS_H
