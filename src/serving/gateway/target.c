/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a model ready to be called.  Runs in the control plane, once per
 * snapshot: keys are read from the environment or a file here, so a request
 * never opens a file, and a key never stands anywhere but in the head that is
 * sent upstream.
 */
#include "serving/gateway/target.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/http/tls.h"
#include "core/http/url.h"
#include "serving/gateway/gateway.h"
#include "serving/gateway/series.h"
#include "serving/provider/secrets.h"

#define HEAD_MAX ((size_t)16 << 10)
#define KEY_MAX 4096

struct key_search {
	struct arena *a;
	const struct secret_rules *rules;
	struct target *target; /* is told what is missing */
};

static struct slice no_key(const struct key_search *s, const struct err *why)
{
	s->target->missing = slice_from(arena_printf(s->a, "%s", why->text));
	s->target->denied = why->code == E_DENIED;
	return (struct slice){0};
}

static struct slice read_key_file(const struct key_search *s, struct slice path)
{
	struct err why = {0};
	int fd = secret_file_open(s->rules, path, &why);
	char key[KEY_MAX];
	ssize_t n;

	if (fd < 0)
		return no_key(s, &why);
	n = read(fd, key, sizeof(key));
	(void)close(fd); /* only read from */
	while (n > 0 && (key[n - 1] == '\n' || key[n - 1] == '\r' || key[n - 1] == ' '))
		n--;
	if (n <= 0) {
		(void)err_set(&why, E_IO, "its key file '" SLICE_FMT "' is empty", SLICE_ARG(path));
		return no_key(s, &why);
	}
	return arena_slice(s->a, (struct slice){key, (size_t)n});
}

/* The header that holds the key alone; NULL: it is a bearer's. */
static const char *auth_header(enum provider_auth auth)
{
	switch (auth) {
	case PROVIDER_AUTH_X_API_KEY:
		return "x-api-key";
	case PROVIDER_AUTH_X_GOOG_API_KEY:
		return "x-goog-api-key";
	case PROVIDER_AUTH_NONE:
	case PROVIDER_AUTH_BEARER:
	case PROVIDER_AUTH_OPTIONAL_BEARER:
		break;
	}
	return NULL;
}

static struct slice find_key(const struct key_search *s, const struct provider_target *pt,
			     const struct model_config *config)
{
	struct slice env = config->api_key_env.n ? config->api_key_env : slice_from(pt->api_key_env);
	const char *value, *name;
	struct err why = {0};

	if (config->api_key_file.n)
		return read_key_file(s, config->api_key_file);
	if (!env.n)
		return (struct slice){0};
	if (secret_env_check(s->rules, env, &why))
		return no_key(s, &why);
	name = arena_strndup(s->a, env.p, env.n);
	value = name ? getenv(name) : NULL;
	if (value && *value)
		return arena_slice(s->a, slice_from(value));
	if (pt->auth == PROVIDER_AUTH_BEARER || auth_header(pt->auth) || config->api_key_env.n) {
		(void)err_set(&why, E_NOTFOUND, "the environment variable " SLICE_FMT " is not set", SLICE_ARG(env));
		return no_key(s, &why);
	}
	return (struct slice){0};
}

static bool is_header_safe(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	return true;
}

static void add_header(struct buf *b, struct slice name, struct slice value)
{
	if (!is_header_safe(name) || !is_header_safe(value))
		return;
	buf_add(b, name);
	buf_adds(b, ": ");
	buf_add(b, value);
	buf_adds(b, "\r\n");
}

/* The sim object on one line: it travels in a header. */
static void add_sim_header(struct arena *a, struct buf *b, const struct json *sim)
{
	char *copy;

	if (!sim)
		return;
	copy = arena_strndup(a, sim->raw.p, sim->raw.n);
	for (size_t i = 0; copy && i < sim->raw.n; i++)
		if ((unsigned char)copy[i] < 0x20)
			copy[i] = ' ';
	if (copy)
		add_header(b, SLICE_LIT("x-muster-sim"), (struct slice){copy, sim->raw.n});
}

static void add_escaped(struct buf *b, struct slice s)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    slice_chr(SLICE_LIT("-._~@"), (char)c) >= 0) {
			buf_addc(b, (char)c);
			continue;
		}
		buf_addc(b, '%');
		buf_addc(b, hex[c >> 4]);
		buf_addc(b, hex[c & 15]);
	}
}

/* Some protocols name the model in the path, and what is asked of it. */
static void write_request_line(struct buf *b, const struct provider_target *pt, struct slice model, bool stream)
{
	buf_adds(b, "POST ");
	buf_add(b, pt->path);
	if (pt->protocol->model_path) {
		if (slice_starts(model, SLICE_LIT("models/"))) /* as their lists of models write it */
			model = slice_sub(model, 7, model.n);
		buf_adds(b, pt->protocol->model_path);
		add_escaped(b, model);
		buf_adds(b, stream ? pt->protocol->stream_call : pt->protocol->whole_call);
	}
	buf_adds(b, " HTTP/1.1\r\n");
}

static void write_headers(struct arena *a, struct buf *b, const struct provider_target *pt,
			  const struct model_config *config, struct slice authority, struct slice key)
{
	const char *name = auth_header(pt->auth);

	add_header(b, SLICE_LIT("Host"), authority);
	add_header(b, SLICE_LIT("User-Agent"), SLICE_LIT("muster"));
	add_header(b, SLICE_LIT("Content-Type"), SLICE_LIT("application/json"));
	if (key.n && is_header_safe(key)) {
		buf_adds(b, name ? name : "Authorization");
		buf_adds(b, name ? ": " : ": Bearer ");
		buf_add(b, key);
		buf_adds(b, "\r\n");
	}
	for (const struct json *h = config->headers ? config->headers->first : NULL; h; h = h->next)
		add_header(b, h->key, h->str);
	if (pt->provider && pt->provider->simulated)
		add_sim_header(a, b, config->sim);
}

