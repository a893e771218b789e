//===- bpe_tokenizer.cpp - Byte-level byte-pair encoding --------------------===//
//
// A text is split into words (word_splitter.h); each word starts as the tokens
// of its bytes, and again and again the neighbours whose merge comes first in
// the list of merges become one token.
//
// Encoding a word keeps its tokens in a linked list and the possible merges in
// a heap ordered by (rank, place), so a word of n bytes takes O(n log n); a
// heap entry whose tokens changed meanwhile is dropped when it comes up. Words
// repeat, so each distinct one is encoded once per text.
//
// The heap equals "merge all places of the best pair, left to right" because
// no merge makes a pair of lower rank: the constructor refuses a list in which
// a merge uses a token before the merge that makes it.
//
//===----------------------------------------------------------------------===//
#include "data/tokenizer.h"

#include "data/utf8.h"
#include "data/word_splitter.h"
#include "support/json.h"
#include "support/sha256.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <queue>
#include <unordered_map>

namespace txc::data {

using Json = nlohmann::ordered_json;

static constexpr uint32_t none = UINT32_MAX;

// Bytes of a token that trainBpeTokenizer() makes, at most.
static constexpr size_t longestLearned = 256;

namespace {

struct Pair {
  uint32_t left, right;
  bool operator==(const Pair &other) const { return left == other.left && right == other.right; }
  bool operator<(const Pair &other) const {
    return left != other.left ? left < other.left : right < other.right;
  }
};

struct PairHash {
  size_t operator()(const Pair &pair) const {
    uint64_t x = (uint64_t(pair.left) << 32 | pair.right) * 0x9E3779B97F4A7C15u;
    return static_cast<size_t>(x ^ x >> 29);
  }
};

struct Merge {
  uint32_t rank, token;
};

class BpeTokenizer : public Tokenizer {
public:
  std::vector<std::string> bytesOf; // of each token
  std::array<uint32_t, 256> tokenOfByte;
  std::unordered_map<Pair, Merge, PairHash> merges;
  Json description;

