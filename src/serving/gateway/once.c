/* SPDX-License-Identifier: Apache-2.0 */
/* One answer for requests with the same Idempotency-Key, and answers that serve again: see once.h. */
#include "serving/gateway/once.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/base/digest.h"
#include "core/base/map.h"
#include "core/base/utf8.h"
#include "serving/gateway/exchange.h"
#include "serving/gateway/limits.h"
#include "serving/gateway/target.h"

#define CACHE_KEY_MAX ((size_t)256 * 1024) /* before it is hashed */

/* Belongs to the table while it is there; whoever reads or writes its answer holds a reference. */
struct once_entry {
	char key[65], digest[65]; /* who asks with which key; what */
	unsigned refs;		  /* under the table's lock */
	bool done;		  /* the answer stands, and never changes again */
	bool too_long;
	bool of_cache;
	int status;
	struct buf head, body; /* headers, a line each */
	struct buf text;       /* of a cache: what goes into the log, then the calls of tools */
	size_t n_output;       /* of it, before those */
	struct chat_usage usage;
	enum chat_finish finish;
	int64_t until_ms;
	struct once_waiter *waiters;
	struct once_entry *next, **prev; /* those that are done, the oldest first */
};

struct once_waiter {
	struct once_waiter *next;
	struct loop *loop;
	struct once_entry *entry; /* that it waits for, until it is woken */
	struct exchange *e;	  /* NULL: it has gone.  Its loop's thread only */
	bool woken;		  /* under the table's lock: it belongs to its loop now */
};

struct once_table {
	pthread_mutex_t lock;
	struct map by_key;
	struct once_entry *oldest, **newest;
	size_t bytes;
};

struct once_table *gateway_once_new(void)
{
	struct once_table *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	pthread_mutex_init(&t->lock, NULL);
	map_init(&t->by_key);
	t->newest = &t->oldest;
	return t;
}

static void unref(struct once_entry *o)
{
	if (--o->refs)
		return;
	buf_release(&o->head);
	buf_release(&o->body);
	buf_release(&o->text);
	free(o);
}

