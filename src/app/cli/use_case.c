/* SPDX-License-Identifier: Apache-2.0 */
/* muster use-case ..., muster current, and the history of both. */
#include "app/cli/cli_internal.h"

#define USE_CASES "/api/v1/use-cases"

static const struct column list_columns[] = {
	{"USE CASE", .min_width = 10}, {"CURRENT", .min_width = 14}, {"SINCE"}, {"POLICY", .min_width = 8}, {"LOG"},
	{"FALLBACK", .min_width = 10}};

static struct slice or_dash(struct slice s)
{
	return s.n ? s : SLICE_LIT("-");
}

/* ["a@1", "b@2"] as "a@1, b@2". */
static struct slice join(struct cli *c, const struct json *array)
{
	struct buf b;

	buf_init_arena(&b, &c->arena, CLI_MAX_PATH);
	for (const struct json *v = array && array->type == JSON_ARRAY ? array->first : NULL; v; v = v->next) {
		buf_adds(&b, b.n ? ", " : "");
		buf_add(&b, json_line(v));
	}
	return b.n ? buf_slice(&b) : SLICE_LIT("");
}

static void list_row(struct cli *c, const struct json *u, struct cell *cell)
{
	const struct json *current = json_get(u, "current"), *settings = json_get(u, "settings");
	struct slice policy = json_text(settings, "policy");
	bool served = current && current->type == JSON_OBJECT;
	struct slice chain = join(c, json_get(settings, "fallback"));

	cell[0].text = json_text(u, "use_case");
	cell[1].text = served ? model_full_name(c, current) : SLICE_LIT("-");
	cell[2].text = cli_ago(c, served ? json_time(current, "status_since") : 0);
	cell[3].text = policy.n ? policy : SLICE_LIT("default");
	cell[4].text = or_dash(json_text(settings, "log"));
	cell[5].text = or_dash(chain.n ? chain : json_text(u, "fallback_endpoint"));
}

int use_case_list_run(struct cli *c)
{
	static const struct listing listing = {list_columns, COUNT_OF(list_columns), list_row,
					       "no use case is known yet: registering a model makes one"};
	struct path p;

	path_init(c, &p, USE_CASES);
	path_query(&p, "limit", "1000");
	return cli_list(c, &p, &listing, NULL);
}

static const char *const timeouts[][2] = {{"connect-timeout", "connect_ms"},
					  {"first-byte-timeout", "first_byte_ms"},
					  {"between-timeout", "between_ms"},
					  {"total-timeout", "total_ms"}};

/* "connect 5 s, total 60 s"; what is 0 is the configuration file's. */
static struct slice timeouts_line(struct cli *c, const struct json *now)
{
	struct buf b;

	buf_init_arena(&b, &c->arena, 512);
	for (size_t i = 0; i < COUNT_OF(timeouts); i++) {
		int64_t ms = json_integer(now, timeouts[i][1], 0);
		struct slice name = slice_from(timeouts[i][0]);

		if (!ms)
			continue;
		name.n -= strlen("-timeout");
		buf_printf(&b, "%s" SLICE_FMT, b.n ? ", " : "", SLICE_ARG(name));
		if (ms % 1000)
			buf_printf(&b, " %lld ms", (long long)ms);
		else
			buf_printf(&b, " %lld s", (long long)(ms / 1000));
	}
	return b.n ? buf_slice(&b) : SLICE_LIT("- (the configuration file's)");
}