  std::string kind() const override { return description["kind"].get<std::string>(); }
  uint32_t vocabSize() const override { return static_cast<uint32_t>(bytesOf.size()); }
  bool needsUtf8() const override { return true; }
  Json describe() const override { return description; }
  Result<std::vector<uint32_t>> encode(std::string_view text) const override;
  Result<std::string> decode(const std::vector<uint32_t> &tokens) const override;

private:
  struct Scratch;
  void encodeWord(std::string_view word, Scratch &scratch, std::vector<uint32_t> &out) const;
};

// Kept between words so that they allocate nothing.
struct BpeTokenizer::Scratch {
  struct Symbol {
    uint32_t token, next, previous;
  };
  struct Candidate {
    uint32_t rank, place;
    Pair pair;
    uint32_t token;
    // std::push_heap keeps the greatest first; we want the least.
    bool operator<(const Candidate &other) const {
      return rank != other.rank ? rank > other.rank : place > other.place;
    }
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

} // namespace

void BpeTokenizer::encodeWord(std::string_view word, Scratch &scratch, std::vector<uint32_t> &out) const {
  auto &symbols = scratch.symbols;
  auto &heap = scratch.heap;
  symbols.clear();
  heap.clear();
  auto count = static_cast<uint32_t>(word.size());
  for (uint32_t i = 0; i < count; ++i)
    symbols.push_back(
        {tokenOfByte[static_cast<uint8_t>(word[i])], i + 1 < count ? i + 1 : none, i > 0 ? i - 1 : none});
  auto consider = [&](uint32_t place) {
    if (place == none || symbols[place].next == none)
      return;
    Pair pair{symbols[place].token, symbols[symbols[place].next].token};
    if (auto it = merges.find(pair); it != merges.end()) {
      heap.push_back({it->second.rank, place, pair, it->second.token});
      std::push_heap(heap.begin(), heap.end());
    }
  };
  for (uint32_t i = 0; i < count; ++i)
    consider(i);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    Scratch::Candidate best = heap.back();
    heap.pop_back();
    auto &left = symbols[best.place];
    if (left.token != best.pair.left || left.next == none || symbols[left.next].token != best.pair.right)
      continue;
    uint32_t gone = left.next;
    left.token = best.token;
    left.next = symbols[gone].next;
    if (left.next != none)
      symbols[left.next].previous = best.place;
    symbols[gone].token = none;
    consider(left.previous);
    consider(best.place);
  }
  for (uint32_t i = count > 0 ? 0 : none; i != none; i = symbols[i].next)
    out.push_back(symbols[i].token);
}

Result<std::vector<uint32_t>> BpeTokenizer::encode(std::string_view text) const {
  if (std::optional<size_t> offset = findInvalidUtf8(text)) {
    char shown[8];
    std::snprintf(shown, sizeof(shown), "0x%02x", static_cast<unsigned char>(text[*offset]));
    return Status::failed(
        "byte " + std::to_string(*offset) + ": " + shown +
        " is not valid UTF-8 there; convert the text, or use --tokenizer=byte, which takes any bytes");
  }
  // Long words seldom repeat; they are not worth the memory.
  constexpr size_t longestKept = 64;
  struct Range {
    size_t begin, count;
  };
  std::unordered_map<std::string_view, Range> known; // where in `out` a word's tokens are
  std::vector<uint32_t> out;
  out.reserve(text.size() / 3);
  Scratch scratch;
  size_t tooLong = std::string_view::npos;
  Status status = splitWords(text, [&](std::string_view word) {
    if (word.size() >= none) {
      tooLong = static_cast<size_t>(word.data() - text.data());
      return;
    }
    if (word.size() > longestKept) {
      encodeWord(word, scratch, out);
      return;
    }
    auto [it, isNew] = known.try_emplace(word, Range{out.size(), 0});
    if (isNew) {
      encodeWord(word, scratch, out);
      it->second.count = out.size() - it->second.begin;
      return;
    }
    for (size_t i = 0; i < it->second.count; ++i)
      out.push_back(out[it->second.begin + i]);
  });
  if (!status.ok())
    return status;
  if (tooLong != std::string_view::npos)
    return Status::failed("byte " + std::to_string(tooLong) +
                          ": a word of 4 GiB or more; use --tokenizer=byte");
  return out;
}

Result<std::string> BpeTokenizer::decode(const std::vector<uint32_t> &tokens) const {
  std::string out;
  for (uint32_t token : tokens) {
    if (token >= bytesOf.size())
      return Status::failed("token " + std::to_string(token) + ": the vocabulary has " +
                            std::to_string(bytesOf.size()) + " tokens");
    out += bytesOf[token];
  }
  return out;
}

//===-- GPT-2's files ------------------------------------------------------===//

// The files spell bytes as printable characters: bytes that are printable in
// Latin-1 stand for themselves, the others are numbered from U+0100 on.
static std::array<uint32_t, 256> spellingOfBytes() {
  std::array<uint32_t, 256> out;
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    out[byte] = printable ? byte : next++;
  }
  return out;
}

// False if `spelled` has a character that spells no byte.
static bool bytesOfSpelling(std::string_view spelled, const std::unordered_map<uint32_t, uint8_t> &byteOf,
                            std::string &out) {
  out.clear();
  uint32_t character;
  for (size_t offset = 0; offset < spelled.size();) {
    size_t length = decodeCharacter(spelled, offset, character);
    auto it = length > 0 ? byteOf.find(character) : byteOf.end();
    if (it == byteOf.end())
      return false;
    out += static_cast<char>(it->second);
    offset += length;
  }
  return true;
}

Result<TokenizerPtr> makeGpt2Tokenizer(const Gpt2Files &files) {
  auto tokenizer = std::make_shared<BpeTokenizer>();
  std::unordered_map<uint32_t, uint8_t> byteOf;
  std::array<uint32_t, 256> spelling = spellingOfBytes();
  for (uint32_t byte = 0; byte < 256; ++byte)
    byteOf[spelling[byte]] = static_cast<uint8_t>(byte);

  // encoder.json: {"spelled token": number, ...}.
  auto wrongEncoder = [&](const std::string &what) {
    return Status::failed(files.encoderJsonPath + ": " + what + "; expected GPT-2's encoder.json");
  };
  Result<nlohmann::json> parsed = parseUnorderedJson(files.encoderJson);
  if (!parsed.ok())
    return wrongEncoder(parsed.status().message());
  const nlohmann::json &encoder = *parsed;
  if (!encoder.is_object())
    return wrongEncoder("not a JSON object");
  tokenizer->bytesOf.resize(encoder.size());
  std::unordered_map<std::string, uint32_t> tokenOf;
  std::vector<bool> taken(encoder.size());
  std::string bytes;
  for (auto &[spelled, number] : encoder.items()) {
    if (!number.is_number_unsigned() || number.get<uint64_t>() >= encoder.size() ||
        taken[number.get<uint64_t>()])
      return wrongEncoder("token " + spelled + " has the number " + number.dump() +
                          "; numbers must be distinct and below " + std::to_string(encoder.size()));
    if (!bytesOfSpelling(spelled, byteOf, bytes))
      return wrongEncoder("token " + spelled + " has a character that spells no byte");
    auto token = number.get<uint32_t>();
    taken[token] = true;
    tokenizer->bytesOf[token] = bytes;
    tokenOf[bytes] = token;
  }
  for (uint32_t byte = 0; byte < 256; ++byte) {
    auto it = tokenOf.find(std::string(1, static_cast<char>(byte)));
    if (it == tokenOf.end())
      return wrongEncoder("no token for byte " + std::to_string(byte));
    tokenizer->tokenOfByte[byte] = it->second;
  }

  // vocab.bpe: a comment, then one merge a line, "left right".
  std::vector<uint32_t> madeBy(encoder.size(), none); // rank of the merge that makes a token
  uint32_t rank = 0;
  size_t lineNumber = 0;
  for (size_t begin = 0; begin < files.vocabBpe.size();) {
    size_t end = std::min(files.vocabBpe.find('\n', begin), files.vocabBpe.size());
    std::string_view line = std::string_view(files.vocabBpe).substr(begin, end - begin);
    begin = end + 1;
    ++lineNumber;
    if (line.empty() || (lineNumber == 1 && line.starts_with("#version")))
      continue;
    auto wrongLine = [&](const std::string &what) {
      return Status::failed(files.vocabBpePath + ":" + std::to_string(lineNumber) + ": " + what +
                            "; expected GPT-2's vocab.bpe, to which " + files.encoderJsonPath + " belongs");
    };
    size_t space = line.find(' ');
    std::string left, right;
    if (space == std::string_view::npos || !bytesOfSpelling(line.substr(0, space), byteOf, left) ||
        !bytesOfSpelling(line.substr(space + 1), byteOf, right))
      return wrongLine("not two spelled tokens with a space between them");
    auto leftToken = tokenOf.find(left), rightToken = tokenOf.find(right), token = tokenOf.find(left + right);
    if (leftToken == tokenOf.end() || rightToken == tokenOf.end() || token == tokenOf.end())
      return wrongLine("merges tokens that " + files.encoderJsonPath + " lacks");
    for (auto part : {leftToken, rightToken})
      if (part->first.size() > 1 && madeBy[part->second] == none)
        return wrongLine("merges a token that no earlier line makes");
    if (madeBy[token->second] != none)
      return wrongLine("makes a token that an earlier line makes");
    madeBy[token->second] = rank;
    tokenizer->merges[{leftToken->second, rightToken->second}] = {rank++, token->second};
  }
  if (rank == 0)
    return Status::failed(files.vocabBpePath + ": no merges; expected GPT-2's vocab.bpe");
  tokenizer->description = {{"kind", "gpt2"},
                            {"vocab_bpe_sha256", sha256Hex(files.vocabBpe)},
                            {"encoder_json_sha256", sha256Hex(files.encoderJson)}};
  return TokenizerPtr(tokenizer);
}

//===-- Learned merges -----------------------------------------------------===//

// Token 256 + i is the merge of pairs[i]; tokens below 256 are bytes.
static TokenizerPtr makeLearnedTokenizer(const std::vector<Pair> &pairs) {
  auto tokenizer = std::make_shared<BpeTokenizer>();
  for (uint32_t byte = 0; byte < 256; ++byte) {
    tokenizer->bytesOf.push_back(std::string(1, static_cast<char>(byte)));
    tokenizer->tokenOfByte[byte] = byte;
  }
  Json list = Json::array();
  for (uint32_t rank = 0; rank < pairs.size(); ++rank) {
    Pair pair = pairs[rank];
    tokenizer->merges[pair] = {rank, 256 + rank};
    tokenizer->bytesOf.push_back(tokenizer->bytesOf[pair.left] + tokenizer->bytesOf[pair.right]);
    list.push_back({pair.left, pair.right});
  }
  tokenizer->description = {{"kind", "bpe"}, {"merges", std::move(list)}};
  return tokenizer;
}

namespace {

// Distinct words with their frequency, and for each pair of neighbours how
// often it occurs and in which words (with words that have lost it since).
struct Learner {
  struct Word {
    std::vector<uint32_t> tokens;
    int64_t frequency;
  };
  struct Occurrences {
    int64_t count = 0;
    std::vector<uint32_t> words;
  };
  std::vector<Word> words;
  std::unordered_map<Pair, Occurrences, PairHash> pairs;

