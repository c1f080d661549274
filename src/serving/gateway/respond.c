/* SPDX-License-Identifier: Apache-2.0 */
/* Answers and errors in the caller's protocol, with the headers that say what happened. */
#include "serving/gateway/exchange.h"

#include <stdio.h>

#include "core/base/utf8.h"
#include "core/http/router.h"
#include "serving/gateway/gemini_path.h"
#include "serving/gateway/limits.h"

#define MESSAGE_MAX 4096			 /* of an error; it may quote what a caller or an upstream wrote */
#define ERROR_MAX_BYTES (MESSAGE_MAX * 6 + 1024) /* escaped */

static const char *const fallback_names[] = {[RECORD_FALLBACK_NONE] = "",
					     [RECORD_FALLBACK_MODEL] = "model",
					     [RECORD_FALLBACK_ENDPOINT] = "endpoint",
					     [RECORD_FALLBACK_CONTENT] = "content"};

/* A decimal number; the few that there mostly are stand ready. */
static struct slice count_text(struct arena *a, unsigned n)
{
	static const char digits[] = "0123456789";

	return n < 10 ? (struct slice){digits + n, 1} : slice_from(arena_printf(a, "%u", n));
}

static void put(struct http_header *h, size_t *n, struct slice name, struct slice value)
{
	if (value.n && *n < RESPOND_MAX_HEADERS)
		h[(*n)++] = (struct http_header){name, value};
}

struct slice respond_dropped(struct exchange *e)
{
	struct buf b;

	if (!e->dropped || !e->dropped->n)
		return (struct slice){0};
	buf_init_arena(&b, &e->http->arena, 2048);
	for (size_t i = 0; i < e->dropped->n; i++) {
		if (i)
			buf_adds(&b, ", ");
		buf_add(&b, e->dropped->name[i]);
	}
	return buf_slice(&b);
}

size_t respond_headers(struct exchange *e, struct http_header *h, struct slice content_type)
{
	const struct candidate *c = exchange_served_by(e);
	size_t n = 0;

	put(h, &n, SLICE_LIT("Content-Type"), content_type);
	put(h, &n, SLICE_LIT("x-request-id"), e->request_id);
	put(h, &n, SLICE_LIT("x-muster-log-id"), slice_from(e->log_id_text));
	if (c) {
		put(h, &n, SLICE_LIT("x-muster-model"), c->full_name);
		put(h, &n, SLICE_LIT("x-muster-model-id"), c->id);
		put(h, &n, SLICE_LIT("x-muster-fallback"), slice_from(fallback_names[c->kind]));
	} else if (e->have_answer) {
		put(h, &n, SLICE_LIT("x-muster-fallback"), SLICE_LIT("content"));
	}
	put(h, &n, SLICE_LIT("x-muster-guardrail"),
	    e->policy ? slice_from(guard_action_name(e->action)) : SLICE_LIT("skipped"));
	put(h, &n, SLICE_LIT("x-muster-attempts"), count_text(&e->http->arena, e->n_attempts));
	put(h, &n, SLICE_LIT("x-muster-dropped-params"), respond_dropped(e));
	if (once_is_cache_miss(e))
		put(h, &n, SLICE_LIT("x-muster-cache"), SLICE_LIT("miss"));
	n += limits_headers(e->caller.key, loop_now_ms(e->g->loop), &e->http->arena, h + n);
	if (e->stream)
		put(h, &n, SLICE_LIT("Cache-Control"), SLICE_LIT("no-cache"));
	if (e->stream && e->use_case && e->use_case->settings.answer_mode == ANSWER_RESUME)
		put(h, &n, SLICE_LIT("Trailer"), SLICE_LIT("x-muster-attempts, x-muster-model, x-muster-resumed"));
	return n;
}

