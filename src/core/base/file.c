/* SPDX-License-Identifier: Apache-2.0 */
/* Replacing files so that a crash at any moment leaves a whole one. */
#include "core/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4200

static int io_failed(struct err *err, const char *doing, const char *path)
{
	return err_set(err, E_IO, "%s %s: %s", doing, path, strerror(errno));
}

static void closep(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* what matters was synced before */
}

static int write_all(int fd, struct slice bytes)
{
	while (bytes.n) {
		ssize_t n = write(fd, bytes.p, bytes.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return E_IO;
		bytes = (struct slice){bytes.p + n, bytes.n - (size_t)n};
	}
	return 0;
}

static int write_file(const char *path, struct slice bytes, struct err *err)
{
	CLEANUP(closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return io_failed(err, "cannot create", path);
	if (write_all(fd, bytes) || fsync(fd))
		return io_failed(err, "cannot write", path);
	return 0;
}

/* The new name is on disk only once its directory is. */
static int sync_directory(const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash == path || !slash ? strdup(slash ? "/" : ".") : strndup(path, (size_t)(slash - path));
	CLEANUP(closep) int fd = -1;
	int rc = 0;

	if (!dir)
		abort();
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		rc = io_failed(err, "cannot sync", dir);
	free(dir);
	return rc;
}

int file_replace(const char *path, struct slice bytes, struct err *err)
{
	CLEANUP(buf_release) struct buf tmp;
	int rc;

	buf_init(&tmp, PATH_BYTES);
	if (buf_printf(&tmp, "%s.%ld.tmp", path, (long)getpid()))
		return err_set(err, E_TOOBIG, "the path %.64s... is too long", path);
	rc = write_file(buf_cstr(&tmp), bytes, err);
	if (!rc && rename(buf_cstr(&tmp), path))
		rc = io_failed(err, "cannot replace", path);
	if (rc) {
		(void)unlink(buf_cstr(&tmp)); /* it may not be there at all */
		return rc;
	}
	return sync_directory(path, err);
}

int file_read(const char *path, struct buf *out, size_t padding, struct err *err)
{
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return err_set(err, E_NOTFOUND, "there is no %s", path);
	if (fd < 0 || fstat(fd, &st))
		return io_failed(err, "cannot open", path);
	padding = max_size(padding, 64);
	for (;;) {
		size_t room = (size_t)st.st_size + padding;
		char *to = buf_reserve(out, max_size(room - min_size(room, out->n), padding));
		ssize_t n;

		if (!to)
			return err_set(err, E_TOOBIG, "%s is longer than %zu bytes", path, out->max);
		n = read(fd, to, out->cap - out->n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return io_failed(err, "cannot read", path);
		if (n == 0)
			return 0;
		out->n += (size_t)n;
	}
}

int file_remove(const char *path, struct err *err)
{
	if (unlink(path) && errno != ENOENT)
		return io_failed(err, "cannot remove", path);
	return sync_directory(path, err);
}
