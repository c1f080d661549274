/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: words into verbs and options, help, completion, and the man page that is printed from the table. */
#include "t.h"

#include <unistd.h>

#include "app/cli/cli_internal.h"

#define MAX_WORDS 24

static struct args args;
static struct problem problem;

/* Parses "muster " and the words of the line, which single spaces separate; '_' stands for a space in a word. */
static int parse(const char *line)
{
	static char copy[1024];
	char *argv[MAX_WORDS] = {copy};
	int argc = 1;

	snprintf(copy, sizeof(copy), "muster %s", line);
	for (char *s = copy; *s; s++) {
		if (*s == ' ') {
			*s = 0;
			argv[argc++] = s + 1;
		} else if (*s == '_') {
			*s = ' ';
		}
	}
	if (!*line)
		argc = 1;
	return args_parse(&cli_verbs, argc, argv, &args, &problem);
}

static const struct {
	const char *line, *verb;
	size_t n_operands;
	const char *option, *value;
} good[] = {
	{"health", "health", 0, NULL, NULL},
	{"health --json", "health", 0, "json", ""},
	{"--json health", "health", 0, "json", ""},
	{"model list --use-case a", "model list", 0, "use-case", "a"},
	{"model --use-case=a list", "model list", 0, "use-case", "a"},
	{"--use-case a model list", "model list", 0, "use-case", "a"},
	{"model show --url http://x tiny@1.0", "model show", 1, "url", "http://x"},
	{"guardrail policy show default", "guardrail policy show", 1, NULL, NULL},
	{"guardrail check a b c --side input", "guardrail check", 3, "side", "input"},
	{"guardrail check -- --json", "guardrail check", 1, NULL, NULL},
	{"guardrail check -", "guardrail check", 1, NULL, NULL},
	{"generate foundation Once_upon --max-tokens 5", "generate", 2, "max-tokens", "5"},
	{"generate foundation Once --temperature=0.5", "generate", 2, "temperature", "0.5"},
	{"use-case set a --fallback=", "use-case set", 1, "fallback", ""},
	{"use-case set a --fallback b=c", "use-case set", 1, "fallback", "b=c"},
	{"use-case set a --first-byte-timeout 30s", "use-case set", 1, "first-byte-timeout", "30s"},
	{"model promote tiny@1.0 --why --json", "model promote", 1, "why", "--json"},
	{"log list --since 1h", "log list", 0, "since", "1h"},
	{"migrate --dry-run", "migrate", 0, "dry-run", ""},
	{"migrate status", "migrate status", 0, NULL, NULL},
	{"migrate status --data d", "migrate status", 0, "data", "d"},
	{"model promote --help", "model promote", 0, "help", ""},
	{"model show -h", "model show", 0, "help", ""},
	{"help model register", "help", 2, NULL, NULL},
};

TEST(a_line_gives_its_verb_operands_and_options_wherever_they_stand)
{
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		const char *value;

		CHECK_INT(parse(good[i].line), 0);
		CHECK(args.verb != NULL);
		if (!args.verb)
			continue;
		CHECK_STR(args.verb->name, good[i].verb);
		CHECK_INT(args.n_operands, good[i].n_operands);
		value = good[i].option ? args_get(&args, good[i].option) : NULL;
		if (good[i].option)
			CHECK_STR(value ? value : "(absent)", good[i].value);
		else
			CHECK_INT(args.n_given, 0);
	}
}

static const struct {
	const char *line, *text, *hint;
} bad[] = {
	{"modle list", "unknown command 'modle': did you mean 'model list'?", "muster help"},
	{"model lst", "unknown command 'model lst': did you mean 'model list'?", "muster help"},
	{"xyzzy", "unknown command 'xyzzy'", "muster help"},
	{"model", "say what to do: muster model list, show, register", "muster model --help"},
	{"guardrail policy", "say what to do: muster guardrail policy list, show, set", "--help"},
	{"model list --use-cas a", "unknown option '--use-cas': did you mean --use-case?", "muster help"},
	{"model list --use-cas=a", "unknown option '--use-cas': did you mean --use-case?", "muster help"},
	{"model list -x", "unknown option '-x'", "muster help"},
	{"health --api-key secret", "there is no --api-key", "--api-key-file FILE, or set MUSTER_API_KEY"},
	{"model list --max-tokens 3", "muster model list takes no --max-tokens", "muster model list --help"},
	{"migrate --url http://x", "muster migrate takes no --url", "muster migrate --help"},
	{"health --json=yes", "--json takes no value", "leave out"},
	{"model list --use-case", "--use-case needs a value", "--use-case USE_CASE"},
	{"model list --use-case=", "--use-case has to be a value that is not empty", ""},
	{"model list --limit x", "--limit has to be a whole number, 0 or more, not 'x'", "At most"},
	{"model list --limit -1", "--limit has to be a whole number", "At most"},
	{"model list --limit 99999999999999999999", "--limit has to be a whole number", "At most"},
	{"model list --status old", "--status has to be candidate|testing", "status"},
	{"model list --limit 1 --limit 2", "--limit is given twice", "once"},
	{"log list --since yesterday", "--since has to be a time", "2026"},
	{"use-case set a --total-timeout soon", "--total-timeout has to be a duration", "Time for all"},
	{"generate a b --temperature hot", "--temperature has to be a number", "0 to 2"},
	{"model show", "muster model show needs MODEL", "usage: muster model show MODEL"},
	{"model show a b", "does not know what to do with 'b'", "usage:"},
	{"health now", "muster health does not know what to do with 'now'", "usage:"},
	{"model promote tiny@1.0", "muster model promote needs --why TEXT", "--why \"first real model\""},
	{"model rm tiny@1.0", "muster model rm needs --why TEXT", "--why"},
	{"model set-status tiny@1.0 testing", "muster model set-status needs --why", "--why"},
	{"model register --version 1", "muster model register needs --name NAME", "--name tiny"},
};

