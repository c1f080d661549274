/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated model.  It runs on a loop of its own, so that a drill under
 * load cannot hold up the control loop.  What would break it: deciding by the
 * clock, since drills have to repeat.
 */
#include "app/sim/sim.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/digest.h"
#include "core/base/rand.h"
#include "core/http/server.h"
#include "core/json/writer.h"
#include "serving/protocol/protocol.h"

#define SIM_TEXT_MAX 65536
#define SIM_PLANS 256 /* configurations whose requests are counted; more share places */
#define SIM_MAX_LATENCY_MS 600000
#define SIM_DIMENSIONS 256
#define SIM_MAX_DIMENSIONS ((size_t)4096)
#define SIM_MAX_OUT ((size_t)16 << 20) /* all at once: an event for each byte of the longest text */

struct sim {
	struct loop *loop;
	struct http_server *server;
	struct json_parser *json;
	uint64_t n_requests[SIM_PLANS];
};

struct plan {
	struct slice text;
	int64_t latency_ms, status, cut_after, seed;
	double tokens_per_s, error_rate, violation_rate;
};

/* One answer on its way. */
struct reply {
	struct sim *sim;
	struct http_exchange *x;
	const struct protocol *front;
	struct chat_request request;
	struct plan plan;
	struct slice text;
	size_t at;	  /* bytes of text that were sent */
	int64_t n_tokens; /* sent */
	bool begun, fails, cuts;
	struct encode_state stream;
	struct timer timer;
};

static void on_gone(struct http_exchange *x)
{
	struct reply *r = x->user;

	timer_cancel(r->sim->loop, &r->timer);
	http_stream_cut(x);
}

static const struct http_exchange_ops reply_ops = {.on_abort = on_gone};

static void answer_error(struct http_exchange *x, const struct protocol *front, int status, const char *text)
{
	struct http_header h[2] = {{SLICE_LIT("Content-Type"), SLICE_LIT("application/json")},
				   {SLICE_LIT("Retry-After"), SLICE_LIT("1")}};
	struct buf body;

	buf_init_arena(&body, &x->arena, 4096);
	front->encode_error(&body, &(struct api_error){.status = status,
						       .message = slice_from(text),
						       .type = status >= 500 ? "server_error" : "invalid_request_error",
						       .code = "simulated"});
	http_reply(x, status, h, status == 429 || status == 503 ? 2 : 1, buf_slice(&body));
}

static int read_plan(struct sim *s, struct http_exchange *x, struct plan *p, struct err *err)
{
	struct slice header = http_header(&x->head, "x-muster-sim");
	struct json *root = NULL;
	int rc;

	*p = (struct plan){.latency_ms = 20, .status = 500, .seed = 1, .tokens_per_s = 200};
	if (!header.n)
		return 0;
	rc = json_parse_copy(s->json, &x->arena, header, NULL, &root, err);
	if (rc)
		return rc;
	rc = json_get_str(root, "text", &p->text, err);
	rc = rc ? rc : json_get_i64(root, "latency_ms", &p->latency_ms, err);
	rc = rc ? rc : json_get_i64(root, "status", &p->status, err);
	rc = rc ? rc : json_get_i64(root, "cut_after", &p->cut_after, err);
	rc = rc ? rc : json_get_i64(root, "seed", &p->seed, err);
	rc = rc ? rc : json_get_double(root, "tokens_per_s", &p->tokens_per_s, err);
	rc = rc ? rc : json_get_double(root, "error_rate", &p->error_rate, err);
	rc = rc ? rc : json_get_double(root, "violation_rate", &p->violation_rate, err);
	if (rc)
		return rc;
	if (p->status < 400 || p->status > 599)
		return err_set(err, E_INVALID, "sim.status must be between 400 and 599");
	if (p->tokens_per_s > 0 && p->tokens_per_s * SIM_MAX_LATENCY_MS < 1000)
		return err_set(err, E_INVALID, "sim.tokens_per_s must be 0 or at least one token in %d ms",
			       SIM_MAX_LATENCY_MS);
	if (p->latency_ms < 0 || p->latency_ms > SIM_MAX_LATENCY_MS)
		return err_set(err, E_INVALID, "sim.latency_ms must be between 0 and %d", SIM_MAX_LATENCY_MS);
	return 0;
}

