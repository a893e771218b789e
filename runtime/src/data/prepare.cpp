//===- prepare.cpp - Make a data set from a text ----------------------------===//
//
// 1. Obtain the text: a file, or what a name stands for (sources.h).
// 2. Split it: the first part trains, `valFraction` of the characters at its
//    end validates. Only a byte tokenizer counts bytes instead.
// 3. Tokenize: characters are those of the whole text, BPE merges are learned
//    from the training part, and each part is encoded by itself.
// 4. Write OUT.partial-PID, flush, rename to OUT.
//
//===----------------------------------------------------------------------===//
#include "data/prepare.h"

#include "data/dataset.h"
#include "data/sources.h"
#include "data/utf8.h"
#include "support/file.h"
#include "support/sha256.h"
#include "support/text.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <unistd.h>

namespace txc::data {

namespace fs = std::filesystem;

static constexpr uint32_t defaultBpeVocab = 1024;

namespace {
struct Preset {
  const char *name;
  const char *tokenizer;
};
// nanoGPT's two data sets of this text.
constexpr Preset presets[] = {{"shakespeare_char", "char"}, {"shakespeare", "gpt2"}};
} // namespace

std::vector<std::string> preparedNames() {
  std::vector<std::string> out;
  for (const Preset &preset : presets)
    out.push_back(preset.name);
  return out;
}

std::vector<std::string> tokenizerKinds() { return {"char", "byte", "gpt2", "bpe"}; }

//===-- What is there already ----------------------------------------------===//

static Result<std::string> hashOfFile(const std::string &path) {
  Result<MappedFile> file = MappedFile::open(path);
  if (!file.ok())
    return file.status();
  return sha256Hex(file->bytes());
}

// Fails if a split differs from the hash in the sidecar.
static Status checkHashes(const std::string &directory, const Sidecar &sidecar) {
  for (const std::optional<SplitInfo> *split : {&sidecar.train, &sidecar.val}) {
    if (!*split || (*split)->sha256.empty())
      continue;
    std::string path = directory + "/" + (*split)->file;
    Result<std::string> found = hashOfFile(path);
    if (!found.ok())
      return found.status();
    if (*found != (*split)->sha256)
      return Status::failed(path + ": altered: expected SHA-256 " + (*split)->sha256 + " (" + sidecarName +
                            "), found " + *found + "; prepare the data set again");
  }
  return Status();
}

namespace {
// What decides the content of a data set.
struct Recipe {
  std::string sourceSha256;
  std::string tokenizer;
  std::optional<uint32_t> bpeVocab;
  double valFraction;
};
} // namespace

// The sidecar of `directory` if it was made by `recipe` and is whole.
static std::optional<Sidecar> findPrepared(const std::string &directory, const Recipe &recipe) {
  Result<std::optional<Sidecar>> read = Sidecar::readFrom(directory);
  if (!read.ok() || !*read)
    return std::nullopt;
  const Sidecar &sidecar = **read;
  if (!sidecar.source || sidecar.source->sha256 != recipe.sourceSha256 ||
      sidecar.tokenizerKind() != recipe.tokenizer || sidecar.valFraction != recipe.valFraction ||
      (recipe.bpeVocab && *recipe.bpeVocab != sidecar.vocabSize) || !sidecar.train || !sidecar.val ||
      sidecar.train->sha256.empty() || sidecar.val->sha256.empty())
    return std::nullopt;
  if (!checkHashes(directory, sidecar).ok() || !TokenDataset::open(directory, {}).ok())
    return std::nullopt;
  return sidecar;
}

//===-- Writing a folder at once -------------------------------------------===//

static Status system(const std::string &path, const char *what) {
  return Status::failed(path + ": " + what + ": " + std::strerror(errno));
}

namespace {

// A folder beside `target` that becomes it, or vanishes.
class PartialFolder {
public:
  explicit PartialFolder(std::string target)
      : target_(std::move(target)), path_(target_ + marker + std::to_string(::getpid())) {}
  ~PartialFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    if (lock_ >= 0)
      ::close(lock_);
  }
  PartialFolder(const PartialFolder &) = delete;