static void print_use_case(struct cli *c, const struct json *u)
{
	const struct json *current = json_get(u, "current"), *settings = json_get(u, "settings");
	bool served = current && current->type == JSON_OBJECT;
	struct facts f = {.n = 0};
	const struct json *candidates = json_get(u, "candidates"), *budgets = json_get(u, "budgets");

	facts_add(&f, "use case", json_text(u, "use_case"), STYLE_BOLD);
	facts_add(&f, "current",
		  served ? cli_printf(c, SLICE_FMT ", for " SLICE_FMT, SLICE_ARG(model_full_name(c, current)),
				      SLICE_ARG(cli_ago(c, json_time(current, "status_since"))))
			 : SLICE_LIT("- (muster model promote NAME@VERSION --why \"...\")"),
		  served ? STYLE_GOOD : STYLE_WARN);
	for (const struct json *m = candidates && candidates->type == JSON_ARRAY ? candidates->first : NULL; m;
	     m = m->next)
		facts_add(&f, "candidate",
			  cli_printf(c, SLICE_FMT " (" SLICE_FMT ")", SLICE_ARG(model_full_name(c, m)),
				     SLICE_ARG(json_text(m, "status"))),
			  STYLE_PLAIN);
	facts_add(&f, "fallback", or_dash(join(c, json_get(settings, "fallback"))), STYLE_PLAIN);
	facts_add(&f, "fallback endpoint", or_dash(json_text(u, "fallback_endpoint")), STYLE_PLAIN);
	for (const struct json *v = settings && settings->type == JSON_OBJECT ? settings->first : NULL; v;
	     v = v->next) {
		struct slice name = cli_printf(c, SLICE_FMT, SLICE_ARG(v->key));

		if (slice_ends(name, SLICE_LIT("_at")))
			continue;
		if (slice_eq_str(name, "timeouts"))
			facts_add(&f, "timeouts", timeouts_line(c, v), STYLE_PLAIN);
		else if (!slice_eq_str(name, "use_case") && !slice_eq_str(name, "fallback") && v->type != JSON_NULL)
			facts_add(&f, name.p, json_line(v), STYLE_PLAIN);
	}
	for (const struct json *b = budgets ? budgets->first : NULL; b; b = b->next)
		facts_add(&f, slice_eq_str(json_text(b, "unit"), "money") ? "spent" : "tokens spent",
			  cli_budget_line(c, b), cli_budget_style(b));
	facts_add(&f, "updated", cli_local(c, json_time(settings, "updated_at")), STYLE_PLAIN);
	facts_print(c, &f);
}

int use_case_show_run(struct cli *c)
{
	return cli_show(c, USE_CASES, print_use_case);
}

/* The timeouts as they are, with those that were given changed. */
static void write_timeouts(struct cli *c, struct json_writer *w, const struct json *now)
{
	jw_key(w, "timeouts");
	jw_object(w);
	for (size_t i = 0; i < COUNT_OF(timeouts); i++) {
		int64_t ms = args_duration_ms(&c->args, timeouts[i][0], json_integer(now, timeouts[i][1], 0));

		if (ms)
			jw_ki64(w, timeouts[i][1], ms);
	}
	jw_object_end(w);
}

/* The cache as it is, with what was given changed; none without a time. */
static void write_cache(struct cli *c, struct json_writer *w, const struct json *now)
{
	int64_t ms = args_duration_ms(&c->args, "cache-ttl", json_integer(now, "ttl_s", 0) * 1000);
	const char *scope = args_get(&c->args, "cache-scope");

	if (!ms)
		return;
	jw_key(w, "cache");
	jw_object(w);
	jw_ki64(w, "ttl_s", (ms + 999) / 1000);
	if (scope)
		jw_kcstr(w, "scope", scope);
	else if (json_text(now, "scope").n)
		jw_kstr(w, "scope", json_text(now, "scope"));
	jw_object_end(w);
}

static void write_fallback(struct json_writer *w, const char *list)
{
	struct slice rest = slice_from(list), one;

	jw_key(w, "fallback");
	jw_array(w);
	while (slice_split(&rest, ',', &one)) {
		one = slice_trim(one);
		if (one.n)
			jw_str(w, one);
	}
	jw_array_end(w);
}

