//===- command_hook.cpp - Something done around every command --------------===//
#include "device/command_hook.h"

namespace txc {

template <auto function, typename T> int32_t HookedTable::call(void *self, char *arena, const T *command) {
  auto &hooked = *static_cast<HookedTable *>(self);
  const uint32_t index = hooked.index_++;
  hooked.status_ = hooked.hook_.before(index);
  if (!hooked.status_.ok())
    return 1;
  if (int32_t status = (hooked.inner_.*function)(hooked.inner_.self, arena, command); status != 0)
    return status;
  hooked.status_ = hooked.hook_.after(index);
  return hooked.status_.ok() ? 0 : 1;
}

HookedTable::HookedTable(const txc_device_t &inner, CommandHook &hook)
    : inner_(inner), hook_(hook), table_{sizeof(txc_device_t),
                                         TXC_STEP_ABI_VERSION,
                                         this,
                                         call<&txc_device_t::launch, txc_launch_t>,
                                         call<&txc_device_t::gemm, txc_gemm_t>,
                                         call<&txc_device_t::fill, txc_fill_t>,
                                         call<&txc_device_t::collective, txc_collective_t>,
                                         call<&txc_device_t::wait, txc_wait_t>} {}

} // namespace txc
