/* SPDX-License-Identifier: Apache-2.0 */
/* Files of texts: written in order, read by reference, punched and deleted.  What would break it: a second transaction
 * that writes at the same time, for both would begin at the end of the same last reference. */
#include "control/store/texts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/store/store_internal.h"
#include "core/base/copy.h"
#include "core/base/digest.h"
#include "core/base/sched.h"

#define NAME_SIZE 16
#define PATH_SIZE 4200
#define N_TEXTS 4u
#define ABSENT UINT32_MAX
#define BLOCK_ALIGN 4096u
#define MANY ((size_t)32 << 10) /* so many bytes begin at a block of their own: that is cheaper than to read one */
#define BLOCK_BYTES ((size_t)2 << 20) /* one huge page: what is pinned at once for the disk costs a third less */
#define AT_ONCE ((size_t)256 << 10)   /* that is copied: some 30 us */
#define MUCH (BLOCK_BYTES / 2)	      /* of a block that holds so much, the next ones do too */

/* In a row: file, place, checksum and the lengths, hexadecimal; so that the order of references is that of bytes.  The
 * last length is not there when there are no calls of tools, as it never was before these were recorded. */
struct ref {
	uint32_t file, at, crc;
	uint32_t n[N_TEXTS]; /* prompt, context, output, tool_calls; ABSENT: there was none */
};

static const char digits[] = "0123456789abcdef";

#define REF_FIELDS 7
#define REF_FIELDS_MIN 6

static char *put_hex(char *to, uint32_t v, unsigned n_digits_min)
{
	unsigned shift = 28;

	while (shift > 4 * (n_digits_min - 1) && !(v >> shift))
		shift -= 4;
	for (; shift; shift -= 4)
		*to++ = digits[v >> shift & 15];
	*to++ = digits[v & 15];
	return to;
}

/* By hand, for each row of a busy log has one: printf would take a tenth of what storing the row takes. */
static void ref_format(const struct ref *r, char text[TEXTS_REF_SIZE])
{
	char *to = put_hex(text, r->file, 8);

	*to++ = '.';
	to = put_hex(to, r->at, 8);
	*to++ = '.';
	to = put_hex(to, r->crc, 8);
	for (size_t i = 0; i < (r->n[N_TEXTS - 1] == ABSENT ? N_TEXTS - 1 : N_TEXTS); i++) {
		*to++ = '.';
		to = put_hex(to, r->n[i], 1);
	}
	*to = '\0';
}

static bool hex(struct slice s, uint32_t *ret)
{
	uint32_t v = 0;

	if (!s.n || s.n > 8)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		const char *at = s.p[i] ? strchr(digits, s.p[i]) : NULL;

		if (!at)
			return false;
		v = v << 4 | (uint32_t)(at - digits);
	}
	*ret = v;
	return true;
}

static size_t ref_bytes(const struct ref *r)
{
	size_t n = 0;

	for (size_t i = 0; i < N_TEXTS; i++)
		n += r->n[i] == ABSENT ? 0 : r->n[i];
	return n;
}

static bool ref_parse(struct slice text, struct ref *ret)
{
	struct ref r = {.n = {[N_TEXTS - 1] = ABSENT}};
	uint32_t *const fields[REF_FIELDS] = {&r.file, &r.at, &r.crc, &r.n[0], &r.n[1], &r.n[2], &r.n[3]};
	struct slice head;

	for (size_t i = 0; i < REF_FIELDS; i++) {
		if (i == REF_FIELDS_MIN && !text.p)
			break;
		if (!slice_split(&text, '.', &head) || !hex(head, fields[i]))
			return false;
	}
	if (text.p || !r.file)
		return false;
	*ret = r;
	return true;
}

static struct slice *text_of(struct log_record *r, size_t i)
{
	struct slice *const texts[N_TEXTS] = {&r->prompt, &r->context, &r->output, &r->tool_calls};

	return texts[i];
}

static void texts_of(const struct log_record *r, struct slice ret[N_TEXTS])
{
	ret[0] = r->prompt;
	ret[1] = r->context;
	ret[2] = r->output;
	ret[3] = r->tool_calls;
}

static char *file_path(const struct db *db, uint32_t file, char path[PATH_SIZE])
{
	(void)snprintf(path, PATH_SIZE, "%s/%08" PRIx32 ".txt", db->texts_dir, file); /* too long: it will not open */
	return path;
}

/* --- the folder --- */

static bool file_of(const char *name, uint32_t *ret)
{
	struct slice s = slice_from(name);

	return s.n == 12 && slice_ends(s, SLICE_LIT(".txt")) && hex(slice_sub(s, 0, 8), ret) && *ret;
}

