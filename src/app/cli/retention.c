/* SPDX-License-Identifier: Apache-2.0 */
/* muster log retention and log purge: what the historical log keeps, and removing from it. */
#include <string.h>

#include "app/cli/cli_internal.h"

#define RETENTION "/api/v1/retention"

static struct slice span(struct cli *c, int64_t seconds)
{
	if (seconds <= 0)
		return SLICE_LIT("for ever");
	if (seconds % 86400 == 0)
		return cli_printf(c, "for %lld d", (long long)(seconds / 86400));
	return cli_printf(c, "for %lld h", (long long)(seconds / 3600));
}

static struct slice size(struct cli *c, int64_t bytes)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	double n = (double)bytes;
	size_t i = 0;

	for (; n >= 1024 && i + 1 < COUNT_OF(units); i++)
		n /= 1024;
	return cli_printf(c, i ? "%.1f %s" : "%.0f %s", n, units[i]);
}

static void add_time(struct cli *c, struct facts *f, const struct json *o, const char *member, const char *name)
{
	int64_t at_us = json_time(o, member);

	if (at_us)
		facts_add(f, name, cli_local(c, at_us), STYLE_PLAIN);
}

static void print_size(struct cli *c, struct facts *f, const struct json *o)
{
	int64_t partitions = json_integer(o, "partitions", -1), bytes = json_integer(o, "bytes", 0),
		free_bytes = json_integer(o, "free_bytes", 0);

	facts_add(f, "size",
		  partitions >= 0
			  ? cli_printf(c, SLICE_FMT " in %lld days", SLICE_ARG(size(c, bytes)), (long long)partitions)
		  : free_bytes ? cli_printf(c, SLICE_FMT " (the database), " SLICE_FMT " of it free for new records",
					    SLICE_ARG(size(c, bytes)), SLICE_ARG(size(c, free_bytes)))
			       : cli_printf(c, SLICE_FMT " (the database)", SLICE_ARG(size(c, bytes))),
		  STYLE_PLAIN);
}

int log_retention_run(struct cli *c)
{
	struct facts f = {.n = 0};
	int64_t texts_s;
	struct answer a;
	struct path p;
	int rc;

	path_init(c, &p, RETENTION);
	rc = cli_get(c, &p, &a);
	if (rc)
		return rc;
	if (c->json)
		return cli_print_json(c, &a);
	facts_add(&f, "records are kept", span(c, json_integer(a.root, "retention_s", 0)), STYLE_PLAIN);
	texts_s = json_integer(a.root, "content_retention_s", 0);
	facts_add(&f, "texts are kept", texts_s ? span(c, texts_s) : SLICE_LIT("as long as their record"), STYLE_PLAIN);
	print_size(c, &f, a.root);
	add_time(c, &f, a.root, "oldest_record_at", "oldest record");
	add_time(c, &f, a.root, "oldest_content_at", "oldest texts");
	add_time(c, &f, a.root, "next_drop_at", "next removal");
	add_time(c, &f, a.root, "last_run_at", "last run");
	if (json_text(a.root, "problem").n)
		facts_add(&f, "problem", json_text(a.root, "problem"), STYLE_BAD);
	facts_print(c, &f);
	return EXIT_WORKED;
}

struct purged {
	int64_t records, violations, after;
	bool more;
};

static int purge_some(struct cli *c, struct purged *n)
{
	struct json_writer w;
	struct answer a;
	struct buf body;
	struct path p;
	const struct json *more;
	int rc;

	body_init(c, &body, &w);
	body_option(c, &w, "older-than", "older_than");
	body_option(c, &w, "caller", "caller");
	body_option(c, &w, "why", "reason");
	jw_kbool(&w, "content_only", args_has(&c->args, "content-only"));
	jw_ki64(&w, "after", n->after);
	body_end(&w);
	path_init(c, &p, RETENTION "/purge");
	rc = cli_send(c, "POST", &p, &body, &a);
	if (rc)
		return rc;
	more = json_get(a.root, "more");
	n->records += json_integer(a.root, "records", 0);
	n->violations += json_integer(a.root, "violations", 0);
	n->after = json_integer(a.root, "after", 0);
	n->more = more && more->type == JSON_BOOL && more->boolean;
	return 0;
}

static int print_purged(struct cli *c, const struct purged *n)
{
	bool texts = args_has(&c->args, "content-only");
	struct json_writer w;
	struct buf out;

	if (!c->json) {
		out_printf(&c->out, texts ? "removed the texts of %lld records\n" : "removed %lld records",
			   (long long)n->records);
		if (!texts)
			out_printf(&c->out, " and %lld violations\n", (long long)n->violations);
		return EXIT_WORKED;
	}
	buf_init_arena(&out, &c->arena, 1024);
	jw_init(&w, &out);
	jw_object(&w);
	jw_ki64(&w, "records", n->records);
	jw_ki64(&w, "violations", n->violations);
	jw_kbool(&w, "content_only", texts);
	jw_object_end(&w);
	out_raw(&c->out, buf_slice(&out));
	out_printf(&c->out, "\n");
	return EXIT_WORKED;
}

int log_purge_run(struct cli *c)
{
	struct purged n = {.more = true};

	if (!args_has(&c->args, "older-than") && !args_has(&c->args, "caller"))
		return cli_usage(c, "as in: muster log purge --older-than 90d --why ... --yes",
				 "log purge needs --older-than, --caller, or both");
	if (!args_has(&c->args, "yes"))
		return cli_usage(c, "add --yes when that is what you want",
				 "log purge removes for good, and nothing brings it back");
	while (n.more) {
		int rc;

		cli_forget(c);
		rc = purge_some(c, &n);
		if (rc) {
			if (n.records)
				out_printf(&c->err, "%lld records were removed before that\n", (long long)n.records);
			return rc;
		}
		if (n.more && c->err.terminal)
			out_printf(&c->err, "%lld records so far\n", (long long)n.records);
		out_flush(&c->err);
	}
	return print_purged(c, &n);
}
