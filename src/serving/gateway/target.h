/* SPDX-License-Identifier: Apache-2.0 */
/* A model made ready to be called: where, in which protocol, with which head.  Immutable; lives as long as its snapshot
 * or settings. */
#pragma once
#include "core/http/client.h"
#include "serving/provider/provider.h"

struct upstream_memory;

struct target {
	struct http_origin origin;
	const struct protocol *protocol;
	struct slice upstream_model;
	const struct json *parameters;
	struct slice head;	       /* request line and every header but Content-Length and those of the request */
	struct slice stream_head;      /* the same of a request that streams: its path may be another */
	struct http_timeouts timeouts; /* 0: the use case's, or the settings' */
	bool prefill;		       /* it goes on from the beginning of an answer */
	enum prefill_style prefill_style;
	bool usage_unasked;	      /* its streams tell usage by themselves, and it refuses to be asked */
	bool newer_limit;	      /* upstream_params.newer_limit */
	unsigned slot;		      /* in the counters: series.h */
	struct target_series *series; /* slots of its other calls, or NULL */
	bool chat_only;		      /* completions of texts are asked of it as chats */
	bool denied;		      /* it is missing because its configuration names a secret that it may not have */
	struct slice missing;	      /* why it cannot be called ("environment variable X is not set"), or absent */
	struct upstream_memory *memory; /* how it answered lately; NULL: not kept */
};

/* The endpoints of one model: what snapshot_model.target points to. */
struct targets {
	struct target *list;
	size_t n;
	enum model_balance balance;
	bool no_breaker;
	int64_t context_tokens; /* 0: not known */
	struct price price;
};

/* In which slot what is asked of it in `back` is counted. */
unsigned target_slot(const struct target *t, const struct protocol *back);
/* Its own slot, and how those of its other calls are found: when they are made first.  s NULL: the last slot is all. */
struct gateway_series;
struct gateway_series_labels;
int target_count_in(struct arena *a, struct target *t, struct gateway_series *s,
		    const struct gateway_series_labels *labels);
/* What it is spoken to in, for a caller of front; NULL: it cannot give what is asked. */
const struct protocol *target_speaks(const struct target *t, const struct protocol *front);
/* The head of a request in what target_speaks said. */
struct slice target_head(struct arena *a, const struct target *t, const struct protocol *back, bool stream);
/* A head whose path ends in `ending` with another call in its place, before any query; otherwise as it is. */
struct slice target_other_call(struct arena *a, struct slice head, const char *ending, const char *call);

struct gateway_prepare_arg;
struct target_source {
	struct slice provider;
	const struct model_config *config;
	struct slice model_name;	       /* the name upstream when the configuration gives none */
	const struct gateway_prepare_arg *sim; /* NULL: no simulator, and the usual secrets */
};
/* Fills *ret; strings go to the arena.  A key that is not there is not an error: ret->missing says so when it is
 * called. */
int target_init(struct arena *a, struct target *ret, const struct target_source *source, struct err *err);