static const char *const openings[] = {
	"The gate keeper nods and says:", "A voice from the tower answers:", "The old scout thinks for a while:",
	"Under the lanterns someone replies:", "The caravan master smiles:"};
static const char *const endings[] = {"we march at dawn.", "the road to the north is open.",
				      "no one has asked me that in years.", "ask the smith, she knows.",
				      "bring torches and come along."};

static struct slice invent_text(struct reply *r, struct rng *rng)
{
	const char *opening = openings[rng_below(rng, COUNT_OF(openings))];
	const char *ending = endings[rng_below(rng, COUNT_OF(endings))];
	struct slice prompt = slice_sub(r->request.prompt, 0, 60);
	char *text;

	if (r->plan.text.n)
		text = arena_printf(&r->x->arena, SLICE_FMT, SLICE_ARG(r->plan.text));
	else
		text = arena_printf(&r->x->arena, "%s you said \"" SLICE_FMT "\"; %s", opening, SLICE_ARG(prompt),
				    ending);
	if (text && rng_unit(rng) < r->plan.violation_rate)
		text = arena_printf(&r->x->arena, "%s Pay with card 4111 1111 1111 1111 today.", text);
	return slice_from(text ? text : "");
}

static void decide(struct reply *r)
{
	struct slice header = http_header(&r->x->head, "x-muster-sim");
	uint64_t *n = &r->sim->n_requests[hash64(header, 0) % SIM_PLANS];
	struct rng rng;

	rng_seed(&rng, hash64(header, (uint64_t)r->plan.seed) + (*n)++ * 0x9e3779b97f4a7c15ull);
	r->fails = rng_unit(&rng) < r->plan.error_rate;
	r->text = invent_text(r, &rng);
}

/* A token is a word with the space before it. */
static struct slice next_token(const struct reply *r)
{
	size_t end = r->at + 1;

	while (end < r->text.n && r->text.p[end] != ' ')
		end++;
	return slice_sub(r->text, r->at, end - r->at);
}

static struct chat_usage usage_of(const struct reply *r, int64_t n_tokens)
{
	int64_t prompt = (int64_t)(r->request.prompt.n / 4 + 1);

	return (struct chat_usage){.known = true,
				   .prompt_tokens = prompt,
				   .completion_tokens = n_tokens,
				   .total_tokens = prompt + n_tokens};
}

static void answer_whole(struct reply *r)
{
	struct http_header h = {SLICE_LIT("Content-Type"), SLICE_LIT("application/json")};
	struct answer_meta m = {.answer_id = SLICE_LIT("chatcmpl-sim"),
				.created_s = loop_wall_us(r->sim->loop) / 1000000,
				.model = r->request.model};
	struct chat_answer a = {.text = r->text, .finish = CHAT_FINISH_STOP, .n_choices = 1};
	int64_t n = 0;
	struct buf out;

	for (; r->at < r->text.n; n++) {
		if (r->request.has_max_tokens && n >= r->request.max_tokens)
			break;
		r->at += next_token(r).n;
	}
	a.text.n = r->at;
	a.finish = r->at < r->text.n ? CHAT_FINISH_LENGTH : CHAT_FINISH_STOP;
	a.usage = usage_of(r, n);
	buf_init_arena(&out, &r->x->arena, SIM_TEXT_MAX * 6 + 4096);
	r->front->encode_answer(&out, &a, &m);
	http_reply(r->x, 200, &h, 1, buf_slice(&out));
}

/* The same text has the same vector, always; of length 1, as models give them. */
static struct chat_vector invent_vector(struct reply *r, const struct chat_input *in)
{
	size_t n = r->request.embed->dimensions ? min_size((size_t)r->request.embed->dimensions, SIM_MAX_DIMENSIONS)
						: SIM_DIMENSIONS;
	struct slice text = in->tokens ? in->tokens->raw : in->text;
	double *v = ARENA_ARRAY(&r->x->arena, double, n), sum = 0;
	struct json_writer w;
	struct rng rng;
	struct buf out;

