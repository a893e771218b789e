//===- file_operations.h - What saving asks of the file system --------------===//
//
// The few calls through which checkpoints reach the disk, so that a test can make
// any one of them fail. Each returns 0 (or a count) or a negative errno.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_CHECKPOINT_FILE_OPERATIONS_H
#define TXC_RUNTIME_CHECKPOINT_FILE_OPERATIONS_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <sys/types.h>

namespace txc {

class FileOperations {
public:
  virtual ~FileOperations() = default;
  // An existing folder is not an error.
  virtual int makeFolder(const std::string &path);
  // A file descriptor of a new or emptied file; symbolic links are not followed.
  virtual int create(const std::string &path);
  // May write less than it is given, as write(2).
  virtual ssize_t write(int file, const void *data, size_t bytes);
  // To the disk, not just to the kernel.
  virtual int flush(int file);
  virtual int close(int file);
  virtual int flushFolder(const std::string &path);
  virtual int rename(const std::string &from, const std::string &to);
  // A folder with all that is in it, or a file; links are removed, not followed.
  virtual int remove(const std::string &path);
};

FileOperations &systemFiles();

} // namespace txc

#endif // TXC_RUNTIME_CHECKPOINT_FILE_OPERATIONS_H
