/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data plane of one loop: it takes requests from the HTTP server, finds what serves them, calls it, judges what
 * goes in and out, answers, and leaves a record in the spool.  It reads the snapshot and the settings it was last
 * given, and nothing else: no line here can reach a database.
 *
 * exchange.c is the file to read first.
 */
#pragma once
#include "core/base/uuid.h"
#include "core/http/client.h"
#include "core/http/server.h"
#include "serving/gateway/access.h"
#include "serving/gateway/stats.h"
#include "serving/snapshot/snapshot.h"
#include "serving/spool/spool.h"

struct gateway;
struct gateway_settings;
struct gateway_series;

/* What the configuration file says about serving.  Everything is copied. */
struct gateway_endpoint {
	struct slice use_case, url;
};
struct gateway_key {
	struct slice name, secret;
};
struct gateway_settings_source {
	struct http_timeouts timeouts;		  /* where neither model nor use case says */
	struct slice fallback_content;		  /* empty: an error instead */
	const struct gateway_endpoint *endpoints; /* hardcoded: what serves when no model does */
	size_t n_endpoints;
	struct gateway_series *series;	/* or NULL; as in gateway_prepare_arg */
	struct tls_context *tls;	/* the same */
	const struct gateway_key *keys; /* of auth.key_file: they may do everything */
	size_t n_keys;
	bool asks_for_keys; /* where there are none at all, nobody may call; else everybody */
	bool guardrails, history;
	int64_t idempotency_window_ms; /* how long the answer to an Idempotency-Key is kept; 0: it is not looked at */
	int64_t max_exchanges;	       /* under way at once in this daemon; 0: any number */
	size_t max_answer_bytes;       /* an answer that is held whole; 0: 16 MiB */
};
int gateway_settings_new(const struct gateway_settings_source *src, struct gateway_settings **ret, struct err *err);
struct gateway_settings *gateway_settings_ref(struct gateway_settings *s);
void gateway_settings_unref(struct gateway_settings *s); /* any thread */
size_t gateway_settings_n_endpoints(const struct gateway_settings *s);
struct gateway_endpoint gateway_settings_endpoint_at(const struct gateway_settings *s, size_t i);

/* Compiles what requests need of a snapshot: targets of models, guardrail policies. The simulator's address goes into
 * models of provider sim. Control plane; fits struct registry_hooks with a struct gateway_prepare_arg. */
struct secret_rules;
struct gateway_prepare_arg {
	const struct secret_rules *secrets; /* which keys models may have; NULL: the usual ones */
	const char *sim_host;
	uint16_t sim_port;		    /* 0: no simulator runs: models of provider sim cannot serve */
	struct gateway_policy_cache *cache; /* or NULL */
	struct gateway_series *series;	    /* or NULL: all models are counted together */
	struct gateway_limits *limits;	    /* or NULL: every snapshot begins with full rates */
	struct gateway_budgets *budgets;    /* or NULL: nothing is bounded by a budget */
	struct gateway_memory *memory;	    /* or NULL: every snapshot begins without knowing its upstreams */
	struct tls_context *tls;	    /* the clients', made ready when an upstream asks for it; or NULL */
};
struct gateway_memory *gateway_memory_new(void); /* of upstreams, from one snapshot to the next */
void gateway_memory_free(struct gateway_memory *m);
struct gateway_limits *gateway_limits_new(void); /* rates of keys, from one snapshot to the next */
void gateway_limits_free(struct gateway_limits *l);
struct gateway_series *gateway_series_new(void); /* which model is counted where: serving/gateway/series.h */
void gateway_series_free(struct gateway_series *s);
/*
 * Rates that several daemons share: this one spends of each the part that it was lent.  Control plane; the changes come
 * from one thread at a time.
 */
