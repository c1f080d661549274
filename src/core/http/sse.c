/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SSE cutter.  It first finds where a block ends, then reads its lines.  An event that lies whole in the caller's
 * bytes is handed out from there; only a block that is cut by the end of the bytes is kept, and then no more is copied
 * than completes it.
 *
 * What would break it: a decision that looks at where a piece ends.  find_block_end() therefore says "more" whenever
 * the next byte could change its answer, with one choice that makes streams of bare CR prompt: CR CR ends a block at
 * once, and an LF behind it is a blank line of the next block, which means the same.
 */
#include "core/http/sse.h"

#include "core/base/err.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static const struct slice byte_order_mark = {"\xef\xbb\xbf", 3};

void sse_init(struct sse *s, size_t max_event_bytes)
{
	*s = (struct sse){.max_event_bytes = max_event_bytes};
	buf_init(&s->pending, max_event_bytes + 1); /* one more: the byte that shows whether a CR stands alone */
	buf_init(&s->joined, max_event_bytes);
}

void sse_release(struct sse *s)
{
	buf_release(&s->pending);
	buf_release(&s->joined);
}

/* The first CR or LF in [p, end), or end. */
static const char *find_line_end(const char *p, const char *end)
{
#ifdef __SSE2__
	const __m128i lf = _mm_set1_epi8('\n'), cr = _mm_set1_epi8('\r');

	for (; end - p >= 16; p += 16) {
		__m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
		int found = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(x, lf), _mm_cmpeq_epi8(x, cr)));

		if (found)
			return p + __builtin_ctz((unsigned)found);
	}
#endif
	while (p < end && *p != '\n' && *p != '\r')
		p++;
	return p;
}

/* Where the first line that is not blank begins, or in.n: looks from `from` on. */
static size_t skip_blank(const struct sse *s, struct slice in, size_t from)
{
	size_t i = from;

	if (i == 0 && !s->started && slice_starts(in, byte_order_mark))
		i = byte_order_mark.n;
	while (i < in.n && (in.p[i] == '\n' || in.p[i] == '\r'))
		i++;
	return i;
}

/* A byte order mark of which some bytes are missing yet. */
static bool is_part_of_mark(const struct sse *s, struct slice in)
{
	return !s->started && in.n < byte_order_mark.n && slice_starts(byte_order_mark, in);
}

/*
 * The length of the first block of in, or 0 if more bytes are needed to tell; then s->scanned is where to go on.  A
 * block ends with the first blank line after a line that is not blank.
 */
static size_t find_block_end(struct sse *s, struct slice in)
{
	const char *end = in.p + in.n, *p;

	if (is_part_of_mark(s, in))
		return 0;
	if (!s->in_block) {
		s->scanned = skip_blank(s, in, s->scanned);
		s->in_block = s->scanned < in.n;
	}
	for (p = in.p + s->scanned;;) {
		bool bare_cr;

		p = find_line_end(p, end);
		s->scanned = (size_t)(p - in.p);
		if (end - p < 2)
			return 0;
		bare_cr = p[0] == '\r' && p[1] != '\n';
		p += p[0] == '\r' && !bare_cr ? 2 : 1;
		if (p == end)
			return 0;
		if (*p == '\n' || (*p == '\r' && bare_cr))
			return (size_t)(p + 1 - in.p);
		if (*p != '\r')
			continue;
		if (p + 1 == end)
			return 0;
		return (size_t)(p + 1 - in.p) + (p[1] == '\n');
	}
}

/* Whether line is the field called name; *ret_value is what stands after the colon and at most one space. */
static bool is_field(struct slice line, struct slice name, struct slice *ret_value)
{
	if (!slice_starts(line, name) || (line.n > name.n && line.p[name.n] != ':'))
		return false;
	*ret_value = slice_sub(line, name.n + 1, line.n);
	if (ret_value->n > 0 && ret_value->p[0] == ' ')
		*ret_value = slice_sub(*ret_value, 1, line.n);
	return true;
}

