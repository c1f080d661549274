/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to the daemon: paths, bodies, answers, and what people are told when one fails. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/cli/cli_internal.h"
#include "core/base/clock.h"
#include "core/base/libcurl.h"

#define KEY_MAX_BYTES 1024
#define ANSWER_LIMITS                                  \
	{                                              \
		.max_depth = 128, .max_nodes = 4000000 \
	}

/* What to do about an error that the daemon names by its code, or else by its status. */
static const struct {
	int status;
	const char *code;
	const char *hint;
} hints[] = {
	{0, "ambiguous_model", "say which: NAME@VERSION, an id, or --use-case USE_CASE"},
	{0, "model_exists", "register it under another --version, or see: muster model list"},
	{0, "no_current_model", "give it one: muster model promote NAME@VERSION --use-case USE_CASE --why \"...\""},
	{0, "model_not_found", "see: muster model list"},
	{0, "deployment_not_found", "see: muster deploy status"},
	{0, "deployment_under_way", "see: muster deploy watch USE_CASE"},
	{0, "nothing_to_roll_back_to", "see: muster model list, and say --to MODEL"},
	{0, "snapshot_not_found", "see: muster rollback --help"},
	{0, "use_case_not_found", "see: muster use-case list"},
	{0, "no_admin_key", "muster key create --name NAME --role admin --why \"...\""},
	{0, "key_not_found", "see: muster key list --all"},
	{401, NULL, "set MUSTER_API_KEY, or say --api-key-file FILE"},
	{503, NULL, "see: muster health"},
};

static bool verb_has_option(const struct verb *v, const char *name)
{
	for (size_t i = 0; v && i < v->n_options; i++)
		if (!strcmp(v->options[i].name, name))
			return true;
	return false;
}

int cli_client_error(struct cli *c, const struct muster_error *e)
{
	const char *hint = NULL;

	if (e->result == MUSTER_E_UNREACHABLE)
		hint = verb_has_option(c->args.verb, "database-url")
			       ? "when the daemon is stopped, name its data: --data DIR, --config FILE or "
				 "--database-url URL"
			       : "start it: muster serve --demo   (or set MUSTER_URL)";
	if (e->result == MUSTER_E_REFUSED && args_has(&c->args, "at"))
		hint = "what happened, and when: muster use-case history USE_CASE";
	if (e->result == MUSTER_E_TIMEOUT)
		hint = "wait longer with --timeout, or see: muster health";
	for (size_t i = 0; e->result == MUSTER_E_REFUSED && !hint && i < COUNT_OF(hints); i++) {
		if (hints[i].code ? !strcmp(hints[i].code, e->code) : hints[i].status == e->http_status)
			hint = hints[i].hint;
	}
	return cli_fail(c, hint, "%s", e->text);
}

int cli_refused(struct cli *c, struct muster_answer *a, const struct muster_error *e)
{
	struct slice text = slice_trim((struct slice){a->body, a->size});

	if (c->json && text.n && e->result == MUSTER_E_REFUSED) {
		out_raw(&c->out, text);
		out_printf(&c->out, "%s", text.p[text.n - 1] == '\n' ? "" : "\n");
	}
	muster_answer_release(a);
	return cli_client_error(c, e);
}

/* The key in a file: its first line. */
static int read_key(struct cli *c, const char *path)
{
	struct slice text, line;
	int rc = cli_read_file(c, path, KEY_MAX_BYTES, &text);

	if (rc)
		return rc;
	slice_split(&text, '\n', &line);
	line = slice_trim(line);
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	if (!line.n)
		return cli_fail(c, "its first line has to be the key", "%s holds no API key", path);
	c->api_key = slice_dup(line);
	return 0;
}

static const char *actor(char *buf, size_t size)
{
	const struct passwd *pw = getpwuid(getuid());
	const char *user = pw ? pw->pw_name : getenv("USER");
	char host[256] = "";

	if (gethostname(host, sizeof(host) - 1))
		host[0] = 0;
	snprintf(buf, size, "%.60s@%.60s", user && *user ? user : "unknown", *host ? host : "unknown");
	for (char *p = buf; *p; p++)
		*p = (char)(*p > ' ' && *p < 0x7f ? *p : '_');
	return buf;
}

struct slice cli_actor(struct cli *c)
{
	char who[130];

	return arena_slice(&c->arena, slice_from(actor(who, sizeof(who))));
}

