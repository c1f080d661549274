/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is stored, row by row: one .c file per entity.  Results live in the arena given.  None of these opens a
 * transaction: who needs one (control/registry, control/history) does.
 */
#pragma once
#include "control/store/db.h"
#include "domain/deployment.h"
#include "domain/event.h"
#include "domain/key.h"
#include "domain/record.h"
#include "domain/use_case.h"

#define STORE_PAGE_MAX 1000

/* --- model_registry --- */
struct model_filter { /* absent or -1: any */
	struct slice use_case, provider, name, version;
	int status;
	bool with_archived; /* when status is -1 */
};
int store_model_insert(struct db *db, const struct model *m, struct err *err);
int store_model_get(struct db *db, struct arena *a, const struct uuid *id, struct model *ret,
		    struct err *err); /* E_NOTFOUND */
/* Ordered by use case, then status (current first), then creation, newest first. */
int store_model_list(struct db *db, struct arena *a, const struct model_filter *f, struct model **ret, size_t *ret_n,
		     struct err *err);
int store_model_current(struct db *db, struct arena *a, struct slice use_case, struct model *ret, struct err *err);
int store_model_set_status(struct db *db, const struct uuid *id, enum model_status status, int64_t now_us,
			   struct err *err);
int store_model_set_configuration(struct db *db, const struct uuid *id, struct slice json, int64_t now_us,
				  struct err *err);
int store_model_set_metrics(struct db *db, const struct uuid *id, struct slice json, int64_t now_us, struct err *err);

/* --- use_cases (settings as JSON) --- */
struct use_case_row {
	struct slice name, settings; /* JSON */
	int64_t created_us, updated_us;
};
int store_use_case_put(struct db *db, const struct use_case_row *u, struct err *err);
int store_use_case_get(struct db *db, struct arena *a, struct slice name, struct use_case_row *ret, struct err *err);
int store_use_case_list(struct db *db, struct arena *a, struct use_case_row **ret, size_t *ret_n, struct err *err);

/* --- guardrail_policies (document as JSON) --- */
struct policy_row {
	struct slice name, document;
	int64_t created_us, updated_us;
};
int store_policy_put(struct db *db, const struct policy_row *p, struct err *err);
int store_policy_list(struct db *db, struct arena *a, struct policy_row **ret, size_t *ret_n, struct err *err);
int store_policy_delete(struct db *db, struct slice name, struct err *err);

/* --- api_keys --- */
int store_key_insert(struct db *db, struct arena *a, const struct key *k,
		     struct err *err); /* E_EXISTS: one in use has that name */
/* All there ever were, the oldest first. */
int store_key_list(struct db *db, struct arena *a, struct key **ret, size_t *ret_n, struct err *err);
int store_key_revoke(struct db *db, const struct uuid *id, int64_t now_us,
		     struct err *err); /* E_NOTFOUND: none of that id is in use */
/* Its budgets and its translation; the same. */
int store_key_set_spending(struct db *db, const struct key *k, struct err *err);

/* --- registry_events --- */
struct event_filter {
	struct slice subject, use_case, kind; /* absent: any */
	int64_t since_us, until_us;	      /* 0: no bound */
	struct slice before_id;		      /* page: events older than this id; absent: from the newest */
	size_t limit;
};
int store_event_append(struct db *db, const struct registry_event *e, struct err *err);
int store_event_list(struct db *db, struct arena *a, const struct event_filter *f, struct registry_event **ret,
		     size_t *ret_n, struct err *err); /* newest first */

/* --- model_snapshots: how a use case was served, before it was changed --- */
struct checkpoint_row {
	struct uuid id;
	int64_t created_us;
	struct slice use_case;
	struct uuid model_id;	   /* that was current; nil: none */
	struct uuid deployment_id; /* what it was taken for; nil: a rollback */
	struct slice actor, reason;
	struct slice document; /* JSON: use_case, model, settings, policy, traffic */
};
struct checkpoint_filter {
	struct slice use_case, before_id;
	size_t limit;
};
int store_checkpoint_insert(struct db *db, const struct checkpoint_row *s, struct err *err);
int store_checkpoint_get(struct db *db, struct arena *a, const struct uuid *id, struct checkpoint_row *ret,
			 struct err *err); /* E_NOTFOUND */
int store_checkpoint_list(struct db *db, struct arena *a, const struct checkpoint_filter *f,
			  struct checkpoint_row **ret, size_t *ret_n, struct err *err); /* newest first */

/* --- model_deployments --- */
struct deployment_filter { /* absent: any */
	struct slice use_case, id, id_prefix, before_id;
	bool active;		     /* those that are not finished */
	bool ended;		     /* those that are, by their end */
	int64_t since_us, before_us; /* under way between the two; 0: no bound */
	size_t limit;
};
/* E_EXISTS: the use case has an unfinished one. */
int store_deployment_insert(struct db *db, const struct deployment *d, struct err *err);
/* Writes what deployment_move changed, and the texts.  E_CONFLICT: the row is not the one that was read. */
int store_deployment_update(struct db *db, const struct deployment *d, struct err *err);
int store_deployment_get(struct db *db, struct arena *a, const struct uuid *id, struct deployment *ret,
			 struct err *err); /* E_NOTFOUND */
