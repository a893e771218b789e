//===- launch.cpp - Several ranks on one host ------------------------------===//
//
// Each process that is started here is the leader of a group and is killed by
// the kernel when this process dies (PR_SET_PDEATHSIG); ranks beneath mpirun ask
// the same of mpirun. mpirun would end a job at a signal rather than pass it on,
// so signals go to the ranks themselves, which /proc knows.
//
//===----------------------------------------------------------------------===//
#include "comm/launch.h"

#include "support/text.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

namespace txc {

// Time for the others to say why they end, once one has failed.
static constexpr double kGraceSeconds = 8;

static volatile std::sig_atomic_t signalled = 0, signals = 0, saveAsked = 0;
static void note(int number) {
  if (number == SIGUSR1) { // asks for a checkpoint, as often as one likes
    saveAsked = 1;
    return;
  }
  signalled = number;
  signals = signals + 1;
}

void endWithLauncher() {
  if (std::getenv("TXC_SUPERVISED"))
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int worstExitCode(const std::vector<int> &statuses) {
  int own = 0, killed = 0;
  for (int status : statuses) {
    if (WIFEXITED(status))
      own = std::max(own, WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
      killed = std::max(killed, 128 + WTERMSIG(status));
  }
  return own ? own : killed;
}

// A port that is free now.
static Result<int> freePort() {
  int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  const bool found = socket >= 0 && ::bind(socket, reinterpret_cast<sockaddr *>(&address), size) == 0 &&
                     ::getsockname(socket, reinterpret_cast<sockaddr *>(&address), &size) == 0;
  if (socket >= 0)
    ::close(socket);
  if (!found)
    return Status{Code::Device, std::string("cannot find a free port: ") + std::strerror(errno)};
  return static_cast<int>(ntohs(address.sin_port));
}

// Whether one process may copy from another's memory, as MPI would like to.
static bool canReadOthersMemory() {
  std::ifstream scope("/proc/sys/kernel/yama/ptrace_scope");
  int level = 0;
  if ((scope >> level) && level != 0)
    return false;
  char from = 1, to = 0;
  iovec local = {&to, 1}, remote = {&from, 1};
  return ::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0) == 1;
}

static std::string findProgram(const std::string &name) {
  const char *path = std::getenv("PATH");
  std::string text = path ? path : "/usr/bin:/bin";
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find(':', begin), text.size());
    std::string candidate = text.substr(begin, end - begin) + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0)
      return candidate;
    begin = end + 1;
  }
  return "";
}

static void addChildren(pid_t parent, std::vector<pid_t> &out) {
  std::error_code error;
  for (const auto &task : std::filesystem::directory_iterator(format("/proc/%d/task", parent), error)) {
    std::ifstream children(task.path() / "children");
    for (pid_t child; children >> child;)
      out.push_back(child);
  }
}

static pid_t start(const std::vector<std::string> &words, const std::vector<std::string> &variables) {
  std::vector<char *> arguments, environment;
  for (const std::string &word : words)
    arguments.push_back(const_cast<char *>(word.c_str()));
  arguments.push_back(nullptr);
  for (char **at = environ; *at; ++at) {
    const std::string name = std::string(*at).substr(0, std::strcspn(*at, "=") + 1);
    bool replaced = false;
    for (const std::string &variable : variables)
      replaced |= variable.compare(0, name.size(), name) == 0;
    if (!replaced)
      environment.push_back(*at);
  }
  for (const std::string &variable : variables)
    environment.push_back(const_cast<char *>(variable.c_str()));
  environment.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child != 0)
    return child;
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) // died before
    ::_exit(3);
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1})
    ::signal(number, SIG_DFL);
  ::execve(arguments[0], arguments.data(), environment.data());
  ::_exit(127);
}

