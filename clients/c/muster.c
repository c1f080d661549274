/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C client, on libcurl.  It is shipped alone: nothing here may include another file of the tree.  What would break
 * it: a byte of a stream handed on before the status of the answer is known, and libcurl touched before muster_open().
 */
#include "muster.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "muster_text.h"

#define NAME_MAX_BYTES 512
#define PATH_MAX_BYTES 4096
#define BODY_MAX_BYTES ((size_t)64 << 20)

struct muster {
	CURL *curl;
	struct curl_slist *headers;
	char *url;
	long timeout_ms;
	size_t max_answer_bytes;
};

/* One call: what came so far. */
struct call {
	struct muster *m;
	struct muster_answer *answer;
	struct muster_text body;  /* of an answer that is no stream */
	struct muster_text line;  /* of a stream: the line that is not complete */
	struct muster_text event; /* of a stream: its data so far */
	muster_event_fn on_event;
	void *context;
	bool is_stream, decided, saw_event, saw_end;
	int failed; /* enum muster_result: why a callback stopped libcurl */
	struct muster_error in_stream;
};

__attribute__((format(printf, 3, 4))) static int fail(struct muster_error *error, int result, const char *fmt, ...)
{
	va_list ap;

	if (!error)
		return result;
	*error = (struct muster_error){.result = result};
	va_start(ap, fmt);
	vsnprintf(error->text, sizeof(error->text), fmt, ap);
	va_end(ap);
	return result;
}