#define GATEWAY_WHOLE INT64_C(-1)
struct key_limits;
struct gateway_rate {
	struct key_limits *of; /* a reference, until gateway_rates_free */
	bool is_tokens;
	char key[UUID_STR_SIZE];
	int64_t per_minute, share, missing_us;
	int64_t asked; /* since the last list, with those that were refused */
	bool refused;
};
struct share_part;
/* Every rate that a key has; malloc'd. */
struct gateway_rate *gateway_rates_list(struct gateway_limits *l, int64_t now_ms, size_t *ret_n);
void gateway_rates_free(struct gateway_rate *list, size_t n);
int64_t gateway_rate_missing_us(const struct gateway_rate *r, int64_t now_ms);
void gateway_rate_set(const struct gateway_rate *r, int64_t share);
/* The bucket gets more (missing: microseconds), and spends at share: what was spent of it stays spent. */
void gateway_rate_join(const struct gateway_rate *r, int64_t share, struct share_part more, int64_t now_ms);
/* Keys that come from now on begin with a part of 1 / divisor, 0: with the whole. */
void gateway_limits_begin_with(struct gateway_limits *l, unsigned divisor);
/*
 * Budgets of keys and use cases: accounts that outlive the snapshots, of which the loops spend what the control plane
 * lends them.  ask: called on a loop when one of them runs low, and not again before gateway_budgets_heard.
 */
struct budget_account;
struct budget_book;
/* book: what is spent is counted in it, and it is there as long as snapshots are; or NULL. */
struct gateway_budgets *gateway_budgets_new(struct budget_book *book, void (*ask)(void *arg), void *arg);
void gateway_budgets_free(struct gateway_budgets *b);
/* Amounts are from now on as the snapshot says; true: more is to be lent, or less. */
bool gateway_budgets_see(struct gateway_budgets *b, const struct snapshot *s);
/* All of them, each with a reference; malloc'd.  Those at ret->list[n_used...] no snapshot has any more. */
struct gateway_budget_list {
	struct budget_account **list;
	size_t n, n_used;
};
void gateway_budgets_heard(struct gateway_budgets *b); /* a round begins */
void gateway_budgets_list(struct gateway_budgets *b, struct gateway_budget_list *ret);
void gateway_budgets_list_release(struct gateway_budget_list *l);
/* It has been settled: whoever wants it again begins anew. */
void gateway_budgets_forget(struct gateway_budgets *b, struct budget_account *a);
/* Keeps compiled policies from one snapshot to the next. */
struct gateway_policy_cache *gateway_policy_cache_new(void);
void gateway_policy_cache_free(struct gateway_policy_cache *c);
int gateway_prepare(struct snapshot *s, void *prepare_arg, struct err *err);

struct once_table *gateway_once_new(void); /* answers that serve again: once.h */
void gateway_once_free(struct once_table *t);

struct gateway_options {
	struct once_table *once;	 /* shared by the loops; NULL: Idempotency-Key is not looked at */
	struct once_table *cache;	 /* the same for use cases with a cache; NULL: no answer serves again */
	struct gateway_budgets *budgets; /* shared by the loops; NULL: there are none */
	struct loop *loop;
	struct spool *spool;
	unsigned writer; /* of the spool */
	struct http_client_options client;
	/* Requests that the control plane answers. It has to call http_reply on this loop, now or later. */
	void (*control)(struct http_exchange *x, const struct gateway_caller *caller, void *arg);
	void *control_arg;
};
struct gateway *gateway_new(const struct gateway_options *o);
void gateway_free(struct gateway *g);
void gateway_give_back(struct gateway *g); /* on the loop: what it keeps for the next requests */
/* On the loop's thread: what requests from now on see. Both are borrowed: references are taken. */
void gateway_set_snapshot(struct gateway *g, struct snapshot *s);
void gateway_set_settings(struct gateway *g, struct gateway_settings *s);
/* For http_server_new. */
void gateway_on_request(struct http_exchange *x, void *gateway);
void gateway_on_refused(struct http_exchange *x, int status, const char *why, void *gateway);
/* Any thread. */
const struct gateway_stats *gateway_stats(const struct gateway *g);
const struct http_client_stats *gateway_client_stats(const struct gateway *g);
