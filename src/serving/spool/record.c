/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log records as bytes.  What stands in a spool after a crash is read by this file alone: a changed layout needs a new
 * RECORD_FORMAT_VERSION and a reader for the old one.
 */
#include "serving/spool/record.h"

#include <assert.h>
#include <stdint.h>

#include "core/base/copy.h"

#define ABSENT UINT32_MAX /* the length of a slice that is {NULL, 0} */

enum { FLAG_STREAM = 1, FLAG_TOKENS_ESTIMATED = 2, FLAG_GUARD_SKIPPED = 4, FLAG_CACHED = 8, FLAGS_KNOWN = 15 };

/* In the order in which they stand behind the fixed part. */
static const size_t string_offsets[] = {
	offsetof(struct log_record, request_id),    offsetof(struct log_record, model_id),
	offsetof(struct log_record, model_name),    offsetof(struct log_record, use_case),
	offsetof(struct log_record, provider),	    offsetof(struct log_record, caller),
	offsetof(struct log_record, prompt),	    offsetof(struct log_record, context),
	offsetof(struct log_record, output),	    offsetof(struct log_record, parameters),
	offsetof(struct log_record, finish_reason), offsetof(struct log_record, error),
	offsetof(struct log_record, attempts),
};

#define N_STRINGS COUNT_OF(string_offsets)

struct fixed_part { /* no holes: every byte is written */
	uint8_t version, source, status, fallback;
	uint8_t guard_action, flags, n_violations, zero;
	uint8_t id[16];
	int64_t created_us, prompt_tokens, completion_tokens, latency_us, first_token_us;
	int32_t http_status;
	uint32_t string_n[N_STRINGS];
};
static_assert(sizeof(struct fixed_part) == 8 + 16 + 5 * 8 + 4 + 4 * N_STRINGS, "a hole in the fixed part");

struct violation_part {
	uint32_t start, length;
	uint32_t policy_n, rule_n, category_n;
	uint8_t action, severity, side, zero;
};
static_assert(sizeof(struct violation_part) == 24, "a hole in the violation part");

struct cost_part { /* behind the violations, from version 2 on */
	int64_t nano;
	char currency[8]; /* with zeros behind it */
};
static_assert(sizeof(struct cost_part) == 16, "a hole in the cost part");

static const struct slice *string_get(const struct log_record *r, size_t i)
{
	return (const struct slice *)(const void *)((const char *)r + string_offsets[i]);
}

static uint32_t length_of(struct slice s)
{
	return s.p ? (uint32_t)s.n : ABSENT;
}

static char *put(char *out, struct slice s)
{
	if (s.p)
		copy_bytes(out, s.p, s.n);
	return out + (s.p ? s.n : 0);
}

static size_t size_of(struct slice s)
{
	return s.p ? s.n : 0;
}

static size_t n_violations(const struct log_record *r)
{
	return min_size(r->n_violations, RECORD_MAX_VIOLATIONS);
}

size_t record_size(const struct log_record *r)
{
	size_t n =
		sizeof(struct fixed_part) + n_violations(r) * sizeof(struct violation_part) + sizeof(struct cost_part);

	n += sizeof(uint32_t) + size_of(r->tool_calls);

	for (size_t i = 0; i < N_STRINGS; i++)
		n += size_of(*string_get(r, i));
	for (size_t i = 0; i < n_violations(r); i++) {
		const struct record_violation *v = &r->violations[i];

		n += size_of(v->policy) + size_of(v->rule) + size_of(v->category);
	}
	return n;
}

static char *put_violation(char *out, const struct record_violation *v)
{
	struct violation_part part = {
		.start = v->start,
		.length = v->length,
		.policy_n = length_of(v->policy),
		.rule_n = length_of(v->rule),
		.category_n = length_of(v->category),
		.action = (uint8_t)v->action,
		.severity = (uint8_t)v->severity,
		.side = (uint8_t)v->side,
	};

	memcpy(out, &part, sizeof(part));
	out = put(out + sizeof(part), v->policy);
	out = put(out, v->rule);
	return put(out, v->category);
}

static char *put_cost(char *out, const struct money *cost)
{
	struct cost_part part = {.nano = cost->nano};

	memcpy(part.currency, cost->currency, CURRENCY_SIZE);
	memcpy(out, &part, sizeof(part));
	return out + sizeof(part);
}

/* Behind all else, from version 3 on: its length first. */
static void put_calls(char *out, struct slice calls)
{
	uint32_t n = length_of(calls);

	memcpy(out, &n, sizeof(n));
	put(out + sizeof(n), calls);
}