TEST(a_wrong_line_is_an_error_that_says_what_is_right)
{
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		CHECK_INT(parse(bad[i].line), E_INVALID);
		if (!strstr(problem.err.text, bad[i].text) || !strstr(problem.hint, bad[i].hint)) {
			printf("# '%s' gives '%s' / '%s'\n", bad[i].line, problem.err.text, problem.hint);
			CHECK(!"the right words");
		}
	}
}

TEST(more_operands_and_options_than_there_is_room_for_are_refused)
{
	static char word[] = "a", json[] = "--json", verb[] = "guardrail", check[] = "check";
	static char *argv[ARGS_MAX_OPERANDS + 8];
	int argc = 0;

	argv[argc++] = word;
	argv[argc++] = verb;
	argv[argc++] = check;
	while (argc < ARGS_MAX_OPERANDS + 1)
		argv[argc++] = word;
	CHECK_INT(args_parse(&cli_verbs, argc, argv, &args, &problem), 0);
	CHECK_INT(args.n_operands, ARGS_MAX_OPERANDS - 2);
	argv[argc++] = word;
	CHECK_INT(args_parse(&cli_verbs, argc, argv, &args, &problem), E_INVALID);
	for (argc = 3; argc < 3 + ARGS_MAX_GIVEN; argc++)
		argv[argc] = json;
	CHECK_INT(args_parse(&cli_verbs, argc, argv, &args, &problem), E_INVALID); /* no TEXT, all options taken */
	CHECK(strstr(problem.err.text, "needs TEXT") != NULL);
	argv[argc++] = json;
	CHECK_INT(args_parse(&cli_verbs, argc, argv, &args, &problem), E_INVALID);
	CHECK(strstr(problem.err.text, "more than") != NULL);
}

TEST(an_empty_line_and_a_group_with_help_name_no_verb)
{
	CHECK_INT(parse(""), 0);
	CHECK(args.verb == NULL);
	CHECK_INT(parse("model --help"), 0);
	CHECK(args.verb == NULL);
	CHECK_STR(args.group, "model");
	CHECK_INT(parse("guardrail policy --help"), 0);
	CHECK_STR(args.group, "guardrail policy");
}

TEST(typed_values_have_a_fallback)
{
	CHECK_INT(parse("use-case set a --first-byte-timeout 30s --total-timeout 5"), 0);
	CHECK_INT(args_duration_ms(&args, "first-byte-timeout", 1), 30000);
	CHECK_INT(args_duration_ms(&args, "total-timeout", 1), 5);
	CHECK_INT(args_duration_ms(&args, "connect-timeout", 7), 7);
	CHECK_INT(parse("generate a b --max-tokens 12"), 0);
	CHECK_INT(args_integer(&args, "max-tokens", 0), 12);
	CHECK(args_number(&args, "temperature", 0.5) == 0.5);
}

/* A line is read before its verb is known: so whether an option takes a value may not depend on the verb. */
TEST(an_option_takes_a_value_in_every_verb_or_in_none)
{
	const struct option *a, *b;

	for (size_t i = 0; i < cli_verbs.n; i++) {
		for (size_t x = 0; (a = verb_option(&cli_verbs, cli_verbs.verbs[i], x)); x++) {
			for (size_t k = 0; k < cli_verbs.n; k++) {
				for (size_t y = 0; (b = verb_option(&cli_verbs, cli_verbs.verbs[k], y)); y++)
					CHECK(strcmp(a->name, b->name) != 0 ||
					      (a->kind == OPTION_FLAG) == (b->kind == OPTION_FLAG));
			}
		}
	}
}

