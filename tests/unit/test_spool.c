/* SPDX-License-Identifier: Apache-2.0 */
/* The spool within one process: order, acknowledgement, limits, full disks, torn ends, threads. */
#include "serving/spool/spool.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "core/base/digest.h"
#include "serving/spool/record.h"
#include "tests/t.h"
#include "tests/unit/spool_fixture.h"

static bool is_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* Reads all there is; returns how many, and acknowledges them when told to. */
static int read_all(struct fixture *f, bool ack)
{
	struct spool_cursor last[8] = {{0}}, c;
	struct log_record r;
	size_t n_cursors = 0;
	int n = 0;

	while (spool_read(f->spool, &r, &c) == 0) {
		CHECK(c.writer < COUNT_OF(last));
		last[c.writer] = c;
		n++;
	}
	for (size_t i = 0; i < COUNT_OF(last); i++) {
		if (last[i].sequence)
			last[n_cursors++] = last[i];
	}
	if (ack && n_cursors)
		CHECK_INT(spool_ack(f->spool, last, n_cursors, NULL), 0);
	return n;
}

static struct log_record big_record(size_t bytes, char *text)
{
	struct log_record r = fixture_record(0, 0), empty = fixture_record(0, 0);

	empty.output = (struct slice){"", 0};
	memset(text, 'x', bytes);
	r.output = (struct slice){text, bytes - record_size(&empty)};
	return r;
}

TEST(records_come_back_in_the_order_of_each_writer)
{
	struct fixture f;
	struct log_record r;
	struct spool_cursor c;
	int64_t next[2] = {0, 0};

	fixture_init(&f);
	CHECK_INT(fixture_open(&f, 2, 0), 0);
	for (uint64_t i = 0; i < 1000; i++)
		CHECK_INT(fixture_append(&f, i % 3 == 0, i), 0);
	while (spool_read(f.spool, &r, &c) == 0) {
		CHECK_INT(r.id.b[15], c.writer);
		CHECK(r.prompt_tokens >= next[c.writer]);
		next[c.writer] = r.prompt_tokens + 1;
		CHECK(slice_eq_str(r.prompt, "Once upon a time"));
	}
	CHECK_INT(next[0], 999);
	CHECK_INT(next[1], 1000);
	CHECK_INT(spool_read(f.spool, &r, &c), E_AGAIN);
	fixture_release(&f);
}

TEST(many_segments_are_filled_acknowledged_and_deleted)
{
	struct fixture f;
	int n = 0;

	fixture_init(&f);
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	for (uint64_t i = 0; i < 50000; i++) {
		CHECK_INT(fixture_append(&f, 0, i), 0);
		if (i % 500 == 0) {
			CHECK_INT(spool_prepare(f.spool, NULL), 0);
			n += read_all(&f, true);
		}
	}
	n += read_all(&f, true);
	CHECK_INT(n, 50000);
	CHECK_INT(spool_prepare(f.spool, NULL), 0);
	/* In use, four ahead, and four to be used again. */
	CHECK(counter_get(&spool_stats(f.spool)->segments) <= 9);

	CHECK_INT(counter_get(&spool_stats(f.spool)->records), 50000);
	CHECK_INT(counter_get(&spool_stats(f.spool)->shipped), 50000);
	CHECK_INT(counter_get(&spool_stats(f.spool)->pending_bytes), 0);
	CHECK_INT(counter_get(&spool_stats(f.spool)->cut_bytes), 0);
	CHECK_INT(counter_get(&spool_stats(f.spool)->lost), 0);
	fixture_close(&f);
	CHECK_INT(fixture_segments(&f, NULL), 0);
	fixture_release(&f);
}

TEST(a_rewind_brings_back_what_is_not_acknowledged)
{
	struct fixture f;
	struct spool_cursor c = {0};
	struct log_record r;

	fixture_init(&f);
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	for (uint64_t i = 0; i < 10; i++)
		CHECK_INT(fixture_append(&f, 0, i), 0);
	for (int i = 0; i < 4; i++)
		CHECK_INT(spool_read(f.spool, &r, &c), 0);
	CHECK_INT(spool_ack(f.spool, &c, 1, NULL), 0);
	CHECK_INT(counter_get(&spool_stats(f.spool)->shipped), 4);
	CHECK_INT(read_all(&f, false), 6);
	spool_rewind(f.spool);
	CHECK_INT(spool_read(f.spool, &r, &c), 0);
	CHECK_INT(r.prompt_tokens, 4);
	CHECK_INT(read_all(&f, false), 5);
	fixture_release(&f);
}

