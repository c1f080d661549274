/* SPDX-License-Identifier: Apache-2.0 */
/* The table of providers: which protocol one speaks, where it usually listens, how it wants to be paid attention to. */
#pragma once
#include "serving/protocol/protocol.h"

enum provider_auth {
	PROVIDER_AUTH_NONE,
	PROVIDER_AUTH_BEARER,
	PROVIDER_AUTH_OPTIONAL_BEARER,
	PROVIDER_AUTH_X_API_KEY, /* the key alone, in a header of that name */
	PROVIDER_AUTH_X_GOOG_API_KEY,
};

struct provider {
	const char *name; /* "ollama", "vllm", "openai", "openrouter", "llamacpp", "sim", ... */
	const struct protocol *protocol;
	const char *default_endpoint; /* NULL: configuration.endpoint is required */
	enum provider_auth auth;
	const char *api_key_env; /* where its key is looked for when the configuration names none; or NULL */
	bool simulated;
	bool newer_limit;	    /* its newer models refuse max_tokens: upstream_params.newer_limit */
	bool usage_unasked;	    /* its streams tell usage by themselves, and it refuses to be asked:
				       upstream_params.leave_usage */
	bool chat_only;		    /* its models take chats: /v1/completions is not there, or only for a few of them */
	enum prefill_style prefill; /* how it is told, if it can, that its answer has begun */
	const char *otel_name;	    /* what OpenTelemetry calls it; NULL: the same */
	const char *doc;	    /* one line for `muster model register --help` */
};

extern const struct provider *const providers[];
extern const size_t n_providers;

const struct provider *
provider_find(struct slice name); /* or NULL: then "openai" compatible is assumed if an endpoint is given */

#define PROVIDER_PATH_MAX 512

/* Where and how to call a model: what its configuration, its endpoint's path and its provider say together (DESIGN.md,
 * section 1). */
struct provider_target {
	const struct provider *provider; /* NULL when unknown by name */
	const struct protocol *protocol;
	struct slice endpoint; /* URL without path; absent for a simulated provider without one */
	struct slice path;     /* of requests; what stands before the model, where the protocol has a model_path */
	enum provider_auth auth;
	const char *api_key_env;	    /* default; or NULL */
	bool usage_unasked, newer_limit;    /* see struct provider */
	bool chat_only;			    /* the same, or its endpoint names the call for chats */
	enum prefill_style prefill;	    /* the same */
	char path_space[PROVIDER_PATH_MAX]; /* path may point in here: copy the slice's bytes, not the struct */
};
/* E_INVALID with what to do ("provider 'foo' is not known and configuration.endpoint is missing: ..."). Slices live as
 * long as the inputs. */
int provider_resolve(struct slice provider, const struct model_config *config, struct provider_target *ret,
		     struct err *err);
