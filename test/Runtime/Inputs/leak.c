// Preloaded: pwrite, which the log calls for every record, keeps 4 KiB of memory each
// time; with LEAK_FILES it keeps a file descriptor instead.
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

void *volatile kept;

ssize_t pwrite(int file, const void *data, size_t bytes, off_t offset) {
  if (getenv("LEAK_FILES"))
    (void)!dup(file);
  else
    kept = memset(malloc(4096), 1, 4096);
  return syscall(SYS_pwrite64, file, data, bytes, offset);
}

ssize_t pwrite64(int file, const void *data, size_t bytes, off64_t offset) { return pwrite(file, data, bytes, offset); }