TEST(a_restart_reads_what_is_not_acknowledged_and_only_that)
{
	struct fixture f;
	struct spool_cursor c = {0};
	struct log_record r;

	fixture_init(&f);
	CHECK_INT(fixture_open(&f, 2, 0), 0);
	for (uint64_t i = 0; i < 20000; i++) {
		CHECK_INT(fixture_append(&f, 1, i), 0);
		if (i % 1000 == 0)
			CHECK_INT(spool_prepare(f.spool, NULL), 0);
	}
	for (int i = 0; i < 12345; i++)
		CHECK_INT(spool_read(f.spool, &r, &c), 0);
	CHECK_INT(spool_ack(f.spool, &c, 1, NULL), 0);
	fixture_close(&f);
	/* Fewer writers than before: the other's segments are read all the same. */
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	CHECK_INT(fixture_append(&f, 0, 77), 0);
	CHECK_INT(spool_read(f.spool, &r, &c), 0);
	CHECK_INT(r.prompt_tokens, c.writer == 1 ? 12345 : 77);
	spool_rewind(f.spool);
	CHECK_INT(read_all(&f, true), 20000 - 12345 + 1);
	CHECK_INT(counter_get(&spool_stats(f.spool)->cut_bytes), 0);
	fixture_close(&f);
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	CHECK_INT(read_all(&f, true), 0);
	fixture_release(&f);
}

TEST(losing_the_acknowledged_positions_only_repeats_records)
{
	struct fixture f;
	char path[100];

	fixture_init(&f);
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	for (uint64_t i = 0; i < 10; i++)
		CHECK_INT(fixture_append(&f, 0, i), 0);
	CHECK_INT(read_all(&f, true), 10);
	CHECK_INT(fixture_append(&f, 0, 10), 0);
	fixture_close(&f);
	snprintf(path, sizeof(path), "%s/ack", f.dir);
	CHECK_INT(truncate(path, 100), 0);
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	CHECK_INT(read_all(&f, true), 11);
	CHECK_INT(fixture_append(&f, 0, 11), 0);
	CHECK_INT(read_all(&f, true), 1);
	fixture_release(&f);
}

TEST(a_second_process_is_refused_by_name)
{
	struct fixture f;
	struct spool_options o = {.directory = NULL, .n_writers = 1, .segment_bytes = FIXTURE_MIB};
	struct spool *second = NULL;
	char pid[32];

	fixture_init(&f);
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	o.directory = f.dir;
	CHECK_INT(spool_open(&o, &second, &f.err), E_BUSY);
	snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
	CHECK(strstr(f.err.text, pid) && strstr(f.err.text, f.dir));
	fixture_close(&f);
	CHECK_INT(spool_open(&o, &second, &f.err), 0);
	spool_close(second);
	fixture_release(&f);
}

static const struct spool_options bad_options[] = {
	{.directory = NULL, .n_writers = 1},
	{.directory = "", .n_writers = 1},
	{.directory = "/tmp/never-made", .n_writers = 0},
	{.directory = "/tmp/never-made", .n_writers = SPOOL_MAX_WRITERS + 1},
	{.directory = "/tmp/never-made", .n_writers = 1, .segment_bytes = 4096},
	{.directory = "/tmp/never-made", .n_writers = 1, .segment_bytes = FIXTURE_MIB + 4096},
	{.directory = "/tmp/never-made", .n_writers = 1, .segment_bytes = 2048ul * FIXTURE_MIB},
	{.directory = "/tmp/never-made", .n_writers = 3, .segment_bytes = FIXTURE_MIB, .max_bytes = 2 * FIXTURE_MIB},
};

TEST(wrong_options_are_refused)
{
	for (size_t i = 0; i < COUNT_OF(bad_options); i++) {
		struct spool *s = NULL;
		struct err err = {0};

		CHECK_INT(spool_open(&bad_options[i], &s, &err), E_INVALID);
		CHECK(*err.text);
	}
	CHECK(access("/tmp/never-made", F_OK) < 0);
}