  struct Entry {
    int64_t count;
    Pair pair;
    bool operator<(const Entry &other) const {
      return count != other.count ? count < other.count : other.pair < pair;
    }
  };
  std::priority_queue<Entry> queue;

  void count(uint32_t word, int64_t sign) {
    const Word &w = words[word];
    for (size_t i = 0; i + 1 < w.tokens.size(); ++i) {
      Pair pair{w.tokens[i], w.tokens[i + 1]};
      Occurrences &seen = pairs[pair];
      seen.count += sign * w.frequency;
      if (sign > 0) {
        if (seen.words.empty() || seen.words.back() != word)
          seen.words.push_back(word);
        touched.push_back(pair);
      }
    }
  }
  std::vector<Pair> touched; // pairs whose count grew

  void enqueueTouched() {
    for (Pair pair : touched)
      if (int64_t count = pairs[pair].count; count > 0)
        queue.push({count, pair});
    touched.clear();
  }

  // The most frequent pair, if it occurs at least twice. Counts that shrank
  // since they were queued are queued again with what they are now.
  bool best(Pair &pair) {
    while (!queue.empty()) {
      Entry top = queue.top();
      int64_t now = pairs[top.pair].count;
      if (now == top.count) {
        pair = top.pair;
        return now >= 2;
      }
      queue.pop();
      if (now > 0 && now < top.count)
        queue.push({now, top.pair});
    }
    return false;
  }

