//===- Theory.cpp - What a GPU could make of a program --------------------===//
#include "txc/Cost/Theory.h"

#include "llvm/ADT/StringExtras.h"

namespace json = llvm::json;

namespace txc::cost {

namespace {

struct Gpu {
  llvm::StringRef name, arch;
  double memoryGb, bf16, fp32;
  llvm::StringRef source;
};

const Gpu gpus[] = {
#define TXC_GPU(name, match, arch, memory, bandwidth, bf16, fp16, tf32, fp32, fp8, source)                   \
  {name, arch, memory, bf16, fp32, source},
#include "txc/Gpus.inc"
};

} // namespace

llvm::StringRef getPrecision(const json::Object &description) {
  if (const json::Array *buffers = description.getArray("buffers"))
    for (const json::Value &buffer : *buffers)
      if (const json::Object *object = buffer.getAsObject())
        if (object->getString("dtype") == llvm::StringRef("bf16"))
          return "bfloat16";
  return "float32";
}

llvm::SmallVector<GpuTheory> getTheory(const json::Object &description) {
  llvm::SmallVector<GpuTheory> out;
  llvm::StringRef target = description.getString("target").value_or("");
  const json::Object *flops = description.getObject("flops_per_token");
  double perToken = flops ? flops->getInteger("full").value_or(0) : 0;
  if (!target.consume_front("cuda:") || perToken <= 0)
    return out;
  // sm_90a is the code of an sm_90.
  target = target.rtrim("af");
  const bool bf16 = getPrecision(description) == "bfloat16";
  for (const Gpu &gpu : gpus) {
    double peak = bf16 ? gpu.bf16 : gpu.fp32;
    if (gpu.arch != target || peak == 0)
      continue;
    int64_t memory = static_cast<int64_t>(gpu.memoryGb * 1e9);
    out.push_back({gpu.name, gpu.source, peak, 0.5 * peak * 1e12 / perToken, memory,
                   description.getInteger("arena_bytes").value_or(0) <= memory});
  }
  return out;
}

json::Array describeTheory(const json::Object &description) {
  json::Array out;
  for (const GpuTheory &theory : getTheory(description))
    out.push_back(json::Object{{"gpu", theory.gpu},
                               {"precision", getPrecision(description)},
                               {"peak_tflops", theory.peakTflops},
                               {"tokens_per_sec_at_half_peak", theory.halfPeakRate},
                               {"memory_bytes", theory.memoryBytes},
                               {"fits", theory.fits},
                               {"source", theory.source}});
  return out;
}

} // namespace txc::cost
