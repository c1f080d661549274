/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a spool: the lock, what an earlier run left, the first segments.  An earlier run's segments are only read,
 * never appended to; new ones get numbers above all that were ever used.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "serving/spool/spool_internal.h"

struct found { /* a segment file's name */
	char *name;
	uint32_t writer;
	uint64_t sequence;
};

struct found_list {
	struct found *items;
	size_t n, cap;
};

static void found_list_release(struct found_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i].name);
	free(l->items);
}

/* mkdir -p, for its owner only: prompts are nobody else's business. */
static int directory_make(const char *path, struct err *err)
{
	char *copy = slice_dup(slice_from(path));
	int failure = 0;

	for (char *p = copy + 1; !failure && *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			failure = errno;
		*p = '/';
	}
	if (!failure && mkdir(copy, 0700) < 0 && errno != EEXIST)
		failure = errno;
	free(copy);
	return failure ? err_set(err, E_IO, "cannot make the spool directory %s: %s", path, strerror(failure)) : 0;
}

static int lock_take(struct spool *s, struct err *err)
{
	char pid[32] = "";
	ssize_t n;
	int len;

	s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return err_set(err, E_IO, "cannot open %s/lock: %s", s->directory, strerror(errno));
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return err_set(err, E_IO, "cannot lock %s/lock: %s", s->directory, strerror(errno));
		n = pread(s->lock_fd, pid, sizeof(pid) - 1, 0);
		pid[n > 0 ? n : 0] = '\0';
		pid[strcspn(pid, "\n")] = '\0';
		return err_set(err, E_BUSY, "another muster (pid %s) uses %s", *pid ? pid : "unknown", s->directory);
	}
	len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	/* The number is for the sentence above only: it may be missing. */
	if (!ftruncate(s->lock_fd, 0))
		(void)!pwrite(s->lock_fd, pid, (size_t)len, 0);
	return 0;
}

static void found_add(struct found_list *l, const struct found *f)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 16;
		l->items = realloc(l->items, l->cap * sizeof(*l->items));
		if (!l->items)
			abort();
	}
	l->items[l->n++] = *f;
}

static int found_order(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->writer != y->writer)
		return x->writer < y->writer ? -1 : 1;
	return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

static int directory_list(const struct spool *s, struct found_list *l, struct err *err)
{
	int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		int rc = err_set(err, E_IO, "cannot list %s: %s", s->directory, strerror(errno));

		if (fd >= 0)
			close(fd);
		return rc;
	}
	for (struct dirent *e; (e = readdir(d));) {
		struct found f;

		if (!segment_parse_name(e->d_name, &f.writer, &f.sequence))
			continue;
		f.name = slice_dup(slice_from(e->d_name));
		found_add(l, &f);
	}
	closedir(d);
	if (l->n)
		qsort(l->items, l->n, sizeof(*l->items), found_order);
	return 0;
}

/* A header that does not check: deleted when nothing was ever written, else kept under another name for whoever wants
 * to look. */
static void set_aside(struct spool *s, const char *name)
{
	char first[4096], bad[300];
	struct stat st = {0};
	int fd = openat(s->dir_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, first, sizeof(first), 0);
	bool blank = n >= 0;

	for (ssize_t i = 0; blank && i < n; i++)
		blank = first[i] == 0;
	if (fd >= 0) {
		(void)fstat(fd, &st); /* or its size counts as nothing */
		close(fd);
	}
	if (blank) {
		(void)unlinkat(s->dir_fd, name, 0); /* or it is met again */
		return;
	}
	(void)snprintf(bad, sizeof(bad), "%s.bad", name);
	(void)renameat(s->dir_fd, name, s->dir_fd, bad); /* or it is met again */
	counter_add(&s->cut_bytes, (uint64_t)st.st_size);
}

static int adopt_one(struct spool *s, const struct found *f, struct err *err)
{
	struct segment *g;
	int rc;

	if (f->sequence >= s->next_sequence)
		s->next_sequence = f->sequence + 1;
	rc = segment_adopt(s, f->name, &g, err);
	if (rc == E_UNSUPPORTED) /* left alone for the newer Muster that wrote it */
		return 0;
	if (rc == E_CORRUPT) {
		set_aside(s, f->name);
		return 0;
	}
	if (rc < 0)
		return rc;
	track_append(s, g);
	if (g->sequence < s->tracks[g->writer].ack.sequence) /* only its deletion was still missing */
		g->ended = true;
	else
		track_skip_empty(s, g);
	return 0;
}

static int adopt_all(struct spool *s, struct err *err)
{
	struct found_list CLEANUP(found_list_release) l = {0};
	int rc = directory_list(s, &l, err);

	for (size_t i = 0; !rc && i < l.n; i++)
		rc = adopt_one(s, &l.items[i], err);
	for (unsigned i = 0; !rc && i < SPOOL_MAX_WRITERS; i++)
		track_reap(s, &s->tracks[i]);
	return rc;
}

