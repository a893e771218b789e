//===- gpu_collectives.cpp - What moves data between the ranks' GPUs --------===//
#include "comm/gpu_collectives.h"

#include "support/text.h"

namespace txc {

Result<std::unique_ptr<CollectivePlace>> CollectivePlace::open(const cuda::Driver &driver) {
  std::unique_ptr<CollectivePlace> out(new CollectivePlace(driver));
  void *place = nullptr;
  if (cuda::Result result = driver.memHostAlloc(&place, sizeof(uint32_t), 0); result != cuda::kSuccess)
    return driver.error(result, "allocating pinned memory");
  out->place_ = static_cast<volatile uint32_t *>(place);
  *out->place_ = 0;
  return out;
}

CollectivePlace::~CollectivePlace() {
  if (place_)
    driver_.memFreeHost(const_cast<uint32_t *>(place_));
}

Status CollectivePlace::mark(const txc_collective_t &collective, cuda::Stream stream) {
  auto [found, isNew] = numbers_.try_emplace(&collective, static_cast<uint32_t>(numbers_.size() + 1));
  if (isNew) {
    std::lock_guard lock(placing_);
    names_.push_back(collective.name);
  }
  // Pinned memory has one address for the host and the GPU.
  cuda::Result result =
      driver_.streamWriteValue32(stream, reinterpret_cast<cuda::Address>(place_), found->second, 0);
  return result == cuda::kSuccess ? Status()
                                  : driver_.error(result, format("marking collective '%s'", collective.name));
}

void CollectivePlace::tell(Control &control) {
  const uint32_t number = *place_;
  std::lock_guard lock(placing_);
  if (number >= 1 && number <= names_.size())
    control.at(names_[number - 1]);
}

} // namespace txc
