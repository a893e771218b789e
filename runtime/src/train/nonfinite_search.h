//===- nonfinite_search.h - Which command wrote the first bad value ---------===//
//
// Runs the entries of a bad iteration again, one command at a time, and after each
// reads the buffers that it was given. All were finite before it, so what is not
// finite now, it wrote. Left out is what was not finite from the start: weights
// and moments, which are told apart.
//
// A buffer that no command has written yet must not hold what others left there: an
// activation is zeroed before the first command that touches it, gradients and
// results before the first entry.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_TRAIN_NONFINITE_SEARCH_H
#define TXC_RUNTIME_TRAIN_NONFINITE_SEARCH_H

#include "device/command_timer.h"
#include "device/device.h"
#include "loader/step_file.h"
#include "support/status.h"

#include <nlohmann/json.hpp>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace txc {

class NonfiniteSearch final : private CommandHook {
public:
  // `metadata` is the step's; all three outlive this.
  NonfiniteSearch(const StepFile &step, const nlohmann::ordered_json &metadata, Device &device, int64_t rank)
      : step_(step), metadata_(metadata), device_(device), rank_(rank) {}

  // An array: the weights, their copies and the moments that are not finite.
  Result<nlohmann::ordered_json> checkState();
  // What checkState() found on any rank.
  void leaveOut(const std::string &name) { leftOut_.insert(name); }
  // To be called once, before the first entry.
  Status clear();
  // Runs an entry whose inputs are staged; gives the first command that wrote what
  // is not finite, with the buffer, or null.
  Result<nlohmann::ordered_json> run(const std::string &entryName);

private:
  Status before(uint32_t index) override;
  Status after(uint32_t index) override;
  // What the arena has at `offset` during command `index`; null for what has no values.
  const txc_buffer_t *find(uint64_t offset, uint32_t index) const;
  std::vector<const txc_buffer_t *> touchedBy(uint32_t index);
  Status zero(const txc_buffer_t &buffer);
  // Null if all values are finite, else the buffer and what it holds.
  Result<nlohmann::ordered_json> describe(const txc_buffer_t &buffer);
  // The kernel, or which product, as far as the metadata says.
  std::string operation(uint32_t index) const;
  std::string direction(uint32_t index) const;

  const StepFile &step_;
  const nlohmann::ordered_json &metadata_;
  Device &device_;
  int64_t rank_;
  std::set<std::string> leftOut_;
  std::vector<char> piece_;

  // Of the entry under way.
  const txc_entry_t *entry_ = nullptr;
  uint32_t entryIndex_ = 0;
  CommandList commands_;
  std::map<uint32_t, const txc_collective_t *> started_; // by event
  nlohmann::ordered_json found_;
};

// One line about an element of checkState() or the buffer of run().
std::string valuesText(const nlohmann::ordered_json &buffer);

} // namespace txc

#endif // TXC_RUNTIME_TRAIN_NONFINITE_SEARCH_H