/* The settings as they stand, but for those that an option changes: PUT takes them whole. */
static void write_settings(struct cli *c, struct json_writer *w, const struct json *now)
{
	static const char *const texts[][2] = {{"fallback-content", "fallback_content"},
					       {"policy", "policy"},
					       {"log", "log"},
					       {"answer-mode", "answer_mode"},
					       {"log-durability", "log_durability"},
					       {"translation", "translation"},
					       {"budget", "budget"},
					       {"token-budget", "token_budget"},
					       {"priority", "priority"}};
	static const char *const facts[] = {"use_case", "created_at", "updated_at", "timeouts", "cache"};
	static const char *const numbers[][2] = {{"retries", "retries"}, {"max-concurrency", "max_concurrency"}};
	const char *fallback = args_get(&c->args, "fallback");

	for (const struct json *v = now && now->type == JSON_OBJECT ? now->first : NULL; v; v = v->next) {
		bool skip = fallback && slice_eq_str(v->key, "fallback");

		for (size_t i = 0; i < COUNT_OF(texts); i++)
			skip |= slice_eq_str(v->key, texts[i][1]) && args_has(&c->args, texts[i][0]);
		for (size_t i = 0; i < COUNT_OF(numbers); i++)
			skip |= slice_eq_str(v->key, numbers[i][1]) && args_has(&c->args, numbers[i][0]);
		for (size_t i = 0; i < COUNT_OF(facts); i++)
			skip |= slice_eq_str(v->key, facts[i]);
		if (skip || v->type == JSON_NULL)
			continue;
		jw_key_slice(w, v->key);
		jw_raw(w, v->raw);
	}
	if (fallback)
		write_fallback(w, fallback);
	for (size_t i = 0; i < COUNT_OF(numbers); i++)
		if (args_has(&c->args, numbers[i][0]))
			jw_ki64(w, numbers[i][1], args_integer(&c->args, numbers[i][0], 0));
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		const char *value = args_get(&c->args, texts[i][0]);

		if (value && *value) /* "" takes the setting away */
			jw_kcstr(w, texts[i][1], value);
	}
	write_timeouts(c, w, json_get(now, "timeouts"));
	write_cache(c, w, json_get(now, "cache"));
}

int use_case_set_run(struct cli *c)
{
	struct json_writer w;
	struct answer now;
	struct path p;
	struct buf body;
	int rc;

	path_init(c, &p, USE_CASES);
	path_add(&p, "/", c->args.operands[0]);
	rc = cli_get(c, &p, &now);
	if (rc)
		return rc;
	body_init(c, &body, &w);
	write_settings(c, &w, json_get(now.root, "settings"));
	body_option(c, &w, "why", "reason");
	body_end(&w);
	return cli_call(c, "PUT", &p, &body, print_use_case);
}

/* --- current --- */

/* A model, or what was one then. */
static void print_current(struct cli *c, const struct json *answer)
{
	const struct json *model = json_get(answer, "model");

	if (json_time(answer, "at"))
		out_printf(&c->out, "at " SLICE_FMT ", current since " SLICE_FMT ":\n",
			   SLICE_ARG(cli_local(c, json_time(answer, "at"))),
			   SLICE_ARG(cli_local(c, json_time(answer, "since"))));
	model_print(c, model ? model : answer);
}

int current_at(struct cli *c, const char *use_case, const char *at)
{
	struct path p;

	path_init(c, &p, USE_CASES);
	path_add(&p, "/", use_case);
	buf_adds(&p.text, "/current");
	path_query(&p, "at", at);
	return cli_call(c, "GET", &p, NULL, print_current);
}

int current_run(struct cli *c)
{
	return current_at(c, c->args.operands[0], args_get(&c->args, "at"));
}

/* --- history --- */

static const struct column event_columns[] = {{"WHEN"},
					      {"WHAT"},
					      {"WHOM", .min_width = 18},
					      {"CHANGE", .min_width = 12},
					      {"WHO", .min_width = 7},
					      {"WHY", .min_width = 10}};

