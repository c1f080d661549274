/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a command line.  What would break it: an option that takes a value in one verb and none in another. */
#include "app/cli/args.h"

#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"

#define WORDS_MAX 512

const struct option *verb_option(const struct verb_table *t, const struct verb *v, size_t i)
{
	if (i < v->n_options)
		return &v->options[i];
	i -= v->n_options;
	if (!v->local) {
		if (i < t->n_common)
			return &t->common[i];
		i -= t->n_common;
	}
	return i < t->n_always ? &t->always[i] : NULL;
}

bool verb_in_group(const struct verb *v, const char *group)
{
	size_t n = strlen(group);

	return n == 0 || (!strncmp(v->name, group, n) && (v->name[n] == ' ' || !v->name[n]));
}

const char *nearest_word(const char *word, const char *const *words, size_t n)
{
	unsigned best = (unsigned)(strlen(word) / 3 + 1);
	const char *found = NULL;

	for (size_t i = 0; i < n; i++) {
		unsigned d = slice_distance(slice_from(word), slice_from(words[i]));

		if (d <= best && (!found || d < best)) {
			best = d;
			found = words[i];
		}
	}
	return found;
}

__attribute__((format(printf, 3, 4))) static int wrong(struct problem *p, const char *hint, const char *fmt, ...)
{
	va_list ap;

	p->err.code = E_INVALID;
	va_start(ap, fmt);
	vsnprintf(p->err.text, sizeof(p->err.text), fmt, ap);
	va_end(ap);
	snprintf(p->hint, sizeof(p->hint), "%s", hint);
	return E_INVALID;
}

/* The option of that name in the verb, or in any verb when v is NULL. */
static const struct option *find_option(const struct verb_table *t, const struct verb *v, struct slice name)
{
	const struct option *o;

	for (size_t i = 0; v && (o = verb_option(t, v, i)); i++) {
		if (slice_eq_str(name, o->name))
			return o;
	}
	for (size_t k = 0; !v && k < t->n; k++) {
		o = find_option(t, t->verbs[k], name);
		if (o)
			return o;
	}
	return NULL;
}

static int unknown_option(const struct verb_table *t, const struct verb *v, const char *given, struct problem *p)
{
	const char *words[WORDS_MAX], *near, *equals = strchr(given, '=');
	const struct option *o;
	char name[80], hint[160];
	size_t n = 0;

	snprintf(name, sizeof(name), "%.*s", (int)min_size(equals ? (size_t)(equals - given) : strlen(given), 64),
		 given);
	for (size_t k = 0; k < t->n; k++) {
		for (size_t i = 0; (!v || v == t->verbs[k]) && n < WORDS_MAX && (o = verb_option(t, t->verbs[k], i));
		     i++)
			words[n++] = o->name;
	}
	if (v)
		snprintf(hint, sizeof(hint), "see: muster %s --help", v->name);
	else
		snprintf(hint, sizeof(hint), "see: muster help");
	if (!strcmp(name, "--api-key"))
		return wrong(
			p, "put it into a file and say --api-key-file FILE, or set MUSTER_API_KEY",
			"a key on the command line would be seen by every user of this machine: there is no --api-key");
	near = nearest_word(name + strspn(name, "-"), words, n);
	return near ? wrong(p, hint, "unknown option '%s': did you mean --%s?", name, near)
		    : wrong(p, hint, "unknown option '%s'", name);
}

/* One word that begins with "--"; *i is its place, moved on when the next word is its value. */
static int take_option(const struct verb_table *t, int argc, char **argv, int *i, struct args *a, struct problem *p)
{
	const char *word = argv[*i], *equals = strchr(word, '=');
	struct slice name = {word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2)};
	const struct option *o = find_option(t, NULL, name);
	const char *value = "";

	if (!o)
		return unknown_option(t, NULL, word, p);
	if (o->kind == OPTION_FLAG && equals)
		return wrong(p, "leave out what stands after '='", "--%s takes no value", o->name);
	if (o->kind != OPTION_FLAG && !equals && *i + 1 >= argc) {
		wrong(p, "", "--%s needs a value", o->name);
		snprintf(p->hint, sizeof(p->hint), "--%s %s   %s", o->name, o->value, o->doc);
		return E_INVALID;
	}
	if (o->kind != OPTION_FLAG)
		value = equals ? equals + 1 : argv[++*i];
	if (a->n_given == ARGS_MAX_GIVEN)
		return wrong(p, "", "more than %d options", ARGS_MAX_GIVEN);
	a->given[a->n_given].option = o;
	a->given[a->n_given++].value = value;
	return 0;
}

