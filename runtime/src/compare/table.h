//===- table.h - Runs, ranked ------------------------------------------------===//
#ifndef TXC_RUNTIME_COMPARE_TABLE_H
#define TXC_RUNTIME_COMPARE_TABLE_H

#include "compare/run_file.h"

#include <string>
#include <vector>

namespace txc::compare {

// What `--sort` takes: val_loss, mfu, time, tokens, parameters, run.
const std::vector<std::string> &sortKeys();

// In order of `key`, best first; what is missing comes last.
void sortRuns(std::vector<Run> &runs, const std::string &key);

struct ArchitectureMeans {
  std::string architecture;
  size_t runs = 0;
  Figure valLoss, mfuPercent, timeMs, tokensPerSecond;
};

struct Comparison {
  const Run *best = nullptr, *worst = nullptr; // by best val loss; null if no run has one
  Figure improvementPercent;                   // of best over worst; needs two runs
  std::vector<ArchitectureMeans> architectures;
  std::vector<std::string> notes; // what a reader of the figures has to know
};

Comparison compareRuns(const std::vector<Run> &runs);

// A table in the runs' order. A row that is wider than `width` columns has its
// architecture on a line of its own.
std::string tableText(const std::vector<Run> &runs, const Comparison &comparison, size_t width);

nlohmann::ordered_json tableJson(const std::vector<Run> &runs, const Comparison &comparison,
                                 const std::string &sortKey);

} // namespace txc::compare

#endif // TXC_RUNTIME_COMPARE_TABLE_H
