//===- GpuCaseWriter.h - Cases, compiled for a GPU, in one file ------------===//
//
// The file carries what a machine with a GPU and without a compiler needs to run
// the cases: test/Gpu/case_file.h says what is in it.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_TEST_CODEGEN_GPUCASEWRITER_H
#define TXC_TEST_CODEGEN_GPUCASEWRITER_H

#include "KernelCase.h"

#include "llvm/Support/JSON.h"

#include <map>

namespace txc::test {

class GpuCaseWriter : public CaseSink {
public:
  explicit GpuCaseWriter(std::string target) : arch(std::move(target)) {}
  const std::string &target() const override { return arch; }

  /// Keeps the case; those of one test are compiled together.
  void add(KernelCase &&kernelCase) override;
  /// Compiles what was kept; failures are the running test's.
  void flush();
  /// Writes the file; an error message or nothing.
  std::string write(const std::string &path);
  size_t size() const { return cases.size(); }

private:
  bool compile(std::vector<KernelCase> &batch, std::string &error);
  uint64_t append(const Bytes &bytes);

  std::string arch;
  std::vector<KernelCase> pending;
  llvm::json::Array cases, images;
  Bytes data;
  std::map<uint64_t, uint64_t> places; ///< of data, by its hash
};

} // namespace txc::test

#endif // TXC_TEST_CODEGEN_GPUCASEWRITER_H