void respond_meta(const struct exchange *e, struct answer_meta *m)
{
	const struct candidate *c = exchange_served_by(e);

	*m = (struct answer_meta){.answer_id = slice_from(e->log_id_text),
				  .created_s = e->start_us / 1000000,
				  .layer = e->request.layer,
				  .use_case = e->use_case_name,
				  .log_id = slice_from(e->log_id_text),
				  .latency_ms = loop_now_ms(e->g->loop) - e->start_ms,
				  .fallback_used = !c || c->kind != RECORD_FALLBACK_NONE,
				  .include_usage = e->request.include_usage,
				  .base64 = e->request.embed && e->request.embed->base64,
				  .request = &e->request};
	if (c) {
		m->model = c->full_name;
		m->model_id = c->id;
		m->model_name = c->name;
	}
}

/* Fallback content that no rule asked for: nobody could answer. */
static bool is_makeshift(const struct exchange *e)
{
	return e->have_answer && !exchange_served_by(e) && e->action < GUARD_FALLBACK;
}

/* Whether the same request would get no better answer. */
static bool is_final(const struct exchange *e, int status)
{
	if (once_is_cache_miss(e))
		return status == 200 && e->answered_well && !e->broke_off && !e->is_unlogged;
	return status < 500 && status != 429 && status != 408 && !e->broke_off && !is_makeshift(e);
}

void respond_send(struct exchange *e, int status, const struct http_header *h, size_t n, struct slice body)
{
	if (e->once.entry) {
		once_head(e, status, h, n);
		once_body(e, body);
		once_end(e, is_final(e, status));
	}
	http_reply(e->http, status, h, n, body);
}

void respond_begin(struct exchange *e, struct slice content_type)
{
	struct http_header h[RESPOND_MAX_HEADERS];
	size_t n = respond_headers(e, h, e->array ? SLICE_LIT("application/json") : content_type);

	once_head(e, 200, h, n);
	http_stream_begin(e->http, 200, h, n);
}

void respond_write(struct exchange *e, struct slice piece)
{
	struct iovec iov;

	if (e->array)
		piece = array_add(e->array, piece);
	if (!piece.n)
		return;
	iov = (struct iovec){(void *)(uintptr_t)piece.p, piece.n};
	once_body(e, piece);
	http_stream_write(e->http, &iov, 1);
}

void respond_end(struct exchange *e, struct slice piece)
{
	struct iovec iov;

	if (e->array)
		piece = array_end(e->array, piece);
	iov = (struct iovec){(void *)(uintptr_t)piece.p, piece.n};
	if (e->once.entry) {
		once_body(e, piece);
		once_end(e, is_final(e, 200) && !(e->array && array_failed(e->array)));
	}
	if (e->array && array_failed(e->array)) { /* there is no telling what is missing */
		http_stream_cut(e->http);
		return;
	}
	http_stream_end(e->http, &iov, piece.n ? 1 : 0);
}

enum next respond_whole(struct exchange *e, struct slice body)
{
	struct http_header h[RESPOND_MAX_HEADERS];
	size_t n = respond_headers(e, h, SLICE_LIT("application/json"));

	e->step = STEP_DONE;
	respond_send(e, 200, h, n, body);
	return FINISHED;
}

struct api_error respond_unlogged_error(void)
{
	return (struct api_error){.status = 503,
				  .message = SLICE_LIT("The log cannot take a record now, and this use case answers "
						       "nothing that is not recorded. Try again."),
				  .type = "server_error",
				  .code = "log_unavailable"};
}

/* array: the caller expects one. */
static void encode_error(struct buf *out, const struct protocol *p, const struct api_error *error, bool array)
{
	struct api_error cut = *error;

	cut.message = utf8_truncate(error->message, MESSAGE_MAX);
	if (array)
		buf_addc(out, '[');
	p->encode_error(out, &cut);
	if (array)
		buf_adds(out, "]\n");
}

enum next respond_error(struct exchange *e, const struct api_error *error)
{
	struct http_header h[RESPOND_MAX_HEADERS + 1];
	struct api_error told = *error;
	struct buf body;
	size_t n;

