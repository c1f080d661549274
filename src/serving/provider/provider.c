/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of providers, and what a model's configuration comes to.  A provider is a row here and nothing else: code
 * that asks for one by name anywhere else has taken a wrong turn.
 */
#include "serving/provider/provider.h"

#include <stdio.h>

#define ROW static const struct provider

ROW ollama = {"ollama",
	      &protocol_ollama,
	      "http://127.0.0.1:11434",
	      PROVIDER_AUTH_NONE,
	      NULL,
	      .doc = "Ollama, its own /api/chat"};
ROW vllm = {"vllm",
	    &protocol_openai,
	    "http://127.0.0.1:8000",
	    PROVIDER_AUTH_OPTIONAL_BEARER,
	    "VLLM_API_KEY",
	    .prefill = PREFILL_CONTINUE,
	    .doc = "vLLM's server"};
ROW llamacpp = {"llamacpp",
		&protocol_openai,
		NULL,
		PROVIDER_AUTH_OPTIONAL_BEARER,
		"LLAMA_API_KEY",
		.doc = "llama.cpp's llama-server; configuration.endpoint is required (its usual port is our own)"};
ROW lmstudio = {"lmstudio",
		&protocol_openai,
		"http://127.0.0.1:1234",
		PROVIDER_AUTH_NONE,
		NULL,
		.doc = "LM Studio's local server"};
ROW openai = {"openai",		&protocol_openai,    "https://api.openai.com", PROVIDER_AUTH_BEARER,
	      "OPENAI_API_KEY", .newer_limit = true, .chat_only = true,	       .doc = "OpenAI"};
ROW openrouter = {"openrouter",		&protocol_openai,     "https://openrouter.ai/api/v1",
		  PROVIDER_AUTH_BEARER, "OPENROUTER_API_KEY", .doc = "OpenRouter"};
ROW groq = {"groq",
	    &protocol_openai,
	    "https://api.groq.com/openai/v1",
	    PROVIDER_AUTH_BEARER,
	    "GROQ_API_KEY",
	    .chat_only = true,
	    .doc = "Groq"};
ROW mistral = {"mistral",
	       &protocol_openai,
	       "https://api.mistral.ai",
	       PROVIDER_AUTH_BEARER,
	       "MISTRAL_API_KEY",
	       .usage_unasked = true,
	       .chat_only = true,
	       .prefill = PREFILL_PREFIX,
	       .otel_name = "mistral_ai",
	       .doc = "Mistral"};
ROW deepseek = {"deepseek",	    &protocol_openai,  "https://api.deepseek.com", PROVIDER_AUTH_BEARER,
		"DEEPSEEK_API_KEY", .chat_only = true, .prefill = PREFILL_PREFIX,  .doc = "DeepSeek"};
ROW together = {"together",	      &protocol_openai,	  "https://api.together.xyz",
		PROVIDER_AUTH_BEARER, "TOGETHER_API_KEY", .doc = "Together"};
ROW anthropic = {"anthropic",	      &protocol_anthropic, "https://api.anthropic.com", PROVIDER_AUTH_X_API_KEY,
		 "ANTHROPIC_API_KEY", .doc = "Anthropic"};
ROW gemini = {"gemini",
	      &protocol_gemini,
	      "https://generativelanguage.googleapis.com",
	      PROVIDER_AUTH_X_GOOG_API_KEY,
	      "GEMINI_API_KEY",
	      .otel_name = "gcp.gemini",
	      .doc = "Google Gemini"};
ROW generate = {
	"generate",
	&protocol_generate,
	NULL,
	PROVIDER_AUTH_OPTIONAL_BEARER,
	NULL,
	.doc = "any server with POST /generate: {prompt, context, max_tokens, temperature} -> {text, tokens_used}"};
ROW custom = {"custom",
	      &protocol_openai,
	      NULL,
	      PROVIDER_AUTH_OPTIONAL_BEARER,
	      NULL,
	      .prefill = PREFILL_CONTINUE,
	      .doc = "any server that speaks OpenAI's protocol"};
ROW openai_compatible = {
	"openai_compatible",	     &protocol_openai,		 NULL, PROVIDER_AUTH_OPTIONAL_BEARER, NULL,
	.prefill = PREFILL_CONTINUE, .doc = "the same as custom"};
ROW sim = {"sim",
	   &protocol_openai,
	   NULL,
	   PROVIDER_AUTH_NONE,
	   NULL,
	   .simulated = true,
	   .prefill = PREFILL_CONTINUE,
	   .doc = "a simulated model inside Muster, for demos, drills and tests"};

