//===- file_operations.cpp - What saving asks of the file system ------------===//
#include "checkpoint/file_operations.h"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

namespace txc {

int FileOperations::makeFolder(const std::string &path) {
  if (::mkdir(path.c_str(), 0777) == 0)
    return 0;
  const int error = errno;
  struct stat info;
  return error == EEXIST && ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) ? 0 : -error;
}

int FileOperations::create(const std::string &path) {
  int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  return file < 0 ? -errno : file;
}

ssize_t FileOperations::write(int file, const void *data, size_t bytes) {
  ssize_t count = ::write(file, data, bytes);
  return count < 0 ? -errno : count;
}

int FileOperations::flush(int file) { return ::fsync(file) == 0 ? 0 : -errno; }

int FileOperations::close(int file) { return ::close(file) == 0 ? 0 : -errno; }

int FileOperations::flushFolder(const std::string &path) {
  int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0)
    return -errno;
  int result = ::fsync(folder) == 0 ? 0 : -errno;
  ::close(folder);
  // Some file systems cannot flush folders, and need not.
  return result == -EINVAL || result == -EROFS ? 0 : result;
}

int FileOperations::rename(const std::string &from, const std::string &to) {
  return ::rename(from.c_str(), to.c_str()) == 0 ? 0 : -errno;
}

int FileOperations::remove(const std::string &path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  return -error.value();
}

FileOperations &systemFiles() {
  static FileOperations files;
  return files;
}

} // namespace txc