	if (e->stats && !e->recorded)
		counter_add(&e->stats->errors, 1);
	if (e->use_case_name.n)
		record_exchange(e, error->status == 504 ? RECORD_TIMEOUT : RECORD_ERROR, error->status);
	buf_init(&body, ERROR_MAX_BYTES); /* the arena may be what is full */
	told.request_id = e->request_id;
	encode_error(&body, e->front, &told, e->array != NULL);
	n = respond_headers(e, h, SLICE_LIT("application/json"));
	if (e->upstream_retry_after.n)
		h[n++] = (struct http_header){SLICE_LIT("Retry-After"), e->upstream_retry_after};
	e->step = STEP_DONE;
	respond_send(e, error->status, h, n, buf_slice(&body));
	buf_release(&body);
	return FINISHED;
}

enum next respond_unlogged(struct exchange *e)
{
	struct api_error error = respond_unlogged_error();

	counter_add(&e->g->stats.log_refusals, 1);
	counter_add(&e->stats->errors, 1);
	exchange_say(e, SLICE_FMT, SLICE_ARG(error.message));
	e->recorded = true; /* there is no room for it */
	e->upstream_retry_after = SLICE_LIT("5");
	return respond_error(e, &error);
}

struct slice respond_callers_request_id(const struct http_head *head)
{
	struct slice id = http_header(head, "x-request-id");

	if (id.n > 128)
		return (struct slice){0};
	for (size_t i = 0; i < id.n; i++)
		if (id.p[i] <= 0x20 || id.p[i] >= 0x7f)
			return (struct slice){0};
	return id;
}

struct slice respond_request_id(struct http_exchange *x)
{
	struct slice id = respond_callers_request_id(&x->head);
	struct uuid made;
	char text[UUID_STR_SIZE];

	if (id.n)
		return id;
	made = uuid_v7_now();
	return arena_slice(&x->arena, slice_from(uuid_format(&made, text)));
}

void respond_plain_error(struct http_exchange *x, const struct api_error *error)
{
	respond_plain_error_with(x, error, NULL, 0);
}

void respond_method_refused(struct http_exchange *x, unsigned allowed)
{
	struct http_header allow = {SLICE_LIT("Allow"), {NULL, 0}};
	struct api_error error = {.status = 405, .type = "invalid_request_error", .code = "method_not_allowed"};
	char list[ROUTE_ALLOWED_SIZE];

	route_allowed(allowed, list);
	allow.value = arena_slice(&x->arena, slice_from(list));
	error.message = slice_from(arena_printf(&x->arena, "This endpoint takes %s%s.", list,
						allowed == 1U << HTTP_POST ? " with a JSON body" : ""));
	respond_plain_error_with(x, &error, &allow, 1);
}

/* The path says it; where several protocols have the same, a header that only the clients of one send. */
static const struct protocol *front_of_head(const struct http_head *head)
{
	const struct protocol *p = gateway_front_of(head->path);

	if (p || !slice_starts(head->path, SLICE_LIT("/v1/")))
		return p;
	if (http_header(head, "x-goog-api-key").n)
		return &protocol_gemini;
	return http_header(head, "anthropic-version").n ? &protocol_anthropic : NULL;
}

void respond_plain_error_with(struct http_exchange *x, const struct api_error *error, const struct http_header *more,
			      size_t n_more)
{
	const struct protocol *p = front_of_head(&x->head);
	struct http_header h[RESPOND_MAX_HEADERS] = {{SLICE_LIT("Content-Type"), SLICE_LIT("application/json")},
						     {SLICE_LIT("x-request-id"), respond_request_id(x)}};
	size_t n = h[1].value.n ? 2 : 1;
	struct api_error told = *error;
	struct buf body;

	told.request_id = h[1].value;
	if (error->status == 401)
		h[n++] = (struct http_header){SLICE_LIT("WWW-Authenticate"), SLICE_LIT("Bearer")};
	for (size_t i = 0; i < n_more && n < RESPOND_MAX_HEADERS; i++)
		h[n++] = more[i];
	buf_init(&body, ERROR_MAX_BYTES);
	encode_error(&body, p ? p : &protocol_openai, &told, gemini_path_wants_array(&x->head, &x->arena));
	http_reply(x, error->status, h, n, buf_slice(&body));
	buf_release(&body);
}
