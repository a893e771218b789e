//===- dataset.cpp - Token files and batches of them ------------------------===//
//
// Opening a data set proves what training then relies on:
//   1. The sidecar or the options name dtype and vocabulary, without
//      contradiction; a file with llm.c's header must agree with them.
//   2. Each file holds whole tokens, as many as sidecar and header say.
//   3. Each token is below the vocabulary (every one is read).
// Each message names the file and, where there is one, the byte offset.
//
// A batch: row r of step s starts at a place drawn from
//   Philox(key = stream key, counter = (r, attempt, s_lo, s_hi))
// scaled to [0, size - block) by 64-bit multiply-high, drawing again on the
// few values that would favour some places (Lemire 2019).
//
//===----------------------------------------------------------------------===//
#include "data/dataset.h"

#include "data/scan.h"
#include "data/sidecar.h"
#include "support/file.h"
#include "support/philox.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

namespace txc::data {

static_assert(std::endian::native == std::endian::little, "token files are little-endian");

struct TokenSplit::File {
  std::string path;
  std::shared_ptr<const int> open;
  uint64_t bytes = 0;     // when it was opened
  uint64_t firstByte = 0; // where the tokens begin
  uint64_t count = 0;
  uint32_t width = 2; // bytes per token
  uint32_t vocabSize = 0;
};

uint64_t TokenSplit::size() const { return file_ ? file_->count : 0; }

// Tokens [begin, begin + count) of a file.
template <typename Token>
static Status readTokens(int file, uint64_t firstByte, uint64_t begin, std::vector<Token> &tokens,
                         const std::string &path) {
  return readExactly(file, firstByte + begin * sizeof(Token), tokens.data(), tokens.size() * sizeof(Token),
                     path);
}

template <typename Token>
static Status widen(int file, uint64_t firstByte, uint64_t begin, uint64_t count, uint32_t vocabSize,
                    const std::string &path, int32_t *out) {
  std::vector<Token> tokens;
  for (uint64_t done = 0; done < count; done += tokens.size()) {
    tokens.resize(std::min<uint64_t>(count - done, 1 << 16));
    if (Status status = readTokens(file, firstByte, begin + done, tokens, path); !status.ok())
      return status;
    if (uint32_t largest = largestToken(tokens.data(), tokens.size()); largest >= vocabSize)
      return Status::failed(path + ": token " + std::to_string(largest) + " between byte " +
                            std::to_string(firstByte + (begin + done) * sizeof(Token)) + " and " +
                            std::to_string(firstByte + (begin + done + tokens.size()) * sizeof(Token)) +
                            ", where all were below the vocabulary of " + std::to_string(vocabSize));
    std::copy(tokens.begin(), tokens.end(), out + done);
  }
  return {};
}

Status TokenSplit::read(uint64_t begin, uint64_t count, int32_t *out) const {
  assert(begin <= size() && count <= size() - begin);
  const File &file = *file_;
  Status status =
      file.width == 2
          ? widen<uint16_t>(*file.open, file.firstByte, begin, count, file.vocabSize, file.path, out)
          : widen<uint32_t>(*file.open, file.firstByte, begin, count, file.vocabSize, file.path, out);
  if (status.ok())
    return status;
  return Status::failed(status.message() + "; it was whole, with " + std::to_string(file.bytes) +
                        " bytes, when it was opened: put it back and go on with --init_from=resume");
}

const std::string &TokenSplit::path() const { return file_->path; }

std::string TokenSplit::dtype() const { return file_->width == 2 ? "uint16" : "uint32"; }

std::string TokenSplit::format() const {
  return formatName(file_->firstByte == 0 ? TokenFormat::Raw : TokenFormat::LlmC);
}

//===-- Finding a data set -------------------------------------------------===//

std::string cacheDirectory() {
  if (const char *cache = std::getenv("XDG_CACHE_HOME"); cache && *cache)
    return std::string(cache) + "/txc";
  if (const char *home = std::getenv("HOME"); home && *home)
    return std::string(home) + "/.cache/txc";
  return "";
}

std::vector<std::string> datasetCandidates(const std::string &nameOrDir, const OpenOptions &options) {
  std::vector<std::string> out = {nameOrDir};
  if (nameOrDir.find('/') != std::string::npos)
    return out;
  for (const std::string &folder : options.searchPath)
    out.push_back(folder + "/" + nameOrDir);
  if (const char *folder = std::getenv("TXC_DATA_DIR"); folder && *folder)
    out.push_back(std::string(folder) + "/" + nameOrDir);
  out.push_back("data/" + nameOrDir);
  if (std::string cache = cacheDirectory(); !cache.empty())
    out.push_back(cache + "/datasets/" + nameOrDir);
  return out;
}

static Result<std::string> findDirectory(const std::string &nameOrDir, const OpenOptions &options) {
  if (nameOrDir.empty())
    return Status::failed(
        "the name of the data set is empty; expected a name such as shakespeare_char, or a folder");
  std::vector<std::string> candidates = datasetCandidates(nameOrDir, options);
  for (const std::string &candidate : candidates)
    if (isDirectory(candidate))
      return candidate;
  if (isFile(nameOrDir))
    return Status::failed(nameOrDir +
                          ": expected the folder of a data set, found a file; make one from a text with "
                          "`txdata prepare " +
                          nameOrDir + "`, or name the folder that holds train.bin and val.bin");
  std::string looked;
  for (const std::string &candidate : candidates)
    looked += "\n  " + candidate;
  bool known = nameOrDir == "shakespeare_char" || nameOrDir == "shakespeare";
  bool isPath = nameOrDir.find('/') != std::string::npos;
  return Status::failed("data set " + nameOrDir + " not found; looked for the folder" + looked +
                        "\nMake it with `txdata prepare " +
                        (known ? nameOrDir : "FILE.txt --out=" + (isPath ? nameOrDir : "data/" + nameOrDir)) +
                        "`" + (known || isPath ? "" : ", or set TXC_DATA_DIR to the folder that holds it"));
}

// train.bin, as nanoGPT names it, or the one file NAME_train.bin, as llm.c does.
static Result<std::string> findSplitFile(const std::string &directory, const std::string &split,
                                         const std::optional<SplitInfo> &info) {
  std::string plain = directory + "/" + (info ? info->file : split + ".bin");
  if (isFile(plain))
    return plain;
  std::vector<std::string> found;
  if (!info) {
    std::error_code error;
    for (const auto &entry : std::filesystem::directory_iterator(directory, error))
      if (entry.path().filename().string().ends_with("_" + split + ".bin"))
        found.push_back(entry.path().string());
  }
  if (found.size() == 1)
    return found[0];
  if (found.empty())
    return Status::failed(
        plain + ": missing; a data set holds train.bin and val.bin. Make one with `txdata prepare`, "
                "or name another folder");
  std::sort(found.begin(), found.end());
  return Status::failed(plain + ": missing, and " + found[0] + " and " + found[1] +
                        " could both stand for it; leave one, or rename it to " + split + ".bin");
}

//===-- Opening a file -----------------------------------------------------===//

// llm.c's header: 256 little-endian int32: magic, version, count, zeros.
static constexpr uint32_t llmcMagic = 20240520;
static constexpr uint64_t llmcHeaderBytes = 1024;

namespace {
// What sidecar and options say together.
struct Description {
  std::string dtype;
  std::string dtypeFrom; // for messages
  uint32_t vocabSize = 0;
  std::optional<TokenFormat> format;
};
} // namespace

static uint32_t readWord(std::string_view bytes, uint64_t offset) {
  uint32_t word;
  std::memcpy(&word, bytes.data() + offset, sizeof(word));
  return word;
}

// `head` is the file's beginning, at most as long as llm.c's header.
static Result<TokenFormat> checkFormat(const std::string &path, std::string_view head,
                                       std::optional<TokenFormat> expected) {
  bool magic = head.size() >= 4 && readWord(head, 0) == llmcMagic;
  if (expected == TokenFormat::Raw || (!expected && !magic))
    return TokenFormat::Raw;
  if (!magic)
    return Status::failed(path +
                          ": byte 0: the sidecar says format llm.c, whose files begin with the int32 " +
                          std::to_string(llmcMagic) +
                          (head.size() >= 4 ? "; found " + std::to_string(readWord(head, 0))
                                            : "; found a file of " + std::to_string(head.size()) + " bytes"));
  if (head.size() < llmcHeaderBytes)
    return Status::failed(
        path + ": byte " + std::to_string(head.size()) +
        ": llm.c's header is truncated: expected 1024 bytes of it; copy or make the file again");
  if (uint32_t version = readWord(head, 4); version != 1)
    return Status::failed(path + ": byte 4: llm.c's format version " + std::to_string(version) +
                          "; expected 1 (uint16 tokens)");
  return TokenFormat::LlmC;
}

template <typename Token>
static Status checkTokens(const std::string &path, int file, uint64_t firstByte, uint64_t count,
                          uint32_t vocabSize) {
  std::vector<Token> tokens;
  for (uint64_t begin = 0; begin < count; begin += tokens.size()) {
    tokens.resize(std::min<uint64_t>(count - begin, 1 << 20));
    if (Status status = readTokens(file, firstByte, begin, tokens, path); !status.ok())
      return status;
    if (largestToken(tokens.data(), tokens.size()) < vocabSize)
      continue;
    for (uint64_t i = 0;; ++i)
      if (tokens[i] >= vocabSize)
        return Status::failed(path + ": byte " + std::to_string(firstByte + (begin + i) * sizeof(Token)) +
                              ": token " + std::to_string(tokens[i]) + " (number " +
                              std::to_string(begin + i) + "); expected tokens below the vocabulary of " +
                              std::to_string(vocabSize) + ". Is the dtype or vocab_size wrong?");
  }
  return Status();
}

static std::string countText(uint64_t count, uint32_t width) {
  return std::to_string(count) + " uint" + std::to_string(8 * width) + " tokens";
}

Result<TokenDataset> TokenDataset::open(const std::string &nameOrDir, const OpenOptions &options) {
  Result<std::string> directory = findDirectory(nameOrDir, options);
  if (!directory.ok())
    return directory.status();
  Result<std::optional<Sidecar>> read = Sidecar::readFrom(*directory);
  if (!read.ok())
    return read.status();
  const std::optional<Sidecar> &sidecar = *read;
  std::string sidecarPath = *directory + "/" + sidecarName;

  Description description;
  if (!options.dtype.empty() && options.dtype != "uint16" && options.dtype != "uint32")
    return Status::usage("dtype of tokens: expected uint16 or uint32, found " + options.dtype);
  if (sidecar) {
    if (!options.dtype.empty() && options.dtype != sidecar->dtype)
      return Status::failed(sidecarPath + ": dtype " + sidecar->dtype + " contradicts the given dtype " +
                            options.dtype + "; leave the option out, or correct the sidecar");
    if (options.vocabSize != 0 && options.vocabSize != sidecar->vocabSize)
      return Status::failed(sidecarPath + ": vocab_size " + std::to_string(sidecar->vocabSize) +
                            " contradicts the given vocabulary of " + std::to_string(options.vocabSize) +
                            "; leave the option out, or correct the sidecar");
    description = {sidecar->dtype, sidecarPath, sidecar->vocabSize, sidecar->format};
  } else {
    description = {options.dtype, "the given option", options.vocabSize, std::nullopt};
  }

  TokenDataset dataset;
  dataset.directory_ = *directory;
  dataset.tokenizerName_ = sidecar ? sidecar->tokenizerKind() : "";
  for (bool training : {true, false}) {
    std::string name = training ? "train" : "val";
    std::optional<SplitInfo> info = !sidecar ? std::nullopt : training ? sidecar->train : sidecar->val;
    Result<std::string> path = findSplitFile(*directory, name, info);
    if (!path.ok())
      return path.status();
    uint64_t bytes = 0;
    Result<std::shared_ptr<const int>> file = openForReading(*path, bytes);
    if (!file.ok())
      return file.status();
    if (bytes == 0)
      return Status::failed(*path + ": byte 0: empty; expected tokens");
    std::string head(std::min(bytes, llmcHeaderBytes), '\0');
    if (Status status = readExactly(**file, 0, head.data(), head.size(), *path); !status.ok())
      return status;
    Result<TokenFormat> format = checkFormat(*path, head, description.format);
    if (!format.ok())
      return format.status();
    if (*format == TokenFormat::LlmC && description.dtype == "uint32")
      return Status::failed(
          *path + ": llm.c's format version 1 holds uint16 tokens, which contradicts dtype uint32 of " +
          description.dtypeFrom + "; correct it");
    if ((*format == TokenFormat::Raw && description.dtype.empty()) || description.vocabSize == 0)
      return Status::failed(sidecarPath + ": missing, so that " +
                            (*format == TokenFormat::Raw ? "dtype and vocabulary of the tokens are"
                                                         : "the vocabulary of the tokens is") +
                            " unknown (and never guessed); describe the files once with `txdata describe " +
                            *directory + (*format == TokenFormat::Raw ? " --dtype=uint16" : "") +
                            " --vocab_size=N` (GPT-2's tokens: 50257)");

    auto split = std::make_shared<TokenSplit::File>();
    split->path = *path;
    split->open = *file;
    split->bytes = bytes;
    split->vocabSize = description.vocabSize;
    split->firstByte = *format == TokenFormat::LlmC ? llmcHeaderBytes : 0;
    split->width = *format == TokenFormat::LlmC || description.dtype == "uint16" ? 2 : 4;
    uint64_t payload = bytes - split->firstByte;
    split->count = payload / split->width;
    if (uint64_t rest = payload % split->width)
      return Status::failed(*path + ": byte " + std::to_string(bytes - rest) + ": the last token is cut: " +
                            std::to_string(payload) + " bytes are no multiple of " +
                            std::to_string(split->width) + " (uint" + std::to_string(8 * split->width) +
                            "); is the file truncated or the dtype wrong?");
    if (*format == TokenFormat::LlmC && readWord(head, 8) != split->count)
      return Status::failed(*path + ": byte 8: the header says " + countText(readWord(head, 8), 2) +
                            ", the file holds " + std::to_string(split->count) + "; copy or make it again");
    if (info && info->tokens != split->count)
      return Status::failed(
          *path + ": byte " +
          std::to_string(split->firstByte + std::min(info->tokens, split->count) * split->width) +
          ": the file holds " + countText(split->count, split->width) + ", " + sidecarPath + " says " +
          std::to_string(info->tokens) + "; they do not belong together, prepare the data set again");
    if (split->width == 4 || description.vocabSize <= UINT16_MAX) {
      Status tokens =
          split->width == 2
              ? checkTokens<uint16_t>(*path, **file, split->firstByte, split->count, description.vocabSize)
              : checkTokens<uint32_t>(*path, **file, split->firstByte, split->count, description.vocabSize);
      if (!tokens.ok())
        return tokens;
    }
    (training ? dataset.train_ : dataset.val_).file_ = std::move(split);
  }
  dataset.vocabSize_ = description.vocabSize;
  return dataset;
}

Status checkFits(const TokenDataset &dataset, int64_t vocab, int64_t block) {
  if (int64_t(dataset.vocabSize()) > vocab)
    return Status::failed(dataset.directory() + ": a vocabulary of " + std::to_string(dataset.vocabSize()) +
                          " tokens; the model has " + std::to_string(vocab) +
                          ". Compile it with --vocab_size=" + std::to_string(dataset.vocabSize()) +
                          " or more");
  for (const TokenSplit *split : {&dataset.train(), &dataset.val()}) {
    if (int64_t(split->size()) >= block + 1)
      continue;
    uint64_t end = (split->format() == "raw" ? 0 : llmcHeaderBytes) +
                   split->size() * (split->dtype() == "uint16" ? 2 : 4);
    return Status::failed(split->path() + ": ends at byte " + std::to_string(end) + " after " +
                          std::to_string(split->size()) + " tokens; a model of block_size " +
                          std::to_string(block) + " needs at least " + std::to_string(block + 1) +
                          ". Use more text, a larger --val_fraction, or compile with a smaller --block_size");
  }
  return Status();
}

//===-- Batches ------------------------------------------------------------===//

static uint64_t drawBelow(uint64_t bound, uint64_t key, uint64_t step, uint32_t row) {
  // Products below this are one too many for some results.
  const uint64_t excess = -bound % bound;
  for (uint32_t attempt = 0;; ++attempt) {
    PhiloxBlock block = philox4x32({row, attempt, uint32_t(step), uint32_t(step >> 32)}, key);
    for (int half = 0; half < 2; ++half) {
      uint64_t draw = block[2 * half] | uint64_t(block[2 * half + 1]) << 32;
      auto product = static_cast<unsigned __int128>(draw) * bound;
      if (static_cast<uint64_t>(product) >= excess)
        return static_cast<uint64_t>(product >> 64);
    }
  }
}

Status sampleBatch(const TokenSplit &split, uint64_t seed, uint64_t stream, uint64_t step, int64_t batch,
                   int64_t block, int32_t *tokens, int32_t *targets) {
  assert(split.size() > uint64_t(block));
  uint64_t key = streamKey(seed, stream);
  uint64_t places = split.size() - uint64_t(block);
  std::vector<int32_t> window(uint64_t(block) + 1);
  for (int64_t row = 0; row < batch; ++row) {
    if (Status status = split.read(drawBelow(places, key, step, uint32_t(row)), window.size(), window.data());
        !status.ok())
      return status;
    std::copy_n(window.begin(), block, tokens + row * block);
    std::copy_n(window.begin() + 1, block, targets + row * block);
  }
  return {};
}

} // namespace txc::data
