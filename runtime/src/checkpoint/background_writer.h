//===- background_writer.h - Saves while training goes on -------------------===//
#ifndef TXC_RUNTIME_CHECKPOINT_BACKGROUND_WRITER_H
#define TXC_RUNTIME_CHECKPOINT_BACKGROUND_WRITER_H

#include "support/status.h"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace txc {

// A thread that does one thing after the other. Started with the first.
class BackgroundWriter {
public:
  BackgroundWriter() = default;
  BackgroundWriter(const BackgroundWriter &) = delete;
  BackgroundWriter &operator=(const BackgroundWriter &) = delete;
  // Finishes what is under way.
  ~BackgroundWriter();

  // Waits for the work before it.
  void start(std::function<void()> work);
  void wait();
  bool idle();

private:
  void loop();

  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> work_; // empty: idle
  bool end_ = false;
};

} // namespace txc

#endif // TXC_RUNTIME_CHECKPOINT_BACKGROUND_WRITER_H