int cli_connect(struct cli *c)
{
	const char *key_file = args_get(&c->args, "api-key-file");
	char who[130];
	struct muster_error e;
	struct muster_options o = {.url = args_get(&c->args, "url"),
				   .actor = actor(who, sizeof(who)),
				   .max_answer_bytes = CLI_MAX_BODY,
				   .timeout_ms = (long)args_duration_ms(&c->args, "timeout", 0)};
	struct err err = {0};
	int rc = 0;

	if (c->client)
		return 0;
	if (libcurl_load(&err))
		return cli_fail(c, NULL, "%s", err.text);
	if (key_file && !c->api_key)
		rc = read_key(c, key_file);
	if (rc)
		return rc;
	o.api_key = c->api_key;
	return muster_open(&o, &c->client, &e) < 0 ? cli_client_error(c, &e) : 0;
}

/* --- paths --- */

void path_init(struct cli *c, struct path *p, const char *start)
{
	*p = (struct path){0};
	buf_init_arena(&p->text, &c->arena, CLI_MAX_PATH);
	buf_adds(&p->text, start);
}

static void add_encoded(struct path *p, struct slice s)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < s.n; i++) {
		unsigned char b = (unsigned char)s.p[i];
		bool letter = (b | 0x20) >= 'a' && (b | 0x20) <= 'z';

		if (letter || (b >= '0' && b <= '9') || (b && strchr("-._~@:", b))) {
			buf_addc(&p->text, (char)b);
		} else {
			buf_addc(&p->text, '%');
			buf_addc(&p->text, hex[b >> 4]);
			buf_addc(&p->text, hex[b & 15]);
		}
	}
}

void path_add(struct path *p, const char *literal, const char *segment)
{
	buf_adds(&p->text, literal);
	add_encoded(p, slice_from(segment));
}

void path_query_slice(struct path *p, const char *name, struct slice value)
{
	buf_addc(&p->text, p->query ? '&' : '?');
	p->query = true;
	buf_adds(&p->text, name);
	buf_addc(&p->text, '=');
	add_encoded(p, value);
}

void path_query(struct path *p, const char *name, const char *value)
{
	if (value)
		path_query_slice(p, name, slice_from(value));
}

void path_option(struct cli *c, struct path *p, const char *option, const char *name)
{
	path_query(p, name, args_get(&c->args, option));
}

/* --- calls --- */

int cli_take_answer(struct cli *c, struct muster_answer *a, struct answer *ret)
{
	struct json_limits limits = ANSWER_LIMITS;
	struct json *root = NULL;
	struct err err;

	*ret = (struct answer){.text = {a->body, a->size}};
	if (c->n_answers == CLI_MAX_ANSWERS) {
		muster_answer_release(a);
		return cli_fail(c, NULL, "more answers than one command keeps");
	}
	c->answers[c->n_answers++] = *a;
	if (!a->size)
		return 0;
	if (json_parse_copy(c->parser, &c->arena, ret->text, &limits, &root, &err))
		return cli_fail(c, "is this a muster daemon? see MUSTER_URL", "the answer of %s is not JSON: %s",
				muster_url(c->client), err.text);
	ret->root = root;
	return 0;
}

void cli_forget(struct cli *c)
{
	for (size_t i = 0; i < c->n_answers; i++)
		muster_answer_release(&c->answers[i]);
	c->n_answers = 0;
	arena_reset(&c->arena);
}

int cli_send(struct cli *c, const char *method, struct path *p, struct buf *body, struct answer *ret)
{
	struct muster_answer a = {0};
	struct muster_error e;
	struct muster_request r = {.method = method};
	int rc = cli_connect(c);

	if (rc)
		return rc;
	if (buf_failed(&p->text) || (body && buf_failed(body)))
		return cli_fail(c, NULL, "the request is too large to be sent");
	r.path = buf_cstr(&p->text);
	r.json = body ? buf_cstr(body) : NULL;
	if (muster_send(c->client, &r, &a, &e) < 0)
		return cli_refused(c, &a, &e);
	return cli_take_answer(c, &a, ret);
}

int cli_get(struct cli *c, struct path *p, struct answer *ret)
{
	return cli_send(c, "GET", p, NULL, ret);
}

int cli_print_json(struct cli *c, const struct answer *a)
{
	out_raw(&c->out, slice_trim(a->text));
	if (!a->text.n || a->text.p[a->text.n - 1] != '\n')
		out_printf(&c->out, "\n");
	return EXIT_WORKED;
}

