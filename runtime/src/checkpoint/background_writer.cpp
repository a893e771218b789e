//===- background_writer.cpp - Saves while training goes on -----------------===//
#include "checkpoint/background_writer.h"

#include <csignal>
#include <system_error>

namespace txc {

BackgroundWriter::~BackgroundWriter() {
  {
    std::lock_guard lock(mutex_);
    end_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable())
    thread_.join();
}

void BackgroundWriter::start(std::function<void()> work) {
  wait();
  if (!thread_.joinable()) {
    // Signals are for the thread that trains: they end its waiting.
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = true;
    try {
      thread_ = std::thread([this] { loop(); });
    } catch (const std::system_error &) {
      started = false;
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (!started) { // no memory for a stack, or no more threads: the caller waits
      work();
      return;
    }
  }
  {
    std::lock_guard lock(mutex_);
    work_ = std::move(work);
  }
  changed_.notify_all();
}

void BackgroundWriter::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !work_; });
}

bool BackgroundWriter::idle() {
  std::lock_guard lock(mutex_);
  return !work_;
}

void BackgroundWriter::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return work_ || end_; });
    if (!work_)
      return;
    lock.unlock();
    work_(); // stays set, so that others see that it is under way
    lock.lock();
    work_ = nullptr;
    changed_.notify_all();
  }
}

} // namespace txc
