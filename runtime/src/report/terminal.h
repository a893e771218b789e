//===- terminal.h - Where a run's text goes --------------------------------===//
#ifndef TXC_RUNTIME_REPORT_TERMINAL_H
#define TXC_RUNTIME_REPORT_TERMINAL_H

#include <chrono>
#include <functional>
#include <string>

namespace txc {

struct Terminal {
  bool inPlace = false; // a line can be written over
  bool color = false;
  int columns = 80;
};

// What the file descriptor is. A file or a pipe is no terminal; TERM=dumb has
// neither ability; NO_COLOR, if it is set and not empty, takes colour away.
Terminal detectTerminal(int fd);

// Text that stays, and one line at its end that is written over.
class Screen {
public:
  using Print = std::function<void(const std::string &)>;
  Screen() = default;
  Screen(Print print, const Terminal &terminal) : print_(std::move(print)), terminal_(terminal) {}

  const Terminal &terminal() const { return terminal_; }
  // Removes the line, then prints.
  void text(const std::string &text);
  // Cut to the width of the terminal.
  void line(const std::string &line);
  // Whether the last line is old enough to be replaced: ten times a second are
  // enough for people.
  bool lineIsDue() const;
  void removeLine();

private:
  using Clock = std::chrono::steady_clock;
  Print print_;
  Terminal terminal_;
  bool shown_ = false;
  Clock::time_point drawn_ = {};
};

} // namespace txc

#endif // TXC_RUNTIME_REPORT_TERMINAL_H
