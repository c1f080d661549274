/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A header and a table of entries of one size.  An entry is taken by setting its state; the numbers in it are those
 * that loops count in.  What would break it: counting somewhere else and copying, for what is copied late is lost.
 */
#include "serving/resilience/budget_book.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/digest.h"

#define MAGIC UINT64_C(0x31306b6f6f426d4d) /* and a version */
#define DIGEST_BYTES 32

struct entry {
	struct budget_counts counts; /* the first: it is what others know of it */
	int64_t start_us;
	char digest[DIGEST_BYTES]; /* the first half of the name's, hexadecimal */
	_Atomic uint32_t taken;
	uint32_t unused;
};

struct header {
	uint64_t magic;
	char boot[48]; /* of the machine */
	char unused[8];
};

struct file {
	struct header header;
	struct entry entry[BUDGET_BOOK_ENTRIES];
};

struct budget_book {
	struct file *file;
	int fd;
	char path[4096];
};

static void read_boot(char ret[48])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, 47);

	if (fd >= 0)
		(void)close(fd); /* only read from */
	memset(ret + (n > 0 ? n : 0), 0, (size_t)(48 - (n > 0 ? n : 0)));
}

static void free_book(struct budget_book *b)
{
	if (b->file)
		(void)munmap(b->file, sizeof(*b->file)); /* it was mapped like that */
	if (b->fd >= 0)
		(void)close(b->fd); /* its lock goes with it */
	free(b);
}

static struct budget_book *new_book(const char *directory, const char *file)
{
	struct budget_book *b = calloc(1, sizeof(*b));

	if (!b)
		abort();
	b->fd = -1;
	(void)snprintf(b->path, sizeof(b->path), "%s/%s", directory, file);
	return b;
}

static int map(struct budget_book *b, int protection)
{
	void *p = mmap(NULL, sizeof(*b->file), protection, MAP_SHARED, b->fd, 0);

	if (p == MAP_FAILED)
		return E_IO;
	b->file = p;
	return 0;
}

static int fail(struct budget_book *b, struct err *err)
{
	int rc = err_set(err, E_IO, "cannot make %s: %s", b->path, strerror(errno));

	free_book(b);
	return rc;
}

int budget_book_open(const char *directory, const struct uuid *self, struct budget_book **ret, struct err *err)
{
	char name[UUID_STR_SIZE];
	struct budget_book *b = new_book(directory, uuid_format(self, name));

	if (mkdir(directory, 0700) && errno != EEXIST)
		return fail(b, err);
	b->fd = open(b->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	/* A full disk is met here, never while counting. */
	if (b->fd < 0 || flock(b->fd, LOCK_EX | LOCK_NB) ||
	    (errno = posix_fallocate(b->fd, 0, sizeof(struct file))) != 0 || map(b, PROT_READ | PROT_WRITE)) {
		(void)unlink(b->path); /* it may not be there */
		return fail(b, err);
	}
	read_boot(b->file->header.boot);
	b->file->header.magic = MAGIC;
	*ret = b;
	return 0;
}

void budget_book_close(struct budget_book *b, bool is_settled)
{
	if (!b)
		return;
	if (is_settled)
		(void)unlink(b->path); /* or it is looked at again, and changes nothing */
	free_book(b);
}

static void digest_of(struct slice name, char ret[DIGEST_BYTES])
{
	char hex[65];

	sha256_hex(name, hex);
	memcpy(ret, hex, DIGEST_BYTES);
}

struct budget_counts *budget_book_place(struct budget_book *b, struct slice name, int64_t start_us)
{
	for (size_t i = 0; b && i < BUDGET_BOOK_ENTRIES; i++) {
		struct entry *e = &b->file->entry[i];
		uint32_t is_free = 0;

		if (!atomic_compare_exchange_strong(&e->taken, &is_free, 1))
			continue;
		e->start_us = start_us;
		atomic_store(&e->counts.reserved, 0);
		atomic_store(&e->counts.spent, 0);
		digest_of(name, e->digest);
		return &e->counts;
	}
	return NULL;
}

void budget_book_leave(struct budget_counts *c)
{
	struct entry *e = (struct entry *)(void *)c; /* its first member */

	memset(e->digest, 0, sizeof(e->digest));
	atomic_store(&e->taken, 0);
}

/* --- those of others --- */

size_t budget_book_list_past(const char *directory, struct budget_book_past *list, size_t max)
{
	DIR *d = opendir(directory);
	struct dirent *e;
	size_t n = 0;

	while (d && n < max && (e = readdir(d))) {
		struct budget_book_past *p = &list[n];

		if (strlen(e->d_name) >= sizeof(p->file) || uuid_parse(e->d_name, strlen(e->d_name), &p->instance))
			continue;
		memcpy(p->file, e->d_name, strlen(e->d_name) + 1);
		n++;
	}
	if (d)
		(void)closedir(d); /* only read from */
	return n;
}

static bool is_believed(const struct budget_book *b)
{
	char boot[48];

	read_boot(boot);
	return b->file->header.magic == MAGIC && boot[0] && !memcmp(boot, b->file->header.boot, sizeof(boot));
}

int budget_book_open_past(const char *directory, const struct budget_book_past *past, struct budget_book **ret,
			  struct err *err)
{
	struct budget_book *b = new_book(directory, past->file);
	struct stat st;
	int rc = 0;

	b->fd = open(b->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (b->fd < 0 || flock(b->fd, LOCK_EX | LOCK_NB))
		rc = err_set(err, E_NOTFOUND, "%s is in use", b->path);
	else if (fstat(b->fd, &st) || st.st_size != sizeof(struct file) || map(b, PROT_READ) || !is_believed(b))
		rc = err_set(err, E_CORRUPT, "%s is of another start of the machine, or damaged", b->path);
	if (rc == E_CORRUPT)
		(void)unlink(b->path); /* it never becomes better */
	if (rc)
		free_book(b);
	else
		*ret = b;
	return rc;
}

int64_t budget_book_gone(const struct budget_book *b, struct slice name, int64_t start_us)
{
	char digest[DIGEST_BYTES];

	digest_of(name, digest);
	for (size_t i = 0; i < BUDGET_BOOK_ENTRIES; i++) {
		struct entry *e = &b->file->entry[i];

		if (atomic_load(&e->taken) && e->start_us == start_us && !memcmp(e->digest, digest, sizeof(digest)))
			return atomic_load(&e->counts.spent) + atomic_load(&e->counts.reserved);
	}
	return -1;
}
