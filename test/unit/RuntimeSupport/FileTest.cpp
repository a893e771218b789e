//===- FileTest.cpp - What is no regular file is refused at once ------------===//
#include "support/file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <sys/stat.h>

using namespace txc;

TEST(File, OnlyRegularOnesAreRead) {
  std::string folder = (std::filesystem::temp_directory_path() / "txc-file-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string pipe = folder + "/pipe", link = folder + "/link", loop = folder + "/loop";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0); // nobody writes: a plain open would wait
  std::filesystem::create_symlink("/dev/zero", link);
  std::filesystem::create_symlink("loop", loop);
  for (auto &[path, part] : {std::pair{pipe, "found a special file"}, std::pair{link, "found a special file"},
                             std::pair{folder, "found a directory"}, std::pair{loop, "cannot open"}}) {
    Result<std::string> text = readFile(path);
    ASSERT_FALSE(text.ok()) << path;
    EXPECT_NE(text.status().message().find(part), std::string::npos) << text.status().message();
    Result<MappedFile> mapped = MappedFile::open(path);
    ASSERT_FALSE(mapped.ok()) << path;
    EXPECT_NE(mapped.status().message().find(part), std::string::npos) << mapped.status().message();
  }
  std::filesystem::remove_all(folder);
}