Result<int> launchRanks(int ranks, bool gpu, const std::vector<std::string> &arguments) {
  Result<int> port = freePort();
  if (!port.ok())
    return port.status();
  char self[4096] = {};
  if (::readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
    return Status{Code::Device, "cannot find this program in /proc/self/exe; is /proc mounted?"};

  struct sigaction action = {};
  action.sa_handler = note;
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1})
    ::sigaction(number, &action, nullptr);
  std::vector<std::string> shared = {"MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + std::to_string(*port),
                                     "TXC_SUPERVISED=1"};
  std::vector<pid_t> children;
  auto killAll = [&] {
    for (pid_t child : children) {
      std::vector<pid_t> beneath;
      addChildren(child, beneath);
      ::kill(-child, SIGKILL);
      for (pid_t one : beneath)
        ::kill(one, SIGKILL);
    }
  };
  auto passOn = [&](int number) {
    for (pid_t child : children) {
      std::vector<pid_t> targets;
      if (gpu)
        targets = {child};
      else
        addChildren(child, targets);
      for (pid_t target : targets)
        ::kill(target, number);
      if (!gpu && targets.empty() && number != SIGUSR1)
        ::kill(child, number);
    }
  };
  if (gpu) {
    std::vector<std::string> words = {self};
    words.insert(words.end(), arguments.begin(), arguments.end());
    for (int rank = 0; rank < ranks; ++rank) {
      std::vector<std::string> variables = shared;
      variables.push_back("RANK=" + std::to_string(rank));
      variables.push_back("LOCAL_RANK=" + std::to_string(rank));
      variables.push_back("WORLD_SIZE=" + std::to_string(ranks));
      variables.push_back("LOCAL_WORLD_SIZE=" + std::to_string(ranks));
      children.push_back(start(words, variables));
    }
  } else {
    const char *named = std::getenv("TXC_MPIRUN");
    const std::string mpirun = named && *named ? named : findProgram("mpirun");
    if (mpirun.empty())
      return Status{Code::Device,
                    "--nproc on the CPU starts the ranks with Open MPI's mpirun, which is not in PATH; "
                    "install it (Debian: apt install openmpi-bin libopenmpi-dev) and build txc again, "
                    "or name it in TXC_MPIRUN"};
    // All on this host, no rank bound to a core: threads are shared out by txrun.
    std::vector<std::string> words = {mpirun, "-q", "-n", std::to_string(ranks), "--oversubscribe", "--bind-to", "none",
                                      "--mca", "plm", "isolated", "--mca", "btl", "vader,self", "--mca", "pml", "ob1",
                                      "--mca", "odls_base_sigkill_timeout", "2"};
    if (!canReadOthersMemory())
      words.insert(words.end(), {"--mca", "btl_vader_single_copy_mechanism", "none"});
    words.push_back(self);
    words.insert(words.end(), arguments.begin(), arguments.end());
    shared.insert(shared.end(), {"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"});
    if (!::isatty(STDOUT_FILENO)) // mpirun gives ranks a terminal all the same
      shared.push_back("TERM=dumb");
    children.push_back(start(words, shared));
  }

  std::vector<int> statuses;
  int passedOn = 0;
  double failedFor = 0;
  constexpr double kTurnSeconds = 0.02;
  for (size_t left = children.size(); left > 0;) {
    int status = 0;
    const pid_t ended = ::waitpid(-1, &status, WNOHANG);
    if (ended > 0) {
      if (auto at = std::find(children.begin(), children.end(), ended); at != children.end()) {
        // What mpirun says of a rank that was killed: the others end with 3.
        if (!gpu && WIFEXITED(status) && WEXITSTATUS(status) > 128 && passedOn == 0)
          status = static_cast<int>(Code::Device) << 8;
        statuses.push_back(status);
        children.erase(at);
        --left;
      }
      continue;
    }
    if (ended < 0 && errno == ECHILD)
      break;
    if (signals > passedOn) {
      ++passedOn;
      if (passedOn > 1) {
        killAll();
      } else {
        passOn(signalled);
      }
    }
    if (saveAsked) {
      saveAsked = 0;
      passOn(SIGUSR1);
    }
    const bool failed = worstExitCode(statuses) != 0;
    failedFor += failed ? kTurnSeconds : 0;
    if (failedFor > kGraceSeconds)
      killAll();
    ::usleep(static_cast<useconds_t>(kTurnSeconds * 1e6));
  }
  return worstExitCode(statuses);
}

} // namespace txc