  Status create() {
    std::error_code error;
    if (fs::path parent = fs::path(target_).parent_path(); !parent.empty())
      fs::create_directories(parent, error);
    if (error)
      return Status::failed(target_ + ": cannot make the folder above it: " + error.message());
    removeAbandoned();
    if (!fs::create_directory(path_, error) && error)
      return Status::failed(path_ + ": cannot make this folder: " + error.message());
    lock_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock_ >= 0)
      ::flock(lock_, LOCK_EX | LOCK_NB);
    return Status();
  }
  Status write(const std::string &name, std::string_view bytes) {
    return writeFileAtomically(path_ + "/" + name, bytes);
  }
  // Afterwards `target` is the new folder.
  Status commit() {
    if (::rename(path_.c_str(), target_.c_str()) == 0)
      return Status();
    if (errno != ENOTEMPTY && errno != EEXIST)
      return system(target_, "cannot rename the finished folder to this name");
    // One step: at every instant the name is the old folder or the new one.
    if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) == 0)
      return Status();
    std::string old = path_ + ".old";
    if (::rename(target_.c_str(), old.c_str()) != 0)
      return system(target_, "cannot replace this folder");
    if (::rename(path_.c_str(), target_.c_str()) != 0) {
      Status status = system(target_, "cannot rename the finished folder to this name");
      ::rename(old.c_str(), target_.c_str());
      return status;
    }
    std::error_code ignored;
    fs::remove_all(old, ignored);
    return Status();
  }

private:
  static constexpr const char *marker = ".partial-";

  // Folders of processes that were killed: nobody holds their lock.
  void removeAbandoned() {
    fs::path parent = fs::path(target_).parent_path();
    std::string prefix = fs::path(target_).filename().string() + marker;
    std::error_code error;
    for (const auto &entry : fs::directory_iterator(parent.empty() ? "." : parent, error)) {
      if (!entry.path().filename().string().starts_with(prefix))
        continue;
      int file = ::open(entry.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (file < 0)
        continue;
      if (::flock(file, LOCK_EX | LOCK_NB) == 0)
        fs::remove_all(entry.path(), error);
      ::close(file);
    }
  }

  std::string target_, path_;
  int lock_ = -1;
};

} // namespace

// Fails if something else than a data set of ours would be lost.
static Status checkReplaceable(const std::string &directory) {
  std::error_code error;
  if (!fs::exists(directory, error))
    return Status();
  if (!fs::is_directory(directory, error))
    return Status::failed(directory + ": a file is in the way; choose another --out");
  bool ours = false, empty = true;
  std::string other;
  for (const auto &entry : fs::directory_iterator(directory, error)) {
    std::string name = entry.path().filename().string();
    empty = false;
    ours |= name == sidecarName;
    if (name != sidecarName && name != "train.bin" && name != "val.bin")
      other = name;
  }
  if (error)
    return Status::failed(directory + ": cannot list this folder: " + error.message());
  if (!other.empty())
    return Status::failed(directory + ": holds " + other +
                          ", which is no part of a data set; choose another --out, or "
                          "remove the folder");
  if (!empty && !ours)
    return Status::failed(
        directory + ": holds token files without " + sidecarName +
        ", made by another program; choose another --out, remove the folder, or describe them with "
        "`txdata describe " +
        directory + " --dtype=... --vocab_size=N`");
  return Status();
}

//===-- prepare ------------------------------------------------------------===//

static std::string packTokens(const std::vector<uint32_t> &tokens, bool wide) {
  if (wide)
    return {reinterpret_cast<const char *>(tokens.data()), tokens.size() * sizeof(uint32_t)};
  std::vector<uint16_t> narrow(tokens.begin(), tokens.end());
  return {reinterpret_cast<const char *>(narrow.data()), narrow.size() * sizeof(uint16_t)};
}

// "data/NAME": the file's name without its last extension.
static std::string defaultOut(const std::string &what) { return "data/" + fs::path(what).stem().string(); }

static std::string nearestHint(const std::string &name, const std::vector<std::string> &names) {
  std::string nearest = nearestName(name, names);
  return nearest.empty() ? "" : "; did you mean " + nearest + "?";
}

