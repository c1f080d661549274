/* SPDX-License-Identifier: Apache-2.0 */
/*
 * muster key: through the daemon, or on the database itself when that is stopped, which is how the first one is made.
 * The text of a key goes to standard output, alone, when it is made, and nowhere else.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "app/cli/cli_internal.h"
#include "control/registry/registry.h"
#include "control/store/store.h"
#include "core/base/clock.h"

#define KEYS "/api/v1/keys"

static bool is_beside(struct cli *c)
{
	return args_has(&c->args, "data") || args_has(&c->args, "config") || args_has(&c->args, "database-url");
}

/* --- printing --- */

static struct slice use_cases_of(struct cli *c, const struct json *key)
{
	const struct json *list = json_get(key, "use_cases");
	struct buf b;

	if (!list || !list->n_items)
		return SLICE_LIT("all");
	buf_init_arena(&b, &c->arena, 16384);
	for (const struct json *v = list->first; v; v = v->next) {
		(void)buf_adds(&b, v == list->first ? "" : ", ");
		(void)buf_add(&b, v->str);
	}
	return buf_slice(&b);
}

static struct slice limit_of(struct cli *c, const struct json *key, const char *name)
{
	int64_t n = json_integer(key, name, 0);

	return n ? cli_printf(c, "%lld", (long long)n) : SLICE_LIT("-");
}

/* "12.5 of 50 USD/month spent, 3 held; renewed in 6 days" */
struct slice cli_budget_line(struct cli *c, const struct json *b)
{
	struct slice currency = json_text(b, "currency"), period = json_text(b, "period");
	const struct json *amount = json_get(b, "amount"), *spent = json_get(b, "spent"), *held = json_get(b, "held");
	int64_t renews_us = json_time(b, "renews_at");

	if (!amount || !spent || !held)
		return SLICE_LIT("-");
	return cli_printf(
		c, SLICE_FMT " of " SLICE_FMT " " SLICE_FMT "/" SLICE_FMT " spent, " SLICE_FMT " held%s" SLICE_FMT,
		SLICE_ARG(spent->raw), SLICE_ARG(amount->raw), SLICE_ARG(currency.n ? currency : SLICE_LIT("tokens")),
		SLICE_ARG(period), SLICE_ARG(held->raw), renews_us ? "; renewed " : "",
		SLICE_ARG(renews_us ? cli_local(c, renews_us) : SLICE_LIT("")));
}

/* Red once it is spent, yellow from four fifths on. */
enum style cli_budget_style(const struct json *b)
{
	const struct json *amount = json_get(b, "amount"), *spent = json_get(b, "spent");

	if (!amount || !spent)
		return STYLE_PLAIN;
	return spent->number >= amount->number	       ? STYLE_BAD
	       : spent->number >= 0.8 * amount->number ? STYLE_WARN
						       : STYLE_PLAIN;
}

/* "50 USD/month, 2000000/day", as they are set. */
static struct slice budgets_of(struct cli *c, const struct json *key)
{
	struct slice money = json_text(key, "budget"), tokens = json_text(key, "token_budget");

	if (!money.n || !tokens.n)
		return money.n	  ? money
		       : tokens.n ? cli_printf(c, SLICE_FMT " tokens", SLICE_ARG(tokens))
				  : SLICE_LIT("-");
	return cli_printf(c, SLICE_FMT ", " SLICE_FMT " tokens", SLICE_ARG(money), SLICE_ARG(tokens));
}

static void add_budgets(struct cli *c, struct facts *f, const struct json *key)
{
	const struct json *list = json_get(key, "budgets");

	if (!list) { /* the daemon was not asked */
		facts_add(f, "budgets", budgets_of(c, key), STYLE_PLAIN);
		return;
	}
	for (const struct json *b = list->first; b; b = b->next)
		facts_add(f, slice_eq_str(json_text(b, "unit"), "money") ? "budget" : "token budget",
			  cli_budget_line(c, b), cli_budget_style(b));
}

static enum style style_of(struct slice status)
{
	return slice_eq_str(status, "active") ? STYLE_GOOD : STYLE_DIM;
}

