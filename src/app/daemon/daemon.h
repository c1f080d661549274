/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's parts and who owns them.  Private to app/daemon.
 *
 * Threads: loops[0..n) serve (gateway.h), `control` answers what the control plane answers and handles signals on the
 * main thread, jobs block on the database, the shipper empties the spool, the simulator has a loop of its own.
 */
#pragma once
#include <pthread.h>

#include "app/daemon/config.h"
#include "app/sim/sim.h"
#include "control/admin/admin.h"
#include "control/alerts/alerts.h"
#include "control/alerts/rules.h"
#include "control/history/retention.h"
#include "control/history/shipper.h"
#include "control/lending/budgets.h"
#include "control/lending/lending.h"
#include "control/registry/listener.h"
#include "control/rollout/leader.h"
#include "control/rollout/rollout.h"
#include "control/telemetry/prometheus.h"
#include "control/telemetry/watch.h"
#include "core/base/log.h"
#include "serving/gateway/gateway.h"
#include "serving/provider/secrets.h"

#define DAEMON_MAX_LOOPS 64
#define DAEMON_MAX_CALLS 256 /* of the control plane, at a time */

struct daemon;

struct data_loop {
	struct daemon *daemon;
	struct loop *loop;
	struct http_server *server;
	struct gateway *gateway;
	char name[32];
	bool started; /* has a thread */
	bool drained;
};

/* memory.c: when what is free was given back to the kernel. */
struct daemon_memory {
	struct timer timer;
	uint64_t seen, done_at; /* events, at the last look and when it was done */
	unsigned quiet;		/* looks in a row */
	bool done, under_way;
	bool asked; /* the loops, to give back theirs first */
};

struct daemon {
	struct config config;
	const char *config_path; /* NULL: no file */
	const char *program;	 /* how it was called, for hints */
	bool demo;
	struct log log;
	int64_t start_us;
	struct uuid instance; /* of this process, among all that share the database */
	char address[300];    /* "http://127.0.0.1:8080" */

	struct loop *control;
	struct data_loop loops[DAEMON_MAX_LOOPS + 1]; /* the last used may be the control loop's own listener */
	size_t n_loops;				      /* that serve */
	bool has_control_listener;		      /* then loops[n_loops] is on the control loop */
	bool running;				      /* loops have threads */

	struct sim *sim;
	struct once_table *once, *cache;
	struct gateway_prepare_arg prepare;
	struct secret_rules secrets;		     /* of models; texts of the configuration */
	struct tls_context *client_tls, *server_tls; /* server_tls: NULL for plain HTTP */
	struct spool *spool;
	struct store *store;
	struct registry *registry;
	struct listener *listener; /* NULL: nobody else can change the registry */
	struct listener *leaving;  /* the same, while a job ends it */
	struct shipper *shipper;
	struct rollout *rollout;
	struct lender *lender; /* NULL: nobody else spends of our limits */
	struct budget_lender *budget_lender;
	struct budget_book *budget_book; /* or NULL; outlives all snapshots */
	bool budgets_owed;		 /* what those before it were lent is not settled yet */
	bool budgets_settled;		 /* what it was lent itself is */
	struct retention *retention;
	struct alerts *alerts;
	struct admin admin;
	pthread_mutex_t settings_lock; /* for the pointer: job threads read it */
	struct gateway_settings *settings;
	struct health health;
	struct watch log_watch, guard_watch;
	struct window lookup_window;

	/* the control loop's own */
	uv_signal_t signals[3];
	struct timer health_timer, rollout_timer, leader_timer, lending_timer, budgets_timer, retention_timer,
		alerts_timer;
	int64_t database_ok_ms;		     /* monotonic: when the database answered last */
	struct alert_traffic *alert_traffic; /* GATEWAY_SLOTS */
	bool alerts_sync, alerts_lead;	     /* a job records them; as the leader */
	struct daemon_memory memory;
	struct leader leader;
	struct leader_answer leader_answer; /* the job's, while there is one */
	bool leader_asks;		    /* there is one */
	struct lease rollout_lease; /* what the job may act on; a copy, for the leader's own moves on meanwhile */
	bool rollout_leads;
	struct lease retention_lease; /* what its job may act on */
	bool retention_runs, retention_more;
	int64_t retention_due_ms, retention_next_ms; /* monotonic; 0: at once.  The second is the job's */
	int64_t rollout_next_us;		     /* when the next step ends; 0: none does */
	char rollout_problem[200];		     /* the job's */
	char rollout_shown[200];		     /* what was wrong with the last that ended */
	char lending_problem[200];		     /* the job's */
	bool budgets_run, budgets_asked;	     /* a job lends; a loop wants more of something */
	int64_t budgets_ms;			     /* monotonic: when the last round began */
	char budgets_problem[200];		     /* under its lock */
	pthread_mutex_t budgets_lock;
	size_t n_calls;
	bool stopping;
	bool mending; /* a job reads the registry again, or saves it */
	size_t n_draining;
};