	buf_init_arena(&out, &r->x->arena, n * 32 + 64);
	rng_seed(&rng, hash64(text, (uint64_t)r->plan.seed));
	for (size_t i = 0; v && i < n; i++) {
		v[i] = 2 * rng_unit(&rng) - 1;
		sum += v[i] * v[i];
	}
	jw_init(&w, &out);
	jw_array(&w);
	for (size_t i = 0; v && i < n; i++)
		jw_double(&w, (double)(float)(v[i] / sqrt(sum > 0 ? sum : 1)));
	jw_array_end(&w);
	return (struct chat_vector){.numbers = buf_slice(&out), .n = n};
}

static void answer_vectors(struct reply *r)
{
	struct http_header h = {SLICE_LIT("Content-Type"), SLICE_LIT("application/json")};
	const struct chat_embed *asked = r->request.embed;
	struct answer_meta m = {.model = r->request.model, .base64 = asked->base64};
	struct chat_answer a = {.vectors = ARENA_ARRAY(&r->x->arena, struct chat_vector, asked->n),
				.usage = usage_of(r, 0)};
	struct buf out;

	buf_init_arena(&out, &r->x->arena, SIM_MAX_OUT);
	for (; a.vectors && a.n_vectors < asked->n; a.n_vectors++)
		a.vectors[a.n_vectors] = invent_vector(r, &asked->input[a.n_vectors]);
	if (!a.vectors || r->front->encode_answer(&out, &a, &m))
		answer_error(r->x, r->front, 413, "The simulator cannot hold so many vectors at once.");
	else
		http_reply(r->x, 200, &h, 1, buf_slice(&out));
}

static void encode(struct reply *r, struct buf *out, const struct chat_event *e)
{
	struct answer_meta m = {.answer_id = SLICE_LIT("chatcmpl-sim"),
				.created_s = loop_wall_us(r->sim->loop) / 1000000,
				.model = r->request.model,
				.include_usage = r->request.include_usage};

	r->front->encode_event(&r->stream, out, e, &m);
}

static void end_stream(struct reply *r, struct buf *out)
{
	struct chat_event finish = {.type = CHAT_EVENT_FINISH,
				    .finish = r->at < r->text.n ? CHAT_FINISH_LENGTH : CHAT_FINISH_STOP,
				    .usage = usage_of(r, r->n_tokens)};
	struct chat_event end = {.type = CHAT_EVENT_END, .finish = finish.finish, .usage = finish.usage};
	struct iovec piece;

	encode(r, out, &finish);
	encode(r, out, &end);
	encode_state_release(&r->stream);
	piece = (struct iovec){out->p, out->n};
	http_stream_end(r->x, &piece, 1); /* the reply may go with it */
}

static bool is_last(const struct reply *r)
{
	return r->at >= r->text.n || (r->request.has_max_tokens && r->n_tokens >= r->request.max_tokens);
}

static void on_tick(void *arg)
{
	struct reply *r = arg;
	struct http_header h = {SLICE_LIT("Content-Type"), slice_from(r->front->stream_type)};
	struct chat_event e = {.type = CHAT_EVENT_TEXT};
	struct iovec piece;
	struct buf out;

	buf_init(&out, SIM_MAX_OUT);
	if (!r->begun)
		http_stream_begin(r->x, 200, &h, 1);
	r->begun = true;
	do {
		if (is_last(r)) {
			end_stream(r, &out);
			buf_release(&out);
			return;
		}
		e.text = next_token(r);
		r->at += e.text.n;
		encode(r, &out, &e);
		r->n_tokens++;
		r->cuts = r->plan.cut_after > 0 && r->n_tokens >= r->plan.cut_after;
	} while (r->plan.tokens_per_s <= 0 && !r->cuts);
	piece = (struct iovec){out.p, out.n};
	http_stream_write(r->x, &piece, 1);
	buf_release(&out);
	if (r->cuts)
		http_stream_cut(r->x);
	else
		timer_set(r->sim->loop, &r->timer, (int64_t)(1000 / r->plan.tokens_per_s));
}