static int print_key(struct cli *c, const struct json *key)
{
	struct facts f = {.n = 0};
	struct slice status = json_text(key, "status");
	int64_t expires_us = json_time(key, "expires_at");

	facts_add(&f, "name", json_text(key, "name"), STYLE_BOLD);
	facts_add(&f, "status", status, style_of(status));
	facts_add(&f, "role", json_text(key, "role"), STYLE_PLAIN);
	facts_add(&f, "use cases", use_cases_of(c, key), STYLE_PLAIN);
	facts_add(&f, "requests a minute", limit_of(c, key, "requests_per_minute"), STYLE_PLAIN);
	facts_add(&f, "tokens a minute", limit_of(c, key, "tokens_per_minute"), STYLE_PLAIN);
	add_budgets(c, &f, key);
	if (slice_eq_str(json_text(key, "translation"), "strict"))
		facts_add(&f, "translation", SLICE_LIT("strict"), STYLE_PLAIN);
	facts_add(&f, "made", cli_local(c, json_time(key, "created_at")), STYLE_PLAIN);
	facts_add(&f, "expires", expires_us ? cli_local(c, expires_us) : SLICE_LIT("never"), STYLE_PLAIN);
	if (json_time(key, "revoked_at"))
		facts_add(&f, "revoked", cli_local(c, json_time(key, "revoked_at")), STYLE_PLAIN);
	facts_add(&f, "id", json_text(key, "key_id"), STYLE_DIM);
	facts_print(c, &f);
	return EXIT_WORKED;
}

static int print_made(struct cli *c, const struct json *key)
{
	out_raw(&c->out, json_text(key, "key"));
	out_printf(&c->out, "\n");
	out_printf(&c->err,
		   "made key " SLICE_FMT " (" SLICE_FMT
		   "). It is shown this once: keep it in a file that only its holder "
		   "can read,\nand name that with --api-key-file, or set MUSTER_API_KEY.\n",
		   SLICE_ARG(json_text(key, "name")), SLICE_ARG(json_text(key, "role")));
	return EXIT_WORKED;
}

static int print_revoked(struct cli *c, const struct json *key)
{
	out_printf(&c->out, "revoked key " SLICE_FMT ": it opens nothing any more\n",
		   SLICE_ARG(json_text(key, "name")));
	return EXIT_WORKED;
}

static const struct column columns[] = {{"NAME", .min_width = 8},
					{"ROLE"},
					{"STATUS"},
					{"USE CASES", .min_width = 12},
					{"REQUESTS/MIN", .right = true},
					{"TOKENS/MIN", .right = true},
					{"BUDGETS", .min_width = 8},
					{"MADE", .right = true},
					{"EXPIRES"},
					{"ID"}};

static int print_list(struct cli *c, const struct json *root)
{
	const struct json *list = json_get(root, "data");
	struct rows r;

	if (!rows_init(c, &r, COUNT_OF(columns), list ? list->n_items : 0))
		return cli_fail(c, NULL, "the list is too long");
	for (const struct json *k = list ? list->first : NULL; k; k = k->next) {
		int64_t expires_us = json_time(k, "expires_at");
		struct slice status = json_text(k, "status");
		struct cell *cell = rows_next(&r);

		cell[0] = (struct cell){json_text(k, "name"), STYLE_BOLD};
		cell[1].text = json_text(k, "role");
		cell[2] = (struct cell){status, style_of(status)};
		cell[3].text = use_cases_of(c, k);
		cell[4].text = limit_of(c, k, "requests_per_minute");
		cell[5].text = limit_of(c, k, "tokens_per_minute");
		cell[6].text = budgets_of(c, k);
		cell[7].text = cli_ago(c, json_time(k, "created_at"));
		cell[8].text = expires_us ? cli_local(c, expires_us) : SLICE_LIT("never");
		cell[9] = (struct cell){json_text(k, "key_id"), STYLE_DIM};
	}
	if (!r.n_rows)
		out_printf(&c->err, "there is no key: muster key create --name NAME --role admin --why \"...\"\n");
	else
		out_table(&c->out, columns, COUNT_OF(columns), r.cells, r.n_rows);
	return EXIT_WORKED;
}

/* --- on the database --- */

typedef int beside_fn(struct cli *c, struct store *store, struct json_writer *w, struct err *err);
typedef int print_fn(struct cli *c, const struct json *root);

/* A place that the daemon would make when it starts. */
static void make_directory(struct cli *c)
{
	const char *data = args_get(&c->args, "data");

	if (data)
		(void)mkdir(data, 0700); /* when it cannot be made, opening the database says why */
}

static int print_text(struct cli *c, struct slice text, print_fn *print)
{
	struct json *root = NULL;
	struct err err;

	if (c->json) {
		out_raw(&c->out, text);
		out_printf(&c->out, "\n");
		return EXIT_WORKED;
	}
	if (json_parse_copy(c->parser, &c->arena, text, NULL, &root, &err))
		return cli_fail(c, NULL, "%s", err.text);
	return print(c, root);
}