int cli_call(struct cli *c, const char *method, struct path *p, struct buf *body, cli_print_fn *print)
{
	struct answer a = {0};
	int rc = cli_send(c, method, p, body, &a);

	if (rc)
		return rc;
	if (c->json)
		return cli_print_json(c, &a);
	print(c, a.root);
	return EXIT_WORKED;
}

int cli_show(struct cli *c, const char *collection, cli_print_fn *print)
{
	struct path p;

	path_init(c, &p, collection);
	path_add(&p, "/", c->args.operands[0]);
	return cli_call(c, "GET", &p, NULL, print);
}

/* --- bodies --- */

void body_init(struct cli *c, struct buf *b, struct json_writer *w)
{
	buf_init_arena(b, &c->arena, CLI_MAX_BODY / 4);
	jw_init(w, b);
	jw_object(w);
}

void body_end(struct json_writer *w)
{
	jw_object_end(w);
}

void body_option(struct cli *c, struct json_writer *w, const char *option, const char *key)
{
	const char *value = args_get(&c->args, option);

	if (value)
		jw_kcstr(w, key, value);
}

int cli_json_option(struct cli *c, const char *option, const struct json **ret)
{
	const char *value = args_get(&c->args, option);
	struct json *root = NULL;
	struct slice text = slice_from(value);
	struct err err;
	int rc;

	*ret = NULL;
	if (!value)
		return 0;
	if (value[0] == '@') { /* curl's way to say "the file" */
		rc = cli_read_file(c, value + 1, CLI_MAX_BODY / 16, &text);
		if (rc)
			return rc;
	}
	if (json_parse_copy(c->parser, &c->arena, text, NULL, &root, &err))
		return cli_usage(c, "quote it for the shell: '{\"key\": \"value\"}', or name a file: @FILE",
				 "--%s is not JSON: %s", option, err.text);
	if (root->type != JSON_OBJECT)
		return cli_usage(c, "a JSON object begins with {", "--%s has to be a JSON object, not %s", option,
				 json_type_name(root->type));
	*ret = root;
	return 0;
}

int cli_read_file(struct cli *c, const char *path, size_t max, struct slice *ret)
{
	bool is_stdin = !strcmp(path, "-");
	FILE *f = is_stdin ? stdin : fopen(path, "re");
	char piece[8192];
	struct buf b;
	size_t n;
	bool bad;

	if (!f)
		return cli_fail(c, NULL, "cannot read %s: %s", path, strerror(errno));
	buf_init_arena(&b, &c->arena, max);
	while ((n = fread(piece, 1, sizeof(piece), f)) > 0 && !buf_failed(&b))
		buf_append(&b, piece, n);
	bad = ferror(f);
	if (!is_stdin && fclose(f))
		bad = true;
	if (bad)
		return cli_fail(c, NULL, "cannot read %s", is_stdin ? "standard input" : path);
	if (buf_failed(&b))
		return cli_fail(c, NULL, "%s has more than %zu bytes", is_stdin ? "standard input" : path, max);
	*ret = (struct slice){buf_cstr(&b), b.n};
	return 0;
}

/* --- reading answers --- */

struct slice json_text(const struct json *obj, const char *name)
{
	const struct json *v = json_get(obj, name);

	return v && v->type == JSON_STRING ? v->str : SLICE_LIT("");
}

int64_t json_integer(const struct json *obj, const char *name, int64_t fallback)
{
	const struct json *v = json_get(obj, name);

	if (!v || v->type != JSON_NUMBER)
		return fallback;
	if (v->is_integer)
		return v->integer;
	return v->number > -9e15 && v->number < 9e15 ? (int64_t)(v->number + (v->number < 0 ? -0.5 : 0.5)) : fallback;
}

const struct json *json_items(const struct answer *a, const char *name)
{
	const struct json *v = json_get(a->root, name);

	return v && v->type == JSON_ARRAY ? v->first : NULL;
}

int64_t json_time(const struct json *obj, const char *name)
{
	int64_t us = 0;

	return clock_parse(json_text(obj, name), 0, &us) == 0 ? us : 0;
}

struct slice json_line(const struct json *v)
{
	return !v ? SLICE_LIT("") : v->type == JSON_STRING ? v->str : v->raw;
}
