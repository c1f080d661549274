/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of tools, for the log.  Each says its id, its name and its arguments, and omitted_bytes where some of these
 * found no room: calls behind the first that is cut are not told, and their bytes count as its.
 *
 * What would break it: a piece of arguments that is told before it has left, or in other words.
 */
#include "serving/gateway/calls.h"

#include <stdlib.h>

#include "core/base/utf8.h"
#include "serving/gateway/exchange.h"

#define AROUND 96u /* what stands around the texts of a call in JSON, and more */
#define ESCAPE_MAX 6u

struct call {
	unsigned channel;
	struct slice id, name; /* in names: the arena goes when a stream settles */
	struct buf names, arguments;
	size_t omitted; /* bytes */
};

/* --- what leaves --- */

static struct calls *calls_of(struct exchange *e)
{
	return e->log == LOG_FULL && e->stream ? &e->stream->calls : NULL;
}

/* The last that began in this channel; the last of all when there is no more room for others. */
static struct call *call_of(struct calls *c, unsigned channel)
{
	for (size_t i = c->n; i; i--)
		if (c->is_full || c->call[i - 1].channel == channel)
			return &c->call[i - 1];
	return NULL;
}

static bool has_room(const struct calls *c, size_t n)
{
	return n <= LOG_TEXT_MAX - c->n_bytes;
}

static struct call *add_call(struct calls *c)
{
	if (c->n % 8 == 0) { /* grown by eight */
		struct call *grown = realloc(c->call, (c->n + 8) * sizeof(*grown));

		if (!grown)
			abort();
		c->call = grown;
	}
	return &c->call[c->n++];
}

/* The id that the caller's protocol makes for a call without one. */
static struct slice id_of(struct exchange *e, struct slice id, unsigned number)
{
	char made[PROTOCOL_CALL_ID_SIZE];
	struct answer_meta m;

	if (id.n || !e->front->names_calls)
		return id;
	if (e->stream)
		stream_meta(e, &m);
	else
		respond_meta(e, &m);
	return arena_slice(&e->http->arena, protocol_call_id(&m, number, made));
}

void calls_begin(struct exchange *e, unsigned channel, struct slice id, struct slice name, bool passes)
{
	struct calls *c = calls_of(e);
	struct call *call;

	if (!c)
		return;
	if (!passes)
		id = id_of(e, id, c->n_begun);
	c->n_begun++;
	c->is_full |= !has_room(c, AROUND + id.n + name.n);
	if (c->is_full) {
		calls_omit(e, channel, id.n + name.n);
		return;
	}
	call = add_call(c);
	*call = (struct call){.channel = channel};
	buf_init(&call->names, LOG_TEXT_MAX);
	buf_reserve(&call->names, id.n + name.n);
	(void)buf_add(&call->names, id); /* there is room */
	(void)buf_add(&call->names, name);
	call->id = slice_sub(buf_slice(&call->names), 0, id.n);
	call->name = slice_sub(buf_slice(&call->names), id.n, name.n);
	buf_init(&call->arguments, LOG_TEXT_MAX);
	c->n_bytes += AROUND + id.n + name.n;
}

void calls_add(struct exchange *e, unsigned channel, struct slice arguments)
{
	struct calls *c = calls_of(e);
	struct call *call = c ? call_of(c, channel) : NULL;

	if (!call)
		return;
	if (c->is_full || call->omitted || !has_room(c, arguments.n)) {
		call->omitted += arguments.n;
		return;
	}
	(void)buf_add(&call->arguments, arguments); /* there is room */
	c->n_bytes += arguments.n;
}

void calls_omit(struct exchange *e, unsigned channel, size_t n)
{
	struct calls *c = calls_of(e);
	struct call *call = c ? call_of(c, channel) : NULL;

	if (call)
		call->omitted += n;
}

void calls_release(struct calls *c)
{
	for (size_t i = 0; i < c->n; i++) {
		buf_release(&c->call[i].names);
		buf_release(&c->call[i].arguments);
	}
	free(c->call);
	*c = (struct calls){.n = 0};
}

/* --- as JSON --- */

struct told {
	struct slice id, name, arguments;
	size_t omitted;
};

static size_t told_of_stream(const struct calls *c, struct told *list)
{
	for (size_t i = 0; i < c->n; i++)
		list[i] = (struct told){c->call[i].id, c->call[i].name, buf_slice(&c->call[i].arguments),
					c->call[i].omitted};
	return c->n;
}

