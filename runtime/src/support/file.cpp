//===- file.cpp - Whole files, read and written -----------------------------===//
#include "support/file.h"

#include <algorithm>
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

Result<std::shared_ptr<const int>> openForReading(const std::string &path, uint64_t &bytes) {
  // A pipe must not make us wait.
  int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0)
    return Status::failed(path + ": cannot open: " + std::strerror(errno));
  std::shared_ptr<const int> owner(new int(file), [](const int *open) {
    ::close(*open);
    delete open;
  });
  struct stat info;
  if (::fstat(file, &info) != 0)
    return Status::failed(path + ": cannot stat: " + std::strerror(errno));
  if (!S_ISREG(info.st_mode))
    return Status::failed(path + ": expected a regular file, found " +
                          (S_ISDIR(info.st_mode) ? "a directory" : "a special file"));
  bytes = static_cast<uint64_t>(info.st_size);
  return owner;
}

Status readExactly(int file, uint64_t offset, void *data, uint64_t bytes, const std::string &path) {
  char *to = static_cast<char *>(data);
  while (bytes > 0) {
    ssize_t count = ::pread(file, to, std::min<uint64_t>(bytes, 1 << 30), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return Status::failed(path + ": cannot read: " + std::strerror(errno));
    if (count == 0) {
      struct stat info;
      const uint64_t end =
          ::fstat(file, &info) == 0 ? std::min(static_cast<uint64_t>(info.st_size), offset) : offset;
      return Status::failed(path + ": it ends at byte " + std::to_string(end) + ", " +
                            std::to_string(offset + bytes - end) + " bytes short");
    }
    to += count;
    offset += static_cast<uint64_t>(count);
    bytes -= static_cast<uint64_t>(count);
  }
  return {};
}

Result<MappedFile> MappedFile::open(const std::string &path) {
  MappedFile mapped;
  uint64_t size = 0;
  Result<std::shared_ptr<const int>> file = openForReading(path, size);
  if (!file.ok())
    return file.status();
  mapped.size_ = size;
  if (size > 0) {
    void *address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, **file, 0);
    if (address == MAP_FAILED)
      return failed(path, "cannot map");
    mapped.address_ = std::shared_ptr<const char>(
        static_cast<const char *>(address), [size](const char *p) { ::munmap(const_cast<char *>(p), size); });
  }
  return mapped;
}

Result<std::string> readFile(const std::string &path) {
  uint64_t size = 0;
  Result<std::shared_ptr<const int>> file = openForReading(path, size);
  if (!file.ok())
    return file.status();
  std::string bytes(size, '\0');
  if (Status status = readExactly(**file, 0, bytes.data(), size, path); !status.ok())
    return status;
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
