//===- command_timer.h - Times of commands, gathered over runs -------------===//
#ifndef TXC_RUNTIME_DEVICE_COMMAND_TIMER_H
#define TXC_RUNTIME_DEVICE_COMMAND_TIMER_H

#include "device/device.h"

namespace txc {

// The commands of an entry, in order.
struct CommandList {
  struct Item {
    enum class Kind { Launch, Gemm, Fill, Collective, Wait } kind;
    const void *command; // txc_launch_t, txc_gemm_t, txc_fill_t, txc_collective_t or txc_wait_t
    const char *name;
  };
  std::vector<Item> items;

  // Finds out by running the entry with functions that only write down what
  // they are asked for: the order of an entry is fixed.
  static Result<CommandList> of(const txc_entry_t &entry);
};

class CommandTimer {
public:
  // `milliseconds` has one value per command of the entry.
  Status add(const txc_entry_t &entry, const std::vector<double> &milliseconds);
  void clear() { entries_.clear(); }
  // The kernel table gives names of GPU kernels; it may be missing.
  std::vector<CommandTime> medians(const txc_kernel_t *kernels = nullptr) const;

private:
  struct Entry {
    const txc_entry_t *entry;
    CommandList commands;
    std::vector<std::vector<double>> times; // [command][run]
  };
  std::vector<Entry> entries_;
};

} // namespace txc

#endif // TXC_RUNTIME_DEVICE_COMMAND_TIMER_H
