/* SPDX-License-Identifier: Apache-2.0 */
/*
 * muster check: whether what is here, and the daemon that answers, is ready.  Each group of checks stands in a file of
 * its own; this one runs them and prints what they found.
 */
#include <errno.h>
#include <stdio.h>

#include "app/cli/check_internal.h"
#include "core/base/clock.h"

#define REPORT_MAX ((size_t)8 << 20)
#define CALL_TIMEOUT "60s" /* a model that has to be loaded first may take a while */

static void (*const groups[])(struct check_run *k) = {
	check_configuration, check_process, check_database, check_access,     check_daemon,
	check_serving,	     check_log,	    check_spool,    check_guardrails, check_operations,
};

static const char *state_word(enum check_state s)
{
	return s == CHECK_FAIL ? "  FAIL" : s == CHECK_PASS ? "  pass" : s == CHECK_WARN ? "  warn" : "  skipped";
}

static enum style state_colour(enum check_state s)
{
	static const enum style styles[CHECK_N_STATES] = {STYLE_GOOD, STYLE_WARN, STYLE_BAD, STYLE_DIM};

	return styles[s];
}

static int print_table(struct check_run *k)
{
	static const struct column columns[3] = {{NULL}, {NULL}, {NULL}};
	const struct check_report *r = &k->report;
	struct rows rows;

	if (!rows_init(k->c, &rows, COUNT_OF(columns), 2 * r->n))
		return cli_fail(k->c, NULL, "the report is too long");
	for (size_t i = 0; i < r->n; i++) {
		const struct check *c = &r->item[i];
		struct cell *cell = rows_next(&rows);

		cell[0] = (struct cell){slice_from(state_word(c->state)), state_colour(c->state)};
		cell[1].text = slice_from(c->name);
		cell[2].text = c->evidence;
		if (!c->advice.n)
			continue;
		cell = rows_next(&rows);
		cell[2] = (struct cell){cli_printf(k->c, "-> " SLICE_FMT, SLICE_ARG(c->advice)), STYLE_DIM};
	}
	out_table(&k->c->out, columns, COUNT_OF(columns), rows.cells, rows.n_rows);
	out_printf(&k->c->out, "%zu checks: %zu pass, %zu warn, %zu fail, %zu skipped     ", r->n, r->count[CHECK_PASS],
		   r->count[CHECK_WARN], r->count[CHECK_FAIL], r->count[CHECK_SKIPPED]);
	out_styled(&k->c->out, check_ready(r) ? STYLE_GOOD : STYLE_BAD,
		   slice_from(check_ready(r) ? "ready" : "not ready"));
	out_printf(&k->c->out, "\n");
	return 0;
}

static int print_json(struct check_run *k)
{
	struct buf b;

	buf_init_arena(&b, k->a, REPORT_MAX);
	check_write_json(&k->report, &b);
	(void)buf_addc(&b, '\n'); /* looked at below */
	if (buf_failed(&b))
		return cli_fail(k->c, NULL, "the report is too long");
	out_raw(&k->c->out, buf_slice(&b));
	return 0;
}

static int write_junit(struct check_run *k, const char *path)
{
	struct buf b;
	FILE *f;
	bool bad;

	buf_init_arena(&b, k->a, REPORT_MAX);
	check_write_junit(&k->report, k->c->now_us, &b);
	if (buf_failed(&b))
		return cli_fail(k->c, NULL, "the report is too long");
	f = fopen(path, "we");
	if (!f)
		return cli_fail(k->c, NULL, "cannot write %s: %s", path, strerror(errno));
	bad = fwrite(b.p, 1, b.n, f) != b.n;
	if (fclose(f) || bad)
		return cli_fail(k->c, NULL, "cannot write %s: %s", path, strerror(errno));
	return 0;
}

/* Nothing here is worth the ten minutes that a call may otherwise take. */
static void limit_calls(struct cli *c)
{
	struct args *a = &c->args;
	const struct option *o;

	for (size_t i = 0;
	     !args_has(a, "timeout") && a->n_given < ARGS_MAX_GIVEN && (o = verb_option(c->table, a->verb, i)) != NULL;
	     i++) {
		if (strcmp(o->name, "timeout") != 0)
			continue;
		a->given[a->n_given].option = o;
		a->given[a->n_given++].value = CALL_TIMEOUT;
	}
}

static void read_settings(struct check_run *k)
{
	const struct args *a = &k->c->args;
	struct check_where where = {args_get(a, "config"), args_get(a, "data"), args_get(a, "database-url")};
	struct err err = {0};

	k->has_settings = check_host.settings(k->a, &where, &k->set, &err) == 0;
	if (!k->has_settings)
		k->set = (struct check_settings){.problem = err};
}

int check_run_verb(struct cli *c)
{
	const char *junit = args_get(&c->args, "junit");
	struct check_run *k = ARENA_NEW(&c->arena, struct check_run);
	int rc;

	limit_calls(c);
	rc = cli_connect(c);
	if (rc || !k)
		return rc ? rc : EXIT_FAILED;
	k->c = c;
	k->a = &c->arena;
	check_report_init(&k->report, k->a, args_has(&c->args, "production"));
	read_settings(k);
	check_find_daemon(k);
	for (size_t i = 0; i < COUNT_OF(groups); i++)
		groups[i](k);
	db_close(k->db);
	rc = c->json ? print_json(k) : print_table(k);
	if (!rc && junit)
		rc = write_junit(k, junit);
	return rc ? rc : check_ready(&k->report) ? EXIT_WORKED : EXIT_FAILED;
}
