/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SSE cutter: a table of blocks, a second implementation written line by line after the standard and compared on
 * generated streams, recorded traffic, limits, and every way to cut the bytes.
 */
#include <dirent.h>

#include "core/base/rand.h"
#include "tests/pieces.h"

#include "t.h"

#define MAX 4096

/* "name|data" per event, "-" for absent. */
static const struct {
	const char *in, *events;
} cases[] = {
	{"data: a\n\n", "-|a;"},
	{"data:a\n\n", "-|a;"},
	{"data:  a \n\n", "-| a ;"},
	{"data: a\r\n\r\n", "-|a;"},
	{"data: a\r\rdata: b\r\r", "-|a;-|b;"},
	{"data: a\r\n\ndata: b\n\r\ndata: c\n\rdata: d\r\r\n\n", "-|a;-|b;-|c;-|d;"},
	{"data: a\ndata: b\ndata\ndata: c\n\n", "-|a\nb\n\nc;"},
	{"data\n\n", "-|;"},
	{"data:\n\n", "-|;"},
	{"data:\ndata:\n\n", "-|\n;"},
	{"data: \n\n", "-|;"},
	{"event: ping\ndata: {}\n\n", "ping|{};"},
	{"data: {}\nevent:ping\n\n", "ping|{};"},
	{"event: a\nevent: b\ndata: x\n\n", "b|x;"},
	{"event\ndata: x\n\n", "|x;"},
	{"event: only\n\n", "only|-;"},
	{": keep-alive\n\n", "-|-;"},
	{":\n\ndata: a\n\n", "-|-;-|a;"},
	{"id: 1\nretry: 5\ndata: a\n: c\nnonsense\n\n", "-|a;"},
	{"dataset: a\nDATA: b\n data: c\neventually: d\ndata x\n\n", "-|-;"},
	{"data: a:b: c\n\n", "-|a:b: c;"},
	{"\xef\xbb\xbf"
	 "data: a\n\ndata: b\n\n",
	 "-|a;-|b;"},
	{"\xef\xbb\xbf\n\ndata: a\n\n", "-|a;"},
	{"\xef\xbb\xbf\xef\xbb\xbf"
	 "data: a\n\n",
	 "-|-;"},
	{"data: a\n\n\xef\xbb\xbf"
	 "data: b\n\n",
	 "-|a;-|-;"},
	{"\n\r\n\r\r\n\ndata: a\n\n\n\n\ndata: b\n\n\n", "-|a;-|b;"},
	{"\n\n\n\n", ""},
	{"\xef\xbb\xbf", ""},
	{"", ""},
	{"data: cut", "-|cut;"},
	{"data: cut\n", "-|cut;"},
	{"data: cut\r\n\r", "-|cut;"},
	{"data: a\n\ndata", "-|a;-|;"},
	{"data: a\n\n\n", "-|a;"},
};

static void note_short(struct buf *out, const struct sse_event *ev)
{
	(void)buf_add(out, ev->name.p ? ev->name : SLICE_LIT("-"));
	(void)buf_addc(out, '|');
	(void)buf_add(out, ev->data.p ? ev->data : SLICE_LIT("-"));
	(void)buf_addc(out, ';');
}

/* All events of in, and whether their raw bytes follow each other and leave only blank lines. */
static bool cut_whole(struct slice in, struct buf *out)
{
	struct sse s;
	struct sse_event ev;
	const char *at = in.p, *end = in.p + in.n;
	bool contiguous = true;

	sse_init(&s, MAX);
	while (sse_next(&s, &in, &ev) > 0) {
		note_short(out, &ev);
		contiguous = contiguous && !memcmp(at, ev.raw.p, ev.raw.n);
		at += ev.raw.n;
	}
	if (sse_finish(&s, &ev) > 0) {
		note_short(out, &ev);
		contiguous = contiguous && ev.raw.n == (size_t)(end - at) && !memcmp(at, ev.raw.p, ev.raw.n);
		at = end;
	}
	for (; at < end; at++)
		contiguous = contiguous && strchr("\r\n\xef\xbb\xbf", *at);
	sse_release(&s);
	return contiguous;
}

TEST(streams_are_cut_into_the_events_of_the_table)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf out;

		buf_init(&out, 1000);
		CHECK(cut_whole(slice_from(cases[i].in), &out));
		CHECK_STR(buf_cstr(&out), cases[i].events);
		buf_release(&out);
	}
}

TEST(every_way_to_cut_the_bytes_gives_the_same)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK(same_in_pieces(transcribe_sse, slice_from(cases[i].in), MAX, SIZE_MAX));
}

