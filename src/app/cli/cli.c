/* SPDX-License-Identifier: Apache-2.0 */
/* One command: read the line, run the verb, say how it went.  The daemon never gets here. */
#include "app/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli/cli_internal.h"
#include "core/base/clock.h"

#define ARENA_FIRST 65536
#define ARENA_MAX ((size_t)1 << 30)

static void say(struct cli *c, const char *hint, const char *fmt, va_list ap) PRINTF_LIKE(3, 0);

static void say(struct cli *c, const char *hint, const char *fmt, va_list ap)
{
	struct buf b;

	out_flush(&c->out);
	buf_init(&b, 4096);
	buf_vprintf(&b, fmt, ap);
	out_printf(&c->err, "muster: ");
	out_text(&c->err, (struct slice){buf_cstr(&b), b.n});
	out_printf(&c->err, "\n");
	if (hint && *hint)
		out_printf(&c->err, "        %s\n", hint);
	buf_release(&b);
}

int cli_fail(struct cli *c, const char *hint, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(c, hint, fmt, ap);
	va_end(ap);
	return EXIT_FAILED;
}

int cli_usage(struct cli *c, const char *hint, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(c, hint, fmt, ap);
	va_end(ap);
	return EXIT_USAGE;
}

static int dispatch(struct cli *c)
{
	const struct verb *v = c->args.verb;
	bool asked = args_has(&c->args, "help");

	if (!v) {
		help_group(c, c->args.group);
		return asked ? EXIT_WORKED : EXIT_USAGE;
	}
	if (asked) {
		help_verb(c, v);
		return EXIT_WORKED;
	}
	if (!v->run)
		return cli_usage(c, NULL, "'%s' cannot be run from here: muster %s has to be the whole command",
				 v->name, v->name);
	return v->run(c);
}

static int run(struct cli *c, int argc, char **argv)
{
	struct problem problem;
	char version[] = "version", *as_version[] = {argv[0], version};

	if (argc == 2 && !strcmp(argv[1], "--version"))
		argv = as_version;
	if (args_parse(c->table, argc, argv, &c->args, &problem))
		return cli_usage(c, problem.hint, "%s", problem.err.text);
	c->json = args_has(&c->args, "json");
	return dispatch(c);
}

int cli_main(int argc, char **argv)
{
	struct cli c = {.host = &cli_host, .table = &cli_verbs, .now_us = clock_wall_us()};
	int status;

	out_init(&c.out, stdout);
	out_init(&c.err, stderr);
	arena_init(&c.arena, ARENA_FIRST, ARENA_MAX);
	c.parser = json_parser_new();
	status = run(&c, argc, argv);
	if (!out_finish(&c.out) && status == EXIT_WORKED)
		status = cli_fail(&c, NULL, "the output could not be written");
	for (size_t i = 0; i < c.n_answers; i++)
		muster_answer_release(&c.answers[i]);
	muster_close(c.client);
	json_parser_free(c.parser);
	arena_release(&c.arena);
	free(c.api_key);
	return status;
}