TEST(a_directory_that_cannot_be_made_is_named)
{
	struct spool_options o = {.directory = "/dev/null/spool", .n_writers = 1};
	struct spool *s = NULL;
	struct err err = {0};

	CHECK_INT(spool_open(&o, &s, &err), E_IO);
	CHECK(strstr(err.text, "/dev/null"));
}

TEST(a_record_of_exactly_a_segment_fits_and_one_byte_more_does_not)
{
	struct fixture f;
	size_t limit = FIXTURE_MIB - SPOOL_SEGMENT_HEADER - SPOOL_RECORD_HEADER;
	char *text = malloc(limit + 1);
	struct log_record r;

	fixture_init(&f);
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	r = big_record(limit + 1, text);
	CHECK_INT(spool_append(f.spool, 0, &r), E_TOOBIG);
	CHECK_INT(counter_get(&spool_stats(f.spool)->lost), 1);
	r = big_record(limit, text);
	CHECK_INT(spool_append(f.spool, 0, &r), 0);
	CHECK_INT(spool_append(f.spool, 0, &r), E_UNAVAILABLE); /* nothing was prepared meanwhile */
	CHECK_INT(spool_prepare(f.spool, NULL), 0);
	CHECK_INT(spool_append(f.spool, 0, &r), 0);
	CHECK_INT(read_all(&f, true), 2);
	CHECK_INT(counter_get(&spool_stats(f.spool)->lost), 2);
	free(text);
	fixture_release(&f);
}

static int fill_until_it_fails(struct fixture *f, int *ret_prepare)
{
	int n = 0;

	while (n < 100000 && fixture_append(f, 0, (uint64_t)n) == 0) {
		n++;
		if (n % 100 == 0)
			*ret_prepare = spool_prepare(f->spool, &f->err);
	}
	return n;
}

TEST(past_max_bytes_appending_fails_is_counted_and_recovers)
{
	struct fixture f;
	int prepared = 0, n;

	fixture_init(&f);
	CHECK_INT(fixture_open(&f, 1, 3 * FIXTURE_MIB), 0);
	n = fill_until_it_fails(&f, &prepared);
	CHECK(n > 1000 && n < 100000);
	CHECK_INT(prepared, E_IO);
	CHECK(strstr(f.err.text, "full"));
	CHECK_INT(fixture_append(&f, 0, 1), E_UNAVAILABLE);
	CHECK_INT(counter_get(&spool_stats(f.spool)->lost), 2);
	CHECK_INT(counter_get(&spool_stats(f.spool)->segments), 3);
	CHECK_INT(read_all(&f, true), n);
	CHECK_INT(spool_prepare(f.spool, NULL), 0);
	CHECK_INT(fixture_append(&f, 0, 2), 0);
	CHECK_INT(read_all(&f, true), 1);
	fixture_release(&f);
}

TEST(the_last_room_is_used_again_when_the_database_has_all_of_it)
{
	struct fixture f;
	int prepared = 0, n;

	fixture_init(&f);
	CHECK_INT(fixture_open(&f, 1, FIXTURE_MIB), 0);
	for (int round = 0; round < 3; round++) {
		CHECK(spool_has_room(f.spool, 0, 1000));
		n = fill_until_it_fails(&f, &prepared);
		CHECK(n > 500);
		CHECK_INT(prepared, E_IO);
		CHECK(!spool_has_room(f.spool, 0, 1000));
		CHECK_INT(spool_prepare(f.spool, NULL), E_IO); /* it holds what the database lacks */
		CHECK_INT(read_all(&f, true), n);
		CHECK(!spool_has_room(f.spool, 0, 1000));
		CHECK_INT(read_all(&f, true), 0);
		CHECK_INT(spool_prepare(f.spool, NULL), 0);
	}
	CHECK_INT(counter_get(&spool_stats(f.spool)->segments), 1);
	fixture_release(&f);
}

TEST(a_disk_that_is_full_is_met_when_preparing_and_recovers)
{
	struct rlimit old, tiny;
	struct fixture f;
	int prepared = 0, n;

	fixture_init(&f);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	tiny = (struct rlimit){FIXTURE_MIB / 2, old.rlim_max};
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	setrlimit(RLIMIT_FSIZE, &tiny);
	n = fill_until_it_fails(&f, &prepared);
	CHECK(n > 1000 && n < 100000);
	CHECK_INT(prepared, E_IO);
	CHECK(strstr(f.err.text, f.dir));
	CHECK_INT(read_all(&f, true), n); /* the positions need no room */
	CHECK_INT(fixture_append(&f, 0, 1), E_UNAVAILABLE);
	setrlimit(RLIMIT_FSIZE, &old);
	CHECK_INT(spool_prepare(f.spool, NULL), 0);
	CHECK_INT(fixture_append(&f, 0, 2), 0);
	CHECK_INT(read_all(&f, true), 1);
	CHECK_INT(counter_get(&spool_stats(f.spool)->lost), 2);
	fixture_release(&f);
}