Result<Prepared> prepare(const PrepareOptions &options) {
  //===-- The options
  const Preset *preset = nullptr;
  for (const Preset &candidate : presets)
    if (options.what == candidate.name)
      preset = &candidate;
  std::string kind = !options.tokenizer.empty() ? options.tokenizer : preset ? preset->tokenizer : "char";
  std::vector<std::string> kinds = tokenizerKinds();
  if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end())
    return Status::usage("--tokenizer=" + kind + ": expected char, byte, gpt2 or bpe" +
                         nearestHint(kind, kinds));
  if (!(options.valFraction > 0 && options.valFraction < 1))
    return Status::usage("--val_fraction: expected a number between 0 and 1, found " +
                         std::to_string(options.valFraction));
  if (options.vocabSize && kind != "bpe")
    return Status::usage("--vocab_size is for --tokenizer=bpe; the vocabulary of " + kind + " is given by " +
                         (kind == "char" ? "the text" : "its definition"));
  if (options.vocabSize && (*options.vocabSize < 257 || *options.vocabSize > (1u << 24)))
    return Status::usage("--vocab_size: expected 257 (256 bytes and a merge) to 16777216, found " +
                         std::to_string(*options.vocabSize));
  if (!options.bpeDir.empty() && kind != "gpt2")
    return Status::usage("--bpe_dir is for --tokenizer=gpt2, found --tokenizer=" + kind);
  if (!preset && !options.source.empty())
    return Status::usage("--source names a local copy of what a name such as shakespeare_char stands for; " +
                         options.what + " is already a file");
  if (!preset && options.allowFallback)
    return Status::usage("--allow_fallback is for the names shakespeare_char and shakespeare; " +
                         options.what + " is none of them");
  if (!preset && !isFile(options.what)) {
    if (isDirectory(options.what))
      return Status::failed(options.what + ": expected a text file, found a folder");
    return Status::failed(options.what +
                          ": neither a text file nor a known name (shakespeare_char, shakespeare)" +
                          nearestHint(options.what, preparedNames()));
  }

  Prepared result;
  result.directory = !options.out.empty() ? options.out : defaultOut(options.what);
  while (result.directory.size() > 1 && result.directory.back() == '/')
    result.directory.pop_back();
  if (Status status = checkReplaceable(result.directory); !status.ok())
    return status;

  //===-- The text, unless the data set is there
  Recipe recipe{"", kind, std::nullopt, options.valFraction};
  if (kind == "bpe")
    recipe.bpeVocab = options.vocabSize.value_or(defaultBpeVocab);
  auto isThere = [&](std::string sourceSha256) {
    recipe.sourceSha256 = std::move(sourceSha256);
    std::optional<Sidecar> sidecar = findPrepared(result.directory, recipe);
    if (sidecar) {
      result.sidecar = *sidecar;
      result.upToDate = true;
    }
    return result.upToDate;
  };
  std::string owned;
  MappedFile mapped;
  std::string_view text;
  SourceInfo source;
  if (preset) {
    source.name = fs::path(tinyShakespeare.cacheName).string();
    if (options.source.empty() && isThere(tinyShakespeare.sha256))
      return result;
    Result<std::string> bytes = obtainTinyShakespeare(options.source);
    if (bytes.ok()) {
      owned = std::move(*bytes);
      text = owned;
    } else if (options.allowFallback && options.source.empty()) {
      text = builtInCorpus();
      source.name = builtInCorpusName;
      source.fallback = true;
      result.warning = bytes.status().message();
    } else {
      return Status::failed(
          bytes.status().message() +
          (options.source.empty()
               ? "\nor add --allow_fallback to take a small corpus of txc's own text instead"
               : "\nTo make a data set of another text, run `txdata prepare " + options.source + "`"));
    }
  } else {
    Result<MappedFile> file = MappedFile::open(options.what);
    if (!file.ok())
      return file.status();
    mapped = *file;
    text = mapped.bytes();
    source.name = fs::path(options.what).filename().string();
  }
  source.bytes = text.size();
  source.sha256 = sha256Hex(text);
  if (isThere(source.sha256))
    return result;

  //===-- The splits
  std::string origin = preset ? source.name : options.what;
  bool byBytes = kind == "byte";
  auto inText = [&](const Status &status, size_t first = 0) {
    // Messages of tokenizers begin with "byte N: "; N counts from `first`.
    std::string message = status.message();
    unsigned long long at = 0;
    int length = 0;
    if (std::sscanf(message.c_str(), "byte %llu%n", &at, &length) == 1)
      message = "byte " + std::to_string(at + first) + message.substr(static_cast<size_t>(length));
    return Status(status.code(), origin + ": " + message);
  };
  if (!byBytes)
    if (std::optional<size_t> offset = findInvalidUtf8(text))
      return Status::failed(
          origin + ": byte " + std::to_string(*offset) + ": " +
          format("0x%02x", static_cast<unsigned char>(text[*offset])) +
          " is not valid UTF-8 there; convert the text, or use --tokenizer=byte, which takes any bytes");
  size_t characters = byBytes ? text.size() : countCharacters(text);
  auto trainCharacters = static_cast<size_t>(static_cast<double>(characters) * (1 - options.valFraction));
  if (trainCharacters == 0 || trainCharacters == characters)
    return Status::failed(origin + ": " + std::to_string(characters) + (byBytes ? " bytes" : " characters") +
                          " leave an empty split with --val_fraction=" + format("%g", options.valFraction) +
                          "; use more text");
  size_t cut = byBytes ? trainCharacters : offsetOfCharacter(text, trainCharacters);
  std::string_view parts[2] = {text.substr(0, cut), text.substr(cut)};

  //===-- The tokens
  Result<TokenizerPtr> tokenizer = TokenizerPtr();
  if (kind == "byte") {
    tokenizer = makeByteTokenizer();
  } else if (kind == "char") {
    tokenizer = makeCharTokenizer(text);
  } else if (kind == "bpe") {
    tokenizer = trainBpeTokenizer(parts[0], *recipe.bpeVocab);
    if (!tokenizer.ok())
      return inText(tokenizer.status());
  } else {
    Result<Gpt2Files> files = obtainGpt2Files(options.bpeDir);
    if (!files.ok())
      return Status::failed(files.status().message() +
                            "\nor learn a vocabulary from the text itself with --tokenizer=bpe");
    tokenizer = makeGpt2Tokenizer(*files);
  }
  if (!tokenizer.ok())
    return tokenizer.status();

  Sidecar &sidecar = result.sidecar;
  sidecar.format = TokenFormat::Raw;
  sidecar.vocabSize = (*tokenizer)->vocabSize();
  bool wide = sidecar.vocabSize > 65536;
  sidecar.dtype = wide ? "uint32" : "uint16";
  sidecar.tokenizer = (*tokenizer)->describe();
  sidecar.valFraction = options.valFraction;
  sidecar.source = source;

  PartialFolder folder(result.directory);
  if (Status status = folder.create(); !status.ok())
    return status;
  for (int part = 0; part < 2; ++part) {
    Result<std::vector<uint32_t>> tokens = (*tokenizer)->encode(parts[part]);
    if (!tokens.ok())
      return inText(tokens.status(), part == 0 ? 0 : cut);
    std::string bytes = packTokens(*tokens, wide);
    SplitInfo split{part == 0 ? "train.bin" : "val.bin", tokens->size(), sha256Hex(bytes)};
    if (Status status = folder.write(split.file, bytes); !status.ok())
      return status;
    (part == 0 ? sidecar.train : sidecar.val) = split;
  }
  if (Status status = folder.write(sidecarName, sidecar.toJson()); !status.ok())
    return status;
  if (Status status = folder.commit(); !status.ok())
    return status;
  return result;
}