const struct provider *const providers[] = {
	&ollama,   &vllm,      &llamacpp, &lmstudio, &openai, &openrouter,	  &groq, &mistral, &deepseek,
	&together, &anthropic, &gemini,	  &generate, &custom, &openai_compatible, &sim,
};
const size_t n_providers = COUNT_OF(providers);

const struct provider *provider_find(struct slice name)
{
	for (size_t i = 0; i < n_providers; i++) {
		if (slice_eq_str(name, providers[i]->name))
			return providers[i];
	}
	return NULL;
}

/* The known name that is meant, when it is near. */
static const struct provider *nearest(struct slice name)
{
	const struct provider *best = NULL;
	unsigned least = 3;

	for (size_t i = 0; i < n_providers; i++) {
		unsigned d = slice_distance(name, slice_from(providers[i]->name));

		if (d < least) {
			least = d;
			best = providers[i];
		}
	}
	return best;
}

static int no_endpoint(struct slice name, const struct provider *known, struct err *err)
{
	const struct provider *near = known ? NULL : nearest(name);

	if (near)
		return err_set(err, E_INVALID,
			       "provider '" SLICE_FMT
			       "' is not known and configuration.endpoint is missing: did you mean '%s'?",
			       SLICE_ARG(name), near->name);
	return err_set(err, E_INVALID,
		       "provider '" SLICE_FMT "' %s configuration.endpoint is missing: give the model's URL there",
		       SLICE_ARG(name), known ? "has no usual address and" : "is not known and");
}

/* "http://host:port/path?query" -> what stands before the path, and the path (absent when there is none). */
static int split_url(struct slice url, struct slice *ret_origin, struct slice *ret_path, struct err *err)
{
	size_t scheme = slice_starts(url, SLICE_LIT("http://")) ? 7 : slice_starts(url, SLICE_LIT("https://")) ? 8 : 0;
	size_t at = scheme;

	if (!scheme)
		return err_set(err, E_INVALID,
			       "configuration.endpoint '" SLICE_FMT "' must begin with http:// or https://",
			       SLICE_ARG(url));
	for (size_t i = scheme; i < url.n; i++) {
		unsigned char c = (unsigned char)url.p[i];

		if (c <= ' ' || c >= 127 || c == '#' || c == '"' || c == '\\')
			return err_set(err, E_INVALID,
				       "configuration.endpoint holds a character that a URL cannot have (byte %zu)", i);
	}
	while (at < url.n && url.p[at] != '/' && url.p[at] != '?')
		at++;
	*ret_origin = (struct slice){url.p, at};
	if (at == scheme)
		return err_set(err, E_INVALID, "configuration.endpoint '" SLICE_FMT "' names no host", SLICE_ARG(url));
	if (slice_chr(slice_sub(*ret_origin, scheme, at - scheme), '@') >= 0)
		return err_set(
			err, E_INVALID,
			"configuration.endpoint must not hold a user or password: use api_key_env or api_key_file");
	if (at < url.n && url.p[at] == '?')
		return err_set(err, E_INVALID,
			       "configuration.endpoint has a query but no path: write it as http://host/path?query");
	*ret_path = at < url.n ? slice_sub(url, at, url.n - at) : (struct slice){NULL, 0};
	return 0;
}

/* Paths that are only the root of an API, and what is missing after them. */
static const struct {
	const char *ending, *rest;
	const struct protocol *protocol;
} roots[] = {
	{"/v1", "/chat/completions", &protocol_openai},
	{"/v1", "/messages", &protocol_anthropic},
	{"/v1", "/completions", &protocol_openai_completions},
	{"/v1", "/embeddings", &protocol_openai_embeddings},
	{"/api", "/embed", &protocol_ollama_embed},
	{"/api", "/chat", &protocol_ollama},
};

/* Of ".../models/NAME:generateContent" the model and the call are the request's to say. */
static struct slice before_model(struct slice path, const struct protocol *p)
{
	struct slice mark = slice_from(p->model_path);
	size_t at = path.n;

	while (at && !slice_starts(slice_sub(path, at, path.n), mark))
		at--;
	return slice_chr(slice_sub(path, at, path.n), ':') >= 0 ? slice_sub(path, 0, at) : path;
}

/* The root that a path ends in, when protocol (NULL: any) is the one it belongs to; or -1. */
static int root_of(struct slice path, const struct protocol *protocol)
{
	for (size_t i = 0; i < COUNT_OF(roots); i++) {
		if (slice_ends(path, slice_from(roots[i].ending)) && (!protocol || protocol == roots[i].protocol))
			return (int)i;
	}
	return -1;
}