TEST(a_spool_opens_on_a_full_disk_and_takes_records_when_there_is_room)
{
	struct rlimit old, tiny;
	struct fixture f;

	fixture_init(&f);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	tiny = (struct rlimit){FIXTURE_MIB / 2, old.rlim_max};
	setrlimit(RLIMIT_FSIZE, &tiny);
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	CHECK_INT(fixture_append(&f, 0, 1), E_UNAVAILABLE);
	CHECK(is_readable(spool_room_fd(f.spool)));
	setrlimit(RLIMIT_FSIZE, &old);
	CHECK_INT(spool_prepare(f.spool, NULL), 0);
	CHECK_INT(fixture_append(&f, 0, 2), 0);
	CHECK_INT(read_all(&f, true), 1);
	fixture_release(&f);
}

TEST(a_sleeping_reader_is_woken_once_and_a_busy_one_never)
{
	struct fixture f;

	fixture_init(&f);
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	spool_wake_clear(f.spool);
	CHECK(!is_readable(spool_wake_fd(f.spool)));
	CHECK_INT(fixture_append(&f, 0, 1), 0);
	CHECK(is_readable(spool_wake_fd(f.spool)));
	spool_wake_hush(f.spool);
	CHECK_INT(spool_prepare(f.spool, NULL), 0);
	CHECK_INT(fixture_append(&f, 0, 2), 0);
	CHECK(!is_readable(spool_wake_fd(f.spool)));
	fixture_release(&f);
}

TEST(who_makes_room_is_told_when_the_touched_part_nears_its_end)
{
	struct fixture f;

	fixture_init(&f);
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	CHECK_INT(fixture_append(&f, 0, 1), 0);
	CHECK(is_readable(spool_room_fd(f.spool)));
	CHECK_INT(spool_prepare(f.spool, NULL), 0);
	CHECK(!is_readable(spool_room_fd(f.spool)));
	CHECK_INT(fixture_append(&f, 0, 2), 0);
	CHECK(!is_readable(spool_room_fd(f.spool)));
	for (uint64_t i = 0; i < 3000; i++)
		CHECK_INT(fixture_append(&f, 0, i), 0);
	CHECK(is_readable(spool_room_fd(f.spool)));
	fixture_release(&f);
}

TEST(a_mark_is_reached_when_all_before_it_is_acknowledged)
{
	struct fixture f;

	fixture_init(&f);
	CHECK_INT(fixture_open(&f, 2, 0), 0);
	spool_mark(f.spool);
	CHECK(spool_mark_reached(f.spool));
	CHECK_INT(fixture_append(&f, 1, 1), 0);
	CHECK(spool_mark_reached(f.spool));
	spool_mark(f.spool);
	CHECK(!spool_mark_reached(f.spool));
	CHECK_INT(read_all(&f, false), 1);
	CHECK(!spool_mark_reached(f.spool));
	spool_rewind(f.spool);
	CHECK_INT(read_all(&f, true), 1);
	CHECK_INT(fixture_append(&f, 0, 2), 0);
	CHECK(spool_mark_reached(f.spool));
	fixture_close(&f);
	CHECK_INT(fixture_open(&f, 2, 0), 0); /* an earlier run's count too */
	spool_mark(f.spool);
	CHECK(!spool_mark_reached(f.spool));
	CHECK_INT(read_all(&f, true), 1);
	CHECK_INT(spool_prepare(f.spool, NULL), 0);
	CHECK(spool_mark_reached(f.spool));
	fixture_release(&f);
}

/* --- torn ends --- */