  void merge(Pair pair, uint32_t token) {
    std::vector<uint32_t> affected = std::move(pairs[pair].words);
    for (uint32_t word : affected) {
      std::vector<uint32_t> &tokens = words[word].tokens;
      count(word, -1);
      size_t out = 0;
      for (size_t i = 0; i < tokens.size(); ++i) {
        bool here = i + 1 < tokens.size() && tokens[i] == pair.left && tokens[i + 1] == pair.right;
        tokens[out++] = here ? token : tokens[i];
        i += here;
      }
      tokens.resize(out);
      count(word, +1);
    }
    pairs.erase(pair);
    enqueueTouched();
  }
};

} // namespace

Result<TokenizerPtr> trainBpeTokenizer(std::string_view text, uint32_t vocabSize) {
  if (vocabSize < 257)
    return Status::usage(
        "vocab_size of a bpe tokenizer: expected at least 257 (256 bytes and a merge), found " +
        std::to_string(vocabSize));
  if (std::optional<size_t> offset = findInvalidUtf8(text))
    return Status::failed("byte " + std::to_string(*offset) +
                          ": not valid UTF-8; convert the text, or use "
                          "--tokenizer=byte, which takes any bytes");
  Learner learner;
  std::unordered_map<std::string_view, uint32_t> known;
  Status status = splitWords(text, [&](std::string_view word) {
    // Merges rescan the words they touch, so a text without spaces is looked
    // at in pieces.
    for (; !word.empty(); word.remove_prefix(std::min(word.size(), longestLearned))) {
      std::string_view piece = word.substr(0, longestLearned);
      auto [it, isNew] = known.try_emplace(piece, static_cast<uint32_t>(learner.words.size()));
      if (isNew) {
        learner.words.push_back({{}, 0});
        for (char byte : piece)
          learner.words.back().tokens.push_back(static_cast<uint8_t>(byte));
      }
      ++learner.words[it->second].frequency;
    }
  });
  if (!status.ok())
    return status;
  for (uint32_t word = 0; word < learner.words.size(); ++word)
    learner.count(word, +1);
  learner.enqueueTouched();
  std::vector<Pair> pairs;
  while (256 + pairs.size() < vocabSize) {
    Pair pair;
    if (!learner.best(pair))
      return Status::failed("the text has too few repeated pairs for a vocabulary of " +
                            std::to_string(vocabSize) +
                            "; the most it gives is --vocab_size=" + std::to_string(256 + pairs.size()));
    learner.merge(pair, static_cast<uint32_t>(256 + pairs.size()));
    pairs.push_back(pair);
  }
  return makeLearnedTokenizer(pairs);
}

//===-- From a sidecar -----------------------------------------------------===//

Result<TokenizerPtr> makeDescribedTokenizer(const Json &description, const std::string &path,
                                            const std::function<Result<Gpt2Files>()> &readGpt2Files) {
  auto wrong = [&](const std::string &what) {
    return Status::failed(path + ": tokenizer: " + what + "; prepare the data set again");
  };
  if (!description.is_object() || !description.contains("kind") || !description["kind"].is_string())
    return Status::failed(path + ": names no tokenizer, so its tokens have no text");
  auto kind = description["kind"].get<std::string>();
  if (kind == "byte")
    return makeByteTokenizer();
  if (kind == "char") {
    if (!description.contains("characters") || !description["characters"].is_string())
      return wrong("expected a string `characters`");
    auto characters = description["characters"].get<std::string>();
    Result<TokenizerPtr> tokenizer = makeCharTokenizer(characters);
    if (tokenizer.ok() && (*tokenizer)->describe()["characters"] != characters)
      return wrong("`characters` must be sorted and distinct");
    return tokenizer;
  }
  if (kind == "gpt2") {
    Result<Gpt2Files> files = readGpt2Files();
    if (!files.ok())
      return files.status();
    Result<TokenizerPtr> tokenizer = makeGpt2Tokenizer(*files);
    if (!tokenizer.ok())
      return tokenizer;
    Json found = (*tokenizer)->describe();
    for (const char *key : {"vocab_bpe_sha256", "encoder_json_sha256"})
      if (description.contains(key) && description[key] != found[key])
        return Status::failed(path + ": tokenizer: " + key + " is " + description[key].dump() +
                              ", the BPE files at hand (" + files->vocabBpePath + ") have " +
                              found[key].dump() + "; give those it was made with");
    return tokenizer;
  }
  if (kind == "bpe") {
    if (!description.contains("merges") || !description["merges"].is_array())
      return wrong("expected an array `merges`");
    std::vector<Pair> pairs;
    std::vector<size_t> lengths(256, 1);
    for (const Json &merge : description["merges"]) {
      uint64_t below = 256 + pairs.size();
      if (!merge.is_array() || merge.size() != 2 || !merge[0].is_number_unsigned() ||
          !merge[1].is_number_unsigned() || merge[0].get<uint64_t>() >= below ||
          merge[1].get<uint64_t>() >= below)
        return wrong("merge " + std::to_string(pairs.size()) + ": expected two tokens below " +
                     std::to_string(below) + ", found " + merge.dump());
      pairs.push_back({merge[0].get<uint32_t>(), merge[1].get<uint32_t>()});
      lengths.push_back(lengths[pairs.back().left] + lengths[pairs.back().right]);
      // No learned token is longer, and merges of merges would fill memory.
      if (lengths.back() > longestLearned)
        return wrong("merge " + std::to_string(pairs.size() - 1) + ": makes a token of more than " +
                     std::to_string(longestLearned) + " bytes");
    }
    return makeLearnedTokenizer(pairs);
  }
  return Status::failed(path + ": tokenizer kind " + kind + " is unknown; expected char, byte, gpt2 or bpe");
}

} // namespace txc::data