/* Calls fn for each file of texts. */
static void each_file(const struct db *db, void (*fn)(DIR *d, const char *name, uint32_t file, void *arg), void *arg)
{
	DIR *d = db->texts_dir ? opendir(db->texts_dir) : NULL;
	uint32_t file;

	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		if (file_of(e->d_name, &file))
			fn(d, e->d_name, file, arg);
	}
	closedir(d);
}

static void add_bytes(DIR *d, const char *name, uint32_t file, void *arg)
{
	struct stat st;

	(void)file;
	if (!fstatat(dirfd(d), name, &st, 0))
		*(int64_t *)arg += (int64_t)st.st_blocks * 512;
}

int64_t texts_bytes(const struct db *db)
{
	int64_t n = 0;

	each_file(db, add_bytes, &n);
	return n;
}

static void delete_before(DIR *d, const char *name, uint32_t file, void *arg)
{
	if (file < *(uint32_t *)arg)
		(void)unlinkat(dirfd(d), name, 0); /* the next sweep meets it again */
}

/* One end of what rows refer to; false: they refer to nothing. */
static int ref_end(struct db *db, const char *sql, struct ref *ret, bool *ret_any, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	struct db_rows rows = {0};
	int rc;

	arena_init(&a, 1024, 65536);
	rc = db_query(db, &a, sql, db_args(NULL, 0), &rows, err);
	if (rc)
		return rc;
	*ret_any = db_cell(&rows, 0, 0)->type == DB_TEXT;
	if (*ret_any && !ref_parse(db_cell(&rows, 0, 0)->s, ret))
		return err_set(err, E_CORRUPT, "a reference of model_historical_logs to its texts cannot be read");
	return 0;
}

static int first_ref(struct db *db, struct ref *ret, bool *ret_any, struct err *err)
{
	return ref_end(db, "select min(texts) from model_historical_logs where texts is not null", ret, ret_any, err);
}

static int last_ref(struct db *db, struct ref *ret, bool *ret_any, struct err *err)
{
	return ref_end(db, "select max(texts) from model_historical_logs where texts is not null", ret, ret_any, err);
}

int texts_sweep(struct db *db, struct err *err)
{
	uint32_t before = UINT32_MAX;
	struct ref first = {0};
	bool any = false;
	int rc;

	if (!db->texts_dir)
		return 0;
	rc = db_begin(db, err); /* nobody writes meanwhile */
	if (!rc)
		rc = first_ref(db, &first, &any, err);
	if (!rc) {
		before = any ? first.file : before;
		each_file(db, delete_before, &before);
	}
	db_rollback(db);
	return rc;
}

/* --- writing --- */

static void writer_close(struct texts_writer *w)
{
	if (w->file)
		close(w->fd);
	w->file = 0;
}

void texts_writer_release(struct texts_writer *w)
{
	writer_close(w);
	free(w->block);
	w->block = NULL;
}

void texts_writer_rest(struct texts_writer *w)
{
	if (!w->block)
		return;
	/* Without these, it stays resident. */
	(void)madvise(w->block, BLOCK_BYTES, MADV_DONTNEED);
	(void)madvise(w->block, BLOCK_BYTES, MADV_NOHUGEPAGE);
	w->is_huge = false;
}

/* Nothing in it is wanted any more, and as much is to come. */
static void block_enlarge(struct texts_writer *w)
{
	(void)madvise(w->block, BLOCK_BYTES, MADV_DONTNEED); /* without these, it has small pages */
	(void)madvise(w->block, BLOCK_BYTES, MADV_HUGEPAGE);
	w->is_huge = true;
}

static size_t texts_length(const struct log_record *r)
{
	return r->prompt.n + r->context.n + r->output.n + r->tool_calls.n;
}

/* How many bytes stand beside their rows, when all do that are at least so long. */
static size_t sum_of(const struct log_record *list, size_t n, size_t least)
{
	size_t n_bytes = 0;

	for (size_t i = 0; i < n; i++)
		n_bytes += texts_length(&list[i]) < least ? 0 : texts_length(&list[i]);
	return n_bytes;
}

/* From how many bytes on texts are worth a place beside the row. */
static size_t least_of(const struct db *db, const struct texts_writer *w, const struct log_record *list, size_t n)
{
	if (!db->texts_dir)
		return SIZE_MAX;
	return w->placed || sum_of(list, n, TEXTS_MIN_OF_MANY) >= MANY / 2 ? TEXTS_MIN_OF_MANY : TEXTS_MIN;
}

