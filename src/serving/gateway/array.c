/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events as the elements of a JSON array: see array.h. */
#include "serving/gateway/array.h"

#include "core/base/buf.h"
#include "core/http/sse.h"

/* A whole answer may leave as one event, with each byte of it escaped. */
#define ARRAY_MAX ((size_t)128 * 1024 * 1024)

struct array {
	struct sse sse;
	struct buf out;
	bool begun, failed;
};

struct array *array_new(struct arena *a)
{
	struct array *s = ARENA_NEW(a, struct array);

	if (!s)
		return NULL;
	*s = (struct array){0};
	sse_init(&s->sse, ARRAY_MAX);
	buf_init(&s->out, ARRAY_MAX + 64);
	return s;
}

void array_release(struct array *s)
{
	sse_release(&s->sse);
	buf_release(&s->out);
}

static void add_element(struct array *s, struct slice json)
{
	if (!json.n)
		return; /* a comment */
	buf_adds(&s->out, s->begun ? "\n,\n" : "[");
	buf_add(&s->out, json);
	s->begun = true;
}

static void add_events(struct array *s, struct slice piece)
{
	struct sse_event event;
	int rc;

	buf_clear(&s->out);
	while ((rc = sse_next(&s->sse, &piece, &event)) > 0)
		add_element(s, event.data);
	s->failed |= rc < 0 || buf_failed(&s->out);
}

struct slice array_add(struct array *s, struct slice piece)
{
	add_events(s, piece);
	return buf_slice(&s->out);
}

struct slice array_end(struct array *s, struct slice piece)
{
	struct sse_event event;

	add_events(s, piece);
	if (sse_finish(&s->sse, &event) == 1)
		add_element(s, event.data);
	buf_adds(&s->out, s->begun ? "\n]\n" : "[]\n");
	s->failed |= buf_failed(&s->out);
	return buf_slice(&s->out);
}

bool array_failed(const struct array *s)
{
	return s->failed;
}
