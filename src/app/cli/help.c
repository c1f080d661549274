/* SPDX-License-Identifier: Apache-2.0 */
/* Help and the man page, from the table of verbs. */
#include <ctype.h>
#include <string.h>

#include "app/cli/cli_internal.h"

#define WIDTH 80
#define INDENT 2
#define DOC_INDENT 28

static const char *const environment[][2] = {
	{"MUSTER_URL", "Where the daemon answers. Default http://127.0.0.1:8080."},
	{"MUSTER_API_KEY", "The API key, when the daemon wants one."},
	{"MUSTER_CA_FILE", "Certificates to trust instead of the system's, when MUSTER_URL is https."},
	{"MUSTER_DATA", "For migrate: the daemon's data directory. Default ./var."},
	{"MUSTER_DATABASE_URL", "For migrate: the database itself."},
	{"COLUMNS", "Width of tables. Default: the terminal's; no limit when the output is no terminal."},
	{"NO_COLOR", "Any value but an empty one: no colour."},
};

static size_t width_of(const struct cli *c)
{
	return c->out.columns && c->out.columns < WIDTH ? c->out.columns : WIDTH;
}

/* "  name   words, wrapped" */
static void entry(struct cli *c, const char *name, const char *doc)
{
	size_t n = INDENT + text_width(slice_from(name));

	out_pad(&c->out, INDENT);
	out_styled(&c->out, STYLE_BOLD, slice_from(name));
	if (n + 2 > DOC_INDENT) {
		out_printf(&c->out, "\n");
		n = 0;
	}
	out_pad(&c->out, DOC_INDENT - n);
	out_wrapped(&c->out, doc, DOC_INDENT, width_of(c));
}

static void heading(struct cli *c, const char *text)
{
	out_printf(&c->out, "\n");
	out_styled(&c->out, STYLE_BOLD, slice_from(text));
	out_printf(&c->out, "\n");
}

static struct slice option_doc(struct cli *c, const struct option *o)
{
	struct buf b;

	if (!o->choices)
		return o->many ? cli_printf(c, "%s May be given more than once.", o->doc) : slice_from(o->doc);
	buf_init_arena(&b, &c->arena, CLI_MAX_PATH);
	buf_printf(&b, "%s One of ", o->doc);
	for (const char *s = o->choices; *s; s++) {
		if (*s == '|')
			buf_adds(&b, ", ");
		else
			buf_addc(&b, *s);
	}
	buf_adds(&b, ".");
	return (struct slice){buf_cstr(&b), b.n};
}