/* A folder with one segment of three records; returns where the last record begins and ends. */
static void make_three(struct fixture *f, char path[300], size_t *ret_from, size_t *ret_to)
{
	struct log_record r = fixture_record(0, 0);
	size_t span = SPOOL_RECORD_HEADER + ((record_size(&r) + 7) & ~(size_t)7);

	fixture_init(f);
	CHECK_INT(fixture_open(f, 1, 0), 0);
	for (uint64_t i = 0; i < 3; i++)
		CHECK_INT(fixture_append(f, 0, i), 0);
	fixture_close(f);
	CHECK_INT(fixture_segments(f, path), 1);
	*ret_from = SPOOL_SEGMENT_HEADER + 2 * span;
	*ret_to = SPOOL_SEGMENT_HEADER + 2 * span + SPOOL_RECORD_HEADER + record_size(&r);
}

static char *file_read(const char *path, size_t n)
{
	char *p = malloc(n);
	int fd = open(path, O_RDONLY);

	CHECK_INT(pread(fd, p, n, 0), (long long)n);
	close(fd);
	return p;
}

/* Nothing was acknowledged. */
static void forget_positions(const struct fixture *f)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/ack", f->dir);
	(void)unlink(path);
}

static void file_write(const char *path, const char *p, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK_INT(pwrite(fd, p, n, 0), (long long)n);
	close(fd);
}

static void check_two_remain(struct fixture *f, bool is_cut)
{
	forget_positions(f);
	CHECK_INT(fixture_open(f, 1, 0), 0);
	CHECK_INT(read_all(f, true), 2);
	CHECK_INT(counter_get(&spool_stats(f->spool)->cut_bytes) > 0, is_cut);
	CHECK_INT(spool_prepare(f->spool, NULL), 0);
	CHECK_INT(fixture_append(f, 0, 9), 0);
	CHECK_INT(read_all(f, true), 1);
	fixture_close(f);
	CHECK_INT(fixture_segments(f, NULL), 0);
}

TEST(a_changed_byte_anywhere_in_the_last_record_drops_that_record_only)
{
	struct fixture f;
	size_t from, to;
	char path[300], *good;

	make_three(&f, path, &from, &to);
	good = file_read(path, to);
	for (size_t i = from; i < to; i++) {
		good[i] = (char)(good[i] ^ 0x40);
		file_write(path, good, to);
		good[i] = (char)(good[i] ^ 0x40);
		check_two_remain(&f, true);
	}
	free(good);
	fixture_release(&f);
}

TEST(a_file_that_ends_anywhere_in_the_last_record_drops_that_record_only)
{
	struct fixture f;
	size_t from, to;
	char path[300], *good;

	make_three(&f, path, &from, &to);
	good = file_read(path, to);
	for (size_t i = from; i < to; i++) {
		file_write(path, good, i);
		check_two_remain(&f, i > from);
	}
	free(good);
	fixture_release(&f);
}

/* Until a segment is in use that was in use before; the records that follow are numbered from 0 and not read. */
static void make_recycled(struct fixture *f, uint64_t n_records)
{
	uint32_t recycled = 0;
	char path[300], *header;

	fixture_init(f);
	CHECK_INT(fixture_open(f, 1, 0), 0);
	for (uint64_t i = 0; i < 60000; i++) {
		CHECK_INT(fixture_append(f, 0, i), 0);
		if (i % 500 == 0) {
			CHECK_INT(spool_prepare(f->spool, NULL), 0);
			CHECK(read_all(f, true) > 0);
		}
	}
	CHECK(read_all(f, true) > 0);
	for (uint64_t i = 0; i < n_records; i++)
		CHECK_INT(fixture_append(f, 0, i), 0);
	CHECK(fixture_segments(f, path) > 1);
	header = file_read(path, SPOOL_SEGMENT_HEADER);
	memcpy(&recycled, header + 32, sizeof(recycled));
	CHECK_INT(recycled, 1);
	free(header);
}

struct image { /* a file as a kill leaves it */
	char path[300], *bytes;
};

/* All segments there are, while their spool is open; closes it then, and puts them back. */
static size_t kill_and_restore(struct fixture *f, struct image list[16])
{
	DIR *d = opendir(f->dir);
	size_t n = 0;

	for (struct dirent *e; (e = readdir(d)) && n < 16;) {
		if (!strstr(e->d_name, ".seg"))
			continue;
		(void)snprintf(list[n].path, sizeof(list[n].path), "%.60s/%.200s", f->dir, e->d_name);
		list[n].bytes = file_read(list[n].path, FIXTURE_MIB);
		n++;
	}
	closedir(d);
	fixture_close(f);
	for (size_t i = 0; i < n; i++)
		file_write(list[i].path, list[i].bytes, FIXTURE_MIB);
	return n;
}

