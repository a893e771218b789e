//===- fuzz.h - What the fuzz targets share ---------------------------------===//
//
// A target is one .cpp file with LLVMFuzzerTestOneInput: it hands bytes to the
// reader that a user's file would reach. A reader may refuse them with a
// message; to crash, to hang or to take memory without bound is a bug.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_TEST_FUZZ_FUZZ_H
#define TXC_TEST_FUZZ_FUZZ_H

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

namespace txc::fuzz {

inline std::string_view asText(const uint8_t *data, size_t size) {
  return {reinterpret_cast<const char *>(data), size};
}

// What one input says of several files: parts between lines "--8<--". There
// are always `count` of them; those that the input lacks are empty.
inline std::vector<std::string_view> split(std::string_view text, size_t count) {
  constexpr std::string_view mark = "\n--8<--\n";
  std::vector<std::string_view> parts;
  while (parts.size() + 1 < count) {
    size_t end = text.find(mark);
    parts.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + mark.size());
  }
  parts.push_back(text);
  return parts;
}

// A folder of this process that is gone when it ends. In memory where the
// system has such a folder, since each input writes its files there.
class Folder {
public:
  Folder() {
    std::string pattern =
        (std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp") + std::string("/txc-fuzz-XXXXXX");
    if (!::mkdtemp(pattern.data()))
      std::abort();
    path_ = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string &path() const { return path_; }
  std::string write(const std::string &name, std::string_view bytes) const {
    std::string path = path_ + "/" + name;
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return path;
  }
  void remove(const std::string &name) const { ::unlink((path_ + "/" + name).c_str()); }

private:
  std::string path_;
};

// Keeps the compiler from dropping a result; a failure must say something.
template <typename Result> void checkSays(const Result &result) {
  if (!result.ok() && result.status().message().empty())
    std::abort();
}

} // namespace txc::fuzz

#endif // TXC_TEST_FUZZ_FUZZ_H
