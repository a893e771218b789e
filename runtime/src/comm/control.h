//===- control.h - How ranks find and watch each other ---------------------===//
//
// Rank 0 serves at an address that all ranks know; every rank, rank 0 too, is a
// client with a connection and a thread. Over it go
//
//   hello     who is where; complete when all ranks are there
//   gather    short texts that every rank gets from every rank
//   beat      once per second: iteration, collective, time spent waiting in it
//   failure   what the first rank to fail said, or what rank 0 found out: a
//             connection that closed, beats that stopped, ranks that wait in a
//             collective that others do not enter
//
// After a failure every rank knows the same sentence. A process that has not
// ended kGraceSeconds later is ended by its thread. Messages are lines of JSON.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_COMM_CONTROL_H
#define TXC_RUNTIME_COMM_CONTROL_H

#include "comm/world.h"
#include "support/status.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace txc {

class ControlServer;

struct RankPlace {
  std::string host;
  int64_t pid = 0;
  std::string cpus; // that it may run on
};

class Control {
public:
  static constexpr double kBeatSeconds = 1, kHeartbeatLossSeconds = 10, kGraceSeconds = 5;

  // Waits at most `timeout` seconds for all ranks; likewise everything below.
  static Result<std::unique_ptr<Control>> join(const World &world, double timeout);
  Control(const Control &) = delete;
  Control &operator=(const Control &) = delete;
  // Says farewell, unless there was a failure.
  ~Control();

  const World &world() const { return world_; }
  const std::vector<RankPlace> &places() const { return places_; }
  // "rank 1 (host a, process 17)".
  std::string nameOf(int rank) const;
  // Whether all ranks are on hosts of one name.
  bool isOneHost() const;
  // How many ranks may run on the processors of this one.
  int sharers() const;

  // One text per rank. All ranks gather the same things in the same order; the
  // first half does not wait.
  Status startGather(const std::string &text);
  Result<std::vector<std::string>> finishGather();
  Result<std::vector<std::string>> gather(const std::string &text);

  // Where this rank is, for the messages of others. `collective` must live on.
  void atIteration(int64_t iteration) { iteration_ = iteration; }
  void enter(const char *collective) { at(collective), enter(); }
  // What has collectives that its device comes to later, where at() is told.
  void enter() { ++entered_; }
  void at(const char *collective) { collective_ = collective; }
  // It waits, or no longer, for the others.
  void waiting(bool on) { waitingSince_ = on ? now() : 0; }
  // It lets the others wait: no reason to give up.
  void busy(bool on) { busy_ = on; }

  // Of any rank.
  bool failed() const { return failed_; }
  Status failure() const;
  // Tells all ranks that this one cannot go on; returns what is the first failure.
  void fail(const Status &status);
  // Called once, on a thread of its own, at a failure, also at one that was before.
  // Without a function: waits for one that runs.
  void onFailure(std::function<void()> function);
  // Called with every beat; what it returns is a failure of this rank. Without a
  // function: waits for one that runs.
  void watch(std::function<Status()> function);

private:
  Control(World world, double timeout);
  static double now();
  Status connect();
  void serve();
  void beat();
  void receive(const std::string &line);
  void setFailure(const std::string &message);
  bool send(const std::string &line);

  World world_;
  double timeout_;
  std::unique_ptr<ControlServer> server_; // of rank 0
  std::vector<RankPlace> places_;
  int socket_ = -1, wake_[2] = {-1, -1};
  std::thread thread_;
  std::atomic<bool> failed_{false}, finished_{false}, busy_{false};
  std::atomic<int64_t> iteration_{0}, entered_{0};
  std::atomic<const char *> collective_{""};
  std::atomic<double> waitingSince_{0};

  mutable std::mutex mutex_; // of what follows
  std::condition_variable changed_;
  std::mutex sending_, watching_;
  std::function<Status()> watch_; // of watching_
  bool joined_ = false;
  int64_t started_ = 0, finishedGathers_ = 0;
  std::map<int64_t, std::vector<std::string>> gathered_;
  std::string failure_;
  std::function<void()> onFailure_;
  std::thread failureThread_;
};

} // namespace txc

#endif // TXC_RUNTIME_COMM_CONTROL_H
