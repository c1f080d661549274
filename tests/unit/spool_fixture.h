/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the spool share: a folder that goes away again, and records that are told apart by a number. */
#pragma once
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "serving/spool/spool.h"

#define FIXTURE_MIB (1024u * 1024)

struct fixture {
	char dir[64];
	struct spool *spool;
	struct err err;
};

static inline void fixture_init(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "/tmp/test-spool-XXXXXX");
	if (!mkdtemp(f->dir))
		abort();
}

static inline int fixture_open(struct fixture *f, unsigned n_writers, uint64_t max_bytes)
{
	struct spool_options o = {
		.directory = f->dir, .n_writers = n_writers, .segment_bytes = FIXTURE_MIB, .max_bytes = max_bytes};

	f->spool = NULL;
	return spool_open(&o, &f->spool, &f->err);
}

static inline void fixture_close(struct fixture *f)
{
	spool_close(f->spool);
	f->spool = NULL;
}

/* Calls fn for every segment file; returns how many there are. */
static inline int fixture_segments(const struct fixture *f, char ret_last[300])
{
	DIR *d = opendir(f->dir);
	int n = 0;

	for (struct dirent *e; d && (e = readdir(d));) {
		if (!strstr(e->d_name, ".seg") || strstr(e->d_name, ".bad"))
			continue;
		if (ret_last)
			snprintf(ret_last, 300, "%.60s/%.200s", f->dir, e->d_name);
		n++;
	}
	if (d)
		closedir(d);
	return n;
}

static inline void fixture_release(struct fixture *f)
{
	DIR *d;

	fixture_close(f);
	d = opendir(f->dir);
	for (struct dirent *e; d && (e = readdir(d));) {
		if (e->d_name[0] != '.')
			(void)unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d)
		closedir(d);
	(void)rmdir(f->dir);
}

static inline struct log_record fixture_record(unsigned writer, uint64_t number)
{
	struct log_record r = {
		.created_us = (int64_t)number + 1,
		.use_case = SLICE_LIT("npc_dialogue"),
		.model_id = SLICE_LIT("a-model"),
		.prompt = SLICE_LIT("Once upon a time"),
		.output = SLICE_LIT("there was a spool"),
		.prompt_tokens = (int64_t)number,
		.completion_tokens = -1,
		.http_status = 200,
	};

	memcpy(r.id.b, &number, sizeof(number));
	r.id.b[15] = (uint8_t)writer;
	return r;
}

static inline int fixture_append(struct fixture *f, unsigned writer, uint64_t number)
{
	struct log_record r = fixture_record(writer, number);

	return spool_append(f->spool, writer, &r);
}