void record_encode(const struct log_record *r, char *out)
{
	struct fixed_part part = {
		.version = RECORD_FORMAT_VERSION,
		.source = (uint8_t)r->source,
		.status = (uint8_t)r->status,
		.fallback = (uint8_t)r->fallback,
		.guard_action = (uint8_t)r->guard_action,
		.flags = (uint8_t)((r->stream ? FLAG_STREAM : 0) | (r->tokens_estimated ? FLAG_TOKENS_ESTIMATED : 0) |
				   (r->guard_skipped ? FLAG_GUARD_SKIPPED : 0) | (r->cached ? FLAG_CACHED : 0)),
		.n_violations = (uint8_t)n_violations(r),
		.created_us = r->created_us,
		.prompt_tokens = r->prompt_tokens,
		.completion_tokens = r->completion_tokens,
		.latency_us = r->latency_us,
		.first_token_us = r->first_token_us,
		.http_status = r->http_status,
	};

	memcpy(part.id, r->id.b, sizeof(part.id));
	for (size_t i = 0; i < N_STRINGS; i++)
		part.string_n[i] = length_of(*string_get(r, i));
	memcpy(out, &part, sizeof(part));
	out += sizeof(part);
	for (size_t i = 0; i < N_STRINGS; i++)
		out = put(out, *string_get(r, i));
	for (size_t i = 0; i < n_violations(r); i++)
		out = put_violation(out, &r->violations[i]);
	out = put_cost(out, &r->cost);
	put_calls(out, r->tool_calls);
}

static bool take(struct slice *in, void *out, size_t n)
{
	if (in->n < n)
		return false;
	memcpy(out, in->p, n);
	in->p += n;
	in->n -= n;
	return true;
}

static bool take_string(struct slice *in, uint32_t n, struct slice *ret)
{
	*ret = (struct slice){NULL, 0};
	if (n == ABSENT)
		return true;
	if (in->n < n)
		return false;
	*ret = (struct slice){in->p, n};
	in->p += n;
	in->n -= n;
	return true;
}

static bool take_violation(struct slice *in, struct record_violation *v)
{
	struct violation_part part;

	if (!take(in, &part, sizeof(part)) || part.action > GUARD_BLOCK || part.severity > GUARD_CRITICAL ||
	    part.side < GUARD_INPUT || part.side > GUARD_BOTH || part.zero)
		return false;
	v->start = part.start;
	v->length = part.length;
	v->action = (enum guard_action)part.action;
	v->severity = (enum guard_severity)part.severity;
	v->side = (enum guard_side)part.side;
	return take_string(in, part.policy_n, &v->policy) && take_string(in, part.rule_n, &v->rule) &&
	       take_string(in, part.category_n, &v->category);
}

/* Nothing was known of a cost before version 2. */
static bool take_cost(struct slice *in, unsigned version, struct money *ret)
{
	struct cost_part part;

	*ret = (struct money){.nano = 0};
	if (version < 2)
		return true;
	if (!take(in, &part, sizeof(part)))
		return false;
	if (!part.currency[0])
		return true;
	ret->nano = part.nano;
	return !part.currency[CURRENCY_SIZE - 1] &&
	       currency_read((struct slice){part.currency, CURRENCY_SIZE - 1}, ret->currency);
}

/* Nothing was told of calls of tools before version 3. */
static bool take_calls(struct slice *in, unsigned version, struct slice *ret)
{
	uint32_t n = ABSENT;

	if (version >= 3 && !take(in, &n, sizeof(n)))
		return false;
	return take_string(in, n, ret);
}

static bool fixed_part_holds(const struct fixed_part *part)
{
	return part->version >= 1 && part->version <= RECORD_FORMAT_VERSION && part->source <= RECORD_APPLICATION &&
	       part->status < RECORD_N_STATUSES && part->fallback <= RECORD_FALLBACK_CONTENT &&
	       part->guard_action <= GUARD_BLOCK && !(part->flags & ~FLAGS_KNOWN) &&
	       part->n_violations <= RECORD_MAX_VIOLATIONS && !part->zero;
}

static void fixed_part_read(const struct fixed_part *part, struct log_record *ret)
{
	memcpy(ret->id.b, part->id, sizeof(part->id));
	ret->created_us = part->created_us;
	ret->source = (enum record_source)part->source;
	ret->status = (enum record_status)part->status;
	ret->fallback = (enum record_fallback)part->fallback;
	ret->guard_action = (enum guard_action)part->guard_action;
	ret->stream = part->flags & FLAG_STREAM;
	ret->tokens_estimated = part->flags & FLAG_TOKENS_ESTIMATED;
	ret->guard_skipped = part->flags & FLAG_GUARD_SKIPPED;
	ret->cached = part->flags & FLAG_CACHED;
	ret->prompt_tokens = part->prompt_tokens;
	ret->completion_tokens = part->completion_tokens;
	ret->latency_us = part->latency_us;
	ret->first_token_us = part->first_token_us;
	ret->http_status = part->http_status;
	ret->n_violations = part->n_violations;
}

int record_decode(struct slice in, struct log_record *ret)
{
	struct fixed_part part;

	if (!take(&in, &part, sizeof(part)) || !fixed_part_holds(&part))
		return E_CORRUPT;
	fixed_part_read(&part, ret);
	for (size_t i = 0; i < N_STRINGS; i++) {
		struct slice *s = (struct slice *)(void *)((char *)ret + string_offsets[i]);

		if (!take_string(&in, part.string_n[i], s))
			return E_CORRUPT;
	}
	for (size_t i = 0; i < ret->n_violations; i++) {
		if (!take_violation(&in, &ret->violations[i]))
			return E_CORRUPT;
	}
	return take_cost(&in, part.version, &ret->cost) && take_calls(&in, part.version, &ret->tool_calls) && !in.n
		       ? 0
		       : E_CORRUPT;
}
