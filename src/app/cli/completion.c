/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shell completion, from the table of verbs.  Names of models and use cases come from the daemon when it can be
 * reached, through the hidden verb __complete, and are left out otherwise.
 */
#include <string.h>

#include "app/cli/cli_internal.h"

/* What completes a value: a list of words, "model", "use-case", "file", or "" for nothing. */
static const char *value_kind(const struct option *o)
{
	switch (o->kind) {
	case OPTION_FILE:
		return "file";
	case OPTION_MODEL:
		return "model";
	case OPTION_USE_CASE:
		return "use-case";
	case OPTION_FLAG:
	case OPTION_TEXT:
	case OPTION_JSON:
	case OPTION_INTEGER:
	case OPTION_NUMBER:
	case OPTION_DURATION:
	case OPTION_TIME:
	case OPTION_CHOICE:
		return "";
	}
	return "";
}

static const char *operand_kind(const struct verb *v)
{
	static const char *const known[][2] = {
		{"MODEL", "model"}, {"[MODEL]", "model"}, {"USE_CASE", "use-case"}, {"FILE", "file"}};
	size_t n = strcspn(v->operands, " ");

	for (size_t i = 0; i < COUNT_OF(known); i++) {
		if (n == strlen(known[i][0]) && !memcmp(v->operands, known[i][0], n))
			return known[i][1];
	}
	return "";
}

static void words(struct out *o, const char *choices)
{
	for (const char *s = choices; *s; s++)
		out_printf(o, "%c", *s == '|' ? ' ' : *s);
}

static bool same_before(const struct verb_table *t, size_t verb, const struct option *o)
{
	const struct option *other;

	for (size_t k = 0; k < verb; k++) {
		for (size_t i = 0; (other = verb_option(t, t->verbs[k], i)); i++) {
			if (!strcmp(other->name, o->name))
				return true;
		}
	}
	return false;
}

/* --- bash --- */

/* case "$previous" in --option) ... : an option has one kind in every verb. */
static void bash_values(struct out *o, const struct verb_table *t)
{
	const struct option *option;

	for (size_t k = 0; k < t->n; k++) {
		for (size_t i = 0; (option = verb_option(t, t->verbs[k], i)); i++) {
			const char *kind = value_kind(option);

			if (option->kind == OPTION_FLAG || t->verbs[k]->hidden ||
			    (same_before(t, k, option) && !option->choices))
				continue;
			if (option->choices) {
				out_printf(o, "\t*\" %s \"*--%s) words=\"", t->verbs[k]->name, option->name);
				words(o, option->choices);
				out_printf(o, "\" ;;\n");
			} else if (*kind) {
				out_printf(o, "\t*--%s) kind=%s ;;\n", option->name, kind);
			} else {
				out_printf(o, "\t*--%s) return ;;\n", option->name);
			}
		}
	}
}

static void bash(struct out *o, const struct verb_table *t)
{
	const struct option *option;

	out_printf(
		o,
		"# bash completion for muster, printed by `muster completion bash`\n"
		"_muster_complete()\n{\n"
		"\tlocal word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} line words= kind= w full\n"
		"\t# bash splits --option=value and name@version: put them together again\n"
		"\tif [[ $previous == '=' ]]; then previous=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
		"\tif [[ $word == '=' || $word == '@' ]]; then word=; fi\n"
		"\tfull=${COMP_LINE:0:${COMP_POINT:-0}}\n"
		"\tfull=${full##* }\n"
		"\tif [[ $full != *@\"$word\" ]]; then full=$word; fi\n"
		"\tCOMPREPLY=()\n"
		"\tline=' '\n"
		"\tfor w in \"${COMP_WORDS[@]:1:$((COMP_CWORD-1))}\"; do [[ $w == -* ]] || line+=\"$w \"; done\n"
		"\tcase \"$line$previous\" in\n");
	bash_values(o, t);
	out_printf(o, "\t*)\n\t\tcase \"$line\" in\n");
	for (size_t k = t->n; k-- > 0;) { /* longer names stand after their beginnings in the table */
		const struct verb *v = t->verbs[k];

		if (v->hidden)
			continue;
		out_printf(o, "\t\t\" %s \"*) words=\"", v->name);
		for (size_t i = 0; (option = verb_option(t, v, i)); i++)
			out_printf(o, "%s--%s", i ? " " : "", option->name);
		out_printf(o, "\"; kind=%s ;;\n", operand_kind(v));
	}
	out_printf(o, "\t\tesac\n\t\tif [[ -z $words ]]; then\n\t\t\twords=$(printf '%%s\\n'");
	for (size_t k = 0; k < t->n; k++) {
		if (!t->verbs[k]->hidden)
			out_printf(o, " ' %s '", t->verbs[k]->name);
	}
	out_printf(o, " | while IFS= read -r w; do [[ $w == \"$line\"* ]] && { w=${w#\"$line\"}; echo \"${w%%%% *}\"; "
		      "}; done)\n"
		      "\t\tfi\n\t\t;;\n\tesac\n"
		      "\tcase \"$kind\" in\n"
		      "\tfile) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
		      "\tmodel | use-case) words=\"$words $(muster __complete \"$kind\" 2>/dev/null)\" ;;\n"
		      "\tesac\n"
		      "\tCOMPREPLY+=($(compgen -W \"$words\" -- \"$full\"))\n"
		      "\tif [[ $full != \"$word\" ]]; then COMPREPLY=(\"${COMPREPLY[@]#\"${full%%@*}\"}\"); fi\n"
		      "}\n"
		      "complete -o bashdefault -F _muster_complete muster\n");
}

