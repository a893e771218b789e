//===- terminal.cpp - Where a run's text goes ------------------------------===//
#include "report/terminal.h"

#include <cstdlib>
#include <sys/ioctl.h>
#include <unistd.h>

namespace txc {

Terminal detectTerminal(int fd) {
  Terminal terminal;
  const char *type = std::getenv("TERM"), *noColor = std::getenv("NO_COLOR");
  // mpirun gives ranks a terminal wherever its own output goes. Only `txrun --nproc`
  // knows the latter, and says it by TERM=dumb.
  if (std::getenv("OMPI_COMM_WORLD_RANK") && !std::getenv("TXC_SUPERVISED"))
    return terminal;
  if (!::isatty(fd) || !type || !*type || std::string(type) == "dumb")
    return terminal;
  terminal.inPlace = true;
  terminal.color = !noColor || !*noColor;
  struct winsize size = {};
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    terminal.columns = size.ws_col;
  return terminal;
}

void Screen::removeLine() {
  if (shown_)
    print_("\r\033[K");
  shown_ = false;
}

void Screen::text(const std::string &text) {
  removeLine();
  if (!text.empty())
    print_(text);
}

bool Screen::lineIsDue() const { return !shown_ || Clock::now() - drawn_ >= std::chrono::milliseconds(100); }

void Screen::line(const std::string &line) {
  // The last column stays free: some terminals wrap when it is written.
  size_t end = 0;
  for (int columns = 0; end < line.size(); ++end) {
    const bool begins = (static_cast<unsigned char>(line[end]) & 0xc0) != 0x80;
    if (begins && ++columns >= terminal_.columns)
      break;
  }
  print_("\r" + line.substr(0, end) + "\033[K");
  shown_ = true;
  drawn_ = Clock::now();
}

} // namespace txc