void gateway_once_free(struct once_table *t)
{
	struct map_entry *e;

	if (!t)
		return;
	for (size_t i = 0; map_next(&t->by_key, &i, &e);)
		unref(e->value);
	map_release(&t->by_key);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* --- the table: all of it under the lock --- */

static size_t size_of(const struct once_entry *o)
{
	return o->head.n + o->body.n + o->text.n;
}

static void unlink_done(struct once_table *t, struct once_entry *o)
{
	if (!o->prev)
		return;
	*o->prev = o->next;
	if (o->next)
		o->next->prev = o->prev;
	else
		t->newest = o->prev;
	o->prev = NULL;
	t->bytes -= size_of(o);
}

static void forget(struct once_table *t, struct once_entry *o)
{
	unlink_done(t, o);
	if (map_get(&t->by_key, slice_from(o->key)) != o)
		return;
	(void)map_del(&t->by_key, slice_from(o->key)); /* it is this one */
	unref(o);
}

static void forget_old(struct once_table *t, int64_t now_ms)
{
	while (t->oldest &&
	       (t->oldest->until_ms <= now_ms || t->bytes > ONCE_TABLE_MAX || t->by_key.n > ONCE_ENTRIES_MAX))
		forget(t, t->oldest);
}

static struct once_entry *entry_new(struct once_table *t, const char *key, const char *digest)
{
	struct once_entry *o = calloc(1, sizeof(*o));

	if (!o)
		abort();
	memcpy(o->key, key, sizeof(o->key));
	memcpy(o->digest, digest, sizeof(o->digest));
	o->refs = 2; /* the table's, and the exchange's */
	buf_init(&o->head, 16384);
	buf_init(&o->body, ONCE_ANSWER_MAX);
	buf_init(&o->text, LOG_TEXT_MAX + LOG_ROOM_MIN);
	(void)map_put(&t->by_key, slice_from(o->key), o); /* it was not there */
	return o;
}

/* --- those that wait --- */

static void on_wake(void *arg)
{
	struct once_waiter *w = arg;
	struct exchange *e = w->e;

	free(w);
	if (!e)
		return;
	e->once.waiter = NULL;
	timer_cancel(e->g->loop, &e->pause);
	exchange_run(e);
}

static void wake(struct once_entry *o)
{
	for (struct once_waiter *w = o->waiters, *next; w; w = next) {
		next = w->next;
		w->woken = true;
		loop_post(w->loop, on_wake, w);
	}
	o->waiters = NULL;
}

static void stop_waiting(struct exchange *e)
{
	struct once_waiter *w = e->once.waiter, **at;

	e->once.waiter = NULL;
	w->e = NULL;
	if (w->woken)
		return; /* on_wake frees it */
	for (at = &w->entry->waiters; *at != w; at = &(*at)->next)
		;
	*at = w->next;
	free(w);
}

static void leave_waiters(struct exchange *e)
{
	pthread_mutex_lock(&e->g->once->lock);
	stop_waiting(e);
	pthread_mutex_unlock(&e->g->once->lock);
}

/* Its caller's time is over, and the first is still under way. */
static void on_late(void *arg)
{
	struct exchange *e = arg;
	struct api_error error = {.status = 504, .type = "timeout_error", .code = "deadline_exceeded"};

	leave_waiters(e);
	e->recorded = false; /* what it gets is not the first one's answer */
	e->n_candidates = 0; /* none of them was asked */
	exchange_say(e, "the caller's time (x-request-timeout-ms) was over before the first request with this "
			"Idempotency-Key was answered");
	error.message = slice_from(e->error_text);
	(void)respond_error(e, &error);
}

/* Under the lock. */
static enum next wait_for(struct exchange *e, struct once_entry *o)
{
	struct once_waiter *w = calloc(1, sizeof(*w));
	int64_t left = e->deadline_ms - loop_now_ms(e->g->loop);

	if (!w)
		abort();
	*w = (struct once_waiter){.next = o->waiters, .loop = e->g->loop, .entry = o, .e = e};
	o->waiters = w;
	e->once.waiter = w;
	e->recorded = true; /* the first one's record is this one's too */
	timer_init(&e->pause, on_late, e);
	if (e->deadline_ms)
		timer_set(e->g->loop, &e->pause, left > 0 ? left : 0);
	return WAIT;
}

/* --- asking --- */

static void hash_of(const struct exchange *e, struct slice said, char key[65], char digest[65])
{
	struct buf b;

	buf_init(&b, 8192);
	if (e->caller.key)
		buf_append(&b, e->caller.key->key.id.b, sizeof(e->caller.key->key.id.b));
	buf_add(&b, e->caller.name);
	buf_addc(&b, '\n');
	buf_add(&b, slice_sub(e->http->head.path, 0, 4096));
	buf_addc(&b, e->array ? '[' : '\n'); /* the same stream in another frame is another answer */
	buf_add(&b, said);
	sha256_hex(buf_slice(&b), key);
	buf_release(&b);
	sha256_hex(e->http->body, digest);
}

static enum next refuse(struct exchange *e, int status, const char *code, const char *text)
{
	struct api_error error = {
		.status = status, .type = "invalid_request_error", .param = "Idempotency-Key", .code = code};

	error.message = slice_from(text);
	exchange_say(e, "%s", text);
	e->n_candidates = 0; /* none of them was asked */
	return respond_error(e, &error);
}

/* The headers of the first answer, but for those that are this request's own. */
static size_t read_head(const struct once_entry *o, struct http_header *h, size_t max)
{
	struct slice rest = buf_slice(&o->head), line;
	size_t n = 0;

	while (n < max && slice_split(&rest, '\n', &line)) {
		ptrdiff_t colon = slice_chr(line, ':');

		if (colon > 0)
			h[n++] = (struct http_header){slice_sub(line, 0, (size_t)colon),
						      slice_sub(line, (size_t)colon + 1, line.n)};
	}
	return n;
}

static void let_go(struct once_table *t, struct once_entry *o)
{
	pthread_mutex_lock(&t->lock);
	unref(o);
	pthread_mutex_unlock(&t->lock);
}

static enum next replay(struct exchange *e, struct once_entry *o)
{
	struct http_header h[RESPOND_MAX_HEADERS + 2 + LIMIT_HEADERS];
	size_t n = read_head(o, h, RESPOND_MAX_HEADERS);
	struct once_table *t = e->g->once; /* the exchange goes with its answer */

	h[n++] = (struct http_header){SLICE_LIT("x-request-id"), e->request_id};
	h[n++] = (struct http_header){SLICE_LIT("x-muster-idempotent-replay"), SLICE_LIT("true")};
	n += limits_headers(e->caller.key, loop_now_ms(e->g->loop), &e->http->arena, h + n);
	counter_add(&e->g->stats.replays, 1);
	e->recorded = true;
	e->step = STEP_DONE;
	http_reply(e->http, o->status, h, n, buf_slice(&o->body));
	let_go(t, o);
	return FINISHED;
}

/* Under the lock.  NEXT: it is the first; FINISHED: *ret has its answer, with a reference; WAIT. */
static enum next look_up(struct exchange *e, const char *key, const char *digest, struct once_entry **ret)
{
	struct once_table *t = e->g->once;
	struct once_entry *o;

	forget_old(t, loop_now_ms(e->g->loop));
	o = map_get(&t->by_key, slice_from(key));
	*ret = NULL;
	if (!o) {
		e->recorded = false; /* who waited in vain is the first now */
		e->once.entry = entry_new(t, key, digest);
		e->once.table = t;
		return NEXT;
	}
	if (memcmp(o->digest, digest, sizeof(o->digest)) != 0)
		return FINISHED;
	if (!o->done)
		return wait_for(e, o);
	o->refs++;
	*ret = o;
	return FINISHED;
}

/* --- the cache --- */

bool once_is_cache_miss(const struct exchange *e)
{
	return e->once.entry && e->once.entry->of_cache;
}

static bool asks_anew(const struct exchange *e)
{
	struct slice said = http_header(&e->http->head, "cache-control");

	return slice_has_nocase(said, SLICE_LIT("no-cache")) || slice_has_nocase(said, SLICE_LIT("no-store"));
}

/* 0: this request is none for a cache. */
static int64_t cache_ttl_ms(const struct exchange *e)
{
	const struct snapshot_use_case *u = e->use_case;

	if (!e->g->cache || !u || !u->settings.cache_ttl_s || e->counts || !e->n_candidates || !e->candidate[0].id.n ||
	    asks_anew(e))
		return 0;
	return u->settings.cache_ttl_s * 1000;
}

static void add_number(struct buf *b, int64_t v)
{
	buf_append(b, &v, sizeof(v));
}

static void add_part(struct buf *b, struct slice s)
{
	add_number(b, (int64_t)s.n);
	buf_add(b, s);
}

/* Everything that an answer depends on.  False: it is too long. */
static bool cache_key(const struct exchange *e, char key[65])
{
	const struct use_case *u = &e->use_case->settings;
	const struct snapshot_model *m = snapshot_model(e->snapshot, e->candidate[0].id);
	const struct pass_header *pass = e->candidate[0].target->protocol->pass;
	char body[65];
	struct buf b;
	bool fits;

	sha256_hex(e->http->body, body);
	buf_init(&b, CACHE_KEY_MAX);
	add_number(&b, e->caller.key && e->caller.key->key.translate_strictly);
	if (u->cache_scope == CACHE_KEY) {
		add_part(&b, e->caller.key ? (struct slice){(const char *)e->caller.key->key.id.b,
							    sizeof(e->caller.key->key.id.b)}
					   : (struct slice){0});
		add_part(&b, e->caller.name);
	}
	add_part(&b, e->http->head.target);
	add_part(&b, slice_from(body));
	add_part(&b, u->name);
	add_number(&b, u->updated_us);
	add_part(&b, e->candidate[0].id);
	add_number(&b, m ? m->model.updated_us : 0);
	add_part(&b, e->policy_digest);
	for (size_t i = 0; i < PROTOCOL_MAX_PASS && pass[i].name; i++)
		add_part(&b, http_header(&e->http->head, pass[i].name));
	sha256_hex(buf_slice(&b), key);
	fits = !buf_failed(&b);
	buf_release(&b);
	return fits;
}

static enum next serve_again(struct exchange *e, struct once_entry *o)
{
	struct http_header h[2 * RESPOND_MAX_HEADERS];
	struct slice text = buf_slice(&o->text);
	size_t n = read_head(o, h, RESPOND_MAX_HEADERS - 2);
	struct once_table *t = e->g->cache; /* as above */
	enum next next = FINISHED;

	h[n++] = (struct http_header){SLICE_LIT("x-request-id"), e->request_id};
	h[n++] = (struct http_header){SLICE_LIT("x-muster-log-id"), slice_from(e->log_id_text)};
	h[n++] = (struct http_header){SLICE_LIT("x-muster-attempts"), SLICE_LIT("0")};
	h[n++] = (struct http_header){SLICE_LIT("x-muster-cache"), SLICE_LIT("hit")};
	n += limits_headers(e->caller.key, loop_now_ms(e->g->loop), &e->http->arena, h + n);
	e->cached = e->have_answer = true;
	e->answer =
		(struct chat_answer){.text = slice_sub(text, 0, o->n_output), .usage = o->usage, .finish = o->finish};
	if (text.n > o->n_output)
		e->tool_calls = slice_sub(text, o->n_output, text.n);
	record_exchange(e, RECORD_OK, 200);
	e->step = STEP_DONE;
	if (e->is_unlogged)
		next = respond_unlogged(e);
	else
		http_reply(e->http, o->status, h, n, buf_slice(&o->body));
	let_go(t, o);
	return next;
}

/* Under the lock: an answer, with a reference; or NULL, and this one's is taken down, unless another's is. */
static struct once_entry *find_again(struct exchange *e, const char *key)
{
	struct once_table *t = e->g->cache;
	int64_t now = loop_now_ms(e->g->loop);
	struct once_entry *o;

	forget_old(t, now);
	o = map_get(&t->by_key, slice_from(key));
	if (o && o->done && o->until_ms <= now) { /* behind one that lives longer */
		forget(t, o);
		o = NULL;
	}
	if (o && o->done) {
		o->refs++;
		return o;
	}
	if (!o) {
		e->once.entry = entry_new(t, key, key);
		e->once.entry->of_cache = true;
		e->once.table = t;
	}
	return NULL;
}

static enum next ask_cache(struct exchange *e)
{
	struct once_entry *found;
	char key[65];

	e->step = STEP_SHED;
	if (!cache_ttl_ms(e) || !cache_key(e, key))
		return NEXT;
	pthread_mutex_lock(&e->g->cache->lock);
	found = find_again(e, key);
	pthread_mutex_unlock(&e->g->cache->lock);
	counter_add(found ? &e->stats->cache_hits : &e->stats->cache_misses, 1);
	return found ? serve_again(e, found) : NEXT;
}

enum next exchange_once(struct exchange *e)
{
	struct once_table *t = e->g->once;
	struct slice said = http_header(&e->http->head, "idempotency-key");
	struct once_entry *answered;
	char key[65], digest[65];
	enum next next;

	if (!said.p || !t || !e->settings->idempotency_window_ms)
		return ask_cache(e);
	if (!said.n || said.n > ONCE_KEY_MAX)
		return refuse(e, 400, "idempotency_key_invalid", "An Idempotency-Key has 1 to 255 bytes.");
	hash_of(e, said, key, digest);
	pthread_mutex_lock(&t->lock);
	next = look_up(e, key, digest, &answered);
	pthread_mutex_unlock(&t->lock);
	if (next == NEXT)
		e->step = STEP_SHED;
	if (next != FINISHED)
		return next;
	return answered
		       ? replay(e, answered)
		       : refuse(e, 422, "idempotency_key_reused",
				"This Idempotency-Key came with another body before: use a new key for a new request.");
}

/* --- what the first one's answer is --- */

/* Those that are of one request only. */
static bool is_own(const struct once_entry *o, struct slice name)
{
	if (o->of_cache && (slice_eq_str(name, "x-muster-log-id") || slice_eq_str(name, "x-muster-attempts") ||
			    slice_eq_str(name, "x-muster-cache")))
		return true;
	return slice_eq_str(name, "x-request-id") || slice_starts(name, SLICE_LIT("x-ratelimit-"));
}

void once_head(struct exchange *e, int status, const struct http_header *h, size_t n)
{
	struct once_entry *o = e->once.entry;

	if (!o)
		return;
	o->status = status;
	for (size_t i = 0; i < n; i++) {
		if (is_own(o, h[i].name))
			continue;
		buf_add(&o->head, h[i].name);
		buf_addc(&o->head, ':');
		buf_add(&o->head, h[i].value);
		buf_addc(&o->head, '\n');
	}
	o->too_long |= buf_failed(&o->head);
}

void once_body(struct exchange *e, struct slice piece)
{
	struct once_entry *o = e->once.entry;

	if (!o || o->too_long)
		return;
	buf_add(&o->body, piece);
	o->too_long = buf_failed(&o->body);
}

/* What the records of those say that get it again. */
static void take_record(const struct exchange *e, struct once_entry *o)
{
	o->usage = e->answer.usage;
	o->finish = e->answer.finish;
	if (e->log != LOG_FULL)
		return;
	buf_add(&o->text, utf8_truncate(e->stream && !e->answer.text.p ? buf_slice(&e->stream->text) : e->answer.text,
					LOG_TEXT_MAX));
	o->n_output = o->text.n;
	buf_add(&o->text, e->tool_calls);
	o->too_long |= buf_failed(&o->text);
}

void once_end(struct exchange *e, bool keep)
{
	struct once_table *t = e->once.table;
	struct once_entry *o = e->once.entry;

	if (!o)
		return;
	e->once.entry = NULL;
	if (keep && o->of_cache)
		take_record(e, o);
	pthread_mutex_lock(&t->lock);
	if (keep && !o->too_long) {
		o->done = true;
		o->until_ms =
			loop_now_ms(e->g->loop) + (o->of_cache ? cache_ttl_ms(e) : e->settings->idempotency_window_ms);
		o->prev = t->newest;
		*t->newest = o;
		t->newest = &o->next;
		t->bytes += size_of(o);
	}
	wake(o);
	if (!o->done) {
		(void)map_del(&t->by_key, slice_from(o->key)); /* it is this one, since it began */
		o->refs--;				       /* the table's */
	}
	unref(o);
	forget_old(t, loop_now_ms(e->g->loop));
	pthread_mutex_unlock(&t->lock);
}

void once_release(struct exchange *e)
{
	once_end(e, false);
	if (e->once.waiter)
		leave_waiters(e);
}
