//===- Main.cpp - Runs the tests, or writes their cases for a GPU ----------===//
//
// CodegenTest --export-gpu-cases=FILE [--target=sm_90a] compiles the kernels of
// the tests for a GPU and writes them to FILE, with inputs and expected results,
// instead of running them here. run-cases runs them where a GPU is.
//
//===----------------------------------------------------------------------===//

#include "GpuCaseWriter.h"

#include "gtest/gtest.h"

#include <cstdio>
#include <cstring>

using namespace txc::test;

namespace {
struct FlushAfterTest : testing::EmptyTestEventListener {
  explicit FlushAfterTest(GpuCaseWriter &writer) : writer(writer) {}
  void OnTestEnd(const testing::TestInfo &) override { writer.flush(); }
  GpuCaseWriter &writer;
};
} // namespace

int main(int argc, char **argv) {
  testing::InitGoogleTest(&argc, argv);
  std::string file, target = "sm_90a";
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--export-gpu-cases=", 19) == 0) {
      file = argv[i] + 19;
    } else if (std::strncmp(argv[i], "--target=", 9) == 0) {
      target = argv[i] + 9;
    } else {
      std::fprintf(stderr, "unknown argument %s; expected --export-gpu-cases=FILE or --target=ARCH\n",
                   argv[i]);
      return 2;
    }
  }
  if (file.empty())
    return RUN_ALL_TESTS();
  // These look at the CPU's code itself.
  if (GTEST_FLAG_GET(filter) == "*")
    GTEST_FLAG_SET(filter, "*-Elementary.*:Refused.*");
  GpuCaseWriter writer(target);
  CaseSink::current = &writer;
  testing::UnitTest::GetInstance()->listeners().Append(new FlushAfterTest(writer));
  int result = RUN_ALL_TESTS();
  size_t count = writer.size();
  if (std::string error = writer.write(file); !error.empty()) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return 1;
  }
  std::printf("%zu cases for %s in %s\n", count, target.c_str(), file.c_str());
  return result;
}
