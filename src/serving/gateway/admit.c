/* SPDX-License-Identifier: Apache-2.0 */
/* The door: who sent this, whether it may be asked, and whether it is too much.  A refusal says what to do about it. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "serving/gateway/exchange.h"
#include "serving/gateway/limits.h"

static const struct log gateway_log = {.module = "gateway"};

static const char *key_problem_text(struct arena *a, enum access_problem problem, const struct gateway_caller *c)
{
	char at[CLOCK_ISO_SIZE];

	switch (problem) {
	case ACCESS_FINE:
		break;
	case ACCESS_NO_KEY:
		return "An API key is needed: send 'Authorization: Bearer KEY' (muster: set MUSTER_API_KEY). An admin "
		       "makes one with: muster key create --name NAME --role client --why ...";
	case ACCESS_UNKNOWN_KEY:
		return "This API key is not valid: it is mistyped, or it was revoked. Send 'Authorization: Bearer KEY' "
		       "with "
		       "one that is (muster: set MUSTER_API_KEY). An admin makes one with: muster key create --name "
		       "NAME --role client --why ...";
	case ACCESS_EXPIRED_KEY:
		return arena_printf(a,
				    "The API key of '" SLICE_FMT
				    "' expired at %s. An admin makes one with: muster key create --name NAME --role "
				    "%s --why ...",
				    SLICE_ARG(c->name), clock_iso(c->key->key.expires_us, at), key_role_name(c->role));
	}
	return NULL;
}

static bool refuse_key(struct gateway *g, struct http_exchange *x, enum access_problem problem,
		       const struct gateway_caller *c)
{
	static const char *const codes[] = {[ACCESS_NO_KEY] = "missing_api_key",
					    [ACCESS_UNKNOWN_KEY] = "invalid_api_key",
					    [ACCESS_EXPIRED_KEY] = "expired_api_key"};
	const char *text = key_problem_text(&x->arena, problem, c);

	counter_add(&g->stats.unauthorized, 1);
	respond_plain_error(x, &(struct api_error){.status = 401,
						   .message = slice_from(text ? text : "An API key is needed."),
						   .type = "authentication_error",
						   .code = codes[problem]});
	return false;
}

/* Headers of a 429: Retry-After in whole seconds, and what is left. */
static bool refuse_rate(struct gateway *g, struct http_exchange *x, struct limit_verdict v,
			const struct gateway_caller *c)
{
	bool tokens = v.by == LIMITED_BY_TOKENS;
	int64_t wait_s = (v.wait_ms + 999) / 1000;
	struct http_header h[1 + LIMIT_HEADERS];
	const char *text, *wait;
	size_t n = 0;

	counter_add(&g->stats.rate_limited, 1);
	text = arena_printf(&x->arena,
			    "Rate limit reached for the key '" SLICE_FMT "': %lld %s per minute. Try again in %lld s.",
			    SLICE_ARG(c->name),
			    (long long)(tokens ? c->key->key.tokens_per_minute : c->key->key.requests_per_minute),
			    tokens ? "tokens" : "requests", (long long)wait_s);
	wait = arena_printf(&x->arena, "%lld", (long long)wait_s);
	if (wait)
		h[n++] = (struct http_header){SLICE_LIT("Retry-After"), slice_from(wait)};
	n += limits_headers(c->key, loop_now_ms(g->loop), &x->arena, h + n);
	respond_plain_error_with(x,
				 &(struct api_error){.status = 429,
						     .message = slice_from(text ? text : "Rate limit reached."),
						     .type = tokens ? "tokens" : "requests",
						     .code = "rate_limit_exceeded"},
				 h, n);
	return false;
}

/* Ten a second of each loop: the counter has them all, and a line says how many were left out. */
static void log_refusal(const struct gateway *g, const struct http_exchange *x, const struct gateway_caller *c)
{
	static _Thread_local struct log_limit limit;

	if (!log_limit_pass(&limit, loop_now_ms(g->loop)))
		return;
	log_warn(&gateway_log, "refused: " SLICE_FMT " " SLICE_FMT " by " SLICE_FMT " (%s)",
		 SLICE_ARG(slice_sub(x->head.method_name, 0, 16)), SLICE_ARG(slice_sub(x->head.path, 0, 200)),
		 SLICE_ARG(c->name), key_role_name(c->role));
	if (limit.n_dropped)
		log_warn(&gateway_log, "%u more were refused before it", limit.n_dropped);
	limit.n_dropped = 0;
}

static bool refuse_caller(struct gateway *g, struct http_exchange *x, const struct gateway_caller *c,
			  const struct api_error *why)
{
	counter_add(&g->stats.forbidden, 1);
	log_refusal(g, x, c);
	respond_plain_error(x, why);
	return false;
}

static bool refuse_role(struct gateway *g, struct http_exchange *x, const struct gateway_caller *c, enum key_role least)
{
	const char *text = arena_printf(&x->arena,
					"The key '" SLICE_FMT "' has the role %s, but this takes %s: use a key of that "
					"role, or ask an admin for one.",
					SLICE_ARG(c->name), key_role_name(c->role), key_role_name(least));

	return refuse_caller(
		g, x, c,
		&(struct api_error){.status = 403,
				    .message = slice_from(text ? text : "The key's role does not allow it."),
				    .type = "permission_error",
				    .code = "role_not_allowed"});
}