/* --- the connection --- */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void start_curl(void)
{
	curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool add_header(struct muster *m, const char *name, const char *value)
{
	struct muster_text t = {.max = 8192};
	struct curl_slist *longer = NULL;

	muster_text_str(&t, name);
	muster_text_str(&t, value);
	if (!t.failed && !strpbrk(t.p, "\r\n"))
		longer = curl_slist_append(m->headers, t.p);
	muster_text_release(&t);
	if (!longer)
		return false;
	m->headers = longer;
	return true;
}

static bool is_loopback(const char *url)
{
	static const char *const hosts[] = {"127.", "localhost", "[::1]"};
	const char *host = strstr(url, "://");

	for (size_t i = 0; host && i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		if (!strncasecmp(host + 3, hosts[i], strlen(hosts[i])))
			return true;
	}
	return false;
}

static bool set_up(struct muster *m, const struct muster_options *o, const char *key)
{
	const char *ca_file = o->ca_file ? o->ca_file : getenv("MUSTER_CA_FILE");
	bool ok = add_header(m, "Content-Type: ", "application/json") && add_header(m, "Expect:", "") &&
		  (!o->actor || !*o->actor || add_header(m, "x-muster-actor: ", o->actor));

	if (ok && key && *key)
		ok = add_header(m, "Authorization: Bearer ", key);
	if (!ok)
		return false;
	curl_easy_setopt(m->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(m->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(m->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(m->curl, CURLOPT_USERAGENT, "muster-c/0.1");
	curl_easy_setopt(m->curl, CURLOPT_HTTPHEADER, m->headers);
	curl_easy_setopt(m->curl, CURLOPT_CONNECTTIMEOUT_MS, o->connect_timeout_ms ? o->connect_timeout_ms : 5000L);
	if (is_loopback(m->url)) /* a proxy of the environment cannot reach what runs here */
		curl_easy_setopt(m->curl, CURLOPT_PROXY, "");
	if (ca_file && *ca_file)
		curl_easy_setopt(m->curl, CURLOPT_CAINFO, ca_file);
	return true;
}

int muster_open(const struct muster_options *options, struct muster **ret, struct muster_error *error)
{
	static const struct muster_options defaults;
	const struct muster_options *o = options ? options : &defaults;
	const char *url = o->url ? o->url : getenv("MUSTER_URL"), *key = o->api_key;
	struct muster *m;
	size_t n;

	url = url && *url ? url : MUSTER_DEFAULT_URL;
	if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
		return fail(error, MUSTER_E_INVALID, "'%.200s' is not a URL that begins with http:// or https://", url);
	pthread_once(&curl_once, start_curl);
	m = calloc(1, sizeof(*m));
	if (curl_ready != CURLE_OK || !m || !(m->curl = curl_easy_init()) || !(m->url = strdup(url))) {
		muster_close(m);
		return fail(error, MUSTER_E_NO_MEMORY, "libcurl cannot be started");
	}
	for (n = strlen(m->url); n && m->url[n - 1] == '/'; n--)
		m->url[n - 1] = 0;
	m->timeout_ms = o->timeout_ms == 0 ? 600000L : o->timeout_ms < 0 ? 0 : o->timeout_ms;
	m->max_answer_bytes = o->max_answer_bytes ? o->max_answer_bytes : BODY_MAX_BYTES;
	if (!key)
		key = getenv("MUSTER_API_KEY");
	if (!set_up(m, o, key)) {
		muster_close(m);
		return fail(error, MUSTER_E_INVALID, "the API key or the actor cannot be sent in a header");
	}
	*ret = m;
	return 0;
}

void muster_close(struct muster *m)
{
	if (!m)
		return;
	if (m->curl)
		curl_easy_cleanup(m->curl);
	curl_slist_free_all(m->headers);
	free(m->url);
	free(m);
}

const char *muster_url(const struct muster *m)
{
	return m->url;
}

void muster_answer_release(struct muster_answer *answer)
{
	free(answer->body);
	answer->body = NULL;
	answer->size = 0;
}

/* --- one call --- */

static int stop(struct call *c, int why)
{
	if (!c->failed)
		c->failed = why;
	return 0; /* fewer bytes than were offered: libcurl gives up */
}

/* The stream's own error and its end are seen here, so that no caller takes a broken answer for a whole one. */
static int dispatch(struct call *c)
{
	struct muster_error *e = &c->in_stream;
	char word[8];

	if (!c->event.n)
		return 1;
	c->saw_event = true;
	if (!strcmp(c->event.p, "[DONE]")) {
		c->saw_end = true;
	} else if (muster_json_text(c->event.p, c->event.n, "error.message", e->text, sizeof(e->text)) >= 0) {
		muster_json_text(c->event.p, c->event.n, "error.code", e->code, sizeof(e->code));
		c->saw_end = true;
	} else {
		if (muster_json_text(c->event.p, c->event.n, "done", word, sizeof(word)) >= 0 && !strcmp(word, "true"))
			c->saw_end = true;
		if (c->on_event(c->context, c->event.p, c->event.n) != 0)
			return stop(c, MUSTER_E_CANCELLED);
	}
	c->event.n = 0;
	return 1;
}

static int on_line(struct call *c)
{
	const char *line = c->line.p;
	size_t n = c->line.n;

	if (n && line[n - 1] == '\r')
		n--;
	if (n == 0)
		return dispatch(c);
	if (n < 5 || memcmp(line, "data:", 5) != 0)
		return 1;
	line += 5;
	n -= 5;
	if (n && *line == ' ') {
		line++;
		n--;
	}
	if (c->event.n)
		muster_text_str(&c->event, "\n");
	muster_text_add(&c->event, line, n);
	return c->event.failed ? stop(c, MUSTER_E_TOO_BIG) : 1;
}

static size_t on_stream(struct call *c, const char *p, size_t size)
{
	const char *end = p + size;

	while (p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));

		muster_text_add(&c->line, p, (size_t)((newline ? newline : end) - p));
		if (c->line.failed)
			return (size_t)stop(c, MUSTER_E_TOO_BIG);
		if (!newline)
			break;
		if (!on_line(c))
			return 0;
		c->line.n = 0;
		p = newline + 1;
	}
	return size;
}

/* Once the head is there: whether what follows is the stream that was asked for. */
static void decide(struct call *c)
{
	char *type = NULL;
	long status = 0;

	if (c->decided)
		return;
	curl_easy_getinfo(c->m->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(c->m->curl, CURLINFO_CONTENT_TYPE, &type);
	c->is_stream = c->on_event && status == 200 && type && !strncasecmp(type, "text/event-stream", 17);
	c->decided = true;
}

static size_t on_body(char *p, size_t one, size_t n, void *context)
{
	struct call *c = context;
	size_t size = one * n;

	decide(c);
	if (c->is_stream)
		return on_stream(c, p, size);
	muster_text_add(&c->body, p, size);
	if (c->body.failed)
		return (size_t)stop(c, c->body.no_memory ? MUSTER_E_NO_MEMORY : MUSTER_E_TOO_BIG);
	return size;
}

static size_t on_header(char *p, size_t one, size_t n, void *context)
{
	struct call *c = context;
	struct muster_answer *a = c->answer;
	const struct {
		const char *name;
		char *to;
		size_t size;
	} wanted[] = {
		{"x-request-id:", a->request_id, sizeof(a->request_id)},
		{"x-muster-log-id:", a->log_id, sizeof(a->log_id)},
		{"x-muster-model:", a->model, sizeof(a->model)},
		{"x-muster-model-id:", a->model_id, sizeof(a->model_id)},
		{"x-muster-fallback:", a->fallback, sizeof(a->fallback)},
		{"x-muster-guardrail:", a->guardrail, sizeof(a->guardrail)},
	};
	size_t size = one * n;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		size_t from = strlen(wanted[i].name), to = size;

		if (size < from || strncasecmp(p, wanted[i].name, from) != 0)
			continue;
		while (to > from && (p[to - 1] == '\n' || p[to - 1] == '\r' || p[to - 1] == ' '))
			to--;
		while (from < to && p[from] == ' ')
			from++;
		to = to - from < wanted[i].size ? to : from + wanted[i].size - 1;
		memcpy(wanted[i].to, p + from, to - from);
		wanted[i].to[to - from] = 0;
	}
	return size;
}

/* What libcurl says, in our words. */
static int transport_error(const struct call *c, CURLcode rc, struct muster_error *error)
{
	static const struct {
		CURLcode rc;
		int result;
		const char *why;
	} reasons[] = {
		{CURLE_COULDNT_RESOLVE_HOST, MUSTER_E_UNREACHABLE, "the host name does not resolve"},
		{CURLE_COULDNT_RESOLVE_PROXY, MUSTER_E_UNREACHABLE, "the proxy's name does not resolve"},
		{CURLE_COULDNT_CONNECT, MUSTER_E_UNREACHABLE, "connection refused"},
		{CURLE_PEER_FAILED_VERIFICATION, MUSTER_E_UNREACHABLE, "its certificate cannot be verified"},
		{CURLE_SSL_CONNECT_ERROR, MUSTER_E_UNREACHABLE, "the TLS handshake failed"},
		{CURLE_SSL_CACERT_BADFILE, MUSTER_E_UNREACHABLE, "the file of trusted certificates cannot be read"},
		{CURLE_URL_MALFORMAT, MUSTER_E_INVALID, "this is not a URL"},
		{CURLE_OUT_OF_MEMORY, MUSTER_E_NO_MEMORY, "out of memory"},
	};
	double connected = 0;

	switch (c->failed) {
	case MUSTER_E_CANCELLED:
		return fail(error, c->failed, "the call was cancelled");
	case MUSTER_E_NO_MEMORY:
		return fail(error, c->failed, "out of memory");
	case MUSTER_E_TOO_BIG:
		return fail(error, c->failed, "the answer of %s is larger than this client takes (%zu bytes)",
			    c->m->url, c->is_stream ? c->event.max : c->body.max);
	default:
		break;
	}
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (reasons[i].rc == rc)
			return fail(error, reasons[i].result, "cannot reach %s: %s", c->m->url, reasons[i].why);
	}
	if (rc != CURLE_OPERATION_TIMEDOUT)
		return fail(error, MUSTER_E_BROKEN, "the connection to %s broke before the answer was complete",
			    c->m->url);
	curl_easy_getinfo(c->m->curl, CURLINFO_CONNECT_TIME, &connected);
	return connected > 0
		       ? fail(error, MUSTER_E_TIMEOUT, "%s did not answer within %ld ms", c->m->url, c->m->timeout_ms)
		       : fail(error, MUSTER_E_TIMEOUT, "cannot reach %s: no connection within the time allowed",
			      c->m->url);
}

static int server_error(const struct call *c, struct muster_error *error)
{
	const struct muster_answer *a = c->answer;
	char text[sizeof(error->text)], code[sizeof(error->code)] = "";

	if (c->is_stream && c->in_stream.text[0]) {
		fail(error, MUSTER_E_REFUSED, "%s", c->in_stream.text);
		memcpy(code, c->in_stream.code, sizeof(code));
	} else if (c->is_stream && !c->saw_end) {
		return fail(error, MUSTER_E_BROKEN, "the answer of %s ended early", c->m->url);
	} else if (muster_json_text(a->body, a->size, "error.message", text, sizeof(text)) >= 0) {
		fail(error, MUSTER_E_REFUSED, "%s", text);
		muster_json_text(a->body, a->size, "error.code", code, sizeof(code));
	} else {
		fail(error, MUSTER_E_REFUSED, "%s answered with HTTP status %d and no reason", c->m->url, a->status);
	}
	if (error) {
		error->http_status = a->status;
		memcpy(error->code, strcmp(code, "null") != 0 ? code : "",
		       strcmp(code, "null") != 0 ? sizeof(code) : 1);
	}
	return MUSTER_E_REFUSED;
}

static CURLcode perform(struct call *c, const char *url, const struct muster_request *r)
{
	CURL *curl = c->m->curl;
	CURLcode rc;
	long status = 0;

	curl_easy_setopt(curl, CURLOPT_URL, url);
	if (r->json) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(r->json));
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, r->json);
	} else {
		curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, r->method);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, c->m->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, c);
	rc = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	c->answer->status = (int)status;
	return rc;
}

