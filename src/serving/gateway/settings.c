/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration file says about serving, made ready; and who may call. */
#include "serving/gateway/settings.h"

#include <stdlib.h>

#include "core/base/digest.h"
#include "serving/gateway/series.h"

#define SETTINGS_MAX_BYTES ((size_t)8 << 20)
#define DEFAULT_MAX_ANSWER ((size_t)16 << 20)

static int copy_endpoints(struct gateway_settings *s, const struct gateway_settings_source *src, struct err *err)
{
	const struct gateway_prepare_arg arg = {.tls = src->tls};

	s->endpoints = ARENA_ARRAY(&s->arena, struct settings_endpoint, src->n_endpoints + 1);
	if (!s->endpoints)
		return err_set(err, E_TOOBIG, "too many fallback endpoints: %zu", src->n_endpoints);
	for (size_t i = 0; i < src->n_endpoints; i++) {
		struct settings_endpoint *e = &s->endpoints[i];
		struct model_config config = {0};
		int rc;

		e->use_case = arena_slice(&s->arena, src->endpoints[i].use_case);
		e->url = arena_slice(&s->arena, src->endpoints[i].url);
		config.endpoint = e->url;
		rc = target_init(&s->arena, &e->target,
				 &(struct target_source){SLICE_LIT("generate"), &config, e->use_case, &arg}, err);
		if (rc) {
			err_prefix(err, "fallback.endpoints." SLICE_FMT, SLICE_ARG(e->use_case));
			return rc;
		}
		e->target.slot = gateway_series_slot(
			src->series,
			&(struct gateway_series_labels){e->use_case, SLICE_LIT("endpoint"), SLICE_LIT("endpoint"),
							SLICE_LIT(""), gateway_operation_of(e->target.protocol)});
		e->targets = (struct targets){.list = &e->target, .n = 1};
		s->n_endpoints++;
	}
	return 0;
}

static int copy_keys(struct gateway_settings *s, const struct gateway_settings_source *src, struct err *err)
{
	s->keys = ARENA_ARRAY(&s->arena, struct settings_key, src->n_keys + 1);
	if (!s->keys)
		return err_set(err, E_TOOBIG, "too many keys: %zu", src->n_keys);
	for (size_t i = 0; i < src->n_keys; i++) {
		s->keys[i].name = arena_slice(&s->arena, src->keys[i].name);
		sha256_hex(src->keys[i].secret, s->keys[i].digest);
		(void)map_put(&s->by_digest, (struct slice){s->keys[i].digest, 64},
			      &s->keys[i]); /* of two that are the same the last one counts */
	}
	s->n_keys = src->n_keys;
	return 0;
}

int gateway_settings_new(const struct gateway_settings_source *src, struct gateway_settings **ret, struct err *err)
{
	struct gateway_settings *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		abort();
	s->refs = 1;
	arena_init(&s->arena, 4096, SETTINGS_MAX_BYTES);
	s->timeouts = src->timeouts;
	map_init(&s->by_digest);
	s->asks_for_keys = src->asks_for_keys;
	s->guardrails = src->guardrails;
	s->history = src->history;
	s->max_exchanges = src->max_exchanges;
	s->idempotency_window_ms = src->idempotency_window_ms;
	s->max_answer_bytes = src->max_answer_bytes ? src->max_answer_bytes : DEFAULT_MAX_ANSWER;
	s->fallback_content = arena_slice(&s->arena, src->fallback_content);
	rc = copy_endpoints(s, src, err);
	if (!rc)
		rc = copy_keys(s, src, err);
	if (rc) {
		gateway_settings_unref(s);
		return rc;
	}
	*ret = s;
	return 0;
}

struct gateway_settings *gateway_settings_ref(struct gateway_settings *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void gateway_settings_unref(struct gateway_settings *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	map_release(&s->by_digest);
	arena_release(&s->arena);
	free(s);
}

const struct settings_endpoint *settings_endpoint(const struct gateway_settings *s, struct slice use_case)
{
	for (size_t i = 0; i < s->n_endpoints; i++)
		if (slice_eq(s->endpoints[i].use_case, use_case))
			return &s->endpoints[i];
	return NULL;
}

size_t gateway_settings_n_endpoints(const struct gateway_settings *s)
{
	return s->n_endpoints;
}

struct gateway_endpoint gateway_settings_endpoint_at(const struct gateway_settings *s, size_t i)
{
	return (struct gateway_endpoint){s->endpoints[i].use_case, s->endpoints[i].url};
}

const struct settings_key *settings_key(const struct gateway_settings *s, const char digest[65])
{
	return s->n_keys ? map_get(&s->by_digest, (struct slice){digest, 64}) : NULL;
}