static void images_free(struct image *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i].bytes);
}

TEST(a_segment_that_is_used_again_shows_nothing_of_its_earlier_records_after_a_kill)
{
	struct image list[16];
	struct fixture f;
	size_t n;

	make_recycled(&f, 3);
	n = kill_and_restore(&f, list);
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	CHECK_INT(read_all(&f, true), 3);
	CHECK_INT(counter_get(&spool_stats(f.spool)->cut_bytes), 0);
	CHECK_INT(read_all(&f, true), 0);
	fixture_close(&f);
	CHECK_INT(fixture_segments(&f, NULL), 0);
	images_free(list, n);
	fixture_release(&f);
}

/* Where the zero behind the last record did not come to the disk, an earlier record stands, whole but for its number.
 */
TEST(a_record_of_an_earlier_use_never_checks)
{
	struct log_record r = fixture_record(0, 0);
	uint32_t length = (uint32_t)record_size(&r);
	size_t span = SPOOL_RECORD_HEADER + ((length + 7) & ~(size_t)7), n, n_met = 0;
	struct image list[16];
	struct fixture f;

	make_recycled(&f, 0);
	n = kill_and_restore(&f, list);
	forget_positions(&f);
	for (size_t i = 0; i < n; i++) {
		size_t at = SPOOL_SEGMENT_HEADER;
		uint32_t found, stale;

		for (;; at += span) {
			memcpy(&found, list[i].bytes + at, sizeof(found));
			if (found != length || at + 2 * span > FIXTURE_MIB)
				break;
		}
		memcpy(&stale, list[i].bytes + at + sizeof(stale), sizeof(stale));
		if (found || !stale)
			continue;
		memcpy(list[i].bytes + at, &length, sizeof(length));
		file_write(list[i].path, list[i].bytes, FIXTURE_MIB);
		n_met++;
	}
	CHECK(n_met > 0);
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	(void)read_all(&f, true);
	CHECK_INT(counter_get(&spool_stats(f.spool)->cut_bytes), n_met * span);
	images_free(list, n);
	fixture_release(&f);
}

TEST(a_segment_of_the_format_before_is_read)
{
	struct fixture f;
	size_t from, to, span;
	char path[300], *bytes;
	uint32_t version = 1, crc, length;

	make_three(&f, path, &from, &to);
	span = (from - SPOOL_SEGMENT_HEADER) / 2;
	to = from + span;
	bytes = file_read(path, to);
	memcpy(bytes + 8, &version, sizeof(version));
	crc = crc32c(0, bytes, SPOOL_SEGMENT_HEADER - 4);
	memcpy(bytes + SPOOL_SEGMENT_HEADER - 4, &crc, sizeof(crc));
	for (size_t at = SPOOL_SEGMENT_HEADER; at < to; at += span) {
		memcpy(&length, bytes + at, sizeof(length));
		crc = crc32c(crc32c(0, &length, sizeof(length)), bytes + at + SPOOL_RECORD_HEADER, length);
		memcpy(bytes + at + sizeof(length), &crc, sizeof(crc));
	}
	file_write(path, bytes, to);
	forget_positions(&f);
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	CHECK_INT(read_all(&f, true), 3);
	CHECK_INT(counter_get(&spool_stats(f.spool)->cut_bytes), 0);
	free(bytes);
	fixture_release(&f);
}

TEST(what_was_kept_for_a_busy_writer_is_given_back_and_writing_goes_on)
{
	struct fixture f;
	int n = 0;

	make_recycled(&f, 0);
	for (int round = 0; round < 3; round++) {
		spool_settle(f.spool);
		CHECK(counter_get(&spool_stats(f.spool)->segments) <= 9);
		for (uint64_t i = 0; i < 12000; i++) {
			CHECK_INT(fixture_append(&f, 0, i), 0);
			if (i % 500 == 0) {
				CHECK_INT(spool_prepare(f.spool, NULL), 0);
				n += read_all(&f, true);
			}
		}
		n += read_all(&f, true);
	}
	CHECK_INT(n, 36000);
	CHECK_INT(counter_get(&spool_stats(f.spool)->cut_bytes), 0);
	CHECK_INT(counter_get(&spool_stats(f.spool)->pending_bytes), 0);
	fixture_release(&f);
}

