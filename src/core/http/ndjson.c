/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line cutter.  A line that lies whole in the caller's bytes is handed out from there; only one that is cut by
 * their end is kept.  What would break it: a decision that looks at where a piece ends.
 */
#include "core/http/ndjson.h"

#include "core/base/err.h"

void ndjson_init(struct ndjson *s, size_t max_line_bytes)
{
	*s = (struct ndjson){.max_line_bytes = max_line_bytes};
	buf_init(&s->pending, max_line_bytes);
}

void ndjson_release(struct ndjson *s)
{
	buf_release(&s->pending);
}

static void drop_used(struct ndjson *s)
{
	if (s->used == 0)
		return;
	buf_clear(&s->pending); /* a line always takes all that is pending */
	s->used = s->line_start = 0;
}

/* The line in bytes that end with its LF, without its end. */
static struct slice without_end(struct slice s)
{
	s.n--;
	if (s.n > 0 && s.p[s.n - 1] == '\r')
		s.n--;
	return s;
}

static bool is_blank(struct slice s)
{
	size_t i = 0;

	while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\t' || s.p[i] == '\r'))
		i++;
	return i == s.n;
}

static int too_big(struct ndjson *s)
{
	s->failed = true;
	return E_TOOBIG;
}

static void take(struct slice *in, size_t n)
{
	in->p += n;
	in->n -= n;
}

/* Nothing is pending: skips blank lines and reads from *in where it stands. */
static int next_in_place(struct ndjson *s, struct slice *in, struct slice *ret_line, struct slice *ret_raw)
{
	size_t start = 0, n;
	const char *lf;

	while ((lf = memchr(in->p + start, '\n', in->n - start))) {
		struct slice line = without_end((struct slice){in->p + start, (size_t)(lf + 1 - in->p) - start});

		n = (size_t)(lf + 1 - in->p);
		if (n > s->max_line_bytes)
			return too_big(s);
		if (!is_blank(line)) {
			*ret_line = line;
			*ret_raw = (struct slice){in->p, n};
			take(in, n);
			return 1;
		}
		start = n;
	}
	if (buf_add(&s->pending, *in) < 0)
		return too_big(s);
	s->line_start = start;
	take(in, in->n);
	return 0;
}

/* Adds to pending up to the next LF: 1 if it is there now, 0 if *in had none, E_TOOBIG. */
static int complete_line(struct ndjson *s, struct slice *in)
{
	const char *lf = memchr(in->p, '\n', in->n);
	size_t n = lf ? (size_t)(lf + 1 - in->p) : in->n;

	if (buf_append(&s->pending, in->p, n) < 0)
		return too_big(s);
	take(in, n);
	return lf != NULL;
}

int ndjson_next(struct ndjson *s, struct slice *in, struct slice *ret_line, struct slice *ret_raw)
{
	drop_used(s);
	if (s->failed)
		return E_TOOBIG;
	if (in->n == 0)
		return 0;
	if (s->pending.n == 0)
		return next_in_place(s, in, ret_line, ret_raw);
	while (in->n > 0) {
		struct slice line;
		int rc = complete_line(s, in);

		if (rc <= 0)
			return rc;
		line = without_end(slice_sub(buf_slice(&s->pending), s->line_start, s->pending.n));
		if (!is_blank(line)) {
			*ret_line = line;
			*ret_raw = buf_slice(&s->pending);
			s->used = s->pending.n;
			return 1;
		}
		s->line_start = s->pending.n;
	}
	return 0;
}

int ndjson_finish(struct ndjson *s, struct slice *ret_line)
{
	struct slice line;

	drop_used(s);
	if (s->failed)
		return 0;
	line = slice_sub(buf_slice(&s->pending), s->line_start, s->pending.n);
	if (is_blank(line))
		return 0;
	*ret_line = line;
	s->used = s->pending.n;
	return 1;
}