/* Splits the line into operands and options; the words of the verb are operands still. */
static int split(const struct verb_table *t, int argc, char **argv, struct args *a, struct problem *p)
{
	bool options = true;

	for (int i = 1; i < argc; i++) {
		const char *w = argv[i];

		if (options && !strcmp(w, "--")) {
			options = false;
		} else if (options && (!strcmp(w, "-h") || !strcmp(w, "-?"))) {
			char help[] = "--help", *as[] = {help};
			int at = 0;

			if (take_option(t, 1, as, &at, a, p))
				return E_INVALID;
		} else if (options && w[0] == '-' && w[1] == '-') {
			if (take_option(t, argc, argv, &i, a, p))
				return E_INVALID;
		} else if (options && w[0] == '-' && w[1]) {
			return unknown_option(t, NULL, w, p);
		} else if (a->n_operands == ARGS_MAX_OPERANDS) {
			return wrong(p, "", "more than %d words", ARGS_MAX_OPERANDS);
		} else {
			a->operands[a->n_operands++] = w;
		}
	}
	return 0;
}

/* How many words of the name stand at the front of the operands: all of them, or 0. */
static size_t match(const struct verb *v, const struct args *a)
{
	struct slice rest = slice_from(v->name), word;
	size_t n = 0;

	while (slice_split(&rest, ' ', &word)) {
		if (n >= a->n_operands || !slice_eq_str(word, a->operands[n]))
			return 0;
		n++;
	}
	return n;
}

/* "model" or "guardrail policy": as many words as stand before a verb's last.  How many they are. */
static size_t find_group(const struct verb_table *t, const struct args *a, char group[64])
{
	size_t n = 0;

	group[0] = 0;
	for (; n < a->n_operands && n < 2; n++) {
		char longer[64];
		bool any = false;

		snprintf(longer, sizeof(longer), "%.30s%s%.30s", group, n ? " " : "", a->operands[n]);
		for (size_t k = 0; k < t->n && !any; k++)
			any = !t->verbs[k]->hidden && verb_in_group(t->verbs[k], longer);
		if (!any)
			break;
		memcpy(group, longer, sizeof(longer));
	}
	return n;
}

/* "muster model" alone: what may follow. */
static int incomplete(const struct verb_table *t, const char *group, struct problem *p)
{
	struct buf list;

	buf_init(&list, 200);
	for (size_t k = 0; k < t->n; k++) {
		const struct verb *v = t->verbs[k];

		if (!v->hidden && verb_in_group(v, group))
			buf_printf(&list, "%s%s", list.n ? ", " : "", v->name + strlen(group) + 1);
	}
	wrong(p, "", "say what to do: muster %s %s", group, buf_cstr(&list));
	snprintf(p->hint, sizeof(p->hint), "see: muster %s --help", group);
	buf_release(&list);
	return E_INVALID;
}

static int unknown_verb(const struct verb_table *t, const struct args *a, struct problem *p)
{
	const char *words[WORDS_MAX], *near;
	char group[64], typed[128];
	size_t n = 0, depth = find_group(t, a, group);

	if (depth >= a->n_operands)
		return incomplete(t, group, p);
	for (size_t k = 0; k < t->n && n < WORDS_MAX; k++) {
		if (!t->verbs[k]->hidden && verb_in_group(t->verbs[k], group))
			words[n++] = t->verbs[k]->name;
	}
	snprintf(typed, sizeof(typed), "%s%s%.40s", group, *group ? " " : "", a->operands[depth]);
	near = nearest_word(typed, words, n);
	if (!near && a->n_operands > depth + 1) {
		char two[180];

		snprintf(two, sizeof(two), "%s %.40s", typed, a->operands[depth + 1]);
		near = nearest_word(two, words, n);
	}
	return near ? wrong(p, "see: muster help", "unknown command '%s': did you mean '%s'?", typed, near)
		    : wrong(p, "see: muster help", "unknown command '%s'", typed);
}

static int find_verb(const struct verb_table *t, struct args *a, struct problem *p)
{
	size_t best = 0;

	for (size_t k = 0; k < t->n; k++) {
		size_t n = match(t->verbs[k], a);

		if (n > best) {
			best = n;
			a->verb = t->verbs[k];
		}
	}
	if (a->verb) {
		a->n_operands -= best;
		memmove(a->operands, a->operands + best, a->n_operands * sizeof(a->operands[0]));
		return 0;
	}
	if (a->n_operands && !args_has(a, "help"))
		return unknown_verb(t, a, p);
	return 0;
}

static bool is_choice(const char *choices, const char *value)
{
	struct slice rest = slice_from(choices), one;

	while (slice_split(&rest, '|', &one)) {
		if (slice_eq_str(one, value))
			return true;
	}
	return false;
}