/* One more data line. The joined text is never longer than the block, so that it always fits. */
static void add_data(struct sse *s, struct slice value, struct sse_event *ev, unsigned n_before)
{
	if (n_before == 0) {
		ev->data = value;
		return;
	}
	if (n_before == 1) {
		buf_clear(&s->joined);
		(void)buf_add(&s->joined, ev->data); /* fits, see above */
	}
	(void)buf_addc(&s->joined, '\n');
	(void)buf_add(&s->joined, value);
	ev->data = buf_slice(&s->joined);
}

/* Reads the lines of a block that is whole, and makes ready for the next. */
static void read_block(struct sse *s, struct slice block, struct sse_event *ret)
{
	const char *p = block.p + skip_blank(s, block, 0), *end = block.p + block.n;
	unsigned n_data = 0;

	*ret = (struct sse_event){.raw = block};
	while (p < end) {
		const char *line_end = find_line_end(p, end);
		struct slice line = {p, (size_t)(line_end - p)}, value;

		if (is_field(line, SLICE_LIT("data"), &value))
			add_data(s, value, ret, n_data++);
		else if (is_field(line, SLICE_LIT("event"), &value))
			ret->name = value;
		p = line_end < end ? line_end + 1 : end; /* the LF of a CRLF is then an empty line, which is no field */
	}
	s->started = true;
	s->scanned = 0;
	s->in_block = false;
}

/* Drops what the last event took. */
static void drop_used(struct sse *s)
{
	if (s->used == 0)
		return;
	if (s->used == s->pending.n)
		buf_clear(&s->pending);
	else
		buf_consume(&s->pending, s->used);
	s->used = 0;
}

static void take(struct slice *in, size_t n)
{
	in->p += n;
	in->n -= n;
}

/*
 * The next event of bytes, which begin with its block.  Its length if it is there, 0 if bytes are missing, E_TOOBIG.
 * What is known of a block that has not ended belongs to it, so that both lengths are measured alike.
 */
static ptrdiff_t read_event(struct sse *s, struct slice bytes, struct sse_event *ret_event)
{
	size_t n = find_block_end(s, bytes);

	if ((n > 0 ? n : bytes.n) > s->max_event_bytes) {
		s->failed = true;
		return E_TOOBIG;
	}
	if (n == 0)
		return 0;
	read_block(s, (struct slice){bytes.p, n}, ret_event);
	return (ptrdiff_t)n;
}

/* Nothing is pending: reads from *in where it stands. */
static int next_in_place(struct sse *s, struct slice *in, struct sse_event *ret_event)
{
	ptrdiff_t n = read_event(s, *in, ret_event);
	int rc;

	if (n < 0)
		return (int)n;
	if (n > 0) {
		take(in, (size_t)n);
		return 1;
	}
	rc = buf_add(&s->pending, *in);
	take(in, in->n);
	return rc;
}

/* How much of in to add to pending next: up to a line, and never past the room for a whole block. */
static size_t next_portion(const struct sse *s, struct slice in)
{
	const char *end = in.p + in.n, *p = find_line_end(in.p, end);
	size_t n = (size_t)(p - in.p) + (p < end);

	return min_size(n, s->max_event_bytes + 1 - s->pending.n);
}

int sse_next(struct sse *s, struct slice *in, struct sse_event *ret_event)
{
	if (s->failed)
		return E_TOOBIG;
	drop_used(s);
	while (s->pending.n > 0) {
		ptrdiff_t got = read_event(s, buf_slice(&s->pending), ret_event);
		size_t n;

		if (got < 0)
			return (int)got;
		if (got > 0) {
			s->used = (size_t)got;
			return 1;
		}
		if (in->n == 0)
			return 0;
		n = next_portion(s, *in);
		if (buf_append(&s->pending, in->p, n) < 0)
			return E_TOOBIG;
		take(in, n);
	}
	return in->n > 0 ? next_in_place(s, in, ret_event) : 0;
}

int sse_finish(struct sse *s, struct sse_event *ret_event)
{
	struct slice rest;

	if (s->failed)
		return 0;
	drop_used(s);
	rest = buf_slice(&s->pending);
	if (rest.n == 0 || skip_blank(s, rest, 0) == rest.n)
		return 0;
	read_block(s, rest, ret_event);
	s->used = rest.n;
	return 1;
}