/* --- zsh: the same function, through zsh's own emulation of bash's completion --- */

static void zsh(struct out *o, const struct verb_table *t)
{
	out_printf(o, "#compdef muster\n# zsh completion for muster, printed by `muster completion zsh`\n"
		      "autoload -U +X bashcompinit && bashcompinit\n");
	bash(o, t);
	/* the file is the body of _muster, which zsh calls for the first completion */
	out_printf(o, "[[ $funcstack[1] == _muster ]] && _bash_complete -o bashdefault -F _muster_complete\n");
}

/* --- fish --- */

static void fish_quoted(struct out *o, const char *text)
{
	out_printf(o, "'");
	for (const char *s = text; *s; s++)
		out_printf(o, *s == '\'' || *s == '\\' ? "\\%c" : "%c", *s);
	out_printf(o, "'");
}

static void fish_option(struct out *o, const struct verb *v, const struct option *option)
{
	const char *kind = value_kind(option);

	out_printf(o, "complete -c muster -n '__muster_at \"%s\"' -l %s", v->name, option->name);
	if (option->kind != OPTION_FLAG)
		out_printf(o, !strcmp(kind, "file") ? " -r -F" : " -x");
	if (option->choices) {
		out_printf(o, " -a '");
		words(o, option->choices);
		out_printf(o, "'");
	} else if (!strcmp(kind, "model") || !strcmp(kind, "use-case")) {
		out_printf(o, " -a '(muster __complete %s 2>/dev/null)'", kind);
	}
	out_printf(o, " -d ");
	fish_quoted(o, option->doc);
	out_printf(o, "\n");
}

static void fish(struct out *o, const struct verb_table *t)
{
	const struct option *option;

	out_printf(o, "# fish completion for muster, printed by `muster completion fish`\n"
		      "function __muster_at\n"
		      "\tstring match -q -- \"$argv[1] *\" (string join ' ' (string match -v -- '-*' (commandline "
		      "-opc)[2..-1]))' '\n"
		      "end\n"
		      "function __muster_next\n"
		      "\tset -l line (string join ' ' (string match -v -- '-*' (commandline -opc)[2..-1]))\n"
		      "\ttest \"$line\" = \"$argv[1]\"\n"
		      "end\n"
		      "complete -c muster -f\n");
	for (size_t k = 0; k < t->n; k++) {
		const struct verb *v = t->verbs[k];
		const char *last = strrchr(v->name, ' '), *kind = operand_kind(v);
		int before = last ? (int)(last - v->name) : 0;

		if (v->hidden)
			continue;
		out_printf(o, "complete -c muster -n '__muster_next \"%.*s\"' -a %s -d ", before, v->name,
			   last ? last + 1 : v->name);
		fish_quoted(o, v->summary);
		out_printf(o, "\n");
		if (!strcmp(kind, "file"))
			out_printf(o, "complete -c muster -n '__muster_at \"%s\"' -F\n", v->name);
		else if (*kind)
			out_printf(
				o,
				"complete -c muster -n '__muster_at \"%s\"' -a '(muster __complete %s 2>/dev/null)'\n",
				v->name, kind);
		for (size_t i = 0; (option = verb_option(t, v, i)); i++)
			fish_option(o, v, option);
	}
	/* groups: their first word, once each */
	for (size_t k = 0; k < t->n; k++) {
		size_t n = strcspn(t->verbs[k]->name, " ");
		bool again = !t->verbs[k]->name[n] || (k && !strncmp(t->verbs[k]->name, t->verbs[k - 1]->name, n + 1));

		if (!again)
			out_printf(o, "complete -c muster -n '__muster_next \"\"' -a %.*s\n", (int)n,
				   t->verbs[k]->name);
	}
}

int completion_run(struct cli *c)
{
	static const struct {
		const char *shell;
		void (*print)(struct out *o, const struct verb_table *t);
	} shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};

	for (size_t i = 0; i < COUNT_OF(shells); i++) {
		if (!strcmp(c->args.operands[0], shells[i].shell)) {
			shells[i].print(&c->out, c->table);
			return EXIT_WORKED;
		}
	}
	return cli_usage(c, "muster completion bash", "there are completions for bash, zsh and fish, not for '%s'",
			 c->args.operands[0]);
}

int complete_run(struct cli *c)
{
	bool models = !strcmp(c->args.operands[0], "model");
	struct answer a;
	struct path p;
	int rc;

	path_init(c, &p, models ? "/api/v1/models?limit=1000" : "/api/v1/use-cases?limit=1000");
	rc = cli_get(c, &p, &a);
	if (rc)
		return rc;
	for (const struct json *v = json_items(&a, "data"); v; v = v->next) {
		struct slice name = models ? model_full_name(c, v) : json_text(v, "use_case");

		out_text(&c->out, name);
		out_printf(&c->out, "\n");
	}
	return EXIT_WORKED;
}
