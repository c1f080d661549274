/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The immutable view of registry, use cases and policies that every request
 * reads.  Built by the control plane, reference counted, posted to each loop;
 * also saved on disk, so that a start without a database serves what was served
 * last.  Everything in it lives in its arena.
 */
#pragma once
#include <stdatomic.h>

#include "core/base/map.h"
#include "domain/key.h"
#include "domain/policy.h"
#include "domain/use_case.h"

struct snapshot_model {
	struct model model;
	struct model_config config;
	struct slice id_text;	/* canonical UUID */
	struct slice full_name; /* name@version */
	void *target; /* what the gateway made of it (gateway_prepare): struct targets; its parts are freed through
			 snapshot->free_prepared */
};

#define SNAPSHOT_MAX_CHAIN (1 + USE_CASE_MAX_FALLBACKS)

struct snapshot_policy {
	struct policy policy;
	void *compiled; /* struct guard_policy, by gateway_prepare */
};

struct snapshot_use_case {
	struct use_case settings;
	struct snapshot_model *current; /* NULL: none */
	struct snapshot_model
		*chain[SNAPSHOT_MAX_CHAIN]; /* current (if any), then the fallbacks that exist and may serve */
	size_t n_chain;
	struct snapshot_model *candidate; /* of the deployment that is under way; NULL: none */
	struct uuid deployment_id;
	unsigned share;			/* percent of callers that the candidate serves */
	uint64_t split_seed;		/* another for each deployment: not always the same callers go first */
	struct snapshot_policy *policy; /* NULL: "none" */
	unsigned slot;			/* index for metrics: stable while the process lives */
	void *memory;			/* struct route_memory, by gateway_prepare */
	void *budgets;			/* struct budget_set, by gateway_prepare; NULL: it has none */
	bool unguarded;			/* what it asks of guardrails cannot be had: nothing may leave */
	struct slice current_json;	/* the body that answers GET .../current; absent when none */
};

struct snapshot_deployment { /* one that is under way */
	struct uuid id;
	struct slice use_case;
	struct uuid model_id;
	unsigned share;
};

/* An entry of the registry that cannot be used.  It is named by a model's id, or a policy's or use case's name. */
enum snapshot_fault_kind {
	SNAPSHOT_NO_FAULT,
	SNAPSHOT_BAD_MODEL,
	SNAPSHOT_BAD_POLICY,
	SNAPSHOT_BAD_USE_CASE,
	SNAPSHOT_N_FAULTS,
};
struct snapshot_fault {
	enum snapshot_fault_kind kind;
	char name[300];
};
const char *snapshot_fault_name(enum snapshot_fault_kind kind);
/* Which entry an error is about; f may be NULL. */
void snapshot_blame(struct snapshot_fault *f, enum snapshot_fault_kind kind, struct slice name);

/* One that a snapshot goes without, so that all others serve. */
struct snapshot_left_out {
	enum snapshot_fault_kind kind;
	bool replaced;	       /* by the version that served before */
	bool is_current;       /* a model that its use case would be served by */
	struct slice name;     /* as in a fault */
	struct slice use_case; /* of a model */
	struct slice text;     /* what is wrong with it: names it as people do */
};

struct snapshot_key {
	struct key key;
	void *limits;  /* how much of its rates is left, by gateway_prepare; outlives the snapshot */
	void *budgets; /* struct budget_set, by gateway_prepare; NULL: it has none */
};

struct snapshot {
	_Atomic unsigned refs;
	uint64_t generation; /* grows with every publication of this process */
	int64_t built_us;
	struct arena arena;
	struct snapshot_use_case *use_cases;
	size_t n_use_cases;
	struct snapshot_model *models; /* every model that is not archived */
	size_t n_models;
	struct snapshot_policy *policies;
	size_t n_policies;
	struct snapshot_deployment *deployments;
	size_t n_deployments;
	struct map by_use_case; /* name -> snapshot_use_case */
	struct map by_model; /* "name@version" and "name" -> the one that serves: current before testing before others,
				then newest */
	struct map by_model_id;	   /* id text -> snapshot_model */
	struct snapshot_key *keys; /* every API key that is not revoked */
	size_t n_keys;
	struct snapshot_left_out *left_out;
	size_t n_left_out;
	struct snapshot_fault fault; /* set by who prepares it, when that fails */
	bool asks_for_keys;	     /* there was a key once: who has none is refused, though all be revoked */
	struct map by_key_digest;    /* digest -> snapshot_key */
	void (*free_prepared)(struct snapshot *s); /* or NULL */
};

/* What a snapshot is made from: rows as the store gives them. They are copied. */
struct snapshot_source {
	const struct model *models; /* any status: archived ones are left out */
	size_t n_models;
	const struct use_case *use_cases; /* settings; a use case that only models name gets defaults */
	size_t n_use_cases;
	const struct policy *policies; /* "default" is added by the caller when the store has none */
	size_t n_policies;
	const struct snapshot_deployment *deployments; /* at most one per use case; of a model that is not there: no
							  effect */
	size_t n_deployments;
	const struct key *keys; /* revoked ones are left out */
	size_t n_keys;
	bool asks_for_keys;			  /* even when keys is empty */
	const struct snapshot_left_out *left_out; /* what is not among all these */
	size_t n_left_out;
	struct snapshot_fault *fault; /* or NULL: set when one entry is at fault for an error */
};

/* A use case gets the slot that slot_of says (NULL: its index). E_INVALID names the row that does not parse. */
int snapshot_build(const struct snapshot_source *src, unsigned (*slot_of)(struct slice use_case, void *arg), void *arg,
		   struct snapshot **ret, struct err *err);
struct snapshot *snapshot_ref(struct snapshot *s); /* any thread */
void snapshot_unref(struct snapshot *s);	   /* any thread; frees at the last */

/* Request-time lookups: no allocation, no lock. NULL when absent. A layer's short name finds its use case. */
const struct snapshot_use_case *snapshot_use_case(const struct snapshot *s, struct slice name);
const struct snapshot_model *snapshot_model(const struct snapshot *s, struct slice name_or_id);
/*
 * Whether the candidate is to serve this caller.  The hash of the key stands still while the share grows, so a caller
 * who has come to the new model stays there.
 */
bool snapshot_splits_off(const struct snapshot_use_case *u, struct slice key);
const struct snapshot_left_out *snapshot_left_out(const struct snapshot *s, enum snapshot_fault_kind kind,
						  struct slice name);
/* Whether what would be served could not be judged as it has to be.  u NULL: by the policy "default". */
bool snapshot_is_unguarded(const struct snapshot *s, const struct snapshot_use_case *u);
const struct snapshot_key *snapshot_key(const struct snapshot *s, const char digest[KEY_DIGEST_SIZE]);
/* The closest name of a use case or model, for "did you mean"; absent when nothing is close. */
struct slice snapshot_nearest(const struct snapshot *s, struct slice name);

/* JSON of the sources on disk: written to a temporary file, synced, renamed.  Loading gives what snapshot_build gave.
 */
int snapshot_save(const struct snapshot *s, const char *path, struct err *err);
int snapshot_load(const char *path, unsigned (*slot_of)(struct slice use_case, void *arg), void *arg,
		  struct snapshot **ret, struct err *err);
