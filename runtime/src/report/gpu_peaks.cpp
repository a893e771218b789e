//===- gpu_peaks.cpp - What a GPU can do at most ---------------------------===//
#include "report/gpu_peaks.h"

#include "support/text.h"

#include <array>
#include <sstream>

namespace txc {

namespace {

constexpr std::array<const char *, 5> kPrecisions = {"bfloat16", "float16", "tf32", "float32", "fp8"};

struct Gpu {
  const char *name, *match;
  double memoryGb, bandwidthGbs;
  std::array<double, 5> teraflops; // by kPrecisions; 0: not in the table
  const char *source;
};

const Gpu kGpus[] = {
#define TXC_GPU(name, match, arch, memory, bandwidth, bf16, fp16, tf32, fp32, fp8, source)                   \
  {name, match, memory, bandwidth, {bf16, fp16, tf32, fp32, fp8}, source},
#include "txc/Gpus.inc"
};

// The parts of "A | B" without the blanks around them.
std::vector<std::string> alternatives(const std::string &match) {
  std::vector<std::string> out;
  std::istringstream parts(match);
  for (std::string part; std::getline(parts, part, '|');) {
    part.erase(0, part.find_first_not_of(' '));
    part.erase(part.find_last_not_of(' ') + 1);
    out.push_back(part);
  }
  return out;
}

} // namespace

bool matchesPattern(const std::string &name, const std::string &pattern) {
  // Greedy, going back to the last star: linear in practice, no recursion.
  size_t n = 0, p = 0, star = std::string::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*')
    ++p;
  return p == pattern.size();
}

Result<GpuPeak> findGpuPeak(const std::string &deviceName, const std::string &precision) {
  size_t column = 0;
  while (column < kPrecisions.size() && precision != kPrecisions[column])
    ++column;
  if (column == kPrecisions.size())
    return Status::usage("'" + precision +
                         "' is no precision of configs/gpus.yaml; expected bfloat16, float16, "
                         "tf32, float32 or fp8");
  for (const Gpu &gpu : kGpus)
    for (const std::string &pattern : alternatives(gpu.match)) {
      if (!matchesPattern(deviceName, pattern))
        continue;
      const double teraflops = gpu.teraflops[column];
      if (teraflops == 0)
        return Status::failed(
            std::string(gpu.name) + " has no peak rate for " + precision +
            " in configs/gpus.yaml; if the vendor states one, add it there and build txrun again, "
            "else compile with another --dtype");
      return GpuPeak{gpu.name, teraflops * 1e12, static_cast<uint64_t>(gpu.memoryGb * 1e9),
                     gpu.bandwidthGbs * 1e9, format("%s, dense; ", precision.c_str()) + gpu.source};
    }
  return Status::failed(
      "'" + deviceName +
      "' is not in configs/gpus.yaml, so its peak rate and any MFU would be a guess; add it "
      "there, with the vendor's dense figures, and build txrun again");
}

} // namespace txc