static int writer_open(const struct db *db, struct texts_writer *w, const struct ref *place, struct err *err)
{
	const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
	char path[PATH_SIZE];
	int fd;

	writer_close(w);
	if (!w->block)
		w->block = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
	if (!w->block)
		abort();
	if (mkdir(db->texts_dir, 0700) < 0 && errno != EEXIST)
		return err_set(err, E_IO, "cannot make the folder %s: %s", db->texts_dir, strerror(errno));
	fd = open(file_path(db, place->file, path), flags | O_DIRECT, 0600);
	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags, 0600);
	/* What stands behind the last one is of nobody: of a transaction that never was. */
	if (fd < 0 || ftruncate(fd, place->at) < 0) {
		int rc = err_set(err, E_IO, "cannot open the texts %s: %s", path, strerror(errno));

		if (fd >= 0)
			close(fd);
		return rc;
	}
	w->fd = fd;
	w->file = place->file;
	return 0;
}

static uint64_t align(uint64_t n)
{
	return (n + BLOCK_ALIGN - 1) & ~(uint64_t)(BLOCK_ALIGN - 1);
}

/* The end of what is there, when it ends inside a block.  Never from memory: something may have been erased from it. */
static int read_tail(const struct db *db, struct texts_writer *w, const struct ref *place, struct err *err)
{
	char path[PATH_SIZE];
	ssize_t got;

	w->n = place->at % BLOCK_ALIGN;
	w->at = place->at - w->n;
	if (!w->n)
		return 0;
	memset(w->block, 0, BLOCK_ALIGN); /* where the file is shorter than it was, its texts are lost already */
	do
		got = pread(w->fd, w->block, BLOCK_ALIGN, (off_t)w->at);
	while (got < 0 && errno == EINTR);
	return got < 0 ? err_set(err, E_IO, "cannot read the texts %s: %s", file_path(db, w->file, path),
				 strerror(errno))
		       : 0;
}

/* Where the next text goes: behind the last one that a row refers to. */
static int writer_place(struct db *db, struct texts_writer *w, bool many, struct ref *ret, struct err *err)
{
	struct ref last = {0};
	uint64_t end = 0;
	bool any = false;
	int rc = last_ref(db, &last, &any, err);

	if (rc)
		return rc;
	if (any)
		end = (uint64_t)last.at + ref_bytes(&last);
	if (many)
		end = align(end);
	*ret = (struct ref){.file = any ? last.file : 1, .at = (uint32_t)end};
	if (end >= TEXTS_FILE_MAX)
		*ret = (struct ref){.file = last.file + 1};
	/* A file that is referred to stays; any other may have been swept away. */
	if (!ret->at || ret->file != w->file)
		rc = writer_open(db, w, ret, err);
	return rc ? rc : read_tail(db, w, ret, err);
}