TEST(an_event_that_came_whole_is_not_copied)
{
	struct slice in = SLICE_LIT("event: x\ndata: a\n\ndata: b\ndata: c\n\n");
	const char *start = in.p;
	struct sse s;
	struct sse_event ev;

	sse_init(&s, MAX);
	CHECK_INT(sse_next(&s, &in, &ev), 1);
	CHECK(ev.name.p == start + 7 && ev.data.p == start + 15 && ev.raw.p == start);
	CHECK_INT(sse_next(&s, &in, &ev), 1);
	CHECK(ev.raw.p == start + 18 && slice_eq_str(ev.data, "b\nc"));
	CHECK_INT(sse_next(&s, &in, &ev), 0);
	CHECK_INT(sse_finish(&s, &ev), 0);
	sse_release(&s);
}

TEST(an_event_of_bare_carriage_returns_does_not_wait_for_the_next)
{
	struct slice in = SLICE_LIT("data: a\r\r");
	struct sse s;
	struct sse_event ev;

	sse_init(&s, MAX);
	CHECK_INT(sse_next(&s, &in, &ev), 1);
	sse_release(&s);
}

TEST(a_stream_may_go_on_after_its_end_was_asked_for)
{
	struct slice in = SLICE_LIT("data: a long line that was cut");
	struct sse s;
	struct sse_event ev;

	sse_init(&s, MAX);
	CHECK_INT(sse_next(&s, &in, &ev), 0);
	CHECK_INT(sse_finish(&s, &ev), 1);
	CHECK_INT(sse_finish(&s, &ev), 0);
	in = SLICE_LIT("data: b\n\n");
	CHECK_INT(sse_next(&s, &in, &ev), 1);
	CHECK(slice_eq_str(ev.data, "b"));
	sse_release(&s);
}

static const struct {
	const char *in;
	size_t max;
	int rc;
	const char *events;
} limits[] = {
	{"data: a\n\n", 9, 0, "-|a;"},
	{"data: a\n\n", 8, E_TOOBIG, ""},
	{"data: a\r\n\r\n", 11, 0, "-|a;"},
	{"data: a\r\n\r\n", 10, E_TOOBIG, ""},
	{"data: a\r\n\rdata: b\n\n", 10, 0, "-|a;-|b;"},
	{"data: a\r\n\rdata: b\n\n", 9, E_TOOBIG, ""},
	{"data: a\n\ndata: bc\n\n", 9, E_TOOBIG, "-|a;"},
	{"data: abc", 9, 0, ""},
	{"data: abcd", 9, E_TOOBIG, ""},
	{"data: a\ndata: b", 9, E_TOOBIG, ""},
	{"\n\n\n\n\n\n\n\n\n", 9, 0, ""},
	{"\n\n\n\n\n\n\n\n\n\n", 9, E_TOOBIG, ""},
	{"\n\ndata: a\n\n", 11, 0, "-|a;"},
	{"\n\ndata: a\n\n", 10, E_TOOBIG, ""},
};

TEST(an_event_at_the_limit_passes_and_one_byte_past_it_does_not)
{
	for (size_t i = 0; i < COUNT_OF(limits); i++) {
		struct slice in = slice_from(limits[i].in);
		struct sse s;
		struct sse_event ev;
		struct buf out;
		int rc;

		buf_init(&out, 1000);
		sse_init(&s, limits[i].max);
		while ((rc = sse_next(&s, &in, &ev)) > 0)
			note_short(&out, &ev);
		CHECK_INT(rc, limits[i].rc);
		CHECK_STR(buf_cstr(&out), limits[i].events);
		if (rc < 0) {
			in = SLICE_LIT("data: a\n\n");
			CHECK_INT(sse_next(&s, &in, &ev), E_TOOBIG);
			CHECK_INT(sse_finish(&s, &ev), 0);
		}
		sse_release(&s);
		buf_release(&out);
		CHECK(same_in_pieces(transcribe_sse, slice_from(limits[i].in), limits[i].max, SIZE_MAX));
	}
}

/* --- the standard, line by line, on the whole stream --- */

static bool plain_line(struct slice *in, struct slice *ret)
{
	size_t n = 0;

	if (in->n == 0)
		return false;
	while (n < in->n && in->p[n] != '\n' && in->p[n] != '\r')
		n++;
	*ret = slice_sub(*in, 0, n);
	if (n + 1 < in->n && in->p[n] == '\r' && in->p[n + 1] == '\n')
		n++;
	*in = slice_sub(*in, n + 1, in->n);
	return true;
}

struct plain {
	struct buf data;
	struct slice name;
	bool any_line, any_data;
};

