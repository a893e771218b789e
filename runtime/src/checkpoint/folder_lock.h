//===- folder_lock.h - One run per folder -----------------------------------===//
#ifndef TXC_RUNTIME_CHECKPOINT_FOLDER_LOCK_H
#define TXC_RUNTIME_CHECKPOINT_FOLDER_LOCK_H

#include "support/status.h"

#include <memory>
#include <string>

namespace txc {

// Holds FOLDER/.txrun.lock, a file that names the process and its host. The
// kernel releases it when the process ends, however it ends.
class FolderLock {
public:
  // Makes the folder if needed; fails at once, naming the holder, if another
  // process has the lock.
  static Result<std::unique_ptr<FolderLock>> take(const std::string &folder);
  FolderLock(const FolderLock &) = delete;
  FolderLock &operator=(const FolderLock &) = delete;
  ~FolderLock();

private:
  explicit FolderLock(int file) : file_(file) {}
  int file_;
};

} // namespace txc

#endif // TXC_RUNTIME_CHECKPOINT_FOLDER_LOCK_H
