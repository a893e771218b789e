//===- cuda_driver.cpp - NVIDIA's driver, loaded at run time ---------------===//
#include "device/cuda_driver.h"

#include "support/text.h"

#include <cstdlib>
#include <dlfcn.h>

namespace txc::cuda {

FoundLibrary openLibrary(const std::vector<std::string> &paths) {
  FoundLibrary found;
  for (const std::string &path : paths) {
    found.handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (found.handle) {
      found.path = path;
      return found;
    }
    const char *why = ::dlerror();
    found.tried += (found.tried.empty() ? "" : "\n") + std::string("  ") + (why ? why : path.c_str());
  }
  return found;
}

static const char *const kOtherwise = "or compile the step with --target=cpu";

txc::Result<Driver> Driver::load() {
  const char *named = std::getenv("TXC_CUDA_LIBRARY");
  std::string name = named && *named ? named : "libcuda.so.1";
  FoundLibrary library = openLibrary({name});
  if (!library.handle)
    return Status{Code::Device,
                  "cannot load NVIDIA's driver library " + name + ":\n" + library.tried +
                      "\nrun on a machine with an NVIDIA GPU and its driver (version 525 or newer; "
                      "Ubuntu: apt install nvidia-driver-580), " +
                      kOtherwise};
  Driver driver;
  // Asked first, since an old driver lacks some of the functions.
  if (void *address = ::dlsym(library.handle, "cuDriverGetVersion"))
    reinterpret_cast<Result (*)(int *)>(address)(&driver.version_);
  const char *missing = nullptr;
#define TXC_LOAD(function, symbol, ...)                                                                      \
  driver.function = reinterpret_cast<Result (*)(__VA_ARGS__)>(::dlsym(library.handle, symbol));              \
  if (!driver.function && !missing)                                                                          \
    missing = symbol;
  TXC_CUDA_DRIVER_FUNCTIONS(TXC_LOAD)
#undef TXC_LOAD
  if (missing)
    return Status{Code::Device, "NVIDIA's driver is too old: " + library.path + " (CUDA " +
                                    driver.versionText() + ") has no function " + missing +
                                    "; install driver version 525 (CUDA 12.0) or newer, " + kOtherwise};
  if (Result result = driver.init(0); result != kSuccess)
    return driver.error(result, "initializing NVIDIA's driver (" + library.path + ")");
  if (driver.version_ < 12000)
    return Status{Code::Device, "NVIDIA's driver is too old: it speaks CUDA " + driver.versionText() +
                                    ", 12.0 is needed; install driver version 525 or newer, " + kOtherwise};
  return driver;
}

std::string Driver::versionText() const { return format("%d.%d", version_ / 1000, version_ % 1000 / 10); }

Status Driver::error(Result result, const std::string &doing, bool commandIsKnown) const {
  const char *name = nullptr, *text = nullptr;
  if (getErrorName && getErrorName(result, &name) != kSuccess)
    name = nullptr;
  if (getErrorString && getErrorString(result, &text) != kSuccess)
    text = nullptr;
  std::string message = doing + ": " + (text ? text : "unknown error") + " (" +
                        (name ? std::string(name) : format("CUDA error %d", result)) + ")";
  switch (result) {
  case kNoDevice:
    message += "; this machine has no NVIDIA GPU that this process may use (nvidia-smi lists them, "
               "CUDA_VISIBLE_DEVICES hides some); run elsewhere, ";
    message += kOtherwise;
    break;
  case kInsufficientDriver:
  case kSystemDriverMismatch:
    message +=
        "; the driver's library and the kernel's driver do not fit together; restart the machine after "
        "an update of the driver, or install one version of both";
    break;
  case kDeviceUnavailable:
    message +=
        "; another process has this GPU for itself (nvidia-smi shows it); wait for it, or take another "
        "GPU with --device=N";
    break;
  case kSystemNotReady:
    message +=
        "; a service of the machine's NVLink switches is not up (nvidia-fabricmanager); ask who runs it";
    break;
  case kOutOfMemory:
    message += "; nvidia-smi shows what other processes take; take a smaller batch_size when compiling";
    break;
  case kEccUncorrectable:
    message +=
        "; the GPU's memory has a fault (nvidia-smi -q -d ECC); take another GPU with --device=N and reset "
        "this one";
    break;
  case kIllegalAddress:
  case kHardwareStackError:
  case kIllegalInstruction:
  case kMisalignedAddress:
  case kInvalidAddressSpace:
  case kInvalidPc:
  case kLaunchFailed:
    message += "; a kernel of the step failed. ";
    if (!commandIsKnown)
      message +=
          "Run it again with --graphs=false and CUDA_LAUNCH_BLOCKING=1 in the environment to learn which "
          "command it was. ";
    message += "If nvidia-smi no longer lists the GPU, it was lost: see dmesg for an Xid message";
    break;
  case kInvalidDevice:
  case 999: // CUDA_ERROR_UNKNOWN
    message += "; if nvidia-smi does not list the GPU either, it was lost: see dmesg for an Xid message";
    break;
  default:
    break;
  }
  return {Code::Device, message};
}

} // namespace txc::cuda
