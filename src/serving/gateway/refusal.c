/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read from an answer that is none: see refusal.h.  Providers say the same thing with different statuses and
 * words; every pattern here is one that some provider uses.
 *
 * What would break it: words that a caller can put into an error.  They are looked for where a match opens no breaker,
 * or where a quotation cannot stand.
 */
#include "serving/gateway/refusal.h"

#include "core/json/json.h"

enum outcome refusal_outcome(int status)
{
	switch (status) {
	case 429:
		return OUTCOME_BUSY;
	case 408:
	case 424: /* a part of it failed */
	case 425:
	case 499: /* it believes that we left */
		return OUTCOME_FAULT;
	case 401:
	case 402:
	case 403:
	case 404:
	case 405:
	case 407:
	case 410:
	case 423:
		return OUTCOME_BROKEN;
	case 409:
		return OUTCOME_REFUSED;
	default:
		return status >= 500 ? OUTCOME_FAULT : status < 400 ? OUTCOME_BROKEN : OUTCOME_GOOD;
	}
}

bool refusal_is_too_long(struct slice body)
{
	static const char *const words[] = {
		"context_length_exceeded",
		"context length",
		"context limit",
		"context window",
		"available context size",
		"exceed_context_size",
		"prompt is too long",
		"maximum number of tokens",
		"input is too long",
		"maximum prompt length",
		"too many tokens",
		"`inputs` must have less than", /* Text Generation Inference */
		"`inputs` tokens + `max_new_tokens`",
	};

	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (slice_has_nocase(body, slice_from(words[i])))
			return true;
	return false;
}

bool refusal_is_unsafe(struct slice body)
{
	static const char *const words[] = {"content_filter", "content_policy", "moderation", "flagged"};

	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (slice_has_nocase(body, slice_from(words[i])))
			return true;
	return false;
}

bool refusal_is_own_fault(struct slice body, struct slice message)
{
	static const char *const words[] = {"API key ", "Your credit balance is too low",
					    "This organization has been disabled", "User location is not supported"};

	if (slice_find(body, SLICE_LIT("\"API_KEY_INVALID\"")) >= 0)
		return true;
	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (slice_starts(message, slice_from(words[i])))
			return true;
	return false;
}

/* A number that is a status of a failure; 0: it is none. */
static int status_of(const struct json *code)
{
	bool is_one =
		code && code->type == JSON_NUMBER && code->is_integer && code->integer >= 400 && code->integer < 600;

	return is_one ? (int)code->integer : 0;
}

int refusal_status_inside(struct json_parser *p, struct arena *a, struct slice body)
{
	const struct json *error, *code;
	struct json *root = NULL;
	int status;

	if (!body.n || json_parse_copy(p, a, body, NULL, &root, NULL))
		return 0;
	error = json_get(root, "error");
	if (!error || error->type == JSON_NULL)
		return 0;
	code = error->type == JSON_OBJECT ? json_get(error, "code") : NULL;
	status = status_of(code);
	if (!status && code && code->type == JSON_STRING &&
	    (slice_eq_str(code->str, "content_filter") || slice_eq_str(code->str, "content_policy_violation")))
		status = 400;
	return status || !refusal_is_too_long(body) ? status : 400;
}
