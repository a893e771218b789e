//===- txrun.cpp - Train a compiled step -----------------------------------===//
#include "comm/launch.h"
#include "device/arena.h"
#include "loader/step_file.h"
#include "support/json.h"
#include "support/text.h"
#include "train/export_run.h"
#include "train/trainer.h"
#include "txc/step_abi.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <unistd.h>
#include <vector>

static volatile std::sig_atomic_t receivedSignal = 0;

// The first signal asks for an orderly end, the second ends at once.
static void receiveSignal(int number) {
  if (receivedSignal) {
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
  receivedSignal = number;
}

static std::string rankName; // of several

// SIGUSR1 asks for a checkpoint; training goes on.
static volatile std::sig_atomic_t saveRequested = 0;

static int fail(const txc::Status &status) {
  std::fflush(stdout);
  std::fprintf(stderr, "txrun: error: %s%s\n", rankName.c_str(), status.message().c_str());
  return static_cast<int>(status.code());
}

// Starts the ranks, if this process is to do that: `arguments` less --nproc.
static int launch(const txc::Command &command, int64_t ranks, const std::vector<std::string> &arguments) {
  txc::Result<std::string> text = txc::readMetadata(command.stepPath);
  if (!text.ok())
    return fail(text.status());
  txc::Result<nlohmann::ordered_json> metadata = txc::parseJson(*text);
  const std::string target = metadata.ok() && metadata->is_object() ? metadata->value("target", "") : "";
  const int64_t compiled =
      metadata.ok() && metadata->is_object() ? metadata->value("num_ranks", int64_t(1)) : 1;
  if (compiled != ranks)
    return fail(txc::Status::usage(
        txc::format("--nproc=%lld: %s is compiled for %lld rank%s (mesh dp:%lld); give --nproc=%lld, or "
                    "compile it again with "
                    "--mesh=dp:%lld",
                    static_cast<long long>(ranks), command.stepPath.c_str(), static_cast<long long>(compiled),
                    compiled == 1 ? "" : "s", static_cast<long long>(compiled),
                    static_cast<long long>(compiled), static_cast<long long>(ranks))));
  std::vector<std::string> words;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--nproc")
      ++i;
    else if (arguments[i].rfind("--nproc=", 0) != 0)
      words.push_back(arguments[i]);
  }
  txc::Result<int> code = txc::launchRanks(static_cast<int>(ranks), target.rfind("cuda", 0) == 0, words);
  return code.ok() ? *code : fail(code.status());
}

static int run(int argc, char **argv) {
  txc::endWithLauncher();
  if (argc == 2)
    if (std::optional<std::string> text = txc::manual::printed(txc::describeTool(), argv[1])) {
      std::fputs(text->c_str(), stdout);
      return 0;
    }
  txc::Result<txc::Command> command = txc::parseCommandLine(std::vector<std::string>(argv + 1, argv + argc));
  if (!command.ok())
    return fail(command.status());
  if (command->action == txc::Command::Action::Help) {
    std::fputs(txc::helpText().c_str(), stdout);
    return 0;
  }
  if (command->action == txc::Command::Action::Version) {
    std::printf("txrun %s (step ABI %u)\n", TXC_VERSION, TXC_STEP_ABI_VERSION);
    return 0;
  }
  auto print = [](const std::string &text) {
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  };
  if (txc::asksForExport(*command)) {
    txc::Status status = txc::exportRun(*command, print);
    return status.ok() ? 0 : fail(status);
  }
  for (const auto &[key, value] : command->overrides)
    if (key == "nproc" && value != "1" && !std::getenv("TXC_SUPERVISED"))
      return launch(*command, *txc::parseWholeNumber(value), std::vector<std::string>(argv + 1, argv + argc));
  if (txc::Result<txc::World> world = txc::worldOf([](const char *name) { return std::getenv(name); });
      world.ok() && world->size > 1)
    rankName = txc::format("rank %d: ", world->rank);
  std::signal(SIGUSR1, SIG_IGN); // there is nothing to save yet
  std::signal(SIGXFSZ, SIG_IGN); // writing beyond ulimit -f is an error, as on a full disk
  txc::Result<std::unique_ptr<txc::Trainer>> trainer = txc::Trainer::create(*command);
  if (!trainer.ok())
    return fail(trainer.status());
  for (const std::string &warning : (*trainer)->device().info().warnings)
    std::fprintf(stderr, "txrun: warning: %s\n", warning.c_str());
  std::signal(SIGINT, receiveSignal);
  std::signal(SIGTERM, receiveSignal);
  std::signal(SIGUSR1, [](int) { saveRequested = 1; });
  (*trainer)->saveWhen([] {
    const bool asked = saveRequested;
    saveRequested = 0;
    return asked;
  });
  txc::Status status = (*trainer)->train(
      print, [] { return static_cast<int>(receivedSignal); }, txc::detectTerminal(STDOUT_FILENO));
  if (!status.ok())
    return fail(status);
  const int signal = (*trainer)->stoppedBy();
  return signal ? 128 + signal : 0;
}

int main(int argc, char **argv) {
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc &) {
    const txc::MemoryLimit left = txc::availableMemory();
    return fail(txc::Status::failed("not enough memory: the host refused a small allocation, " +
                                    txc::bytesText(left.bytes) + " are available (" + left.reason +
                                    "); run it where there is more"));
  }
}
