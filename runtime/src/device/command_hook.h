//===- command_hook.h - Something done around every command ----------------===//
#ifndef TXC_RUNTIME_DEVICE_COMMAND_HOOK_H
#define TXC_RUNTIME_DEVICE_COMMAND_HOOK_H

#include "support/status.h"
#include "txc/step_abi.h"

#include <cstdint>

namespace txc {

// `index` is the command's, in its entry. A failure ends the entry.
class CommandHook {
public:
  virtual ~CommandHook() = default;
  virtual Status before(uint32_t index) = 0;
  virtual Status after(uint32_t index) = 0;
};

// Calls through to a device, with the hook around it: one run of one entry.
class HookedTable {
public:
  HookedTable(const txc_device_t &inner, CommandHook &hook);
  HookedTable(const HookedTable &) = delete;
  HookedTable &operator=(const HookedTable &) = delete;

  const txc_device_t &table() const { return table_; }
  // Of the hook.
  const Status &status() const { return status_; }

private:
  template <auto function, typename T> static int32_t call(void *self, char *arena, const T *command);

  const txc_device_t &inner_;
  CommandHook &hook_;
  txc_device_t table_;
  uint32_t index_ = 0;
  Status status_;
};

} // namespace txc

#endif // TXC_RUNTIME_DEVICE_COMMAND_HOOK_H
