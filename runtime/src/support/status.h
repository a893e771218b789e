//===- status.h - Errors as values -----------------------------------------===//
//
// A function that can fail for a reason outside this program returns Status or
// Result<T>. The message names the user's object, what was found, what was
// expected and what to do. Nobody below main() prints or exits.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_SUPPORT_STATUS_H
#define TXC_RUNTIME_SUPPORT_STATUS_H

#include <string>
#include <utility>
#include <variant>

namespace txc {

// Also the exit code of txrun and txdata.
enum class Code : int {
  Ok = 0,
  Failed = 1,  // bad input, bad environment
  Usage = 2,   // the command line is wrong
  Device = 3,  // the device or a library failed
  Diverged = 4 // training produced NaN or infinity
};

class [[nodiscard]] Status {
public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}
  static Status failed(std::string message) { return {Code::Failed, std::move(message)}; }
  static Status usage(std::string message) { return {Code::Usage, std::move(message)}; }
  bool ok() const { return code_ == Code::Ok; }
  Code code() const { return code_; }
  const std::string &message() const { return message_; }

private:
  Code code_ = Code::Ok;
  std::string message_;
};

template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : state_(std::move(value)) {}
  Result(Status status) : state_(std::move(status)) {}
  bool ok() const { return std::holds_alternative<T>(state_); }
  T &operator*() { return std::get<T>(state_); }
  const T &operator*() const { return std::get<T>(state_); }
  T *operator->() { return &std::get<T>(state_); }
  const T *operator->() const { return &std::get<T>(state_); }
  Status status() const { return ok() ? Status() : std::get<Status>(state_); }

private:
  std::variant<T, Status> state_;
};

} // namespace txc

#endif // TXC_RUNTIME_SUPPORT_STATUS_H