/* start.c: builds everything; on failure what was built is for daemon_free. */
int daemon_start(struct daemon *d, struct err *err);
/* stop.c */
void daemon_stop(struct daemon *d); /* control loop: begins the end */
void daemon_drained_check(struct daemon *d);
void daemon_free(struct daemon *d);
/* reload.c */
int daemon_make_settings(struct daemon *d, const struct config *c, struct gateway_settings **ret, struct err *err);
void daemon_reload(struct daemon *d);
void daemon_mend(
	struct daemon *d); /* control loop: tries the database again when the registry could not be had from it */
/* E_DENIED: it would be open to the world, for there is no key. */
int daemon_check_keys(struct daemon *d, const struct config *c, struct err *err);
/* publish.c */
void daemon_publish(struct snapshot *s, void *daemon);
/* Settings, and the certificate for new connections (NULL: as it is). */
void daemon_publish_settings(struct daemon *d, struct gateway_settings *s, struct tls_context *tls);
/* calls.c: requests that the control plane answers */
void daemon_on_control(struct http_exchange *x, const struct gateway_caller *caller, void *data_loop);
/* observe.c */
void daemon_update_health(struct daemon *d);
/* metrics.c */
int daemon_write_metrics(struct daemon *d, struct buf *out);
/* observe_upstreams.c; s may be NULL */
struct prom_writer;
void daemon_write_upstreams(struct prom_writer *w, const struct snapshot *s);
struct daemon_upstreams {	     /* endpoints of models */
	size_t n, n_shut, n_resting; /* all; by their breakers; because they asked for it (Retry-After) */
	char first[112];	     /* that is shut, for people */
};
void daemon_observe_upstreams(const struct snapshot *s, struct daemon_upstreams *ret);
/* rollout.c */
int daemon_make_rollout(struct daemon *d, struct err *err);
void daemon_watch_rollout(struct daemon *d); /* control loop: from now on deployments move by themselves */
/* lending.c */
int daemon_make_lending(struct daemon *d, struct err *err);
void daemon_watch_lending(struct daemon *d); /* control loop: from now on rates are shared out anew */
void daemon_end_lending(struct daemon *d);   /* any job thread: what was lent is given back */
/* budgets.c */
struct prom_writer;
int daemon_open_budgets(struct daemon *d, struct err *err); /* before anything is served */
void daemon_lend_budgets(struct daemon *d,
			 const struct snapshot *s); /* any thread but a loop's: before s is published */
void daemon_round_budgets(struct daemon *d);	    /* the same */
void daemon_watch_budgets(struct daemon *d);	    /* control loop: from now on, as the loops spend */
void daemon_write_budgets(struct daemon *d, struct prom_writer *w);
struct daemon_budget_figures {
	struct alert_budget *list;
	size_t n;
	struct gateway_budget_list accounts; /* that it borrows from */
};
void daemon_count_budgets(struct daemon *d, int64_t now_us, struct daemon_budget_figures *ret);
void daemon_release_budgets(struct daemon_budget_figures *f); /* one that was never filled is fine */
void daemon_forget_budgets(struct daemon *d);		      /* the last snapshot is gone */
void daemon_close_budgets(struct daemon *d);		      /* the loops have ended */
/* retention.c */
void daemon_watch_retention(struct daemon *d); /* control loop: from now on old records go */
void daemon_set_retention(struct daemon *d);   /* control loop: as the configuration says now */
/* alerts.c */
int daemon_make_alerts(struct daemon *d, struct err *err);
int daemon_check_alerts(struct daemon *d, const struct config *c, struct err *err); /* whether they could be had */
void daemon_configure_alerts(struct daemon *d); /* control loop: as the configuration says now */
void daemon_watch_alerts(struct daemon *d);	/* control loop: from now on figures are judged */
void daemon_observe_alerts(struct daemon *d, int64_t now_us);
void daemon_write_alerts(struct daemon *d, struct prom_writer *w);
/* replicas.c */
int daemon_follow(struct daemon *d, struct err *err); /* what other daemons change serves here too */
void daemon_leave(struct daemon *d);		      /* control loop: no more of it */
void daemon_watch_leader(struct daemon *d);	      /* control loop: from now on it leads, or wants to */
/* Control loop: whether this daemon may do now what only one may; *ret_lease is what its writes are guarded with. */
bool daemon_leads(const struct daemon *d, struct lease *ret_lease);
/* memory.c */
void daemon_watch_memory(struct daemon *d); /* control loop: from now on memory is given back in quiet times */
/* demo.c */
int daemon_seed_demo(struct daemon *d, struct err *err);
void daemon_print_banner(const struct daemon *d, int64_t ready_ms);
/* serve.c */
int serve_main(int argc, char **argv);