TEST(a_header_that_does_not_check_is_set_aside)
{
	struct fixture f;
	size_t from, to;
	char path[300], bad[310], *good;

	make_three(&f, path, &from, &to);
	good = file_read(path, to);
	for (size_t i = 0; i < SPOOL_SEGMENT_HEADER; i++) {
		good[i] = (char)(good[i] ^ 1);
		file_write(path, good, to);
		good[i] = (char)(good[i] ^ 1);
		CHECK_INT(fixture_open(&f, 1, 0), 0);
		CHECK_INT(read_all(&f, true), 0);
		CHECK(counter_get(&spool_stats(f.spool)->cut_bytes) > 0);
		fixture_close(&f);
		snprintf(bad, sizeof(bad), "%s.bad", path);
		CHECK_INT(unlink(bad), 0);
	}
	file_write(path, good, SPOOL_SEGMENT_HEADER - 1);
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	CHECK_INT(read_all(&f, true), 0);
	free(good);
	fixture_release(&f);
}

TEST(a_blank_file_and_foreign_names_do_no_harm)
{
	static const char *const names[] = {
		"000-000000000009.seg", "x-1.seg", "1-.seg", "-1.seg", "1-0.seg", "900-1.seg", "notes.txt"};
	char path[300], zeros[100] = "";
	struct fixture f;

	fixture_init(&f);
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", f.dir, names[i]);
		file_write(path, zeros, i ? sizeof(zeros) : 0);
	}
	CHECK_INT(fixture_open(&f, 1, 0), 0);
	CHECK_INT(fixture_append(&f, 0, 1), 0);
	CHECK_INT(read_all(&f, true), 1);
	CHECK_INT(counter_get(&spool_stats(f.spool)->cut_bytes), 0);
	fixture_release(&f);
}

/* --- threads --- */

#define N_WRITERS 3
#define N_EACH 20000

static struct fixture shared;
static atomic_int n_running;

static void *writer_run(void *arg)
{
	unsigned writer = *(const unsigned *)arg;

	for (uint64_t i = 0; i < N_EACH;) {
		if (fixture_append(&shared, writer, i) == 0)
			i++; /* else the reader is behind with preparing */
	}
	atomic_fetch_sub(&n_running, 1);
	return NULL;
}

/* One round of a reader as the shipper does it; returns how many records came. */
static int reader_round(int64_t next[N_WRITERS])
{
	struct spool_cursor last[N_WRITERS] = {{0}}, c;
	struct pollfd p = {.fd = spool_wake_fd(shared.spool), .events = POLLIN};
	struct log_record r;
	int n = 0;

	CHECK_INT(spool_prepare(shared.spool, NULL), 0);
	spool_wake_clear(shared.spool);
	while (n < 256 && spool_read(shared.spool, &r, &c) == 0) {
		CHECK_INT(r.prompt_tokens, next[c.writer]);
		next[c.writer]++;
		last[c.writer] = c;
		n++;
	}
	if (n == 0) {
		(void)poll(&p, 1, 20);
		return 0;
	}
	for (unsigned i = 0; i < N_WRITERS; i++) {
		if (last[i].sequence)
			CHECK_INT(spool_ack(shared.spool, &last[i], 1, NULL), 0);
	}
	return n;
}

TEST(writers_and_a_reader_run_beside_each_other)
{
	unsigned numbers[N_WRITERS] = {0, 1, 2};
	int64_t next[N_WRITERS] = {0};
	pthread_t threads[N_WRITERS];
	int n = 0;

	fixture_init(&shared);
	CHECK_INT(fixture_open(&shared, N_WRITERS, 0), 0);
	atomic_store(&n_running, N_WRITERS);
	for (unsigned i = 0; i < N_WRITERS; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, writer_run, &numbers[i]), 0);
	while (n < N_WRITERS * N_EACH)
		n += reader_round(next);
	for (unsigned i = 0; i < N_WRITERS; i++)
		pthread_join(threads[i], NULL);
	CHECK_INT(reader_round(next), 0);
	CHECK_INT(counter_get(&spool_stats(shared.spool)->shipped), N_WRITERS * N_EACH);
	CHECK_INT(counter_get(&spool_stats(shared.spool)->cut_bytes), 0);
	fixture_release(&shared);
}