static int on_database(struct cli *c, beside_fn *work, bool must_exist, print_fn *print)
{
	struct store *store = NULL;
	struct json_writer w;
	struct err err = {0};
	char *url = NULL;
	struct buf text;
	int rc;

	if (!must_exist)
		make_directory(c);
	rc = cli_database_url(c, must_exist, &url);
	if (rc)
		return rc;
	rc = store_new(url, &store, &err);
	free(url);
	buf_init_arena(&text, &c->arena, CLI_MAX_BODY / 4);
	jw_init(&w, &text);
	if (!rc) {
		store_migrate_first(store);
		rc = work(c, store, &w, &err);
	}
	store_free(store);
	if (rc)
		return cli_fail(c, rc == E_NOTFOUND ? "see: muster key list --all" : NULL, "%s", err.text);
	rc = print_text(c, buf_slice(&text), print);
	explicit_bzero(text.p, text.n); /* it may hold a key */
	return rc;
}

static int open_registry(struct cli *c, struct store *store, struct registry **ret, struct err *err)
{
	const struct registry_hooks hooks = {.default_policy = c->host->default_policy};

	return registry_new(store, &hooks, NULL, ret, err);
}

/* Daemons on PostgreSQL hear of it. */
static void told_daemon(struct cli *c, const struct store *store)
{
	if (!strncmp(store_description(store), "sqlite:", 7))
		out_printf(&c->err, "a daemon that is running takes this up on SIGHUP, or when it starts again\n");
}

static int read_wish(struct cli *c, struct key *k, struct err *err)
{
	int64_t life_ms = args_duration_ms(&c->args, "expires", 0);
	struct slice *names = ARENA_ARRAY(&c->arena, struct slice, c->args.n_given);
	const char *name;

	k->name = slice_from(args_get(&c->args, "name"));
	k->requests_per_minute = args_integer(&c->args, "requests-per-minute", 0);
	k->tokens_per_minute = args_integer(&c->args, "tokens-per-minute", 0);
	if (life_ms)
		k->expires_us = life_ms > KEY_MAX_LIFE_US / 1000 ? INT64_MAX : c->now_us + life_ms * 1000;
	for (size_t i = 0; names && (name = args_next(&c->args, "use-case", &i));)
		names[k->n_use_cases++] = slice_from(name);
	k->use_cases = names;
	if (budget_parse(slice_from(args_get(&c->args, "budget")), BUDGET_MONEY, &k->budgets.of[BUDGET_MONEY], err) ||
	    budget_parse(slice_from(args_get(&c->args, "token-budget")), BUDGET_TOKENS, &k->budgets.of[BUDGET_TOKENS],
			 err) ||
	    key_translation_parse(slice_from(args_get(&c->args, "translation")), &k->translate_strictly, err))
		return E_INVALID;
	return key_role_parse(slice_from(args_get(&c->args, "role")), &k->role, err);
}

static int create_beside(struct cli *c, struct store *store, struct json_writer *w, struct err *err)
{
	struct registry_who who = {cli_actor(c), slice_from(args_get(&c->args, "why"))};
	struct key_wish wish = {.may_be_any = false};
	char text[KEY_TEXT_SIZE];
	struct registry *r = NULL;
	int rc = read_wish(c, &wish.key, err);

	if (rc || (rc = open_registry(c, store, &r, err)))
		return rc;
	rc = registry_create_key(r, &wish, &who, text, err);
	if (!rc) {
		key_write_open(w, &wish.key, text, c->now_us);
		jw_object_end(w);
		explicit_bzero(text, sizeof(text));
		told_daemon(c, store);
	}
	registry_free(r);
	return rc;
}

static int read_keys(struct cli *c, struct store *store, struct key **ret, size_t *ret_n, struct err *err)
{
	struct db *db = NULL;
	int rc = store_acquire(store, &db, err);

	if (!rc)
		rc = store_key_list(db, &c->arena, ret, ret_n, err);
	store_release(store, db);
	return rc;
}

static int list_beside(struct cli *c, struct store *store, struct json_writer *w, struct err *err)
{
	struct key *list = NULL;
	size_t n = 0;
	int rc = read_keys(c, store, &list, &n, err);

	if (rc)
		return rc;
	jw_object(w);
	jw_kcstr(w, "object", "list");
	jw_key(w, "data");
	jw_array(w);
	while (n--) {
		if (!list[n].revoked_us || args_has(&c->args, "all"))
			key_write(w, &list[n], c->now_us);
	}
	jw_array_end(w);
	jw_kbool(w, "has_more", false);
	jw_key(w, "next");
	jw_null(w);
	jw_object_end(w);
	return 0;
}

static int show_id(struct cli *c, struct store *store, const struct uuid *id, struct json_writer *w, struct err *err)
{
	struct key *list = NULL;
	size_t n = 0;
	int rc = read_keys(c, store, &list, &n, err);

	for (size_t i = 0; !rc && i < n; i++) {
		if (!memcmp(&list[i].id, id, sizeof(*id)))
			key_write(w, &list[i], clock_wall_us());
	}
	return rc;
}