static void plain_field(struct plain *p, struct slice line)
{
	struct slice rest = line, field;

	p->any_line = true;
	(void)slice_split(&rest, ':', &field); /* rest is absent without a colon */
	if (rest.n > 0 && rest.p[0] == ' ')
		rest = slice_sub(rest, 1, rest.n);
	if (slice_eq_str(field, "event"))
		p->name = rest.p ? rest : SLICE_LIT("");
	if (!slice_eq_str(field, "data"))
		return;
	p->any_data = true;
	(void)buf_add(&p->data, rest);
	(void)buf_addc(&p->data, '\n');
}

static void plain_dispatch(struct plain *p, struct buf *out)
{
	struct sse_event ev = {.name = p->name};

	if (p->any_data)
		ev.data = slice_sub(buf_slice(&p->data), 0, p->data.n - 1);
	if (p->any_line)
		note_short(out, &ev);
	buf_clear(&p->data);
	p->any_line = p->any_data = false;
	p->name = (struct slice){NULL, 0};
}

static void cut_plainly(struct slice in, struct buf *out)
{
	struct plain p = {.any_line = false};
	struct slice line;

	buf_init(&p.data, MAX * 2);
	if (slice_starts(in, SLICE_LIT("\xef\xbb\xbf")))
		in = slice_sub(in, 3, in.n);
	while (plain_line(&in, &line)) {
		if (line.n > 0)
			plain_field(&p, line);
		else
			plain_dispatch(&p, out);
	}
	plain_dispatch(&p, out);
	buf_release(&p.data);
}

static void generate(struct rng *r, struct buf *out)
{
	static const char *const parts[] = {"data",
					    "data:",
					    "data: ",
					    "event: ",
					    "event",
					    ":",
					    " ",
					    "\n",
					    "\n",
					    "\n",
					    "\r",
					    "\r\n",
					    "\r\n",
					    "id: 1",
					    "x",
					    "\xef\xbb\xbf",
					    "\n\n",
					    "\r\r",
					    "{\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}"};

	for (uint64_t n = rng_below(r, 30); n > 0; n--)
		(void)buf_adds(out, parts[rng_below(r, COUNT_OF(parts))]);
}

TEST(generated_streams_give_what_the_standard_says_line_by_line)
{
	struct buf in, got, want;
	struct rng r;
	int n_wrong = 0;

	rng_seed(&r, 20260101);
	buf_init(&in, MAX);
	buf_init(&got, 2 * MAX);
	buf_init(&want, 2 * MAX);
	for (int i = 0; i < 50000; i++) {
		buf_clear(&in);
		buf_clear(&got);
		buf_clear(&want);
		generate(&r, &in);
		n_wrong += !cut_whole(buf_slice(&in), &got);
		cut_plainly(buf_slice(&in), &want);
		n_wrong += !slice_eq(buf_slice(&got), buf_slice(&want));
		if (i % 25 == 0)
			n_wrong += !same_in_pieces(transcribe_sse, buf_slice(&in), MAX, SIZE_MAX);
	}
	CHECK_INT(n_wrong, 0);
	buf_release(&in);
	buf_release(&got);
	buf_release(&want);
}

/* --- recorded traffic --- */

#define RECORDED "../shared/fixtures/wire-openai-envoy"

static void check_recorded(const char *path)
{
	struct buf in, got, want;
	FILE *f = fopen(path, "rb");
	char *room;

	buf_init(&in, 1 << 20);
	buf_init(&got, 1 << 20);
	buf_init(&want, 1 << 20);
	room = buf_reserve(&in, 1 << 20);
	in.n = f && room ? fread(room, 1, 1 << 20, f) : 0;
	CHECK(in.n > 0);
	if (f)
		fclose(f);
	(void)cut_whole(buf_slice(&in), &got);
	cut_plainly(buf_slice(&in), &want);
	CHECK(got.n > 0 && slice_eq(buf_slice(&got), buf_slice(&want)));
	CHECK(slice_find(buf_slice(&got), SLICE_LIT("-|[DONE];")) > 0 ||
	      slice_find(buf_slice(&got), SLICE_LIT("|{")) > 0);
	CHECK(same_in_pieces(transcribe_sse, buf_slice(&in), 1 << 20, 2000));
	buf_release(&in);
	buf_release(&got);
	buf_release(&want);
}

TEST(recorded_streams_are_cut_alike_however_they_arrive)
{
	DIR *d = opendir(RECORDED);
	int n = 0;

	if (!d) {
		printf("# skipped: the recorded traffic (" RECORDED ") is not here\n");
		return;
	}
	for (struct dirent *e; (e = readdir(d));) {
		char path[512];

		if (!slice_ends(slice_from(e->d_name), SLICE_LIT(".sse")))
			continue;
		snprintf(path, sizeof(path), RECORDED "/%s", e->d_name);
		check_recorded(path);
		n++;
	}
	closedir(d);
	CHECK(n >= 5);
}
