//===- sample_report.h - What a run tells of a generated text --------------===//
#ifndef TXC_RUNTIME_SAMPLE_SAMPLE_REPORT_H
#define TXC_RUNTIME_SAMPLE_SAMPLE_REPORT_H

#include "sample/generator.h"

namespace txc {

// Lines before and after the text.
std::string sampleHeading(const SampleFacts &sample, const RunOptions &options);
std::string sampleEnding(const SampleFacts &sample);

// The event `sample`.
nlohmann::ordered_json sampleJson(const SampleFacts &sample, const RunOptions &options,
                                  const std::string &time);

} // namespace txc

#endif // TXC_RUNTIME_SAMPLE_SAMPLE_REPORT_H