static size_t told_of_parts(struct exchange *e, struct told *list)
{
	bool passes = answer_passes(e);
	size_t n = 0;

	for (size_t i = 0; i < e->answer.n_parts; i++) {
		const struct chat_part *p = &e->answer.parts[i];

		if (p->kind != CHAT_PART_TOOL_CALL)
			continue;
		list[n] = (struct told){.id = p->id, .name = p->name, .arguments = p->text};
		if (!passes)
			list[n].id = id_of(e, p->id, (unsigned)n);
		n++;
	}
	return n;
}

static size_t n_parts(const struct exchange *e)
{
	size_t n = 0;

	for (size_t i = 0; e->have_answer && i < e->answer.n_parts; i++)
		n += e->answer.parts[i].kind == CHAT_PART_TOOL_CALL;
	return e->front->answer_parts & 1u << CHAT_PART_TOOL_CALL ? n : 0;
}

/* How much of a text fits when it is escaped; *room becomes what is left. */
static size_t fitting(struct slice text, size_t *room)
{
	size_t n = 0;

	for (; n < text.n; n++) {
		unsigned char c = (unsigned char)text.p[n];
		size_t cost = c < 0x20 ? ESCAPE_MAX : c == '"' || c == '\\' ? 2 : 1;

		if (cost > *room)
			break;
		*room -= cost;
	}
	return n < text.n ? utf8_truncate(text, n).n : n;
}

static size_t bytes_of(const struct told *list, size_t n)
{
	size_t all = 0;

	for (size_t i = 0; i < n; i++)
		all += list[i].id.n + list[i].name.n + list[i].arguments.n;
	return all;
}

/* Leaves what fits. */
static size_t cut(struct told *list, size_t n, size_t room)
{
	if (bytes_of(list, n) * ESCAPE_MAX + n * AROUND <= room)
		return n;
	for (size_t i = 0; i < n; i++) {
		struct told *t = &list[i];
		size_t n_left = room, n_fit;

		if (n_left < AROUND || fitting(t->id, &n_left) < t->id.n || fitting(t->name, &n_left) < t->name.n ||
		    n_left < AROUND) {
			if (i)
				list[i - 1].omitted += bytes_of(t, n - i);
			return i;
		}
		room = n_left - AROUND;
		n_fit = fitting(t->arguments, &room);
		if (n_fit == t->arguments.n)
			continue;
		t->omitted += bytes_of(t, n - i) - t->id.n - t->name.n - n_fit;
		t->arguments.n = n_fit;
		return i + 1;
	}
	return n;
}

static void write_call(struct json_writer *w, const struct told *t)
{
	jw_object(w);
	jw_key(w, "id");
	if (t->id.n)
		jw_str(w, t->id);
	else
		jw_null(w);
	jw_kstr(w, "name", t->name);
	jw_kstr(w, "arguments", t->arguments.n || t->omitted ? t->arguments : SLICE_LIT("{}"));
	if (t->omitted)
		jw_ki64(w, "omitted_bytes", (int64_t)t->omitted);
	jw_object_end(w);
}

struct slice calls_json(struct exchange *e, size_t room)
{
	size_t n = e->stream ? e->stream->calls.n : n_parts(e);
	struct json_writer w;
	struct told *list;
	struct buf b;

	if (!n)
		return (struct slice){NULL, 0};
	list = ARENA_ARRAY(&e->http->arena, struct told, n);
	if (!list)
		return (struct slice){NULL, 0};
	n = e->stream ? told_of_stream(&e->stream->calls, list) : told_of_parts(e, list);
	n = cut(list, n, room);
	buf_init_arena(&b, &e->http->arena, room + AROUND);
	jw_init(&w, &b);
	jw_array(&w);
	for (size_t i = 0; i < n; i++)
		write_call(&w, &list[i]);
	jw_array_end(&w);
	return buf_failed(&b) ? (struct slice){NULL, 0} : buf_slice(&b);
}

/* --- of applications --- */

static bool is_call(const struct json *call)
{
	const struct json *id = json_get(call, "id"), *name = json_get(call, "name"),
			  *arguments = json_get(call, "arguments"), *omitted = json_get(call, "omitted_bytes");

	return call->type == JSON_OBJECT && id && (id->type == JSON_STRING || id->type == JSON_NULL) && name &&
	       name->type == JSON_STRING && arguments && arguments->type == JSON_STRING &&
	       (!omitted || (omitted->type == JSON_NUMBER && omitted->is_integer && omitted->integer > 0)) &&
	       call->n_items == 3u + (omitted != NULL);
}

bool calls_are_told(const struct json *calls)
{
	if (calls->type != JSON_ARRAY)
		return false;
	for (const struct json *v = calls->first; v; v = v->next)
		if (!is_call(v))
			return false;
	return true;
}