/* A model of provider sim has no endpoint of its own: the simulator of this process serves it. */
static struct slice sim_endpoint(struct arena *a, const struct gateway_prepare_arg *sim, struct slice *ret_missing)
{
	if (!sim || !sim->sim_port) {
		*ret_missing = SLICE_LIT("the simulator does not run in this process");
		return SLICE_LIT("http://127.0.0.1:9");
	}
	return slice_from(arena_printf(a, "http://%s:%u", sim->sim_host, sim->sim_port));
}

struct target_series {
	struct gateway_series *series;
	struct gateway_series_labels labels;
	_Atomic unsigned slot[GATEWAY_N_OPERATIONS]; /* + 1; 0: not known yet */
};

int target_count_in(struct arena *a, struct target *t, struct gateway_series *s,
		    const struct gateway_series_labels *labels)
{
	enum gateway_operation own = gateway_operation_of(t->protocol);

	t->series = ARENA_NEW(a, struct target_series);
	if (!t->series)
		return E_TOOBIG;
	t->series->series = s;
	t->series->labels = *labels;
	t->series->labels.operation = own;
	t->slot = gateway_series_slot(s, &t->series->labels);
	t->series->slot[own] = t->slot + 1;
	return 0;
}

unsigned target_slot(const struct target *t, const struct protocol *back)
{
	enum gateway_operation operation = gateway_operation_of(back);
	struct gateway_series_labels labels;
	unsigned slot;

	if (!t->series)
		return t->slot;
	slot = atomic_load_explicit(&t->series->slot[operation], memory_order_relaxed);
	if (slot)
		return slot - 1;
	labels = t->series->labels; /* any thread that is the first finds the same */
	labels.operation = operation;
	slot = gateway_series_slot(t->series->series, &labels);
	atomic_store_explicit(&t->series->slot[operation], slot + 1, memory_order_relaxed);
	return slot;
}

const struct protocol *target_speaks(const struct target *t, const struct protocol *front)
{
	if (t->chat_only && front->of == t->protocol && !front->embeds)
		return t->protocol;
	return protocol_for(t->protocol, front);
}

struct slice target_other_call(struct arena *a, struct slice head, const char *ending, const char *call)
{
	struct buf b;
	size_t at = 5, end; /* "POST " */

	while (at < head.n && head.p[at] != ' ' && head.p[at] != '?')
		at++;
	end = at;
	if (!slice_ends(slice_sub(head, 0, at), slice_from(ending)))
		return head;
	at -= strlen(ending);
	buf_init_arena(&b, a, head.n + strlen(call) + 1);
	buf_append(&b, head.p, at);
	buf_adds(&b, call);
	buf_append(&b, head.p + end, head.n - end);
	return buf_failed(&b) ? head : buf_slice(&b);
}

static const char *call_of(const struct protocol *p)
{
	return p->call ? p->call : p->whole_call;
}

struct slice target_head(struct arena *a, const struct target *t, const struct protocol *back, bool stream)
{
	struct slice head = stream ? t->stream_head : t->head;
	const char *from = call_of(t->protocol), *to = call_of(back);

	return back == t->protocol || !from || !to ? head : target_other_call(a, head, from, to);
}

int target_init(struct arena *a, struct target *ret, const struct target_source *source, struct err *err)
{
	const struct provider *known = provider_find(source->provider);
	const struct model_config *config = source->config;
	struct model_config with_sim = *config;
	struct provider_target pt = {0};
	struct url url;
	struct buf head;
	struct slice key;
	int rc;

	*ret = (struct target){0};
	if (known && known->simulated && !config->endpoint.n)
		with_sim.endpoint = sim_endpoint(a, source->sim, &ret->missing);
	rc = provider_resolve(source->provider, &with_sim, &pt, err);
	if (rc)
		return rc;
	rc = url_parse(pt.endpoint, &url, err);
	if (rc)
		return rc;
	rc = http_origin_init(&ret->origin, url.host, url.port, url.tls, err);
	if (rc)
		return rc;
	if (url.tls && source->sim && source->sim->tls)
		tls_client_prepare(source->sim->tls);
	key = find_key(&(struct key_search){a, source->sim ? source->sim->secrets : NULL, ret}, &pt, config);
	if (!is_header_safe(key))
		ret->missing = SLICE_LIT("its key holds a control character");
	ret->protocol = pt.protocol;
	ret->usage_unasked = pt.usage_unasked;
	ret->newer_limit = pt.newer_limit;
	ret->chat_only = pt.chat_only;
	ret->prefill = config->prefill;
	ret->prefill_style = pt.prefill;
	ret->upstream_model = config->upstream_model.n ? config->upstream_model : source->model_name;
	for (int stream = 0; stream < 2; stream++) {
		buf_init_arena(&head, a, HEAD_MAX);
		write_request_line(&head, &pt, ret->upstream_model, stream);
		write_headers(a, &head, &pt, config, url.authority, key);
		if (buf_failed(&head))
			return err_set(err, E_TOOBIG, "the headers in configuration.headers are longer than %zu bytes",
				       HEAD_MAX);
		ret->stream_head = buf_slice(&head);
		if (!stream)
			ret->head = ret->stream_head;
		if (!pt.protocol->model_path)
			break;
	}
	ret->parameters = config->parameters;
	ret->timeouts = (struct http_timeouts){config->connect_timeout_ms, config->first_byte_timeout_ms,
					       config->between_timeout_ms, config->total_timeout_ms};
	return 0;
}