/* Members that tell what a thing is or when, not what changed. */
static bool is_identity(struct slice name)
{
	static const char *const known[] = {"use_case", "model_id", "model_name", "version", "status_since", "name"};

	for (size_t i = 0; i < COUNT_OF(known); i++) {
		if (slice_eq_str(name, known[i]))
			return true;
	}
	return slice_ends(name, SLICE_LIT("_at"));
}

/* It holds models, and is about neither: which one serves. */
static bool is_about_use_case(const struct json *e)
{
	return slice_eq_str(json_text(e, "kind"), "use_case.rollback") &&
	       (json_text(json_get(e, "before"), "model_name").n || json_text(json_get(e, "after"), "model_name").n);
}

/* What an event changed, in a few words: the first member that is new. */
static struct slice change(struct cli *c, const struct json *e)
{
	const struct json *before = json_get(e, "before"), *after = json_get(e, "after");
	struct slice from = json_text(before, "status"), to = json_text(after, "status");

	if (is_about_use_case(e)) { /* another model serves */
		from = json_text(before, "model_name").n ? model_full_name(c, before) : SLICE_LIT("none");
		to = json_text(after, "model_name").n ? model_full_name(c, after) : SLICE_LIT("none");
	}
	if (to.n && !slice_eq(from, to))
		return from.n ? cli_printf(c, SLICE_FMT " -> " SLICE_FMT, SLICE_ARG(from), SLICE_ARG(to)) : to;
	for (const struct json *v = after && after->type == JSON_OBJECT ? after->first : NULL; v; v = v->next) {
		struct slice name = cli_printf(c, SLICE_FMT, SLICE_ARG(v->key));
		const struct json *old = json_get(before, name.p);

		if ((!old || !slice_eq(old->raw, v->raw)) && !is_identity(name))
			return cli_printf(c, SLICE_FMT " " SLICE_FMT, SLICE_ARG(name), SLICE_ARG(json_line(v)));
	}
	return SLICE_LIT("");
}

/* Who or what an event is about: its name, a model's or a key's, when the event holds it. */
static struct slice whom(struct cli *c, const struct json *e)
{
	const struct json *after = json_get(e, "after"), *before = json_get(e, "before");
	const struct json *m = json_text(after, "model_name").n ? after : before;
	struct slice name = json_text(after ? after : before, "name");

	if (json_text(m, "model_name").n && !is_about_use_case(e))
		return model_full_name(c, m);
	return name.n ? name : short_id(c, json_text(e, "subject"));
}

int events_print(struct cli *c, struct path *p)
{
	const struct json *list;
	struct answer a;
	struct rows r;
	int rc;

	path_option(c, p, "limit", "limit");
	path_option(c, p, "before", "before");
	rc = cli_get(c, p, &a);
	if (rc)
		return rc;
	if (c->json)
		return cli_print_json(c, &a);
	list = json_get(a.root, "data");
	if (!rows_init(c, &r, COUNT_OF(event_columns), list ? list->n_items : 0))
		return cli_fail(c, NULL, "the list is too long");
	for (const struct json *e = json_items(&a, "data"); e; e = e->next) {
		struct cell *cell = rows_next(&r);

		cell[0].text = cli_ago(c, json_time(e, "at"));
		cell[1].text = json_text(e, "kind");
		cell[2].text = whom(c, e);
		cell[3].text = change(c, e);
		cell[4].text = json_text(e, "actor");
		cell[5].text = json_text(e, "reason");
	}
	if (!r.n_rows)
		out_printf(&c->err, "nothing has happened yet\n");
	else
		out_table(&c->out, event_columns, COUNT_OF(event_columns), r.cells, r.n_rows);
	cli_more(c, &a);
	return EXIT_WORKED;
}

int use_case_history_run(struct cli *c)
{
	const char *at = args_get(&c->args, "at");
	struct path p;

	if (at)
		return current_at(c, c->args.operands[0], at);
	path_init(c, &p, "/api/v1/events");
	path_query(&p, "use_case", c->args.operands[0]);
	return events_print(c, &p);
}
