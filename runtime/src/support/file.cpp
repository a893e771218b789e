//===- file.cpp - Whole files, read and written -----------------------------===//
#include "support/file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace txc {

static Status failed(const std::string &path, const char *what) {
  return Status::failed(path + ": " + what + ": " + std::strerror(errno));
}

// Opens a regular file and tells its size.
static Result<int> openRegular(const std::string &path, size_t &size) {
  // O_NONBLOCK, so that a FIFO does not hang.
  int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0)
    return failed(path, "cannot open");
  struct stat info;
  if (::fstat(file, &info) != 0) {
    Status status = failed(path, "cannot stat");
    ::close(file);
    return status;
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(file);
    return Status::failed(path + ": expected a regular file, found " +
                          (S_ISDIR(info.st_mode) ? "a directory" : "a special file"));
  }
  size = static_cast<size_t>(info.st_size);
  return file;
}

Result<MappedFile> MappedFile::open(const std::string &path) {
  MappedFile mapped;
  Result<int> file = openRegular(path, mapped.size_);
  if (!file.ok())
    return file.status();
  if (mapped.size_ > 0) {
    size_t size = mapped.size_;
    void *address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, *file, 0);
    if (address == MAP_FAILED) {
      Status status = failed(path, "cannot map");
      ::close(*file);
      return status;
    }
    mapped.address_ = std::shared_ptr<const char>(
        static_cast<const char *>(address), [size](const char *p) { ::munmap(const_cast<char *>(p), size); });
  }
  ::close(*file);
  return mapped;
}

Result<std::string> readFile(const std::string &path) {
  size_t size = 0;
  Result<int> file = openRegular(path, size);
  if (!file.ok())
    return file.status();
  std::string bytes(size, '\0');
  size_t done = 0;
  while (done < size) {
    ssize_t count = ::read(*file, bytes.data() + done, size - done);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0) {
      Status status = count < 0 ? failed(path, "cannot read")
                                : Status::failed(path + ": ended at byte " + std::to_string(done) + " of " +
                                                 std::to_string(size) + " while it was read");
      ::close(*file);
      return status;
    }
    done += static_cast<size_t>(count);
  }
  ::close(*file);
  return bytes;
}

Status writeFileAtomically(const std::string &path, std::string_view bytes) {
  std::string temporary = path + ".tmp-" + std::to_string(::getpid());
  int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0)
    return failed(temporary, "cannot create");
  Status status;
  while (!bytes.empty()) {
    ssize_t count = ::write(file, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0) {
      status = failed(temporary, "cannot write");
      break;
    }
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  if (status.ok() && ::fsync(file) != 0)
    status = failed(temporary, "cannot flush");
  if (::close(file) != 0 && status.ok())
    status = failed(temporary, "cannot close");
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0)
    status = failed(path, "cannot rename the finished file to this name");
  if (!status.ok())
    ::unlink(temporary.c_str());
  return status;
}

bool isFile(const std::string &path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

bool isDirectory(const std::string &path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

} // namespace txc