static void start_stream(struct reply *r)
{
	timer_init(&r->timer, on_tick, r);
	on_tick(r);
}

static void on_latency(void *arg)
{
	struct reply *r = arg;

	if (r->fails)
		answer_error(r->x, r->front, (int)r->plan.status, "This failure is simulated.");
	else if (r->request.embed)
		answer_vectors(r);
	else if (r->request.stream)
		start_stream(r);
	else
		answer_whole(r);
}

static int decode(struct sim *s, struct reply *r, struct err *err)
{
	struct json *root = NULL;
	const char *param = NULL;
	int rc = json_parse(s->json, &r->x->arena, r->x->body, NULL, &root, err);

	/* The plain protocol names no use case: any will do here. */
	if (!rc && r->front == &protocol_generate) {
		rc = json_get_str(root, "prompt", &r->request.prompt, err);
		return rc ? rc : json_get_i64(root, "max_tokens", &r->request.max_tokens, err);
	}
	return rc ? rc : r->front->decode_request(&r->x->arena, root, r->x->body, &r->request, &param, err);
}

static const struct protocol *front_of(struct slice path)
{
	return slice_ends(path, SLICE_LIT("/embeddings")) ? &protocol_openai_embeddings : protocol_of_path(path);
}

static void on_request(struct http_exchange *x, void *arg)
{
	struct sim *s = arg;
	const struct protocol *front = front_of(x->head.path);
	struct reply *r = ARENA_NEW(&x->arena, struct reply);
	struct err err = {0};

	if (!r || !front || !front->encode_answer || x->head.method != HTTP_POST) {
		answer_error(x, &protocol_openai, 404,
			     "The simulator serves POST /v1/chat/completions, /v1/completions, /v1/embeddings and POST "
			     "/generate.");
		return;
	}
	r->sim = s;
	r->x = x;
	r->front = front;
	x->user = r;
	x->ops = &reply_ops;
	if (read_plan(s, x, &r->plan, &err) || decode(s, r, &err)) {
		answer_error(x, front, 400, err.text);
		return;
	}
	r->request.has_max_tokens = r->request.has_max_tokens || r->request.max_tokens > 0;
	decide(r);
	timer_init(&r->timer, on_latency, r);
	if (r->plan.latency_ms)
		timer_set(s->loop, &r->timer, r->plan.latency_ms);
	else
		on_latency(r);
}

static void on_refused(struct http_exchange *x, int status, const char *why, void *arg)
{
	(void)arg;
	answer_error(x, &protocol_openai, status, why);
}

int sim_start(struct sim **ret, uint16_t *ret_port, struct err *err)
{
	struct http_server_options options;
	struct sim *s = calloc(1, sizeof(*s));
	struct http_handler handler = {.on_request = on_request, .on_refused = on_refused, .arg = s};
	struct http_listen where = {.host = SLICE_LIT("127.0.0.1")};
	int rc;

	if (!s)
		abort();
	http_server_options_init(&options);
	rc = loop_new("sim", &s->loop, err);
	if (rc)
		goto fail;
	s->json = json_parser_new();
	rc = http_server_new(s->loop, &options, &handler, &s->server, err);
	if (!rc)
		rc = http_server_listen(s->server, &where, ret_port, err);
	if (!rc)
		rc = loop_start(s->loop, err);
	if (rc)
		goto fail;
	*ret = s;
	return 0;
fail:
	http_server_free(s->server);
	json_parser_free(s->json);
	if (s->loop)
		loop_free(s->loop);
	free(s);
	return rc;
}

static void free_server(void *arg)
{
	struct sim *s = arg;

	http_server_free(s->server);
	loop_stop(s->loop);
}

void sim_stop(struct sim *s)
{
	if (!s)
		return;
	loop_post(s->loop, free_server, s);
	loop_join(s->loop);
	loop_free(s->loop);
	json_parser_free(s->json);
	free(s);
}
