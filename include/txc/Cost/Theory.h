//===- Theory.h - What a GPU could make of a program ------------*- C++ -*-===//
#ifndef TXC_COST_THEORY_H
#define TXC_COST_THEORY_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/JSON.h"

namespace txc::cost {

/// A GPU of configs/gpus.yaml and a program compiled for its architecture.
struct GpuTheory {
  llvm::StringRef gpu, source;
  double peakTflops;   ///< dense, in the program's precision
  double halfPeakRate; ///< tokens per second at 50% MFU
  int64_t memoryBytes; ///< as sold
  bool fits;           ///< the arena is not larger than that
};

/// "bfloat16" if any buffer of the description (Describe.h) is, else "float32".
llvm::StringRef getPrecision(const llvm::json::Object &description);

/// GPUs of the description's target whose peak is known; none for a CPU, whose
/// peak txrun measures.
llvm::SmallVector<GpuTheory> getTheory(const llvm::json::Object &description);

/// The same as JSON: theory[{gpu, precision, peak_tflops,
/// tokens_per_sec_at_half_peak, memory_bytes, fits, source}].
llvm::json::Array describeTheory(const llvm::json::Object &description);

} // namespace txc::cost

#endif // TXC_COST_THEORY_H
