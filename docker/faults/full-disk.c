/* For /etc/ld.so.preload: while the link /lab-break/full is there, no file grows in the folders that it names, `/data:/bricks`; the error is ENOSPC,
   as on a full disk. What is written in place goes on, and so does what the C library itself writes out of a FILE. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int inside(const char *path, char *folders) {
  char *rest = folders, *folder;
  while ((folder = strsep(&rest, ":")) != NULL) {
    size_t length = strlen(folder);
    if (strncmp(path, folder, length) == 0 && path[length] == '/') return 1;
  }
  return 0;
}

/* Whether so many bytes from there on, or from where the file stands (-1), would make a file on a full disk grow. */
static int refused(int fd, off_t from, off_t length) {
  char folders[PATH_MAX], link[64], path[PATH_MAX];
  struct stat file;
  int before = errno;
  ssize_t end = readlink("/lab-break/full", folders, sizeof folders - 1);
  errno = before;
  if (end < 0 || fstat(fd, &file) < 0 || !S_ISREG(file.st_mode)) return 0;
  folders[end] = 0;
  if (from < 0) from = fcntl(fd, F_GETFL) & O_APPEND ? file.st_size : lseek(fd, 0, SEEK_CUR);
  if (from + length <= file.st_size) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  end = readlink(link, path, sizeof path - 1);
  errno = before;
  if (end < 0) return 0;
  path[end] = 0;
  return inside(path, folders);
}

static off_t total(const struct iovec *parts, int count) {
  off_t bytes = 0;
  for (int index = 0; index < count; index++) bytes += parts[index].iov_len;
  return bytes;
}

/* The C library's function of this name, unless the disk is full. */
#define WRAP(result, name, parameters, arguments, fd, from, length, error)              \
  result name parameters {                                                              \
    static result(*next) parameters;                                                    \
    if (next == NULL) next = dlsym(RTLD_NEXT, #name);                                   \
    if (!refused(fd, from, length)) return next arguments;                              \
    errno = ENOSPC;                                                                     \
    return error;                                                                       \
  }

WRAP(ssize_t, write, (int fd, const void *bytes, size_t length), (fd, bytes, length), fd, -1, length, -1)
WRAP(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), fd, -1, total(parts, count), -1)
WRAP(ssize_t, pwrite, (int fd, const void *bytes, size_t length, off_t from), (fd, bytes, length, from), fd, from, length, -1)
WRAP(ssize_t, pwrite64, (int fd, const void *bytes, size_t length, off_t from), (fd, bytes, length, from), fd, from, length, -1)
WRAP(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t from), (fd, parts, count, from), fd, from, total(parts, count), -1)
WRAP(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off_t from), (fd, parts, count, from), fd, from, total(parts, count), -1)
WRAP(int, fallocate, (int fd, int mode, off_t from, off_t length), (fd, mode, from, length), fd, from, length, -1)
WRAP(int, fallocate64, (int fd, int mode, off_t from, off_t length), (fd, mode, from, length), fd, from, length, -1)
WRAP(int, posix_fallocate, (int fd, off_t from, off_t length), (fd, from, length), fd, from, length, ENOSPC)
WRAP(int, posix_fallocate64, (int fd, off_t from, off_t length), (fd, from, length), fd, from, length, ENOSPC)
WRAP(ssize_t, copy_file_range, (int in, off_t *start, int fd, off_t *from, size_t length, unsigned flags), (in, start, fd, from, length, flags),
     fd, from == NULL ? -1 : *from, (off_t)length, -1)
WRAP(ssize_t, sendfile, (int fd, int in, off_t *start, size_t length), (fd, in, start, length), fd, -1, (off_t)length, -1)