int muster_send(struct muster *m, const struct muster_request *request, struct muster_answer *answer,
		struct muster_error *error)
{
	struct call c = {.m = m,
			 .answer = answer,
			 .body = {.max = m->max_answer_bytes},
			 .line = {.max = MUSTER_MAX_EVENT_BYTES},
			 .event = {.max = MUSTER_MAX_EVENT_BYTES},
			 .on_event = request->on_event,
			 .context = request->context};
	struct muster_text url = {.max = strlen(m->url) + PATH_MAX_BYTES};
	CURLcode rc;
	int result = 0;

	*answer = (struct muster_answer){0};
	muster_text_str(&url, m->url);
	muster_text_str(&url, request->path);
	muster_text_add(&c.body, "", 0);
	if (request->path[0] != '/' || url.failed || c.body.failed) {
		muster_text_release(&url);
		muster_text_release(&c.body);
		return fail(error, MUSTER_E_INVALID,
			    "a path begins with / and has at most %d bytes; a name in it has 1 to %d", PATH_MAX_BYTES,
			    NAME_MAX_BYTES);
	}
	rc = perform(&c, url.p, request);
	decide(&c); /* an answer without a body */
	answer->body = c.body.p;
	answer->size = c.body.n;
	if (rc != CURLE_OK)
		result = transport_error(&c, rc, error);
	else if (answer->status < 200 || answer->status > 299 || (c.is_stream && (!c.saw_end || c.in_stream.text[0])))
		result = server_error(&c, error);
	muster_text_release(&url);
	muster_text_release(&c.line);
	muster_text_release(&c.event);
	return result;
}