TEST(every_verb_and_option_is_documented)
{
	const struct option *o;

	for (size_t i = 0; i < cli_verbs.n; i++) {
		const struct verb *v = cli_verbs.verbs[i];

		CHECK(v->summary && v->summary[0]);
		CHECK(v->hidden || !strncmp(v->example, "muster ", 7));
		CHECK(v->hidden || strstr(v->example, v->name) != NULL);
		for (size_t x = 0; (o = verb_option(&cli_verbs, v, x)); x++) {
			CHECK(o->doc && o->doc[strlen(o->doc) - 1] == '.');
			CHECK((o->value == NULL) == (o->kind == OPTION_FLAG));
			CHECK((o->choices != NULL) == (o->kind == OPTION_CHOICE));
		}
	}
}

/* --- what is printed --- */

static char *printed;
static size_t n_printed;

static void begin(struct cli *c)
{
	*c = (struct cli){.table = &cli_verbs, .out.to = open_memstream(&printed, &n_printed)};
	arena_init(&c->arena, 65536, 16u << 20);
}

static void end(struct cli *c)
{
	fclose(c->out.to);
	arena_release(&c->arena);
}

static void forget(void)
{
	free(printed);
	printed = NULL;
}

TEST(the_man_page_is_what_help_prints)
{
	FILE *f = fopen("docs/man/muster.1", "r");
	static char have[262144];
	size_t n = f ? fread(have, 1, sizeof(have) - 1, f) : 0;
	struct cli c;

	CHECK(f != NULL);
	if (f)
		fclose(f);
	have[n] = 0;
	begin(&c);
	help_man(&c);
	end(&c);
	if (strcmp(printed, have) != 0)
		printf("# print it again: build/release/muster help --man > docs/man/muster.1\n");
	CHECK(!strcmp(printed, have));
	forget();
}

TEST(help_of_a_verb_names_every_option_and_fits_a_terminal)
{
	const struct option *o;

	for (size_t i = 0; i < cli_verbs.n; i++) {
		const struct verb *v = cli_verbs.verbs[i];
		const char *example;
		struct cli c;

		begin(&c);
		help_verb(&c, v);
		end(&c);
		for (size_t x = 0; (o = verb_option(&cli_verbs, v, x)); x++) {
			char name[64];

			snprintf(name, sizeof(name), "--%s", o->name);
			CHECK(strstr(printed, name) != NULL);
		}
		example = strstr(printed, "\nExample\n");
		for (char *line = printed; line && (!example || line < example); line = strchr(line, '\n')) {
			line += *line == '\n';
			CHECK(text_width((struct slice){line, strcspn(line, "\n")}) <= 80);
		}
		forget();
	}
}

static void complete(const char *shell)
{
	struct cli c;

	begin(&c);
	c.args.operands[0] = shell;
	CHECK_INT(completion_run(&c), EXIT_WORKED);
	end(&c);
}

TEST(completion_knows_every_verb_and_hides_what_is_hidden)
{
	static const char *const shells[] = {"bash", "zsh", "fish"};

	for (size_t s = 0; s < COUNT_OF(shells); s++) {
		complete(shells[s]);
		for (size_t i = 0; i < cli_verbs.n; i++)
			CHECK(cli_verbs.verbs[i]->hidden || strstr(printed, cli_verbs.verbs[i]->name) != NULL);
		CHECK(strstr(printed, "\" __complete \"*)") == NULL);
		forget();
	}
}

TEST(bash_completes_verbs_options_and_choices)
{
	static const struct {
		const char *words; /* the last one is being typed */
		const char *want;
	} cases[] = {
		{"mo", "model"},
		{"model re", "register"},
		{"guardrail po", "policy"},
		{"guardrail policy sh", "show"},
		{"log list --sta", "--status"},
		{"log list --status tr", "truncated"},
		{"model list --status te", "testing"},
		{"--json he", "health help"},
		{"log list --status = tr", "truncated"},
		{"log list --status =", "blocked client_disconnect error ok shutdown timeout truncated"},
	};

	char path[] = "/tmp/muster-completion-XXXXXX";
	int fd;

	if (system("bash -c : 2>/dev/null") != 0)
		return; /* nothing to try it with */
	complete("bash");
	fd = mkstemp(path);
	CHECK(fd >= 0 && write(fd, printed, n_printed) == (ssize_t)n_printed);
	close(fd);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char command[512], got[256] = "";
		FILE *p;

		snprintf(command, sizeof(command),
			 "bash -c 'source %s; COMP_WORDS=(muster %s); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); "
			 "_muster_complete; printf \"%%s \" $(printf \"%%s\\n\" \"${COMPREPLY[@]}\" | sort -u)'",
			 path, cases[i].words);
		p = popen(command, "r");
		CHECK(p && fgets(got, sizeof(got), p));
		if (p)
			pclose(p);
		if (*got)
			got[strlen(got) - 1] = 0;
		CHECK_STR(got, cases[i].want);
	}
	remove(path);
	forget();
}
