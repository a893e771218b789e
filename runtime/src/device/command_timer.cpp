//===- command_timer.cpp - Times of commands, gathered over runs -----------===//
#include "device/command_timer.h"

#include "support/text.h"

#include <algorithm>

namespace txc {

using Item = CommandList::Item;

template <Item::Kind kind, typename T> static int32_t writeDown(void *self, char *, const T *command) {
  static_cast<CommandList *>(self)->items.push_back({kind, command, command->name});
  return 0;
}

Result<CommandList> CommandList::of(const txc_entry_t &entry) {
  CommandList list;
  txc_device_t table = {sizeof(txc_device_t),
                        TXC_STEP_ABI_VERSION,
                        &list,
                        writeDown<Item::Kind::Launch, txc_launch_t>,
                        writeDown<Item::Kind::Gemm, txc_gemm_t>,
                        writeDown<Item::Kind::Fill, txc_fill_t>,
                        writeDown<Item::Kind::Collective, txc_collective_t>,
                        writeDown<Item::Kind::Wait, txc_wait_t>};
  if (int32_t status = entry.run(&table, nullptr); status != 0)
    return Status{Code::Device, format("entry '%s' of the step failed with status %d", entry.name, status)};
  return list;
}

Status CommandTimer::add(const txc_entry_t &entry, const std::vector<double> &milliseconds) {
  auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry &e) { return e.entry == &entry; });
  if (found == entries_.end()) {
    Result<CommandList> commands = CommandList::of(entry);
    if (!commands.ok())
      return commands.status();
    std::vector<std::vector<double>> times(commands->items.size());
    entries_.push_back({&entry, std::move(*commands), std::move(times)});
    found = entries_.end() - 1;
  }
  if (milliseconds.size() != found->times.size())
    return {Code::Device, format("entry '%s' of the step ran %zu commands, then %zu", entry.name,
                                 found->times.size(), milliseconds.size())};
  for (size_t i = 0; i < milliseconds.size(); ++i)
    found->times[i].push_back(milliseconds[i]);
  return {};
}

static uint64_t elementBytes(uint32_t dtype) { return dtype == TXC_DTYPE_BF16 ? 2 : 4; }

std::vector<CommandTime> CommandTimer::medians(const txc_kernel_t *kernels) const {
  std::vector<CommandTime> out;
  for (const Entry &entry : entries_)
    for (size_t i = 0; i < entry.times.size(); ++i) {
      std::vector<double> times = entry.times[i];
      std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
                       times.end());
      CommandTime time;
      time.entry = entry.entry->name;
      time.index = static_cast<uint32_t>(i);
      time.milliseconds = times[times.size() / 2];
      const Item &item = entry.commands.items[i];
      time.name = item.name;
      switch (item.kind) {
      case Item::Kind::Launch: {
        const auto &launch = *static_cast<const txc_launch_t *>(item.command);
        time.kind = "launch";
        if (kernels)
          time.kernel = kernels[launch.kernel_index].function;
        break;
      }
      case Item::Kind::Gemm: {
        const auto &p = *static_cast<const txc_gemm_t *>(item.command);
        const uint64_t m = static_cast<uint64_t>(p.m), n = static_cast<uint64_t>(p.n),
                       k = static_cast<uint64_t>(p.k);
        time.kind = "gemm";
        time.kernel = format("%llux%llux%llu", static_cast<unsigned long long>(m),
                             static_cast<unsigned long long>(n), static_cast<unsigned long long>(k)) +
                      (p.batch > 1 ? format(" x %u", p.batch) : "") + (p.transpose_a ? " At" : "") +
                      (p.transpose_b ? " Bt" : "") + (p.accumulate != TXC_ACCUMULATE_NEVER ? " +C" : "");
        time.flops = 2 * m * n * k * p.batch;
        time.bytes = p.batch * ((m * k + k * n) * elementBytes(p.dtype) +
                                m * n * elementBytes(p.dtype_c) * (p.accumulate == TXC_ACCUMULATE_ALWAYS ? 2 : 1));
        break;
      }
      case Item::Kind::Fill: {
        const auto &fill = *static_cast<const txc_fill_t *>(item.command);
        time.kind = "fill";
        time.bytes = fill.bytes;
        break;
      }
      case Item::Kind::Collective:
        time.kind = "collective";
        break;
      case Item::Kind::Wait:
        time.kind = "wait";
        break;
      }
      out.push_back(std::move(time));
    }
  return out;
}

} // namespace txc
