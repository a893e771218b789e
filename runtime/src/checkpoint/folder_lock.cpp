//===- folder_lock.cpp - One run per folder ---------------------------------===//
#include "checkpoint/folder_lock.h"

#include "support/text.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <unistd.h>

namespace txc {

Result<std::unique_ptr<FolderLock>> FolderLock::take(const std::string &folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error || !std::filesystem::is_directory(folder, error))
    return Status::failed(folder + ": cannot make the folder for logs and checkpoints: " +
                          (error ? error.message() : "a file is in its place") + "; give another --out_dir");
  const std::string path = folder + "/.txrun.lock";
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (file < 0)
    return Status::failed(path + ": cannot lock the folder: " + std::strerror(errno) +
                          "; logs and checkpoints go there, give an --out_dir that can be written");
  std::unique_ptr<FolderLock> lock(new FolderLock(file));
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK)
      return Status::failed(path + ": cannot lock the folder: " + std::strerror(errno));
    char holder[256] = {};
    const ssize_t count = ::pread(file, holder, sizeof(holder) - 1, 0);
    std::string who(holder, count > 0 ? static_cast<size_t>(count) : 0);
    for (char &c : who)
      c = c < ' ' ? ' ' : c;
    who.erase(who.find_last_not_of(' ') + 1);
    return Status::failed(folder + ": another run works in this folder" +
                          (who.empty() ? "" : " (" + who + ")") +
                          "; give another --out_dir, or end that run");
  }
  char host[256] = {};
  (void)::gethostname(host, sizeof(host) - 1);
  const std::string text = format("process %d on %s\n", static_cast<int>(::getpid()), host);
  // What the file says is for people; the lock holds without it.
  if (::ftruncate(file, 0) != 0 || ::pwrite(file, text.data(), text.size(), 0) < 0)
    return lock;
  return lock;
}

// The file stays: removing it could unlock a run that has just opened it.
FolderLock::~FolderLock() { ::close(file_); }

} // namespace txc
