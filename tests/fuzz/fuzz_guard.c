/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A text gives the same hits whole and in pieces, and when its policy is asked at
 * every place, and a stream lets nothing go that a later hit of an intervening rule needs.  The first byte of the input
 * picks the policy, the second seeds the cuts, the rest is the text.
 */
#include "guard_text.h"

static const char *const policies[] = {
	"{\"name\":\"literals\",\"rules\":["
	"{\"id\":\"w\",\"kind\":\"literal\",\"action\":\"mask\",\"values\":[\"a\",\"ab\",\"a b\",\"b a "
	"b\",\"abab\",\"-a-\",\"b.\"]},"
	"{\"id\":\"any\",\"kind\":\"literal\",\"action\":\"flag\",\"anywhere\":true,\"values\":[\"ba\",\"aab\",\"b "
	"b\",\"a-\"]},"
	"{\"id\":\"x\",\"kind\":\"literal\",\"action\":\"block\",\"values\":[\"a b a b\",\"bb  bb\"]}]}",

	"{\"name\":\"patterns\",\"rules\":["
	"{\"id\":\"m\",\"kind\":\"pattern\",\"action\":\"mask\",\"values\":[\"ab{2,5}a\",\"\\\\b[0-9]{3,6}\\\\b\",\"sk-"
	"[a-z0-9]{4,12}\"]},"
	"{\"id\":\"b\",\"kind\":\"pattern\",\"action\":\"fallback\",\"values\":[\"(?i)x(y|zz){1,3}$\",\"^ab?c\",\"(?m)^"
	"k{2}$\"]},"
	"{\"id\":\"p\",\"kind\":\"pattern\",\"action\":\"mask\",\"values\":[\"[[:digit:]]{2}-[a-c]\"]},"
	"{\"id\":\"f\",\"kind\":\"pattern\",\"action\":\"flag\",\"values\":[\"q+\",\"k=\\\\S+\\\\b\"]}]}",

	"{\"name\":\"pii\",\"rules\":["
	"{\"id\":\"all\",\"kind\":\"pii\",\"action\":\"mask\",\"values\":[\"card\",\"email\",\"iban\",\"ssn\","
	"\"phone\"]},"
	"{\"id\":\"mail\",\"kind\":\"pii\",\"action\":\"flag\",\"values\":[\"email\"]},"
	"{\"id\":\"num\",\"kind\":\"pii\",\"action\":\"flag\",\"values\":[\"ssn\",\"phone\",\"card\"]}]}",
};

static struct guard_policy *compiled[4], *everywhere[4];
static struct guard_scratch *scratch;

static void prepare(void)
{
	struct err err;
	struct policy policy;
	struct arena a;

	if (scratch)
		return;
	scratch = guard_scratch_new();
	for (size_t i = 0; i < COUNT_OF(policies); i++) {
		if (guard_from_json(policies[i], &compiled[i], &err) ||
		    guard_from_json(policies[i], &everywhere[i], &err)) {
			fprintf(stderr, "%s\n", err.text);
			abort();
		}
	}
	arena_init(&a, 4096, 1u << 20);
	if (guard_default_policy(&a, &policy, &err) || guard_policy_compile(&policy, &compiled[3], &err) ||
	    guard_policy_compile(&policy, &everywhere[3], &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	arena_release(&a);
	for (size_t i = 0; i < COUNT_OF(everywhere); i++)
		guard_ask_everywhere(everywhere[i]);
}

static void die(const char *why, const struct guard_policy *p, struct slice text)
{
	fprintf(stderr, "%s: policy %s, text '" SLICE_FMT "'\n", why, guard_policy_name(p), SLICE_ARG(text));
	abort();
}

/* Copies the piece to its own heap block, so that a read past it is seen. */
static void feed(struct guard_stream *g, struct slice piece, struct guard_result *r, uint64_t *safe)
{
	char *own = malloc(piece.n + 1);

	memcpy(own, piece.p, piece.n);
	guard_stream_feed(g, (struct slice){own, piece.n}, r, safe);
	free(own);
}

/* The scan loses nothing. */
static void compare_places(size_t policy, enum guard_side side, struct slice text)
{
	struct guard_result named, all;
	char want[8192];

	guard_result_init(&named);
	guard_result_init(&all);
	guard_check(compiled[policy], scratch, side, text, &named);
	guard_check(everywhere[policy], scratch, side, text, &all);
	snprintf(want, sizeof(want), "%s", hits_text(everywhere[policy], &all));
	if (named.action != all.action || named.failed != all.failed ||
	    strcmp(want, hits_text(compiled[policy], &named)) != 0)
		die("a place was missed", compiled[policy], text);
}

static void compare(const struct guard_policy *p, enum guard_side side, struct slice text, uint32_t seed)
{
	struct guard_result whole, pieces;
	struct guard_stream *g = guard_stream_new(p, scratch, side);
	uint64_t safe = 0, before = 0;
	char want[8192];

	if (!g)
		return;
	guard_result_init(&whole);
	guard_result_init(&pieces);
	guard_check(p, scratch, side, text, &whole);
	for (size_t i = 0; i < text.n;) {
		size_t n;
		size_t old = pieces.n_hits;

		seed = seed * 1664525 + 1013904223;
		n = 1 + (seed >> 24) % (seed >> 16 & 8 ? 3 : 40);
		feed(g, slice_sub(text, i, n), &pieces, &safe);
		i += n < text.n - i ? n : text.n - i;
		if (safe < before || safe > i)
			die("safe is not monotone", p, text);
		for (size_t k = old; k < pieces.n_hits; k++) {
			if (guard_rule(p, pieces.hit[k].rule).action > GUARD_FLAG && pieces.hit[k].start < before)
				die("let go too much", p, text);
		}
		before = safe;
	}
	{
		size_t old = pieces.n_hits;

		guard_stream_end(g, &pieces, &safe);
		for (size_t k = old; k < pieces.n_hits; k++) {
			if (guard_rule(p, pieces.hit[k].rule).action > GUARD_FLAG && pieces.hit[k].start < before)
				die("let go too much", p, text);
		}
		if (safe < before || (!pieces.overflow && pieces.action < GUARD_FALLBACK && safe != text.n))
			die("held at the end", p, text);
	}
	guard_stream_free(g);
	if (whole.overflow || pieces.overflow) /* which hits are kept depends on when they became certain */
		return;
	if (whole.action != pieces.action || whole.failed || pieces.failed)
		die("actions differ", p, text);
	snprintf(want, sizeof(want), "%s", hits_text(p, &whole));
	if (strcmp(want, hits_text(p, &pieces))) {
		fprintf(stderr, "whole:  %s\npieces: %s\n", want, hits_text(p, &pieces));
		die("hits differ", p, text);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text;

	prepare();
	if (size < 2 || size > 20000)
		return 0;
	text = (struct slice){(const char *)data + 2, size - 2};
	compare_places(data[0] % 4, data[0] & 4 ? GUARD_INPUT : GUARD_OUTPUT, text);
	compare(compiled[data[0] % 4], data[0] & 4 ? GUARD_INPUT : GUARD_OUTPUT, text, data[1]);
	return 0;
}
