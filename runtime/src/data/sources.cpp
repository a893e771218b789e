//===- sources.cpp - Public files that data sets are made from --------------===//
#include "data/sources.h"

#include "data/dataset.h"
#include "support/file.h"
#include "support/sha256.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace txc::data {

const PinnedFile tinyShakespeare = {
    "tiny Shakespeare", "tinyshakespeare/input.txt",
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed", 1115394};
const PinnedFile gpt2VocabBpe = {"GPT-2's vocab.bpe", "gpt2-bpe/vocab.bpe",
                                 "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/vocab.bpe",
                                 "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5", 456318};
const PinnedFile gpt2EncoderJson = {
    "GPT-2's encoder.json", "gpt2-bpe/encoder.json",
    "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/encoder.json",
    "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783", 1042301};

static Status checkPin(const PinnedFile &file, const std::string &bytes, const std::string &path) {
  if (bytes.size() != file.bytes)
    return Status::failed(path + ": not " + file.title + ": expected " + std::to_string(file.bytes) +
                          " bytes, found " + std::to_string(bytes.size()));
  if (std::string found = sha256Hex(bytes); found != file.sha256)
    return Status::failed(path + ": not " + file.title + ": expected SHA-256 " + file.sha256 + ", found " +
                          found);
  return Status();
}

// Runs curl; its complaint becomes the message.
static Status download(const PinnedFile &file, const std::string &target) {
  std::string limit = std::to_string(file.bytes);
  std::vector<const char *> arguments = {"curl",         "--fail",
                                         "--location",   "--proto",
                                         "=https",       "--silent",
                                         "--show-error", "--max-time",
                                         "300",          "--connect-timeout",
                                         "10",           "--output",
                                         target.c_str(), "--max-filesize",
                                         limit.c_str(),  "--",
                                         file.url,       nullptr};
  int complaint[2];
  if (::pipe(complaint) != 0)
    return Status::failed(std::string("cannot make a pipe: ") + std::strerror(errno));
  pid_t child = ::fork();
  if (child < 0) {
    ::close(complaint[0]);
    ::close(complaint[1]);
    return Status::failed(std::string("cannot start curl: ") + std::strerror(errno));
  }
  if (child == 0) {
    ::dup2(complaint[1], STDERR_FILENO);
    ::close(complaint[0]);
    ::close(complaint[1]);
    ::execvp("curl", const_cast<char *const *>(arguments.data()));
    static const char text[] = "curl is not installed";
    [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, text, sizeof(text) - 1);
    ::_exit(127);
  }
  ::close(complaint[1]);
  std::string text;
  char part[512];
  for (;;) {
    ssize_t count = ::read(complaint[0], part, sizeof(part));
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      break;
    text.append(part, static_cast<size_t>(count));
  }
  ::close(complaint[0]);
  int state = 0;
  while (::waitpid(child, &state, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(state) && WEXITSTATUS(state) == 0)
    return Status();
  while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
    text.pop_back();
  return Status::failed(text.empty() ? "curl was ended by a signal" : text);
}

namespace {
// What a user can set to supply a file.
struct Supply {
  std::string given;        // the option's value
  const char *option;       // its name
  const char *variable;     // of the environment
  std::string nameInFolder; // if these name a folder, what the file is called there; else ""
};
} // namespace

static Result<std::string> obtain(const PinnedFile &file, const Supply &supply, std::string &pathFound) {
  auto pathOf = [&](const std::string &value) {
    return supply.nameInFolder.empty() ? value : value + "/" + supply.nameInFolder;
  };
  auto readPinned = [&](const std::string &path) -> Result<std::string> {
    Result<std::string> bytes = readFile(path);
    if (!bytes.ok())
      return bytes;
    if (Status pin = checkPin(file, *bytes, path); !pin.ok())
      return pin;
    pathFound = path;
    return bytes;
  };
  if (!supply.given.empty())
    return readPinned(pathOf(supply.given));
  if (const char *value = std::getenv(supply.variable); value && *value) {
    Result<std::string> bytes = readPinned(pathOf(value));
    if (!bytes.ok())
      return Status::failed(std::string(supply.variable) + ": " + bytes.status().message());
    return bytes;
  }

  std::string tried = std::string("\n  ") + supply.option + ": not given\n  " + supply.variable + ": not set";
  std::string cache = cacheDirectory();
  if (!cache.empty()) {
    std::string path = cache + "/" + file.cacheName;
    Result<std::string> bytes = readPinned(path);
    if (bytes.ok())
      return bytes;
    tried += "\n  " + (isFile(path) ? bytes.status().message() : path + ": not there");
  }
  // Without a home there is no cache; then the download is not kept.
  std::error_code error;
  std::string folder = cache.empty() ? std::filesystem::temp_directory_path(error).string() : cache;
  std::string path = folder + "/" + file.cacheName;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  std::string partial = path + ".part-" + std::to_string(::getpid());
  Status status = error ? Status::failed(folder + ": cannot make this folder: " + error.message())
                        : download(file, partial);
  if (status.ok()) {
    Result<std::string> bytes = readPinned(partial);
    if (bytes.ok()) {
      pathFound = path;
      if (cache.empty() || ::rename(partial.c_str(), path.c_str()) != 0)
        ::unlink(partial.c_str());
      return bytes;
    }
    status = bytes.status();
  }
  ::unlink(partial.c_str());
  tried += std::string("\n  ") + file.url + ": " + status.message();
  return Status::failed(std::string(file.title) + " is not at hand; tried" + tried + "\nSupply it with " +
                        supply.option + "=" + (supply.nameInFolder.empty() ? "FILE" : "FOLDER") + " or " +
                        supply.variable + "=" + (supply.nameInFolder.empty() ? "FILE" : "FOLDER") + ": " +
                        std::to_string(file.bytes) + " bytes, SHA-256 " + file.sha256);
}

Result<std::string> obtainTinyShakespeare(const std::string &given) {
  std::string path;
  return obtain(tinyShakespeare, {given, "--source", "TXC_TINYSHAKESPEARE", ""}, path);
}

Result<Gpt2Files> obtainGpt2Files(const std::string &given) {
  Gpt2Files files;
  Result<std::string> merges =
      obtain(gpt2VocabBpe, {given, "--bpe_dir", "TXC_GPT2_BPE_DIR", "vocab.bpe"}, files.vocabBpePath);
  if (!merges.ok())
    return merges.status();
  Result<std::string> encoder = obtain(
      gpt2EncoderJson, {given, "--bpe_dir", "TXC_GPT2_BPE_DIR", "encoder.json"}, files.encoderJsonPath);
  if (!encoder.ok())
    return encoder.status();
  files.vocabBpe = std::move(*merges);
  files.encoderJson = std::move(*encoder);
  return files;
}

} // namespace txc::data