static void option_entry(struct cli *c, const struct option *o)
{
	struct slice name = cli_printf(c, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");

	entry(c, name.p, option_doc(c, o).p);
}

static const char *synopsis(struct cli *c, const struct verb *v)
{
	struct buf b;

	buf_init_arena(&b, &c->arena, CLI_MAX_PATH);
	buf_printf(&b, "muster %s%s%s", v->name, *v->operands ? " " : "", v->operands);
	for (size_t i = 0; i < v->n_options; i++) {
		if (v->options[i].need == REQUIRED)
			buf_printf(&b, " --%s %s", v->options[i].name, v->options[i].value);
	}
	buf_adds(&b, " [OPTIONS]");
	return buf_cstr(&b);
}

void help_verb(struct cli *c, const struct verb *v)
{
	const struct option *o;

	out_wrapped(&c->out, synopsis(c, v), 8, width_of(c));
	out_printf(&c->out, "\n");
	out_wrapped(&c->out, v->summary, 0, width_of(c));
	if (v->detail)
		out_wrapped(&c->out, v->detail, 0, width_of(c));
	if (v->n_options)
		heading(c, "Options");
	for (size_t i = 0; i < v->n_options; i++)
		option_entry(c, &v->options[i]);
	heading(c, v->local ? "And" : "Options of every command");
	for (size_t i = v->n_options; (o = verb_option(c->table, v, i)); i++)
		option_entry(c, o);
	if (*v->example) {
		heading(c, "Example");
		out_pad(&c->out, INDENT);
		out_wrapped(&c->out, v->example, INDENT + 2, 1000);
	}
}

void help_group(struct cli *c, const char *group)
{
	const struct verb_table *t = c->table;

	if (*group)
		out_printf(&c->out, "muster %s COMMAND\n\n", group);
	else
		out_printf(&c->out, "muster COMMAND: the registry, gateway and log of your models.\n\n");
	for (size_t i = 0; i < t->n; i++) {
		const struct verb *v = t->verbs[i];

		if (!v->hidden && verb_in_group(v, group))
			entry(c, cli_printf(c, "%s%s%s", v->name, *v->operands ? " " : "", v->operands).p, v->summary);
	}
	if (!*group) {
		heading(c, "Environment");
		for (size_t i = 0; i < COUNT_OF(environment); i++)
			entry(c, environment[i][0], environment[i][1]);
	}
	out_printf(&c->out, "\nmuster COMMAND --help says more. First steps: muster serve --demo\n");
}

/* --- the man page --- */

/* roff: a leading '.' or '\'' would be a request, '-' a hyphen, '\' an escape. */
static void roff(struct cli *c, const char *text)
{
	for (const char *s = text; *s; s++) {
		if (s == text && (*s == '.' || *s == '\''))
			out_printf(&c->out, "\\&");
		if (*s == '-')
			out_printf(&c->out, "\\-");
		else if (*s == '\\')
			out_printf(&c->out, "\\e");
		else
			out_printf(&c->out, "%c", *s);
	}
}

static void roff_entry(struct cli *c, const char *name, const char *value, const char *doc)
{
	out_printf(&c->out, ".TP\n\\fB");
	roff(c, name);
	out_printf(&c->out, "\\fR");
	if (value) {
		out_printf(&c->out, " \\fI");
		roff(c, value);
		out_printf(&c->out, "\\fR");
	}
	out_printf(&c->out, "\n");
	roff(c, doc);
	out_printf(&c->out, "\n");
}

static void roff_option(struct cli *c, const struct option *o)
{
	roff_entry(c, cli_printf(c, "--%s", o->name).p, o->value, option_doc(c, o).p);
}

static void roff_verb(struct cli *c, const struct verb *v)
{
	out_printf(&c->out, ".SS \"muster ");
	roff(c, v->name);
	out_printf(&c->out, "%s", *v->operands ? " " : "");
	roff(c, v->operands);
	out_printf(&c->out, "\"\n");
	roff(c, v->summary);
	out_printf(&c->out, "\n");
	if (v->detail) {
		roff(c, v->detail);
		out_printf(&c->out, "\n");
	}
	for (size_t i = 0; i < v->n_options; i++)
		roff_option(c, &v->options[i]);
	out_printf(&c->out, ".PP\nExample:\n.PP\n.nf\n.RS\n");
	roff(c, v->example);
	out_printf(&c->out, "\n.RE\n.fi\n");
}

void help_man(struct cli *c)
{
	const struct verb_table *t = c->table;

	out_printf(&c->out, ".\\\" SPDX-License-Identifier: Apache-2.0\n"
			    ".\\\" Printed by `muster help --man`: change the tables in src/app/cli instead.\n"
			    ".TH MUSTER 1 \"\" \"muster " CLI_VERSION "\" \"Muster\"\n"
			    ".SH NAME\nmuster \\- model registry, gateway, guardrails and historical log\n"
			    ".SH SYNOPSIS\n\\fBmuster\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n"
			    ".SH DESCRIPTION\n"
			    "\\fBmuster serve\\fR is the daemon. The other commands talk to it over HTTP, but for "
			    "\\fBmigrate\\fR, which works on the database.\n"
			    "Options may stand anywhere, as \\-\\-name value or \\-\\-name=value; \\-\\- ends them.\n"
			    ".SH COMMANDS\n");
	for (size_t i = 0; i < t->n; i++) {
		if (!t->verbs[i]->hidden)
			roff_verb(c, t->verbs[i]);
	}
	out_printf(&c->out, ".SH \"OPTIONS OF EVERY COMMAND\"\n");
	for (size_t i = 0; i < t->n_common; i++)
		roff_option(c, &t->common[i]);
	for (size_t i = 0; i < t->n_always; i++)
		roff_option(c, &t->always[i]);
	out_printf(&c->out, ".SH ENVIRONMENT\n");
	for (size_t i = 0; i < COUNT_OF(environment); i++)
		roff_entry(c, environment[i][0], NULL, environment[i][1]);
	out_printf(&c->out, ".SH \"EXIT STATUS\"\n");
	roff_entry(c, "0", NULL, "It worked.");
	roff_entry(c, "1", NULL, "It failed; for guardrail check: a text is not compliant.");
	roff_entry(c, "2", NULL, "It was used wrongly.");
}

int help_run(struct cli *c)
{
	struct args *a = &c->args;
	char name[128] = "";
	size_t n = 0;

	if (args_has(a, "man")) {
		help_man(c);
		return EXIT_WORKED;
	}
	for (size_t i = 0; i < a->n_operands && n < sizeof(name); i++)
		n += (size_t)snprintf(name + n, sizeof(name) - n, "%s%s", i ? " " : "", a->operands[i]);
	for (size_t i = 0; *name && i < c->table->n; i++) {
		if (!strcmp(c->table->verbs[i]->name, name)) {
			help_verb(c, c->table->verbs[i]);
			return EXIT_WORKED;
		}
	}
	for (size_t i = 0; i < c->table->n; i++) {
		if (!c->table->verbs[i]->hidden && verb_in_group(c->table->verbs[i], name)) {
			help_group(c, name);
			return EXIT_WORKED;
		}
	}
	return cli_usage(c, "see: muster help", "there is no command '%s'", name);
}