const char *admit_use_case_text(struct arena *a, const struct gateway_caller *caller, struct slice use_case)
{
	const struct key *k = caller->key ? &caller->key->key : NULL;
	const char *text;
	struct buf list;

	buf_init_arena(&list, a, 8192);
	for (size_t i = 0; k && i < k->n_use_cases; i++)
		(void)buf_printf(&list, "%s" SLICE_FMT, i ? ", " : "", SLICE_ARG(k->use_cases[i]));
	text = arena_printf(
		a, "The key '" SLICE_FMT "' may not ask about use case '" SLICE_FMT "': it is for " SLICE_FMT ".",
		SLICE_ARG(caller->name), SLICE_ARG(slice_sub(use_case, 0, USE_CASE_MAX)),
		SLICE_ARG(slice_sub(buf_slice(&list), 0, 2000)));
	return text ? text : "The key is not for this use case.";
}

static bool refuse_scope(struct gateway *g, struct http_exchange *x, const struct gateway_caller *c)
{
	const struct key *k = &c->key->key;
	const char *text =
		arena_printf(&x->arena,
			     "The key '" SLICE_FMT "' is for some use cases only: add ?use_case= with one of "
			     "them, such as " SLICE_FMT ".",
			     SLICE_ARG(c->name), SLICE_ARG(k->use_cases[0]));

	return refuse_caller(g, x, c,
			     &(struct api_error){.status = 403,
						 .message = slice_from(text ? text : "The key is not for this."),
						 .type = "permission_error",
						 .param = "use_case",
						 .code = "use_case_not_allowed"});
}

/*
 * Browsers send simple requests for any page to any host, and name the page's own in Origin.  Pages of this machine are
 * fine, and so are programs with a scheme of their own ("tauri://", "app://"), which no page of the web has.
 */
static bool is_local_origin(struct slice origin)
{
	struct slice scheme = origin, host;
	ptrdiff_t at = slice_find(origin, SLICE_LIT("://"));

	if (at < 0) /* "null": a page that hides where it comes from */
		return false;
	scheme.n = (size_t)at;
	host = slice_sub(origin, scheme.n + 3, origin.n);
	if (!slice_eq_nocase(scheme, SLICE_LIT("http")) && !slice_eq_nocase(scheme, SLICE_LIT("https")))
		return true;
	at = slice_starts(host, SLICE_LIT("[")) ? slice_chr(host, ']') + 1 : slice_chr(host, ':');
	host = slice_sub(host, 0, at > 0 ? (size_t)at : host.n);
	return slice_eq_nocase(host, SLICE_LIT("localhost")) || slice_eq(host, SLICE_LIT("127.0.0.1")) ||
	       slice_eq(host, SLICE_LIT("[::1]")) ||
	       (host.n > 10 && slice_eq_nocase(slice_sub(host, host.n - 10, 10), SLICE_LIT(".localhost")));
}

/* Who has a key may come from where he likes: a page does not have it. */
static bool refuse_origin(struct gateway *g, struct http_exchange *x, const struct gateway_caller *c,
			  struct slice origin)
{
	const char *text =
		arena_printf(&x->arena,
			     "This daemon asks for no API key, so it takes nothing from web pages of other hosts, such "
			     "as '" SLICE_FMT "'. Make a key (muster key create --name NAME --role client --why ...) "
			     "and send it, or leave the Origin "
			     "header out.",
			     SLICE_ARG(slice_sub(origin, 0, 200)));

	return refuse_caller(g, x, c,
			     &(struct api_error){.status = 403,
						 .message = slice_from(text ? text : "This origin is not allowed."),
						 .type = "permission_error",
						 .param = "Origin",
						 .code = "origin_not_allowed"});
}

bool admit(struct gateway *g, struct http_exchange *x, struct gateway_caller *ret)
{
	enum access_problem problem =
		access_authenticate(g->snapshot, g->settings, &x->head, loop_wall_us(g->loop), ret);
	struct limit_verdict v;
	struct slice origin;

	if (access_is_open(x->head.path))
		return true;
	if (problem)
		return refuse_key(g, x, problem, ret);
	origin = ret->by_key ? (struct slice){NULL, 0} : http_header(&x->head, "origin");
	if (origin.n && !is_local_origin(origin))
		return refuse_origin(g, x, ret, origin);
	v = limits_take(ret->key, loop_now_ms(g->loop));
	if (v.by)
		return refuse_rate(g, x, v, ret);
	if (ret->role < KEY_ADMIN) { /* who may do everything */
		enum key_role least = access_least_role(x->head.method, x->head.path);

		if (ret->role < least)
			return refuse_role(g, x, ret, least);
	}
	return access_allows_control(ret, g->snapshot, &x->head, &x->arena) || refuse_scope(g, x, ret);
}