//===-- describe, inspect, decode ------------------------------------------===//

Result<Sidecar> describe(const DescribeOptions &options) {
  if (options.vocabSize == 0)
    return Status::usage("--vocab_size: expected the number of tokens in the vocabulary (GPT-2's: 50257)");
  if (!isDirectory(options.directory))
    return Status::failed(options.directory + ": not a folder; expected one with train.bin and val.bin");
  std::string path = options.directory + "/" + sidecarName;
  if (isFile(path))
    return Status::failed(path + ": is there already; remove it to describe the token files anew");
  Sidecar sidecar;
  if (options.tokenizer == "gpt2") {
    sidecar.tokenizer = {{"kind", "gpt2"},
                         {"vocab_bpe_sha256", gpt2VocabBpe.sha256},
                         {"encoder_json_sha256", gpt2EncoderJson.sha256}};
  } else if (options.tokenizer == "byte") {
    sidecar.tokenizer = {{"kind", "byte"}};
  } else if (!options.tokenizer.empty()) {
    return Status::usage("--tokenizer=" + options.tokenizer +
                         ": expected gpt2 or byte; others cannot be described by their name alone");
  }
  OpenOptions open;
  open.dtype = options.dtype;
  open.vocabSize = options.vocabSize;
  Result<TokenDataset> dataset = TokenDataset::open(options.directory, open);
  if (!dataset.ok())
    return dataset.status();
  sidecar.vocabSize = options.vocabSize;
  sidecar.dtype = dataset->train().dtype();
  if (dataset->train().format() != dataset->val().format())
    return Status::failed(options.directory + ": the format of train is " + dataset->train().format() +
                          ", of val " + dataset->val().format() + "; a data set has one format");
  sidecar.format = dataset->train().format() == "raw" ? TokenFormat::Raw : TokenFormat::LlmC;
  for (bool training : {true, false}) {
    const TokenSplit &split = training ? dataset->train() : dataset->val();
    Result<std::string> hash = hashOfFile(split.path());
    if (!hash.ok())
      return hash.status();
    (training ? sidecar.train : sidecar.val) =
        SplitInfo{fs::path(split.path()).filename().string(), split.size(), *hash};
  }
  if (Status status = writeFileAtomically(path, sidecar.toJson()); !status.ok())
    return status;
  return sidecar;
}

