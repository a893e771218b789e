//===- txrun.cpp - Train a compiled step -----------------------------------===//
#include "support/text.h"
#include "train/trainer.h"
#include "txc/step_abi.h"

#include <csignal>
#include <cstdio>
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

static int fail(const txc::Status &status) {
  std::fflush(stdout);
  std::fprintf(stderr, "txrun: error: %s\n", status.message().c_str());
  return static_cast<int>(status.code());
}

int main(int argc, char **argv) {
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
  txc::Result<std::unique_ptr<txc::Trainer>> trainer = txc::Trainer::create(*command);
  if (!trainer.ok())
    return fail(trainer.status());
  for (const std::string &warning : (*trainer)->device().info().warnings)
    std::fprintf(stderr, "txrun: warning: %s\n", warning.c_str());
  std::signal(SIGINT, receiveSignal);
  std::signal(SIGTERM, receiveSignal);
  auto print = [](const std::string &text) {
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  };
  txc::Status status = (*trainer)->train(
      print, [] { return static_cast<int>(receivedSignal); }, txc::detectTerminal(STDOUT_FILENO));
  if (!status.ok())
    return fail(status);
  return receivedSignal ? 128 + receivedSignal : 0;
}