static int check_value(const struct option *o, const char *value, struct problem *p)
{
	struct slice s = slice_from(value);
	const char *want = NULL;
	int64_t i = 0;
	double d = 0;

	switch (o->kind) {
	case OPTION_FLAG:
		break;
	case OPTION_TEXT:
	case OPTION_FILE:
	case OPTION_JSON:
	case OPTION_MODEL:
	case OPTION_USE_CASE:
		want = *value || o->kind == OPTION_TEXT ? NULL : "a value that is not empty";
		break;
	case OPTION_INTEGER:
		want = slice_to_i64(s, &i) || i < 0 ? "a whole number, 0 or more" : NULL;
		break;
	case OPTION_NUMBER:
		want = slice_to_double(s, &d) ? "a number" : NULL;
		break;
	case OPTION_DURATION:
		want = clock_parse_duration_ms(s, &i) ? "a duration: 250ms, 30s, 5m, 2h, 7d" : NULL;
		break;
	case OPTION_TIME:
		want = clock_parse(s, INT64_C(4000000000000000), &i)
			       ? "a time: 2026-11-23T14:30:00Z, or 15m, 24h, 7d back from now"
			       : NULL;
		break;
	case OPTION_CHOICE:
		want = is_choice(o->choices, value) ? NULL : o->choices;
		break;
	}
	return want ? wrong(p, o->doc, "--%s has to be %s, not '%.80s'", o->name, want, value) : 0;
}

static int check_given(const struct verb_table *t, struct args *a, struct problem *p)
{
	for (size_t i = 0; i < a->n_given; i++) {
		const char *name = a->given[i].option->name;

		a->given[i].option = find_option(t, a->verb, slice_from(name));
		if (!a->given[i].option) {
			char hint[120];

			snprintf(hint, sizeof(hint), "see: muster %s --help", a->verb->name);
			return wrong(p, hint, "muster %s takes no --%s", a->verb->name, name);
		}
		for (size_t k = 0; k < i; k++) {
			const struct option *o = a->given[i].option;

			if (a->given[k].option == o && o->kind != OPTION_FLAG && !o->many)
				return wrong(p, "say it once", "--%s is given twice", name);
		}
		if (check_value(a->given[i].option, a->given[i].value, p))
			return E_INVALID;
	}
	return 0;
}

static int check_verb(struct args *a, struct problem *p)
{
	const struct verb *v = a->verb;
	char usage[300];

	snprintf(usage, sizeof(usage), "usage: muster %s%s%s   (more: muster %s --help)", v->name,
		 *v->operands ? " " : "", v->operands, v->name);
	if (a->n_operands < v->min)
		return wrong(p, usage, "muster %s needs %s", v->name, v->operands);
	if (a->n_operands > v->max)
		return wrong(p, usage, "muster %s does not know what to do with '%.80s'", v->name, a->operands[v->max]);
	for (size_t i = 0; i < v->n_options; i++) {
		const struct option *o = &v->options[i];

		if (o->need == OPTIONAL || args_has(a, o->name))
			continue;
		snprintf(usage, sizeof(usage), "for example: %s", v->example);
		return wrong(p, usage, "muster %s needs --%s %s", v->name, o->name, o->value);
	}
	return 0;
}

int args_parse(const struct verb_table *t, int argc, char **argv, struct args *ret, struct problem *problem)
{
	*ret = (struct args){0};
	*problem = (struct problem){0};
	if (split(t, argc, argv, ret, problem) || find_verb(t, ret, problem))
		return E_INVALID;
	if (!ret->verb)
		find_group(t, ret, ret->group);
	if (!ret->verb || args_has(ret, "help"))
		return 0;
	if (check_given(t, ret, problem) || check_verb(ret, problem))
		return E_INVALID;
	return 0;
}

const char *args_next(const struct args *a, const char *name, size_t *i)
{
	while (*i < a->n_given) {
		size_t at = (*i)++;

		if (!strcmp(a->given[at].option->name, name))
			return a->given[at].value;
	}
	return NULL;
}

const char *args_get(const struct args *a, const char *name)
{
	size_t i = 0;

	return args_next(a, name, &i);
}

bool args_has(const struct args *a, const char *name)
{
	return args_get(a, name) != NULL;
}

int64_t args_integer(const struct args *a, const char *name, int64_t fallback)
{
	const char *s = args_get(a, name);
	int64_t v = fallback;

	return s && slice_to_i64(slice_from(s), &v) == 0 ? v : fallback;
}

double args_number(const struct args *a, const char *name, double fallback)
{
	const char *s = args_get(a, name);
	double v = fallback;

	return s && slice_to_double(slice_from(s), &v) == 0 ? v : fallback;
}

int64_t args_duration_ms(const struct args *a, const char *name, int64_t fallback)
{
	const char *s = args_get(a, name);
	int64_t v = fallback;

	return s && clock_parse_duration_ms(slice_from(s), &v) == 0 ? v : fallback;
}