/* Sends what was written into t, and releases it. */
static int send_text(struct muster *m, struct muster_request r, struct muster_text *t, struct muster_answer *answer,
		     struct muster_error *error)
{
	int result;

	*answer = (struct muster_answer){0};
	if (t->failed) {
		result = fail(error, MUSTER_E_TOO_BIG, "the request is larger than %zu bytes", t->max);
	} else {
		r.json = t->p;
		result = muster_send(m, &r, answer, error);
	}
	muster_text_release(t);
	return result;
}

/* --- inference, guardrails, log --- */

static void write_prompt(struct muster_text *t, const struct muster_prompt *p, bool stream)
{
	char number[40];

	muster_text_str(t, "{");
	muster_json_member(t, "layer", p->layer);
	muster_json_member(t, "use_case", p->use_case);
	muster_json_member(t, "model", p->model);
	muster_json_member(t, "prompt", p->prompt);
	if (p->context) {
		muster_json_key(t, "context");
		muster_text_str(t, p->context);
	}
	if (p->max_tokens) {
		snprintf(number, sizeof(number), "%ld", p->max_tokens);
		muster_json_key(t, "max_tokens");
		muster_text_str(t, number);
	}
	if (p->temperature) {
		snprintf(number, sizeof(number), "%.17g", *p->temperature);
		muster_json_key(t, "temperature");
		muster_text_str(t, number);
	}
	if (stream) {
		muster_json_key(t, "stream");
		muster_text_str(t, "true");
	}
	muster_text_str(t, "}");
}

int muster_generate(struct muster *m, const struct muster_prompt *prompt, struct muster_answer *answer,
		    struct muster_error *error)
{
	struct muster_text t = {.max = BODY_MAX_BYTES};

	write_prompt(&t, prompt, false);
	return send_text(m, (struct muster_request){.method = "POST", .path = "/api/v1/generate"}, &t, answer, error);
}

int muster_generate_stream(struct muster *m, const struct muster_prompt *prompt, muster_event_fn on_event,
			   void *context, struct muster_answer *answer, struct muster_error *error)
{
	struct muster_text t = {.max = BODY_MAX_BYTES};

	write_prompt(&t, prompt, true);
	return send_text(
		m,
		(struct muster_request){
			.method = "POST", .path = "/api/v1/generate", .on_event = on_event, .context = context},
		&t, answer, error);
}

int muster_chat(struct muster *m, const char *json, muster_event_fn on_event, void *context,
		struct muster_answer *answer, struct muster_error *error)
{
	const struct muster_request r = {.method = "POST",
					 .path = "/v1/chat/completions",
					 .json = json,
					 .on_event = on_event,
					 .context = context};

	return muster_send(m, &r, answer, error);
}

