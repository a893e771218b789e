//===- generator.cpp - Text from a model -----------------------------------===//
#include "sample/generator.h"

#include "data/prepare.h"
#include "data/utf8.h"
#include "sample/sampler.h"
#include "support/file.h"
#include "support/text.h"
#include "train/dump_tensors.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>

namespace txc {

using Clock = std::chrono::steady_clock;

static double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

//===-- The prompt ----------------------------------------------------------===//

// The text that --prompt stands for.
static Result<std::string> promptText(const std::string &option) {
  constexpr std::string_view file = "FILE:";
  if (option.empty())
    return std::string("\n");
  if (option.compare(0, file.size(), file) != 0)
    return option;
  std::string path = option.substr(file.size());
  Result<std::string> text = readFile(path);
  if (!text.ok())
    return Status::failed("--prompt=" + option + ": " + text.status().message());
  if (text->empty())
    return Status::failed("--prompt=" + option + ": the file is empty; expected at least one character");
  return text;
}

// The distinct characters of `text` that `tokenizer` does not know, as
// "'e' (U+0065), ...".
static std::string unknownCharacters(const data::Tokenizer &tokenizer, std::string_view text) {
  std::set<uint32_t> seen;
  std::string list;
  uint32_t character;
  size_t unknown = 0;
  for (size_t offset = 0, length; offset < text.size(); offset += length) {
    length = data::decodeCharacter(text, offset, character);
    if (length == 0)
      return "";
    if (!seen.insert(character).second || tokenizer.encode(text.substr(offset, length)).ok())
      continue;
    if (++unknown <= 8)
      list +=
          (list.empty() ? "" : ", ") +
          (character < 0x20 || character == 0x7f ? std::string()
                                                 : "'" + std::string(text.substr(offset, length)) + "' ") +
          format("(U+%04X)", character);
  }
  return unknown > 8 ? list + format(" and %zu more", unknown - 8) : list;
}

static Result<std::vector<uint32_t>> encodePrompt(const data::Tokenizer &tokenizer, const std::string &text,
                                                  const RunOptions &options) {
  Result<std::vector<uint32_t>> tokens = tokenizer.encode(text);
  if (tokens.ok())
    return tokens;
  if (options.prompt.empty())
    return Status::failed("--prompt: the vocabulary of " + options.dataset +
                          " has no line break, with which a text starts by default; give --prompt=TEXT");
  std::string unknown = unknownCharacters(tokenizer, text);
  if (unknown.empty())
    return Status::failed("--prompt: " + tokens.status().message());
  return Status::failed("--prompt: the vocabulary of " + options.dataset + " lacks " + unknown +
                        "; write the prompt with the characters that the model was trained on");
}

Result<std::unique_ptr<Generator>> Generator::create(const StepFile &step, Device &device,
                                                     const data::TokenDataset &dataset,
                                                     const RunOptions &options) {
  if (!step.hasDecode())
    return Status::usage("--sample: " + step.path() +
                         " cannot generate text; compile it again with --decode=true");
  std::unique_ptr<Generator> generator(new Generator(step, device, options));
  Result<data::TokenizerPtr> tokenizer = data::tokenizerOf(dataset, "");
  if (!tokenizer.ok())
    return Status::failed("--sample: " + tokenizer.status().message());
  generator->tokenizer_ = *tokenizer;
  Result<std::string> text = promptText(options.prompt);
  if (!text.ok())
    return text.status();
  Result<std::vector<uint32_t>> tokens = encodePrompt(**tokenizer, *text, options);
  if (!tokens.ok())
    return tokens.status();
  generator->prompt_ = *text;
  generator->promptTokens_ = *tokens;
  // A model may have more rows than its data set has tokens.
  generator->vocabulary_ =
      static_cast<uint32_t>(std::min<int64_t>((*tokenizer)->vocabSize(), generator->decoder_.vocabulary()));
  for (uint32_t token : *tokens)
    if (token >= generator->vocabulary_)
      return Status::failed(format("--prompt: has token %u, but the model has %lld", token,
                                   static_cast<long long>(generator->decoder_.vocabulary())));
  return generator;
}

//===-- Generation ----------------------------------------------------------===//

// For tests: the logits after every position that is run, in the order of the runs.
Status Generator::dumpLogits() {
  if (options_.dump_tensors.empty())
    return {};
  std::string folder = options_.dump_tensors + "/decode";
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  Result<const float *> logits = decoder_.logits(0);
  if (!logits.ok())
    return logits.status();
  return writeNpy(folder + "/logits." + std::to_string(dumped_++) + ".npy",
                  step_.buffer(TXC_BUFFER_LOGITS, "decode"), *logits, 1);
}

Status Generator::prefill(const std::vector<std::vector<uint32_t>> &histories, size_t begin,
                          const std::function<int()> &signal) {
  std::vector<uint32_t> tokens(histories.size());
  for (size_t i = begin; i < histories[0].size() && !signal(); ++i) {
    for (size_t s = 0; s < histories.size(); ++s)
      tokens[s] = histories[s][i];
    Status status = decoder_.step(tokens, static_cast<int64_t>(i - begin));
    if (status.ok())
      status = dumpLogits();
    if (!status.ok())
      return status;
  }
  return {};
}

Status Generator::generateGroup(int64_t iteration, int64_t first, int64_t count, const Listener &listener) {
  const auto context = static_cast<size_t>(decoder_.contextLength());
  Sampler sampler({options_.temperature, options_.top_k, static_cast<uint64_t>(options_.sample_seed)},
                  vocabulary_);
  std::vector<std::vector<uint32_t>> histories(static_cast<size_t>(decoder_.sequences()), promptTokens_);
  std::vector<SampleFacts> facts(static_cast<size_t>(count));
  std::vector<data::Utf8Stream> streams(facts.size());
  for (size_t s = 0; s < facts.size(); ++s) {
    facts[s].iteration = iteration;
    facts[s].number = first + static_cast<int64_t>(s);
    facts[s].prompt = prompt_;
    facts[s].promptTokens = static_cast<int64_t>(promptTokens_.size());
    facts[s].promptShortened = promptTokens_.size() > context;
  }
  listener.begin(facts[0]);

  auto start = Clock::now();
  size_t begin = promptTokens_.size() > context ? promptTokens_.size() - context : 0;
  if (Status status = prefill(histories, begin, listener.signal); !status.ok())
    return status;
  double promptSeconds = secondsSince(start);
  start = Clock::now();
  for (int64_t index = 0; index < options_.max_new_tokens && !listener.signal(); ++index) {
    if (index > 0) {
      // The token that was drawn last is not in the cache yet.
      if (histories[0].size() - begin > context) {
        begin = histories[0].size() - std::max<size_t>(1, context / 2);
        if (Status status = prefill(histories, begin, listener.signal); !status.ok())
          return status;
        if (listener.signal())
          break;
      } else {
        std::vector<uint32_t> tokens;
        for (const auto &history : histories)
          tokens.push_back(history.back());
        Status status = decoder_.step(tokens, static_cast<int64_t>(histories[0].size() - begin) - 1);
        if (status.ok())
          status = dumpLogits();
        if (!status.ok())
          return status;
      }
    }
    for (size_t s = 0; s < histories.size(); ++s) {
      Result<const float *> logits = decoder_.logits(static_cast<int64_t>(s));
      if (!logits.ok())
        return logits.status();
      std::optional<uint32_t> token =
          sampler.draw(*logits, static_cast<uint64_t>(first) + s, static_cast<uint64_t>(index));
      if (!token)
        return {Code::Diverged,
                format("--sample: the model gives logits that are not finite after %lld tokens: "
                       "training has diverged",
                       static_cast<long long>(histories[s].size()))};
      histories[s].push_back(*token);
      if (s >= facts.size())
        continue;
      Result<std::string> bytes = tokenizer_->decode({*token});
      if (!bytes.ok())
        return Status::failed("--sample: " + bytes.status().message());
      std::string text = streams[s].push(*bytes);
      facts[s].text += text;
      ++facts[s].tokens;
      if (s == 0 && !text.empty())
        listener.more(text);
    }
  }
  double seconds = secondsSince(start);

  for (size_t s = 0; s < facts.size(); ++s) {
    SampleFacts &text = facts[s];
    text.promptSeconds = promptSeconds;
    text.tokensPerSecond = seconds > 0 ? static_cast<double>(text.tokens * count) / seconds : 0;
    std::string rest = streams[s].finish();
    if (s > 0) {
      listener.begin(text);
      rest = text.text + rest;
      text.text.clear();
    }
    text.text += rest;
    if (!rest.empty())
      listener.more(rest);
    if (Status status = listener.end(text); !status.ok())
      return status;
  }
  return {};
}

Status Generator::generate(int64_t iteration, const Listener &listener) {
  for (int64_t first = 0; first < options_.num_samples && !listener.signal(); first += decoder_.sequences()) {
    int64_t count = std::min(decoder_.sequences(), options_.num_samples - first);
    if (Status status = generateGroup(iteration, first, count, listener); !status.ok())
      return status;
  }
  return {};
}

} // namespace txc