static const struct protocol *protocol_by_path(struct slice path, const struct provider *known)
{
	const struct protocol *by_path = protocol_of_path(path);
	int root;

	if (by_path)
		return by_path;
	if (known && root_of(path, known->protocol) >= 0)
		return known->protocol;
	root = root_of(path, NULL);
	/* "/api" alone is too common a path to say anything by itself */
	if (root >= 0 && roots[root].protocol == &protocol_openai)
		return roots[root].protocol;
	return known ? known->protocol : &protocol_openai;
}

static int choose_protocol(struct slice path, const struct provider *known, const struct model_config *config,
			   const struct protocol **ret, struct err *err)
{
	if (config->protocol.n) {
		*ret = protocol_find(config->protocol);
		if (!*ret)
			return err_set(
				err, E_INVALID,
				"configuration.protocol '" SLICE_FMT
				"' is not spoken: use openai, anthropic, gemini, ollama or generate (of a model that "
				"completes texts alone: openai_completions; that gives vectors alone: "
				"openai_embeddings, gemini_embed_batch or ollama_embed)",
				SLICE_ARG(config->protocol));
		return 0;
	}
	if (known && known->protocol == &protocol_ollama && slice_ends(path, SLICE_LIT("/api/generate")))
		return err_set(err, E_INVALID,
			       "configuration.endpoint ends in /api/generate, which is Ollama's completion API: use "
			       "/api/chat, or leave the "
			       "path out");
	*ret = protocol_by_path(path, known);
	return 0;
}

static int set_path(struct provider_target *t, struct slice path, struct err *err)
{
	ptrdiff_t q = slice_chr(path, '?');
	struct slice query = q < 0 ? SLICE_LIT("") : slice_sub(path, (size_t)q, path.n - (size_t)q);
	struct slice bare = q < 0 ? path : slice_sub(path, 0, (size_t)q);
	int root, n;

	while (bare.n && bare.p[bare.n - 1] == '/')
		bare.n--;
	if (!bare.n && !query.n) {
		t->path = slice_from(t->protocol->default_path);
		return 0;
	}
	if (t->protocol->model_path) {
		t->path = before_model(bare, t->protocol);
		return 0;
	}
	root = root_of(bare, t->protocol);
	if (root < 0) {
		t->path = path;
		return 0;
	}
	n = snprintf(t->path_space, sizeof(t->path_space), SLICE_FMT "%s" SLICE_FMT, SLICE_ARG(bare), roots[root].rest,
		     SLICE_ARG(query));
	if (n < 0 || (size_t)n >= sizeof(t->path_space))
		return err_set(err, E_INVALID, "the path of configuration.endpoint is longer than %zu bytes",
			       sizeof(t->path_space) - 32);
	t->path = (struct slice){t->path_space, (size_t)n};
	return 0;
}

/* An endpoint that was given down to the call is asked nothing else. */
static bool names_chats(struct slice path)
{
	ptrdiff_t query = slice_chr(path, '?');

	return slice_ends(query < 0 ? path : slice_sub(path, 0, (size_t)query), SLICE_LIT("/chat/completions"));
}

int provider_resolve(struct slice provider, const struct model_config *config, struct provider_target *ret,
		     struct err *err)
{
	const struct provider *known = provider_find(provider);
	struct slice url = config->endpoint, path = {NULL, 0};
	int rc;

	*ret = (struct provider_target){.provider = known, .auth = known ? known->auth : PROVIDER_AUTH_OPTIONAL_BEARER};
	if (!url.n && known && known->default_endpoint)
		url = slice_from(known->default_endpoint);
	if (!url.n && !(known && known->simulated))
		return no_endpoint(provider, known, err);
	if (url.n && (rc = split_url(url, &ret->endpoint, &path, err)) < 0)
		return rc;
	rc = choose_protocol(path, known, config, &ret->protocol, err);
	if (rc < 0)
		return rc;
	if (known)
		ret->api_key_env = known->api_key_env;
	/* a key that the configuration names is sent, even to a server that usually wants none */
	if (ret->auth == PROVIDER_AUTH_NONE && (config->api_key_env.n || config->api_key_file.n))
		ret->auth = PROVIDER_AUTH_OPTIONAL_BEARER;
	if (config->prefill && ret->protocol->framing == FRAMING_NONE)
		return err_set(
			err, E_INVALID,
			"configuration.prefill is true, but a request of protocol %s has no place for the beginning of "
			"an answer: leave it out",
			ret->protocol->name);
	ret->usage_unasked = known && known->usage_unasked;
	/* what else is registered as it need not know the newer name */
	ret->newer_limit = known && known->newer_limit &&
			   (!config->endpoint.n || slice_starts(config->endpoint, slice_from(known->default_endpoint)));
	ret->chat_only = (known && known->chat_only) || (config->endpoint.n && names_chats(path));
	ret->prefill = known ? known->prefill : PREFILL_CONTINUE;
	return set_path(ret, path, err);
}
