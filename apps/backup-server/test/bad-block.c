/* For LD_PRELOAD: reads of the file BAD_FILE that touch its byte BAD_AT fail with EIO, as a bad sector makes them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int touches(int fd, off_t from, size_t length) {
  const char *file = getenv("BAD_FILE");
  char link[64], path[PATH_MAX];
  if (file == NULL) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t end = readlink(link, path, sizeof path - 1);
  if (end < 0) return 0;
  path[end] = 0;
  long at = atol(getenv("BAD_AT"));
  return strcmp(path, file) == 0 && from <= at && at < from + (off_t)length;
}

ssize_t read(int fd, void *bytes, size_t length) {
  ssize_t (*next)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
  if (!touches(fd, lseek(fd, 0, SEEK_CUR), length)) return next(fd, bytes, length);
  errno = EIO;
  return -1;
}

ssize_t pread(int fd, void *bytes, size_t length, off_t from) {
  ssize_t (*next)(int, void *, size_t, off_t) = dlsym(RTLD_NEXT, "pread");
  if (!touches(fd, from, length)) return next(fd, bytes, length, from);
  errno = EIO;
  return -1;
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t from) { return pread(fd, bytes, length, from); }
