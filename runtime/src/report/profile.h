//===- profile.h - The table of --profile ----------------------------------===//
//
// OUT_DIR/profile.json:
//   device, step, sha256, library       what was measured
//   iterations, gradient_accumulation_steps, tokens_per_iteration
//   entries[]      name, milliseconds (sum over its commands), commands[]
//   commands[]     index, name (YAML path), kind (launch, gemm, fill), kernel,
//                  milliseconds (median), bytes, flops
//
// bytes and flops are the least that a command must move and do; null if not
// known. Those of products and fills follow from their sizes, those of launches
// are in the step's metadata (entries[].list[], in the order of the commands).
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_REPORT_PROFILE_H
#define TXC_RUNTIME_REPORT_PROFILE_H

#include "device/device.h"
#include "report/report.h"

namespace txc {

// Fills in bytes and flops that only the metadata knows.
void addKnownWork(std::vector<CommandTime> &times, const RunFacts &facts);

nlohmann::ordered_json profileJson(const std::vector<CommandTime> &times, const RunFacts &facts);

// Sums by entry and the commands that take longest, equal names under their
// blocks added up.
std::string profileText(const std::vector<CommandTime> &times);

} // namespace txc

#endif // TXC_RUNTIME_REPORT_PROFILE_H