static int set_beside(struct cli *c, struct store *store, struct json_writer *w, struct err *err)
{
	struct registry_who who = {cli_actor(c), slice_from(args_get(&c->args, "why"))};
	struct slice text[] = {slice_from(args_get(&c->args, "budget")), slice_from(args_get(&c->args, "token-budget")),
			       slice_from(args_get(&c->args, "translation"))};
	const struct key_change change = {text[0].p ? &text[0] : NULL, text[1].p ? &text[1] : NULL,
					  text[2].p ? &text[2] : NULL};
	struct registry *r = NULL;
	struct uuid id;
	int rc = open_registry(c, store, &r, err);

	if (rc)
		return rc;
	rc = registry_change_key(r, slice_from(c->args.operands[0]), &change, &who, &id, err);
	registry_free(r);
	if (!rc)
		told_daemon(c, store);
	return rc ? rc : show_id(c, store, &id, w, err);
}

static int revoke_beside(struct cli *c, struct store *store, struct json_writer *w, struct err *err)
{
	struct registry_who who = {cli_actor(c), slice_from(args_get(&c->args, "why"))};
	struct registry *r = NULL;
	struct uuid id;
	int rc = open_registry(c, store, &r, err);

	if (rc)
		return rc;
	rc = registry_revoke_key(r, slice_from(c->args.operands[0]), &who, &id, err);
	registry_free(r);
	if (!rc)
		told_daemon(c, store);
	return rc ? rc : show_id(c, store, &id, w, err);
}

/* --- through the daemon --- */

static int by_daemon(struct cli *c, const char *method, struct path *p, struct buf *body, print_fn *print)
{
	struct answer a;
	int rc = cli_send(c, method, p, body, &a);

	if (rc)
		return rc;
	return c->json ? cli_print_json(c, &a) : print(c, a.root);
}

static void write_spending(struct cli *c, struct json_writer *w)
{
	static const char *const options[][2] = {
		{"budget", "budget"}, {"token-budget", "token_budget"}, {"translation", "translation"}};

	for (size_t i = 0; i < COUNT_OF(options); i++) {
		const char *value = args_get(&c->args, options[i][0]);

		if (value) /* "" takes it away */
			jw_kcstr(w, options[i][1], value);
	}
}

int key_set_run(struct cli *c)
{
	struct json_writer w;
	struct buf body;
	struct path p;

	if (!args_has(&c->args, "budget") && !args_has(&c->args, "token-budget") && !args_has(&c->args, "translation"))
		return cli_usage(c, NULL, "say what is to change: --budget, --token-budget or --translation");
	if (is_beside(c))
		return on_database(c, set_beside, true, print_key);
	body_init(c, &body, &w);
	write_spending(c, &w);
	body_option(c, &w, "why", "reason");
	body_end(&w);
	path_init(c, &p, KEYS);
	path_add(&p, "/", c->args.operands[0]);
	return by_daemon(c, "PATCH", &p, &body, print_key);
}

int key_create_run(struct cli *c)
{
	struct json_writer w;
	struct path p;
	struct buf body;
	const char *name;

	if (is_beside(c))
		return on_database(c, create_beside, false, print_made);
	body_init(c, &body, &w);
	body_option(c, &w, "name", "name");
	body_option(c, &w, "role", "role");
	body_option(c, &w, "expires", "expires");
	jw_key(&w, "use_cases");
	jw_array(&w);
	for (size_t i = 0; (name = args_next(&c->args, "use-case", &i));)
		jw_cstr(&w, name);
	jw_array_end(&w);
	jw_ki64(&w, "requests_per_minute", args_integer(&c->args, "requests-per-minute", 0));
	jw_ki64(&w, "tokens_per_minute", args_integer(&c->args, "tokens-per-minute", 0));
	write_spending(c, &w);
	body_option(c, &w, "why", "reason");
	body_end(&w);
	path_init(c, &p, KEYS);
	return by_daemon(c, "POST", &p, &body, print_made);
}

int key_list_run(struct cli *c)
{
	struct path p;

	if (is_beside(c))
		return on_database(c, list_beside, true, print_list);
	path_init(c, &p, KEYS);
	path_query(&p, "limit", "1000");
	if (args_has(&c->args, "all"))
		path_query(&p, "all", "true");
	return by_daemon(c, "GET", &p, NULL, print_list);
}

int key_show_run(struct cli *c)
{
	struct path p;

	path_init(c, &p, KEYS);
	path_add(&p, "/", c->args.operands[0]);
	return by_daemon(c, "GET", &p, NULL, print_key);
}

int key_revoke_run(struct cli *c)
{
	struct path p;

	if (is_beside(c))
		return on_database(c, revoke_beside, true, print_revoked);
	path_init(c, &p, KEYS);
	path_add(&p, "/", c->args.operands[0]);
	path_option(c, &p, "why", "reason");
	return by_daemon(c, "DELETE", &p, NULL, print_revoked);
}