/* The unfinished one of a use case. E_NOTFOUND. */
int store_deployment_active(struct db *db, struct arena *a, struct slice use_case, struct deployment *ret,
			    struct err *err);
int store_deployment_list(struct db *db, struct arena *a, const struct deployment_filter *f, struct deployment **ret,
			  size_t *ret_n, struct err *err); /* newest first */

/* --- alerts and alert_silences --- */
struct alert_row {
	struct uuid id;
	struct slice rule, fingerprint, instance, use_case, key, severity, state, summary, details; /* empty: none */
	int64_t since_us, fired_us, resolved_us;
	struct slice delivery, delivery_error;
	int64_t delivered_us, seen_us; /* seen: when its daemon last wrote it */
};
struct alert_filter { /* absent: any */
	struct slice state, rule, use_case, instance, before_id;
	size_t limit;
};
/* Inserts it, or writes what changes in the row of that id.  *ret_kept false: another one of that fingerprint fires. */
int store_alert_put(struct db *db, const struct alert_row *a, bool *ret_kept, struct err *err);
int store_alert_list(struct db *db, struct arena *a, const struct alert_filter *f, struct alert_row **ret,
		     size_t *ret_n, struct err *err); /* newest first */
/* Those that fire by a daemon that has not written them since seen_before_us are over: it is gone. */
int store_alert_end_lost(struct db *db, int64_t seen_before_us, int64_t now_us, struct err *err);
/* Those that were over before. */
int store_alert_forget(struct db *db, int64_t resolved_before_us, struct err *err);

struct silence_row {
	struct uuid id;
	struct slice rule, use_case; /* empty: any */
	int64_t created_us, until_us;
	struct slice actor, reason;
};
int store_silence_insert(struct db *db, const struct silence_row *s, struct err *err);
/* Those that end after until_after_us, the newest first; at most a page. */
int store_silence_list(struct db *db, struct arena *a, int64_t until_after_us, struct silence_row **ret, size_t *ret_n,
		       struct err *err);
int store_silence_delete(struct db *db, const struct uuid *id, struct err *err); /* E_NOTFOUND */

/*
 * --- model_historical_logs and guardrails_violations ---
 * The id of a record is a UUIDv7 that Muster made when the record came to it: the order of ids is the order of time,
 * and since_us skips ids that are older by more than a minute (so created_us, which an application may state, is never
 * much later than its id).
 */
/* Inserts the record and its violations; a record that is there already changes nothing (*ret_inserted false). */
int store_log_insert(struct db *db, const struct log_record *r, bool *ret_inserted, struct err *err);
/* The same for many, at half the cost when n is a multiple of 8.  *ret_inserted: how many were not there. */
struct log_writer; /* statements and parameters between calls; one thread's */
struct log_writer *log_writer_new(void);
void log_writer_free(struct log_writer *w);
void log_writer_rest(struct log_writer *w); /* nothing is to be written for a while: gives back memory */
int store_log_insert_many(struct db *db, struct log_writer *w, const struct log_record *list, size_t n,
			  size_t *ret_inserted, struct err *err);
/* A transaction of many such calls, cheaper than one of db_begin_append.  It ends with either of these, whatever rc. */
int store_log_begin(struct db *db, struct log_writer *w, struct err *err);
int store_log_commit(struct db *db, struct log_writer *w, struct err *err);
void store_log_rollback(struct db *db, struct log_writer *w);
struct log_filter {
	struct slice use_case, model;	  /* model: id, name, or name@version */
	struct slice status;		  /* "ok", "error", ...; absent: any */
	int64_t since_us, until_us;	  /* 0: no bound */
	struct slice before_id, after_id; /* page towards older, or (tail) newer; absent: from the newest */
	size_t limit;
	bool with_text; /* prompt, context, output and tool calls too */
};
/* Newest first; with after_id what came into the database after it, in that order, so that who follows misses nothing.
 * Violations are not filled in. */
int store_log_list(struct db *db, struct arena *a, const struct log_filter *f, struct log_record **ret, size_t *ret_n,
		   struct err *err);
/* id: whole, or a unique prefix of at least 6 characters. E_NOTFOUND, or E_CONFLICT naming how many match. With
 * violations. */
int store_log_get(struct db *db, struct arena *a, struct slice id, struct log_record *ret, struct err *err);
int store_log_count(struct db *db, int64_t *ret, struct err *err);

struct violation_row {
	struct uuid id, log_id;
	int64_t created_us;
	struct slice model_id, model_name, use_case;
	struct record_violation v;
};
struct violation_filter {
	struct slice use_case, model, category, severity;
	int64_t since_us, until_us;
	struct slice before_id;
	size_t limit;
};
int store_violation_list(struct db *db, struct arena *a, const struct violation_filter *f, struct violation_row **ret,
			 size_t *ret_n, struct err *err);
