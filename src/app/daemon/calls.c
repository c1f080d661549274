/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that the control plane answers.  They come in on a data loop (or on
 * the control loop's own listener), go to the control loop, on to a job thread
 * if they need the database, and back to where the connection lives.  The
 * exchange waits meanwhile: its head, body and arena belong to the call until
 * http_reply.
 */
#include "app/daemon/daemon.h"
#include "control/telemetry/prometheus.h"
#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/base/version.h"
#include "core/json/writer.h"
#include "serving/gateway/access.h"

struct control_call {
	struct daemon *d;
	struct data_loop *from;
	struct http_exchange *x;
	struct api_request request;
	struct api_reply reply;
};

static void ignore_abort(struct http_exchange *x)
{
	(void)x; /* the answer is swallowed when it comes */
}

static const struct http_exchange_ops call_ops = {.on_abort = ignore_abort};

static void finish(void *arg)
{
	struct control_call *c = arg;
	struct buf body = c->reply.body; /* outlives the exchange */
	struct http_header h[API_MAX_HEADERS + 2];
	size_t n = 0;

	h[n++] = (struct http_header){SLICE_LIT("Content-Type"), slice_from(c->reply.content_type)};
	h[n++] = (struct http_header){SLICE_LIT("x-request-id"), c->request.request_id};
	for (size_t i = 0; i < c->reply.n_headers; i++)
		h[n++] = c->reply.header[i];
	http_reply(c->x, c->reply.status, h, n, buf_slice(&body));
	buf_release(&body);
}

static void send_back(struct control_call *c)
{
	loop_post(c->from->loop, finish, c);
}

static void work(void *arg)
{
	struct control_call *c = arg;

	admin_handle(&c->d->admin, &c->request, &c->reply);
}

static void worked(void *arg)
{
	struct control_call *c = arg;
	struct daemon *d = c->d;

	send_back(c);
	d->n_calls--;
	daemon_drained_check(d);
}

/* --- what needs no database --- */

static int write_version(struct buf *out)
{
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_kcstr(&w, "version", MUSTER_VERSION);
	jw_ki64(&w, "schema_level", migrate_target());
	jw_object_end(&w);
	return 200;
}

static int write_welcome(struct daemon *d, struct buf *out)
{
	buf_printf(out,
		   "muster %s: model registry, gateway, guardrails and historical log.\n\n"
		   "  GET  /v1/models                  what can be called\n"
		   "  POST /v1/chat/completions        OpenAI chat completions\n"
		   "  POST /v1/responses               OpenAI responses\n"
		   "  POST /v1/messages                Anthropic messages\n"
		   "  POST /v1/embeddings              OpenAI embeddings\n"
		   "  POST /v1beta/models/...          Gemini generateContent, embedContent\n"
		   "  POST /api/chat, /api/embed       Ollama\n"
		   "  POST /api/v1/generate            {\"layer\":\"foundation\",\"prompt\":\"Hello\"}\n"
		   "  GET  /api/v1/models              the registry\n"
		   "  GET  /health, /metrics           how it is\n\n"
		   "Command line: %s help\n",
		   MUSTER_VERSION, d->program);
	return 200;
}

/* True when the path is one of these; then c->reply is filled in. */
static bool answer_here(struct control_call *c)
{
	struct daemon *d = c->d;
	struct slice path = c->request.path;
	struct buf *out = &c->reply.body;
	int status = 0;

	c->reply.content_type = "application/json";
	if (access_health_probe(path) == PROBE_LIVE) {
		status = health_write_live(out);
	} else if (access_health_probe(path) == PROBE_READY) {
		daemon_update_health(d);
		status = health_write_ready(&d->health, out);
	} else if (slice_eq_str(path, "/health")) {
		daemon_update_health(d);
		status = health_write(&d->health, clock_wall_us(), out);
	} else if (slice_eq_str(path, "/metrics")) {
		daemon_update_health(d);
		status = daemon_write_metrics(d, out);
		c->reply.content_type = PROM_CONTENT_TYPE;
	} else if (slice_eq_str(path, "/version")) {
		status = write_version(out);
	} else if (slice_eq_str(path, "/")) {
		status = write_welcome(d, out);
		c->reply.content_type = "text/plain; charset=utf-8";
	}
	c->reply.status = status;
	return status != 0;
}

static void refuse_busy(struct control_call *c)
{
	struct json_writer w;

	jw_init(&w, &c->reply.body);
	jw_object(&w);
	jw_key(&w, "error");
	jw_object(&w);
	jw_kcstr(&w, "message", "The control plane is busy or stopping: try again in a second.");
	jw_kcstr(&w, "type", "server_error");
	jw_kcstr(&w, "param", NULL);
	jw_kcstr(&w, "code", "busy");
	jw_object_end(&w);
	jw_object_end(&w);
	c->reply.status = 503;
	c->reply.content_type = "application/json";
	c->reply.header[c->reply.n_headers++] = (struct http_header){SLICE_LIT("Retry-After"), SLICE_LIT("1")};
}

static void on_control_loop(void *arg)
{
	struct control_call *c = arg;
	struct daemon *d = c->d;
	bool reads = c->request.method == HTTP_GET || c->request.method == HTTP_HEAD;

	if (reads && answer_here(c)) {
		send_back(c);
		return;
	}
	if (d->stopping || d->n_calls >= DAEMON_MAX_CALLS) {
		refuse_busy(c);
		send_back(c);
		return;
	}
	d->n_calls++;
	job_submit(d->control, work, worked, c);
}

/* Absent when it sent none of 1 to 128 visible characters. */
static struct slice callers_request_id(const struct http_head *head)
{
	struct slice id = http_header(head, "x-request-id");

	for (size_t i = 0; i < id.n; i++)
		if (id.p[i] <= 0x20 || id.p[i] >= 0x7f)
			return (struct slice){0};
	return id.n <= 128 ? id : (struct slice){0};
}

/* Who has a key is called by its name, whatever the header says.  A copy: keys may go while the call is under way. */
static struct slice actor_of(struct http_exchange *x, const struct gateway_caller *caller)
{
	struct slice said = http_header(&x->head, "x-muster-actor"), name;

	if (said.n && said.n <= 128 && utf8_valid(said) && !caller->by_key)
		return said;
	name = arena_slice(&x->arena, caller->name);
	return name.n ? name : SLICE_LIT("unknown");
}

void daemon_on_control(struct http_exchange *x, const struct gateway_caller *caller, void *data_loop)
{
	struct data_loop *from = data_loop;
	struct control_call *c = ARENA_NEW(&x->arena, struct control_call);

	if (!c) {
		http_reply(x, 503, NULL, 0, SLICE_LIT(""));
		return;
	}
	c->d = from->daemon;
	c->from = from;
	c->x = x;
	c->request = (struct api_request){.method = x->head.method,
					  .path = x->head.path,
					  .query = x->head.query,
					  .body = x->body,
					  .actor = actor_of(x, caller),
					  .role = caller->role,
					  .by_key = caller->by_key,
					  .request_id = callers_request_id(&x->head)};
	if (!c->request.request_id.n) {
		char id[UUID_STR_SIZE];
		struct uuid u = uuid_v7_now();

		c->request.request_id = arena_slice(&x->arena, slice_from(uuid_format(&u, id)));
	}
	api_reply_init(&c->reply);
	x->ops = &call_ops;
	x->user = c;
	loop_post(from->daemon->control, on_control_loop, c);
}
