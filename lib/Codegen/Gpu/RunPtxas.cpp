//===- RunPtxas.cpp - From PTX to a cubin ----------------------------------===//
//
// ptxas is NVIDIA's assembler, of the CUDA toolkit. Without it a step.so holds
// PTX only, which the driver compiles when the step is loaded.
//
//===----------------------------------------------------------------------===//

#include "../EmitPhase.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/Regex.h"

using namespace mlir;
namespace sys = llvm::sys;

namespace txc::codegen {

static std::string findPtxas(StringRef asked) {
  if (!asked.empty())
    return asked.str();
  if (std::optional<std::string> named = sys::Process::GetEnv("TXC_PTXAS"); named && !named->empty())
    return *named;
  if (auto found = sys::findProgramByName("ptxas"))
    return *found;
  SmallVector<std::string> folders;
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"})
    if (std::optional<std::string> home = sys::Process::GetEnv(variable))
      folders.push_back(*home + "/bin");
  folders.push_back("/usr/local/cuda/bin");
  for (const std::string &folder : folders)
    if (sys::fs::can_execute(folder + "/ptxas"))
      return folder + "/ptxas";
  return "";
}

/// Reads `-v` messages: "Compiling entry function 'f'", then spills and registers.
static void readResources(StringRef messages, llvm::StringMap<KernelResources> &resources) {
  llvm::Regex entry("Compiling entry function '([^']+)'"), spills("([0-9]+) bytes spill stores"),
      registers("Used ([0-9]+) registers"), shared("([0-9]+) bytes smem");
  SmallVector<StringRef> lines, match;
  messages.split(lines, '\n');
  KernelResources *current = nullptr;
  auto number = [&](const llvm::Regex &regex, StringRef line, int64_t &value) {
    if (current && regex.match(line, &match))
      match[1].getAsInteger(10, value);
  };
  for (StringRef line : lines) {
    if (entry.match(line, &match)) {
      current = &resources[match[1]];
      current->sharedBytes = 0;
    }
    if (current) {
      number(spills, line, current->spillBytes);
      number(registers, line, current->registers);
      number(shared, line, current->sharedBytes);
    }
  }
}

LogicalResult runPtxas(Location loc, const GpuTarget &target, StringRef ptx, StringRef asked,
                       std::string &cubin, llvm::StringMap<KernelResources> &resources) {
  std::string ptxas = findPtxas(asked);
  if (ptxas.empty()) {
    mlir::emitWarning(loc)
        << "found no ptxas ($TXC_PTXAS, PATH, $CUDA_HOME/bin, /usr/local/cuda/bin): the step "
           "holds PTX only, which the driver compiles at every start of txrun; install the "
           "CUDA toolkit's ptxas to have machine code for "
        << target.arch;
    return success();
  }
  SmallString<128> folder;
  if (std::error_code error = sys::fs::createUniqueDirectory("txc-ptxas", folder))
    return mlir::emitError(loc) << "cannot make a folder for temporary files: " << error.message()
                                << "; set TMPDIR";
  bool keep = false;
  auto cleanUp = llvm::make_scope_exit([&] {
    if (!keep)
      sys::fs::remove_directories(folder);
  });
  std::string input = (folder + "/kernels.ptx").str(), output = (folder + "/kernels.cubin").str(),
              log = (folder + "/ptxas.txt").str();
  {
    std::error_code error;
    llvm::raw_fd_ostream os(input, error);
    if (!error)
      os << ptx;
    if (error || os.has_error()) {
      os.clear_error();
      return mlir::emitError(loc) << "cannot write " << input << "; set TMPDIR to a folder with space";
    }
  }
  std::string arch = "-arch=" + target.arch;
  StringRef arguments[] = {ptxas, arch, "-O3", "-v", input, "-o", output};
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(log), StringRef(log)};
  std::string error;
  int status = sys::ExecuteAndWait(ptxas, arguments, std::nullopt, redirects, 0, 0, &error);
  auto read = [](StringRef path) {
    auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
    return buffer ? (*buffer)->getBuffer().str() : std::string();
  };
  std::string messages = read(log);
  if (status != 0) {
    keep = true;
    return mlir::emitError(loc) << ptxas << " failed on " << input << ": "
                                << (error.empty() ? "status " + std::to_string(status) : error) << "\n"
                                << StringRef(messages).rtrim();
  }
  cubin = read(output);
  readResources(messages, resources);
  return success();
}

} // namespace txc::codegen
