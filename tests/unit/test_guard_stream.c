/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: a text gives the same hits however it is cut, and nothing leaves
 * that a later hit needs.  The generated texts go through the fuzz target,
 * which compares.
 */
#include "guard_text.h"
#include "t.h"

#include "../fuzz/fuzz_guard.c"

static uint32_t draw(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*state >> 33);
}

/* By policy of the fuzz target. */
static const char *const fragments[4][32] = {
	{"a", "b", "ab", " ", "  ", "-", ".", "c", "a b", "b a b", "abab", "\xc3\xa9", "_", "A", "B", "\n", "bb"},
	{"ab", "b",  "a",    "1",   "23", "456", "sk-", "x",   "y", "zz",   "Z", "X",  "$",    "\n",
	 "k",  "kk", "kk\n", "abc", "ac", "q",	 "k=",	"foo", "-", "12-c", " ", "x9", "abba", "sk-ab12"},
	{"4111111111111111",
	 "4111 1111 1111 1111",
	 "4111-1111",
	 "378282246310005",
	 " ",
	 "-",
	 ".",
	 "1",
	 "23",
	 "456",
	 "7890",
	 "@",
	 "x@y.com",
	 "a.b",
	 "com",
	 "+1",
	 "+4915112345678",
	 "(555) ",
	 "234-",
	 "5678",
	 "(212) 555-0123",
	 "123-45-6789",
	 "DE",
	 "89",
	 "DE89 3704 0044 0532 0130 00",
	 "GB82WEST12345698765432",
	 "joe@example.org",
	 "..",
	 "1-212-555-0199",
	 "_",
	 "a"},
	{"ignore",
	 " all previous instructions ",
	 "sk-",
	 "ghp_",
	 "AKIA",
	 "AKIAIOSFODNN7EXAMPLE",
	 "a",
	 "b",
	 "1",
	 " ",
	 "go kill",
	 " yourself",
	 "-----BEGIN",
	 " RSA PRIVATE KEY-----",
	 "x@y.com",
	 "4111111111111111",
	 "eyJhbGciOiJIUzI1NiJ9",
	 ".",
	 "_",
	 "hf_",
	 "123-45-6789",
	 "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH",
	 "-",
	 "\n",
	 "my system prompt",
	 " is ",
	 "xoxb-",
	 "123456789012",
	 "AIza"},
};

static size_t make_text(uint64_t *state, size_t policy, uint8_t *to, size_t max)
{
	size_t n_fragments = 0, n = 2, parts = 1 + draw(state) % (draw(state) % 50 ? 14 : 200);

	while (n_fragments < 32 && fragments[policy][n_fragments])
		n_fragments++;
	to[0] = (uint8_t)(policy | (draw(state) & 4));
	to[1] = (uint8_t)draw(state);
	while (parts--) {
		const char *f = fragments[policy][draw(state) % n_fragments];
		size_t len = strlen(f), times = draw(state) % 30 ? 1 : draw(state) % 90;

		if (draw(state) % 4 == 0)
			len = draw(state) % (len + 1);
		for (; times && n + len < max; times--, n += len)
			memcpy(to + n, f, len);
	}
	return n;
}

TEST(a_text_gives_the_same_hits_however_it_is_cut)
{
	uint64_t state = 1;
	uint8_t text[6000];

	for (int i = 0; i < 6000; i++)
		LLVMFuzzerTestOneInput(text, make_text(&state, (size_t)i % 4, text, sizeof(text)));
}

struct step {
	const char *piece;
	unsigned safe, hits;
};

static const char rules[] =
	"{\"name\":\"t\",\"rules\":["
	"{\"id\":\"m\",\"kind\":\"literal\",\"action\":\"mask\",\"values\":[\"red apple\",\"apple pie recipe\"]},"
	"{\"id\":\"k\",\"kind\":\"pattern\",\"action\":\"mask\",\"values\":[\"sk-[0-9]{2,9}\"]},"
	"{\"id\":\"f\",\"kind\":\"literal\",\"action\":\"flag\",\"values\":[\"long flagged phrase\"]},"
	"{\"id\":\"e\",\"kind\":\"pii\",\"action\":\"flag\",\"values\":[\"email\"]},"
	"{\"id\":\"x\",\"kind\":\"literal\",\"action\":\"block\",\"values\":[\"stop this\"]}]}";

