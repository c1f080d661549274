/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verbs, their options, and reading a command line against them.  Options may stand anywhere, as --name value or
 * --name=value; `--` ends them.  An option has the same kind in every verb that has it (a test checks), so that a
 * line can be read before the verb is known.
 */
#pragma once
#include "core/base/buf.h"
#include "core/base/err.h"

enum option_kind {
	OPTION_FLAG,
	OPTION_TEXT,
	OPTION_FILE,	/* a path: shells complete it */
	OPTION_JSON,	/* a JSON object */
	OPTION_INTEGER, /* not negative */
	OPTION_NUMBER,
	OPTION_DURATION, /* "30s", "5m", or milliseconds */
	OPTION_TIME,	 /* ISO 8601, seconds since 1970, or "1h" ago */
	OPTION_CHOICE,	 /* one of choices */
	OPTION_MODEL,	 /* text that names a model: shells complete it */
	OPTION_USE_CASE,
};

enum option_need { OPTIONAL, REQUIRED };

struct option {
	const char *name;
	enum option_kind kind;
	enum option_need need;
	const char *value;   /* what stands for the value in help; NULL for a flag */
	const char *doc;     /* sentences, with unit and default */
	const char *choices; /* "a|b|c" */
	bool many;	     /* may be given more than once */
};

struct cli;

struct verb {
	const char *name;     /* "model list" */
	const char *operands; /* "MODEL", "[WORD...]": as in help; the words MODEL, USE_CASE and FILE are completed */
	size_t min, max;      /* how many */
	const char *summary;  /* one line */
	const char *detail;   /* sentences, or NULL */
	const char *example;
	const struct option *options;
	size_t n_options;
	int (*run)(struct cli *c); /* the exit status; NULL: another program's verb, here for help alone */
	bool local;		   /* needs no daemon: the common options about one do not apply */
	bool hidden;		   /* not in help and completion */
};

struct verb_table {
	const struct verb *const *verbs;
	size_t n;
	const struct option *common; /* of every verb that is not local */
	size_t n_common;
	const struct option *always; /* of every verb */
	size_t n_always;
};

#define ARGS_MAX_OPERANDS 512
#define ARGS_MAX_GIVEN 64

struct args {
	const struct verb *verb; /* NULL: none was named; group is what was ("model"), or "" */
	char group[64];
	const char *operands[ARGS_MAX_OPERANDS];
	size_t n_operands;
	struct {
		const struct option *option;
		const char *value; /* "" for a flag */
	} given[ARGS_MAX_GIVEN];
	size_t n_given;
};

/* A sentence, and what to do about it. */
struct problem {
	struct err err;
	char hint[400];
};

/* 0, or E_INVALID.  --help switches off every check that comes after the verb. */
int args_parse(const struct verb_table *t, int argc, char **argv, struct args *ret, struct problem *problem);
/* The value of an option, NULL when it was not given.  A flag's is "". */
const char *args_get(const struct args *a, const char *name);
/* The values of one that may be given more than once: for (i = 0; (v = args_next(a, name, &i));). */
const char *args_next(const struct args *a, const char *name, size_t *i);
bool args_has(const struct args *a, const char *name);
/* Checked by args_parse: these cannot fail.  fallback when it was not given. */
int64_t args_integer(const struct args *a, const char *name, int64_t fallback);
double args_number(const struct args *a, const char *name, double fallback);
int64_t args_duration_ms(const struct args *a, const char *name, int64_t fallback);

/* Every option that the verb takes, one after the other: for (i = 0; (o = verb_option(t, v, i)); i++). */
const struct option *verb_option(const struct verb_table *t, const struct verb *v, size_t i);
/* Whether the verb is in the group: "model" for "model list"; "" for all. */
bool verb_in_group(const struct verb *v, const char *group);
/* The nearest of n words (at most a third of it wrong), or NULL. */
const char *nearest_word(const char *word, const char *const *words, size_t n);