static int options_check(const struct spool_options *o, struct err *err)
{
	size_t n = o->segment_bytes;

	if (!o->directory || !*o->directory)
		return err_set(err, E_INVALID, "the spool needs a directory");
	if (o->n_writers < 1 || o->n_writers > SPOOL_MAX_WRITERS)
		return err_set(err, E_INVALID, "the spool takes 1 to %u writers, not %u", SPOOL_MAX_WRITERS,
			       o->n_writers);
	if (n && (n < SPOOL_MIN_SEGMENT || n > SPOOL_MAX_SEGMENT || (n & (n - 1))))
		return err_set(err, E_INVALID,
			       "a spool segment has to be a power of two from 1 MiB to 1 GiB, not %zu bytes", n);
	n = n ? n : SPOOL_SEGMENT_BYTES;
	if (o->max_bytes && o->max_bytes < (uint64_t)n * o->n_writers)
		return err_set(
			err, E_INVALID,
			"the spool's limit of %llu bytes is less than the %u segments of %zu bytes it starts with",
			(unsigned long long)o->max_bytes, o->n_writers, n);
	return 0;
}

static struct spool *spool_new(const struct spool_options *o)
{
	struct spool *s = calloc(1, sizeof(*s));
	size_t size = sizeof(*s->writers) * o->n_writers;

	if (!s)
		abort();
	s->dir_fd = s->lock_fd = s->ack_fd = s->wake_fd = s->room_fd = s->null_fd = -1;
	s->directory = slice_dup(slice_from(o->directory));
	s->n_writers = s->n_tracks = o->n_writers;
	s->segment_bytes = o->segment_bytes ? o->segment_bytes : SPOOL_SEGMENT_BYTES;
	s->max_bytes = o->max_bytes ? o->max_bytes : SPOOL_DEFAULT_MAX_BYTES;
	s->next_sequence = 1;
	pthread_mutex_init(&s->lock, NULL);
	s->stats = calloc(1, sizeof(*s->stats));
	s->writers = aligned_alloc(_Alignof(struct writer), size);
	s->remembered = calloc(SPOOL_REMEMBERED, sizeof(*s->remembered));
	if (!s->stats || !s->writers || !s->remembered)
		abort();
	memset(s->writers, 0, size);
	return s;
}

static void spool_free(struct spool *s)
{
	const int fds[] = {s->dir_fd, s->lock_fd, s->ack_fd, s->wake_fd, s->room_fd, s->null_fd};

	for (unsigned i = 0; i < SPOOL_MAX_WRITERS; i++) {
		for (struct segment *g = s->tracks[i].first, *next; g; g = next) {
			next = g->next;
			segment_free(g);
		}
	}
	for (size_t i = 0; i < COUNT_OF(fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	pthread_mutex_destroy(&s->lock);
	free(s->writers);
	free(s->stats);
	free(s->remembered);
	free(s->directory);
	free(s);
}

static int spool_start(struct spool *s, struct err *err)
{
	int rc = directory_make(s->directory, err);

	if (rc < 0)
		return rc;
	s->dir_fd = open(s->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		return err_set(err, E_IO, "cannot open the spool directory %s: %s", s->directory, strerror(errno));
	s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	s->room_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (s->wake_fd < 0 || s->room_fd < 0)
		return err_set(err, E_IO, "cannot make an eventfd: %s", strerror(errno));
	s->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC); /* without it, touching pages costs more */
	rc = lock_take(s, err);
	if (!rc)
		rc = ack_open(s, err);
	if (!rc)
		rc = adopt_all(s, err);
	return rc;
}

int spool_open(const struct spool_options *o, struct spool **ret, struct err *err)
{
	int rc = options_check(o, err);
	struct spool *s;

	if (rc < 0)
		return rc;
	s = spool_new(o);
	rc = spool_start(s, err);
	if (rc < 0) {
		spool_free(s);
		return rc;
	}
	(void)spool_supply(s, NULL); /* a full disk: spool_prepare says so, and tries again */
	*ret = s;
	return 0;
}

/* What is acknowledged or was never used goes; what stays gives back the room that it does not need. */
static void segment_close(struct spool *s, const struct track *t, struct segment *g)
{
	size_t used = atomic_load_explicit(&g->used, memory_order_relaxed);
	size_t start = t->ack.sequence == g->sequence ? t->ack.offset : SPOOL_SEGMENT_HEADER;

	if (g->found) {
		segment_free(g);
	} else if (g->sequence < t->ack.sequence || used <= start) {
		segment_delete(s, g);
	} else {
		segment_shrink(s, g);
		segment_free(g);
	}
}

void spool_close(struct spool *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < SPOOL_MAX_WRITERS; i++) {
		struct track *t = &s->tracks[i];

		track_reap(s, t);
		for (struct segment *g = t->first, *next; g; g = next) {
			next = g->next;
			segment_close(s, t, g);
		}
		t->first = t->last = t->reading = NULL;
	}
	spool_drop_spare(s);
	spool_free(s);
}