static const struct step story[][8] = {
	/* Rules that flag hold nothing. */
	{{"a long flagged", 14, 0}, {" phrase", 21, 0}, {".", 22, 1}, {" me@here.org", 34, 1}, {NULL, 34, 2}},
	/* What is masked goes once it is whole; what it may grow into waits. */
	{{"a red", 2, 0}, {" apple", 2, 0}, {" pie", 2, 1}, {" x", 17, 1}, {NULL, 17, 1}},
	{{"a red apple pie recipe", 2, 1}, {"!", 23, 1}, {NULL, 23, 1}},
	{{"sk-1", 0, 0}, {"2", 0, 0}, {"3456789", 12, 1}, {"0", 13, 1}, {NULL, 13, 1}},
	/* After a hit that ends the answer nothing behind its start may go. */
	{{"so stop", 3, 0}, {" this", 3, 0}, {" now", 3, 1}, {" and more", 3, 1}, {NULL, 3, 1}},
	{{"sk-12 stop this", 6, 1}, {NULL, 6, 2}},
	{{"", 0, 0}, {NULL, 0, 0}},
};

TEST(a_stream_lets_go_what_is_decided)
{
	struct guard_scratch *s = guard_scratch_new();
	struct guard_policy *p = NULL;

	CHECK_INT(guard_from_json(rules, &p, NULL), 0);
	for (size_t i = 0; i < COUNT_OF(story); i++) {
		struct guard_stream *g = guard_stream_new(p, s, GUARD_OUTPUT);
		const struct step *step = story[i];
		struct guard_result r;
		uint64_t safe;

		guard_result_init(&r);
		for (; step->piece; step++) {
			guard_stream_feed(g, slice_from(step->piece), &r, &safe);
			CHECK_INT(safe, step->safe);
			CHECK_INT(r.n_hits, step->hits);
		}
		guard_stream_end(g, &r, &safe);
		CHECK_INT(safe, step->safe);
		CHECK_INT(r.n_hits, step->hits);
		guard_stream_free(g);
	}
	guard_policy_free(p);
	guard_scratch_free(s);
}

/* A megabyte through one stream: what it keeps is bounded, and what it holds. */
TEST(a_long_stream_never_holds_more_than_4096_bytes)
{
	static const char *const endless[] = {"sk-1", "4111", "a.b", "red  ", "kk-", "\xc3\xa9"};
	struct guard_scratch *s = guard_scratch_new();
	struct guard_policy *p = NULL;

	CHECK_INT(guard_from_json(rules, &p, NULL), 0);
	for (size_t i = 0; i < COUNT_OF(endless); i++) {
		struct guard_stream *g = guard_stream_new(p, s, GUARD_OUTPUT);
		struct guard_result r;
		uint64_t safe = 0, fed = 0;
		char piece[4096];

		for (size_t n = 0; n < sizeof(piece); n++)
			piece[n] = endless[i][n % strlen(endless[i])];
		for (int k = 0; k < 256; k++) {
			guard_result_init(&r);
			guard_stream_feed(g, (struct slice){piece, k % 2 ? 3 : sizeof(piece)}, &r, &safe);
			fed += k % 2 ? 3 : sizeof(piece);
			if (r.overflow)
				break;
			CHECK(fed - safe <= 4096);
		}
		guard_stream_free(g);
	}
	guard_policy_free(p);
	guard_scratch_free(s);
}

TEST(text_behind_the_end_is_not_taken)
{
	struct guard_scratch *s = guard_scratch_new();
	struct guard_policy *p = NULL;
	struct guard_stream *g;
	struct guard_result r;
	uint64_t safe;

	CHECK_INT(guard_from_json(rules, &p, NULL), 0);
	g = guard_stream_new(p, s, GUARD_OUTPUT);
	guard_result_init(&r);
	guard_stream_feed(g, SLICE_LIT("ok"), &r, &safe);
	guard_stream_end(g, &r, &safe);
	guard_stream_feed(g, SLICE_LIT("red apple "), &r, &safe);
	guard_stream_end(g, &r, &safe);
	CHECK_INT(safe, 2);
	CHECK_INT(r.n_hits, 0);
	guard_stream_free(g);
	guard_stream_free(NULL);
	guard_policy_free(p);
	guard_scratch_free(s);
}
