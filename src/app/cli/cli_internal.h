/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs share: one command's state, calls to the daemon, and errors.  A verb returns the exit status. */
#pragma once
#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "clients/c/muster.h"
#include "core/json/json.h"
#include "core/json/writer.h"

enum { EXIT_WORKED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define CLI_MAX_BODY (64u << 20)
#define CLI_MAX_PATH 4096
#define CLI_MAX_ANSWERS 4

struct cli {
	const struct cli_host *host;
	const struct verb_table *table;
	struct args args;
	struct out out, err;
	bool json;	/* --json: answers go out as they came */
	int64_t now_us; /* when the command began */
	struct arena arena;
	struct json_parser *parser;
	struct muster *client;
	char *api_key;
	struct muster_answer answers[CLI_MAX_ANSWERS]; /* kept until the command ends: the tree borrows from them */
	size_t n_answers;
};

/* --- errors: "muster: what happened", and below it what to do (hint may be NULL) --- */
int cli_fail(struct cli *c, const char *hint, const char *fmt, ...) PRINTF_LIKE(3, 4);	/* EXIT_FAILED */
int cli_usage(struct cli *c, const char *hint, const char *fmt, ...) PRINTF_LIKE(3, 4); /* EXIT_USAGE */
int cli_client_error(struct cli *c, const struct muster_error *e);
/* The same for a call that has an answer, which it releases: with --json the API's error goes to standard output. */
int cli_refused(struct cli *c, struct muster_answer *a, const struct muster_error *e);

/* --- the daemon --- */

/* Opens the client when it is not open yet.  0, or the exit status after an error was printed. */
int cli_connect(struct cli *c);

/* Who is at the keyboard: "user@host". */
struct slice cli_actor(struct cli *c);
/* migrate.c: the database of --config, --data and --database-url, malloc'd.  must_exist: a file that is not there is an
 * error.  0, or the exit status after an error was printed. */
/* An entry of budgets: "12.5 of 50 USD/month spent, 3 held; renewed ..." */
struct slice cli_budget_line(struct cli *c, const struct json *b);
enum style cli_budget_style(const struct json *b);
int cli_database_url(struct cli *c, bool must_exist, char **ret_url);

/* A path under construction: segments and values are percent-encoded. */
struct path {
	struct buf text;
	bool query;
};
void path_init(struct cli *c, struct path *p, const char *start);
void path_add(struct path *p, const char *literal, const char *segment);
void path_query(struct path *p, const char *name, const char *value); /* nothing when value is NULL */
void path_query_slice(struct path *p, const char *name, struct slice value);
void path_option(struct cli *c, struct path *p, const char *option,
		 const char *name); /* the value of --option, when given */

struct answer {
	const struct json *root; /* NULL when the body is empty */
	struct slice text;
};

/* Sends and reads the answer.  0, or the exit status after an error was printed.  body may be NULL. */
int cli_send(struct cli *c, const char *method, struct path *p, struct buf *body, struct answer *ret);
int cli_get(struct cli *c, struct path *p, struct answer *ret);
/* Prints the answer as --json wants it: one document, a newline. */
int cli_print_json(struct cli *c, const struct answer *a);
/* The end of most verbs: sends, and prints the answer, as it came with --json, else with print. The exit status. */
typedef void cli_print_fn(struct cli *c, const struct json *answer);
int cli_call(struct cli *c, const char *method, struct path *p, struct buf *body, cli_print_fn *print);
/* The same for what stands at collection/OPERAND. */
int cli_show(struct cli *c, const char *collection, cli_print_fn *print);
/* For answers of a verb that has its own end: reads them like cli_send. */
int cli_take_answer(struct cli *c, struct muster_answer *a, struct answer *ret);

/* Gives back all that earlier calls of this command left: for one that goes on for ever. */
void cli_forget(struct cli *c);

/* --- bodies --- */
void body_init(struct cli *c, struct buf *b, struct json_writer *w); /* the object is open; body_end closes it */
void body_end(struct json_writer *w);
void body_option(struct cli *c, struct json_writer *w, const char *option, const char *key); /* text, when given */
/* The JSON object of an option, NULL when it was not given.  0 or the exit status. */
int cli_json_option(struct cli *c, const char *option, const struct json **ret);
/* A whole file, or stdin for "-", in the arena.  0 or the exit status. */
int cli_read_file(struct cli *c, const char *path, size_t max, struct slice *ret);

/* --- reading answers: absent members give "" and 0 --- */
struct slice json_text(const struct json *obj, const char *name);
int64_t json_integer(const struct json *obj, const char *name, int64_t fallback);
const struct json *json_items(const struct answer *a, const char *name); /* first of an array, or NULL */
int64_t json_time(const struct json *obj, const char *name);		 /* microseconds, or 0 */
/* Any value as one line of text: strings without quotes. */
struct slice json_line(const struct json *v);

/* --- printing, texts in the arena --- */
struct slice cli_ago(struct cli *c, int64_t at_us);   /* "4 min", "-" for 0 */
struct slice cli_local(struct cli *c, int64_t at_us); /* "2026-11-23 14:30:00", in the reader's zone */
struct slice cli_printf(struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct slice model_full_name(struct cli *c, const struct json *model);
enum style status_style(struct slice status);
/* Shortens an id to what still tells it from its neighbours. */
struct slice short_id(struct cli *c, struct slice id);

/* "name   value" lines, aligned. */
struct facts {
	struct cell cells[2 * 40];
	size_t n;
};
void facts_add(struct facts *f, const char *name, struct slice value, enum style style);
void facts_member(struct cli *c, struct facts *f, const struct json *obj, const char *member,
		  const char *name); /* when it is there */
void facts_print(struct cli *c, struct facts *f);
/* "more: ..." under a list that goes on. */
void cli_more(struct cli *c, const struct answer *a);

/* Rows of a table under construction, in the arena. */
struct rows {
	struct cell *cells;
	size_t n_columns, n_rows, max;
};
bool rows_init(struct cli *c, struct rows *r, size_t n_columns, size_t max);
struct cell *rows_next(struct rows *r); /* NULL when full */

/* How people see a list of the API: {"data": [...], "has_more", "next"}. */
struct listing {
	const struct column *columns;
	size_t n_columns;
	void (*fill)(struct cli *c, const struct json *item, struct cell *row);
	const char *none; /* one line, when there is nothing */
};
/* Asks for it and prints it: as a table, or as it came with --json.  The exit status; ret may be NULL. */
int cli_list(struct cli *c, struct path *p, const struct listing *l, struct answer *ret);

/* --- verbs --- */
extern const struct verb_table cli_verbs;
int health_run(struct cli *c);
int check_run_verb(struct cli *c);
int version_run(struct cli *c);
int model_list_run(struct cli *c);
int model_show_run(struct cli *c);
int model_register_run(struct cli *c);
int model_promote_run(struct cli *c);
int model_set_status_run(struct cli *c);
int model_set_config_run(struct cli *c);
int model_set_metrics_run(struct cli *c);
int model_rm_run(struct cli *c);
int model_history_run(struct cli *c);
int use_case_list_run(struct cli *c);
int use_case_show_run(struct cli *c);
int use_case_set_run(struct cli *c);
int use_case_history_run(struct cli *c);
int current_run(struct cli *c);
int generate_run(struct cli *c);
int log_list_run(struct cli *c);
int log_tail_run(struct cli *c);
int log_show_run(struct cli *c);
int log_retention_run(struct cli *c);
int log_purge_run(struct cli *c);
int guardrail_check_run(struct cli *c);
int guardrail_violations_run(struct cli *c);
int policy_list_run(struct cli *c);
int policy_show_run(struct cli *c);
int policy_set_run(struct cli *c);
int deploy_start_run(struct cli *c);
int deploy_status_run(struct cli *c);
int deploy_watch_run(struct cli *c);
int deploy_show_run(struct cli *c);
int deploy_pause_run(struct cli *c);
int deploy_resume_run(struct cli *c);
int deploy_promote_run(struct cli *c);
int deploy_abort_run(struct cli *c);
int rollback_run(struct cli *c);
int review_run(struct cli *c);
int alert_list_run(struct cli *c);
int alert_test_run(struct cli *c);
int alert_silence_add_run(struct cli *c);
int alert_silence_list_run(struct cli *c);
int alert_silence_remove_run(struct cli *c);
int key_create_run(struct cli *c);
int key_set_run(struct cli *c);
int key_list_run(struct cli *c);
int key_show_run(struct cli *c);
int key_revoke_run(struct cli *c);
int migrate_verb_run(struct cli *c);
int migrate_status_run(struct cli *c);
int completion_run(struct cli *c);
int complete_run(struct cli *c);
int help_run(struct cli *c);
/* Help of one verb, of a group, or of all. */
void help_verb(struct cli *c, const struct verb *v);
void help_group(struct cli *c, const char *group);
void help_man(struct cli *c);
/* History of models and use cases. */
int events_print(struct cli *c, struct path *p);
int current_at(struct cli *c, const char *use_case, const char *at);
void model_print(struct cli *c, const struct json *model);
