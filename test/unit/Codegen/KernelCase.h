//===- KernelCase.h - A kernel, its inputs, and what it must compute -------===//
#ifndef TXC_TEST_CODEGEN_KERNELCASE_H
#define TXC_TEST_CODEGEN_KERNELCASE_H

#include "KernelRunner.h"
#include "Reference.h"

#include "Gpu/random_input.h"

#include <optional>

namespace txc::test {

/// One buffer of a case; a result that shares no input's is poisoned before a run.
struct CaseBuffer {
  enum Type { F32, BF16, I32, Raw };
  Type type;
  Bytes data;                                    ///< before the kernel runs; of a result only the size counts
  std::optional<Filling> filling = std::nullopt; ///< what `data` was made with, if it is random
  int64_t count() const { return data.size() / (type == BF16 ? 2 : type == Raw ? 1 : 4); }
};

struct CaseResult {
  Doubles expected;        ///< NaN: must be as it was before, poisoned
  double tolerance = 3e-6; ///< of an element, relative to its size plus the result's typical size
  bool eachAlone = false;  ///< relative to its size alone
};

struct KernelCase {
  std::string name;                ///< sizes, e.g. "B2 N45 T67 bf16"
  std::string text;                ///< step.kernel @k, perhaps with others before it
  std::vector<CaseBuffer> buffers; ///< inputs, then results
  std::vector<int> shares;         ///< the buffer whose place buffer i takes, or -1
  std::vector<CaseResult> results; ///< of the last buffers
  std::vector<unsigned> arguments; ///< buffers that a launch passes on a GPU; none: all
};

Bytes toBytes(const Doubles &values, CaseBuffer::Type type);
Doubles toDoubles(const Bytes &bytes, CaseBuffer::Type type);
CaseBuffer filled(CaseBuffer::Type type, const Filling &filling, int64_t count);
CaseBuffer floats(const std::vector<float> &values);
CaseBuffer hyperBuffer(const txc_hyper &hyper);

/// Where cases go instead of being run on the CPU.
class CaseSink {
public:
  virtual ~CaseSink() = default;
  virtual void add(KernelCase &&kernelCase) = 0;
  /// What the cases are compiled for.
  virtual const std::string &target() const = 0;
  static CaseSink *current; ///< null: cases are run
};

/// Compiles and runs the case for each level that this machine runs, in several
/// splits: bitwise the same for all, and within the tolerances. Or hands it to
/// CaseSink::current.
void checkCase(KernelCase &&kernelCase);

} // namespace txc::test

#endif // TXC_TEST_CODEGEN_KERNELCASE_H
