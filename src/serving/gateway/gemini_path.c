/* SPDX-License-Identifier: Apache-2.0 */
/* What a path of Gemini's protocol says: see gemini_path.h. */
#include "serving/gateway/gemini_path.h"

#include "core/http/url.h"

/* Those that tell a path below /v1/ from one of OpenAI's. */
static const char *const calls[] = {"generateContent", "streamGenerateContent", "countTokens", "embedContent",
				    "batchEmbedContents"};

/* How long the colon is that ends there: some clients escape it. */
static size_t colon_before(struct slice s, size_t at)
{
	if (s.p[at - 1] == ':')
		return 1;
	return at >= 3 && slice_eq_nocase(slice_sub(s, at - 3, 3), SLICE_LIT("%3A")) ? 3 : 0;
}

static struct gemini_path split(struct slice rest)
{
	struct gemini_path p;
	size_t at = rest.n, colon = 0;

	while (at && !(colon = colon_before(rest, at)))
		at--;
	p.model = slice_sub(rest, 0, at - colon);
	p.call = slice_sub(rest, at, rest.n);
	return p;
}

static bool is_call(struct slice s)
{
	for (size_t i = 0; i < COUNT_OF(calls); i++)
		if (slice_eq_str(s, calls[i]))
			return true;
	return false;
}

bool gemini_path_is_call(const struct gemini_path *p)
{
	return p->model.n && is_call(p->call);
}

bool gemini_path_read(struct slice path, struct gemini_path *ret)
{
	const struct slice beta = SLICE_LIT("/v1beta/"), v1 = SLICE_LIT("/v1/"), models = SLICE_LIT("models/");
	bool is_beta = slice_starts(path, beta);
	struct slice rest = slice_sub(path, is_beta ? beta.n : v1.n, path.n);
	struct gemini_path p = {{NULL, 0}, {NULL, 0}};

	if (!is_beta && !slice_starts(path, v1))
		return false;
	if (slice_starts(rest, models))
		p = split(slice_sub(rest, models.n, rest.n));
	if (ret)
		*ret = p;
	return is_beta || gemini_path_is_call(&p);
}

enum gemini_alt gemini_path_alt(const struct http_head *head, struct arena *a)
{
	struct slice alt = query_get(a, head->query, "alt");

	if (!alt.n)
		alt = query_get(a, head->query, "$alt");
	if (slice_eq_str(alt, "sse"))
		return GEMINI_SSE;
	/* "json;enum-encoding=int" asks for more, which an answer may do without */
	return !alt.n || slice_eq_str(alt, "json") || slice_starts(alt, SLICE_LIT("json;")) ? GEMINI_ARRAY
											    : GEMINI_NEITHER;
}

bool gemini_path_wants_array(const struct http_head *head, struct arena *a)
{
	struct gemini_path p;

	return gemini_path_read(head->path, &p) && slice_eq_str(p.call, "streamGenerateContent") &&
	       gemini_path_alt(head, a) == GEMINI_ARRAY;
}