/* Blocks of the file begin at multiples of BLOCK_ALIGN, as O_DIRECT wants it. */
static int flush(const struct db *db, struct texts_writer *w, struct err *err)
{
	size_t n = align(w->n), done = 0;
	char path[PATH_SIZE];

	memset(w->block + w->n, 0, n - w->n);
	while (done < n) {
		ssize_t got = pwrite(w->fd, w->block + done, n - done, (off_t)(w->at + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EINVAL && fcntl(w->fd, F_GETFL) & O_DIRECT) { /* larger blocks than ours */
			(void)fcntl(w->fd, F_SETFL, 0); /* if it stays, the write fails again */
			if (!(fcntl(w->fd, F_GETFL) & O_DIRECT))
				continue;
		}
		if (got <= 0)
			return err_set(err, E_IO, "cannot write the texts %s: %s", file_path(db, w->file, path),
				       strerror(got < 0 ? errno : ENOSPC));
		done += (size_t)got;
	}
	if (n >= MUCH && !w->is_huge)
		block_enlarge(w);
	w->at += n;
	w->n = 0;
	return 0;
}

static int put(const struct db *db, struct texts_writer *w, struct slice s, struct err *err)
{
	while (s.n) {
		size_t n = min_size(s.n, BLOCK_BYTES - w->n);
		int rc = 0;

		copy_bytes(w->block + w->n, s.p, n);
		w->n += n;
		s = slice_sub(s, n, s.n - n);
		if (w->n == BLOCK_BYTES)
			rc = flush(db, w, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int put_texts(const struct db *db, struct texts_writer *w, const struct log_record *r, struct ref *ref,
		     struct err *err)
{
	struct slice texts[N_TEXTS];
	int rc = 0;

	texts_of(r, texts);
	ref->crc = 0;
	for (size_t i = 0; i < N_TEXTS && !rc; i++) {
		ref->n[i] = texts[i].p ? (uint32_t)texts[i].n : ABSENT;
		if (!texts[i].p)
			continue;
		ref->crc = crc32c(ref->crc, texts[i].p, texts[i].n);
		rc = put(db, w, texts[i], err);
	}
	w->n_at_once += ref_bytes(ref);
	if (w->n_at_once >= AT_ONCE) { /* a loop may wait for this core */
		sched_let_others();
		w->n_at_once = 0;
	}
	return rc;
}

int texts_write(struct db *db, struct texts_writer *w, const struct log_record *list, size_t n,
		char ret_refs[][TEXTS_REF_SIZE], struct err *err)
{
	struct ref ref = {.file = w->placed ? w->file : 0, .at = (uint32_t)w->end};
	size_t least = least_of(db, w, list, n);
	int rc = 0;

	for (size_t i = 0; i < n && !rc; i++) {
		ret_refs[i][0] = '\0';
		if (texts_length(&list[i]) < least)
			continue;
		if (!ref.file)
			rc = writer_place(db, w, sum_of(list, n, least) >= MANY, &ref, err);
		if (!rc)
			rc = put_texts(db, w, &list[i], &ref, err);
		if (!rc)
			ref_format(&ref, ret_refs[i]);
		ref.at += (uint32_t)ref_bytes(&ref);
	}
	if (rc || !ref.file)
		return rc;
	w->placed = w->held;
	w->end = ref.at;
	return w->held || !w->n ? 0 : flush(db, w, err);
}

void texts_hold(struct texts_writer *w)
{
	w->held = true;
	w->placed = false;
}

int texts_settle(const struct db *db, struct texts_writer *w, struct err *err)
{
	int rc = w->placed && w->n ? flush(db, w, err) : 0;

	texts_drop(w);
	return rc;
}

void texts_drop(struct texts_writer *w)
{
	w->held = w->placed = false;
}

/* --- reading --- */

static int read_all(int fd, char *to, size_t n, off_t at)
{
	while (n) {
		ssize_t got = pread(fd, to, n, at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? errno : ENODATA;
		to += got;
		at += got;
		n -= (size_t)got;
	}
	return 0;
}

static int lost(struct arena *a, struct log_record *r, const char *path, const char *why)
{
	const char *text = arena_printf(a, "the texts of this record are lost: %s: %s", path, why);

	r->content_error = slice_from(text);
	return text ? 0 : E_TOOBIG;
}

int texts_read(const struct db *db, struct arena *a, struct slice text, struct log_record *r)
{
	struct ref ref = {0};
	char path[PATH_SIZE], *p;
	int fd, failure;
	size_t n;

	if (!db->texts_dir || !ref_parse(text, &ref))
		return lost(a, r, "model_historical_logs", "the reference to them cannot be read");
	n = ref_bytes(&ref);
	fd = open(file_path(db, ref.file, path), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return lost(a, r, path, strerror(errno));
	p = arena_alloc(a, n + 1);
	failure = p ? read_all(fd, p, n, ref.at) : 0;
	close(fd);
	if (!p)
		return E_TOOBIG;
	if (failure)
		return lost(a, r, path, failure == ENODATA ? "it is shorter than it was" : strerror(failure));
	if (crc32c(0, p, n) != ref.crc)
		return lost(a, r, path, "what stands there is not what was written");
	for (size_t i = 0; i < N_TEXTS; i++) {
		if (ref.n[i] == ABSENT)
			continue;
		*text_of(r, i) = (struct slice){p, ref.n[i]};
		p += ref.n[i];
	}
	return 0;
}

/* --- erasing --- */

static int zero(int fd, off_t at, size_t n)
{
	static const char zeros[65536];

	if (!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, (off_t)n))
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return errno;
	while (n) {
		ssize_t put = pwrite(fd, zeros, min_size(n, sizeof(zeros)), at);

		if (put <= 0)
			return put < 0 ? errno : ENOSPC;
		at += put;
		n -= (size_t)put;
	}
	return 0;
}

static int erase_span(const struct db *db, uint32_t file, off_t at, size_t n, struct err *err)
{
	char path[PATH_SIZE];
	int fd = open(file_path(db, file, path), O_RDWR | O_CLOEXEC), failure;

	if (fd < 0 && errno == ENOENT) /* that is as good */
		return 0;
	failure = fd < 0 ? errno : zero(fd, at, n);
	if (fd >= 0)
		close(fd);
	return failure ? err_set(err, E_IO, "cannot erase from the texts %s: %s", path, strerror(failure)) : 0;
}

int texts_erase(const struct db *db, const struct db_rows *refs, struct err *err)
{
	struct ref ref = {0};
	uint32_t file = 0;
	uint64_t at = 0;
	size_t n = 0;
	int rc = 0;

	for (size_t i = 0; i < refs->n_rows && !rc; i++) {
		const struct db_value *v = db_cell(refs, i, 0);

		if (v->type != DB_TEXT || !ref_parse(v->s, &ref)) /* what cannot be read refers to nothing */
			continue;
		if (ref.file == file && ref.at == at + n) {
			n += ref_bytes(&ref);
			continue;
		}
		rc = n ? erase_span(db, file, (off_t)at, n, err) : 0;
		file = ref.file;
		at = ref.at;
		n = ref_bytes(&ref);
	}
	return rc || !n ? rc : erase_span(db, file, (off_t)at, n, err);
}
