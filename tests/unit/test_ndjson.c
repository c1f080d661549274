/* SPDX-License-Identifier: Apache-2.0 */
/* The line cutter: lines, blank lines, limits, recorded traffic, and every way to cut the bytes. */
#include <dirent.h>

#include "tests/pieces.h"

#include "t.h"

static const struct {
	const char *in;
	size_t max;
	const char *lines; /* each followed by '|' */
	int rc;
} cases[] = {
	{"{}\n", 100, "{}|", 0},
	{"{}\r\n[]\n", 100, "{}|[]|", 0},
	{"{}\n\n\r\n \t\n[]\n\n", 100, "{}|[]|", 0},
	{"\n\n{}\n", 100, "{}|", 0},
	{"a\rb\r\r\n", 100, "a\rb\r|", 0},
	{" {} \n", 100, " {} |", 0},
	{"{}\n{\"cut\":", 100, "{}|{\"cut\":|", 0},
	{"{}", 100, "{}|", 0},
	{"\n\n[]", 100, "[]|", 0},
	{"", 100, "", 0},
	{"\n", 100, "", 0},
	{"\n\r", 100, "", 0},
	{"1234\n", 5, "1234|", 0},
	{"1234\n", 4, "", E_TOOBIG},
	{"12345", 5, "12345|", 0},
	{"123456", 5, "", E_TOOBIG},
	{"1\n12345\n", 5, "1|", E_TOOBIG},
	{"\n\n12\n", 5, "12|", 0},
	{"\n\n12\n", 4, "", E_TOOBIG},
	{"\n\n\n\n\n\n", 5, "", E_TOOBIG},
	{"1\n2\n3\n4\n5\n6\n", 2, "1|2|3|4|5|6|", 0},
};

/* All lines; the raw bytes have to follow each other. */
static int cut_whole(struct slice in, size_t max, struct buf *out)
{
	struct ndjson s;
	struct slice line, raw;
	const char *at = in.p;
	int rc;

	ndjson_init(&s, max);
	while ((rc = ndjson_next(&s, &in, &line, &raw)) > 0) {
		CHECK(raw.p == at);
		at += raw.n;
		(void)buf_add(out, line);
		(void)buf_addc(out, '|');
	}
	if (rc < 0) {
		struct slice more = SLICE_LIT("1\n");

		CHECK_INT(ndjson_next(&s, &more, &line, &raw), rc);
	}
	if (ndjson_finish(&s, &line) > 0) {
		(void)buf_add(out, line);
		(void)buf_addc(out, '|');
	}
	ndjson_release(&s);
	return rc;
}

TEST(streams_are_cut_into_the_lines_of_the_table)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf out;

		buf_init(&out, 1000);
		CHECK_INT(cut_whole(slice_from(cases[i].in), cases[i].max, &out), cases[i].rc);
		CHECK_STR(buf_cstr(&out), cases[i].lines);
		buf_release(&out);
	}
}

TEST(every_way_to_cut_the_bytes_gives_the_same)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK(same_in_pieces(transcribe_ndjson, slice_from(cases[i].in), cases[i].max, SIZE_MAX));
}

TEST(a_line_in_two_pieces_is_joined)
{
	struct ndjson s;
	struct slice line, raw, in = SLICE_LIT("{\"a\":");

	ndjson_init(&s, 100);
	CHECK_INT(ndjson_next(&s, &in, &line, &raw), 0);
	in = SLICE_LIT("1}\r\n{}\n");
	CHECK_INT(ndjson_next(&s, &in, &line, &raw), 1);
	CHECK(slice_eq_str(line, "{\"a\":1}") && slice_eq_str(raw, "{\"a\":1}\r\n"));
	CHECK_INT(ndjson_next(&s, &in, &line, &raw), 1);
	CHECK(slice_eq_str(line, "{}"));
	CHECK_INT(ndjson_next(&s, &in, &line, &raw), 0);
	CHECK_INT(ndjson_finish(&s, &line), 0);
	ndjson_release(&s);
}

#define RECORDED "../shared/fixtures/wire-ollama-openllmetry"

static void check_recorded(const char *path)
{
	struct buf in, out;
	FILE *f = fopen(path, "rb");
	char *room;
	size_t n_lines = 0, n_cut = 0;

	buf_init(&in, 1 << 20);
	buf_init(&out, 1 << 20);
	room = buf_reserve(&in, 1 << 20);
	in.n = f && room ? fread(room, 1, 1 << 20, f) : 0;
	CHECK(in.n > 0);
	if (f)
		fclose(f);
	CHECK_INT(cut_whole(buf_slice(&in), 1 << 20, &out), 0);
	for (size_t i = 0; i < in.n; i++)
		n_lines += in.p[i] == '\n' || i + 1 == in.n;
	for (size_t i = 0; i + 1 < out.n; i++)
		n_cut += out.p[i] == '}' && out.p[i + 1] == '|';
	CHECK_INT(n_cut, n_lines);
	CHECK(same_in_pieces(transcribe_ndjson, buf_slice(&in), 1 << 20, 2000));
	buf_release(&in);
	buf_release(&out);
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

		if (!slice_ends(slice_from(e->d_name), SLICE_LIT(".ndjson")))
			continue;
		snprintf(path, sizeof(path), RECORDED "/%s", e->d_name);
		check_recorded(path);
		n++;
	}
	closedir(d);
	CHECK(n >= 4);
}
