//===- sample_report.cpp - What a run tells of a generated text ------------===//
#include "sample/sample_report.h"

#include "support/text.h"

namespace txc {

std::string sampleHeading(const SampleFacts &sample, const RunOptions &options) {
  std::string out =
      format("\nText %lld of %lld │ after %lld iterations │ ", static_cast<long long>(sample.number + 1),
             static_cast<long long>(options.num_samples), static_cast<long long>(sample.iteration));
  if (options.temperature == 0)
    out += "temperature 0: the most likely tokens\n";
  else
    out += format("temperature %g, ", options.temperature) +
           (options.top_k > 0 ? format("top-k %lld", static_cast<long long>(options.top_k)) : "all tokens") +
           format(", seed %lld\n", static_cast<long long>(options.sample_seed));
  if (sample.promptShortened)
    out += "The prompt is longer than the context; the model sees the end of it.\n";
  return out + "\n";
}

std::string sampleEnding(const SampleFacts &sample) {
  return format("\n%lld tokens │ %s tokens/s │ prompt of %lld tokens in %.2f s\n",
                static_cast<long long>(sample.tokens),
                withCommas(static_cast<uint64_t>(sample.tokensPerSecond)).c_str(),
                static_cast<long long>(sample.promptTokens), sample.promptSeconds);
}

nlohmann::ordered_json sampleJson(const SampleFacts &sample, const RunOptions &options,
                                  const std::string &time) {
  return {{"iter", sample.iteration},
          {"number", sample.number},
          {"prompt", sample.prompt},
          {"text", sample.text},
          {"prompt_tokens", sample.promptTokens},
          {"tokens", sample.tokens},
          {"prompt_shortened", sample.promptShortened},
          {"prompt_seconds", sample.promptSeconds},
          {"tokens_per_sec", sample.tokensPerSecond},
          {"temperature", options.temperature},
          {"top_k", options.top_k},
          {"seed", options.sample_seed},
          {"timestamp", time}};
}

} // namespace txc