// The sidecar of an open data set; open() has checked that there is one.
static Result<Sidecar> sidecarOf(const TokenDataset &dataset) {
  Result<std::optional<Sidecar>> read = Sidecar::readFrom(dataset.directory());
  if (!read.ok())
    return read.status();
  if (!*read)
    return Status::failed(dataset.directory() + "/" + sidecarName + ": vanished while it was read");
  return **read;
}

Result<Inspection> inspect(const std::string &nameOrDir) {
  Result<TokenDataset> dataset = TokenDataset::open(nameOrDir, {});
  if (!dataset.ok())
    return dataset.status();
  Result<Sidecar> sidecar = sidecarOf(*dataset);
  if (!sidecar.ok())
    return sidecar.status();
  if (Status status = checkHashes(dataset->directory(), *sidecar); !status.ok())
    return status;
  Inspection out;
  out.directory = dataset->directory();
  out.sidecar = *sidecar;
  for (bool training : {true, false}) {
    const TokenSplit &split = training ? dataset->train() : dataset->val();
    SplitFacts &facts = training ? out.train : out.val;
    facts.path = split.path();
    facts.tokens = split.size();
    facts.format = split.format();
  }
  return out;
}

Result<TokenizerPtr> tokenizerOf(const TokenDataset &dataset, const std::string &bpeDir) {
  Result<Sidecar> sidecar = sidecarOf(dataset);
  if (!sidecar.ok())
    return sidecar.status();
  return makeDescribedTokenizer(sidecar->tokenizer, dataset.directory() + "/" + sidecarName,
                                [&] { return obtainGpt2Files(bpeDir); });
}

Result<std::string> decodeTokens(const std::string &nameOrDir, const std::string &splitName, uint64_t begin,
                                 uint64_t count, const std::string &bpeDir) {
  if (splitName != "train" && splitName != "val")
    return Status::usage("--split=" + splitName + ": expected train or val");
  Result<TokenDataset> dataset = TokenDataset::open(nameOrDir, {});
  if (!dataset.ok())
    return dataset.status();
  const TokenSplit &split = splitName == "train" ? dataset->train() : dataset->val();
  if (begin >= split.size())
    return Status::usage("--begin=" + std::to_string(begin) + ": " + splitName + " has " +
                         std::to_string(split.size()) + " tokens, numbered from 0");
  count = std::min(count, split.size() - begin);
  Result<TokenizerPtr> tokenizer = tokenizerOf(*dataset, bpeDir);
  if (!tokenizer.ok())
    return tokenizer.status();
  std::vector<int32_t> tokens(count);
  if (Status status = split.read(begin, count, tokens.data()); !status.ok())
    return status;
  Result<std::string> text = (*tokenizer)->decode(std::vector<uint32_t>(tokens.begin(), tokens.end()));
  if (!text.ok())
    return Status::failed(split.path() + ": " + text.status().message() + "; the tokenizer in " +
                          sidecarName + " is not the one that made it");
  return text;
}

} // namespace txc::data