int muster_guardrails_check(struct muster *m, const struct muster_check *check, struct muster_answer *answer,
			    struct muster_error *error)
{
	struct muster_text t = {.max = BODY_MAX_BYTES};

	muster_text_str(&t, "{");
	muster_json_member(&t, "policy", check->policy);
	muster_json_member(&t, "use_case", check->use_case);
	muster_json_member(&t, "model_id", check->model_id);
	muster_json_member(&t, "side", check->side);
	muster_json_key(&t, "outputs");
	muster_text_str(&t, "[");
	for (size_t i = 0; i < check->n_texts; i++) {
		muster_text_str(&t, i ? "," : "");
		muster_json_string(&t, check->texts[i]);
	}
	muster_text_str(&t, "]}");
	return send_text(m, (struct muster_request){.method = "POST", .path = "/api/v1/guardrails/check"}, &t, answer,
			 error);
}

int muster_log(struct muster *m, const char *json, struct muster_answer *answer, struct muster_error *error)
{
	return muster_send(m, &(struct muster_request){.method = "POST", .path = "/api/v1/logs", .json = json}, answer,
			   error);
}

/* --- registry --- */

/* before, the name encoded, and after; "" (which muster_send refuses) when the name is absent or too long. */
static const char *path_of(char path[PATH_MAX_BYTES], const char *before, const char *name, const char *after)
{
	char encoded[3 * NAME_MAX_BYTES + 4];

	if (!name || !*name || strlen(name) > NAME_MAX_BYTES || muster_encode(name, encoded, sizeof(encoded)) < 0)
		return "";
	snprintf(path, PATH_MAX_BYTES, "%s%s%s", before, encoded, after);
	return path;
}

int muster_model_register(struct muster *m, const char *json, struct muster_answer *answer, struct muster_error *error)
{
	return muster_send(m, &(struct muster_request){.method = "POST", .path = "/api/v1/models", .json = json},
			   answer, error);
}

int muster_model_list(struct muster *m, const char *use_case, const char *status, struct muster_answer *answer,
		      struct muster_error *error)
{
	char path[PATH_MAX_BYTES] = "/api/v1/models?limit=1000";
	const char *const filters[] = {use_case, status};
	const char *const names[] = {"&use_case=", "&status="};

	*answer = (struct muster_answer){0};
	for (int i = 0; i < 2; i++) {
		size_t n = strlen(path), name = strlen(names[i]);

		if (!filters[i])
			continue;
		memcpy(path + n, names[i], name + 1);
		if (muster_encode(filters[i], path + n + name, (size_t)3 * NAME_MAX_BYTES) < 0)
			return fail(error, MUSTER_E_INVALID, "a name has at most %d bytes", NAME_MAX_BYTES);
	}
	return muster_send(m, &(struct muster_request){.method = "GET", .path = path}, answer, error);
}

int muster_model_show(struct muster *m, const char *model, struct muster_answer *answer, struct muster_error *error)
{
	char path[PATH_MAX_BYTES];

	return muster_send(
		m, &(struct muster_request){.method = "GET", .path = path_of(path, "/api/v1/models/", model, "")},
		answer, error);
}

int muster_model_promote(struct muster *m, const char *model, const char *use_case, const char *reason,
			 struct muster_answer *answer, struct muster_error *error)
{
	struct muster_text t = {.max = BODY_MAX_BYTES};
	char path[PATH_MAX_BYTES];

	muster_text_str(&t, "{");
	muster_json_member(&t, "use_case", use_case);
	muster_json_member(&t, "reason", reason);
	muster_text_str(&t, "}");
	return send_text(
		m,
		(struct muster_request){.method = "POST", .path = path_of(path, "/api/v1/models/", model, "/promote")},
		&t, answer, error);
}

int muster_model_set_status(struct muster *m, const char *model, const char *status, const char *reason,
			    struct muster_answer *answer, struct muster_error *error)
{
	struct muster_text t = {.max = BODY_MAX_BYTES};
	char path[PATH_MAX_BYTES];

	muster_text_str(&t, "{");
	muster_json_member(&t, "status", status);
	muster_json_member(&t, "reason", reason);
	muster_text_str(&t, "}");
	return send_text(
		m, (struct muster_request){.method = "PATCH", .path = path_of(path, "/api/v1/models/", model, "")}, &t,
		answer, error);
}

int muster_current(struct muster *m, const char *use_case, struct muster_answer *answer, struct muster_error *error)
{
	char path[PATH_MAX_BYTES];

	return muster_send(m,
			   &(struct muster_request){.method = "GET",
						    .path = path_of(path, "/api/v1/use-cases/", use_case, "/current")},
			   answer, error);
}
