//===- TestData.h - Public files that tests take if they are at hand --------===//
//
// TXC_TEST_DATA_DIR names a folder with tinyshakespeare/input.txt and
// gpt2-bpe/{vocab.bpe,encoder.json}. Tests on texts of their own always run.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_TEST_UNIT_DATA_TESTDATA_H
#define TXC_TEST_UNIT_DATA_TESTDATA_H

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

inline std::string testDataDir() {
  const char *folder = std::getenv("TXC_TEST_DATA_DIR");
  return folder ? folder : "";
}

#define TXC_SKIP_WITHOUT_TEST_DATA()                                                                         \
  if (testDataDir().empty())                                                                                 \
  GTEST_SKIP() << "NOT TESTED: set TXC_TEST_DATA_DIR to a folder with tinyshakespeare/input.txt and "        \
                  "gpt2-bpe/"

#endif // TXC_TEST_UNIT_DATA_TESTDATA_H
