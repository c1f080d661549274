/* SPDX-License-Identifier: Apache-2.0 */
/* Where and how a model is called: provider, endpoint and protocol together. */
#include "serving/provider/provider.h"
#include "unit/protocol_util.h"

static const struct {
	const char *provider, *endpoint, *protocol;
	const struct protocol *want; /* NULL: refused */
	const char *origin, *path;   /* or the error */
} cases[] = {
	{"ollama", NULL, NULL, &protocol_ollama, "http://127.0.0.1:11434", "/api/chat"},
	{"ollama", "http://localhost:8001/generate", NULL, &protocol_generate, "http://localhost:8001", "/generate"},
	{"ollama", "http://127.0.0.1:4511", NULL, &protocol_ollama, "http://127.0.0.1:4511", "/api/chat"},
	{"ollama", "http://127.0.0.1:4511/", NULL, &protocol_ollama, "http://127.0.0.1:4511", "/api/chat"},
	{"ollama", "http://h:1/v1", NULL, &protocol_openai, "http://h:1", "/v1/chat/completions"},
	{"ollama", "http://h:1/api", NULL, &protocol_ollama, "http://h:1", "/api/chat"},
	{"ollama", "http://h:1/api/chat", NULL, &protocol_ollama, "http://h:1", "/api/chat"},
	{"ollama", "http://h:1/api/generate", NULL, NULL, "use /api/chat", NULL},
	{"ollama", "http://h:1/api/generate", "generate", &protocol_generate, "http://h:1", "/api/generate"},
	{"openai", NULL, NULL, &protocol_openai, "https://api.openai.com", "/v1/chat/completions"},
	{"groq", NULL, NULL, &protocol_openai, "https://api.groq.com", "/openai/v1/chat/completions"},
	{"openrouter", NULL, NULL, &protocol_openai, "https://openrouter.ai", "/api/v1/chat/completions"},
	{"vllm", "https://h/base/v1/", NULL, &protocol_openai, "https://h", "/base/v1/chat/completions"},
	{"vllm", "https://h/v1?key=1", NULL, &protocol_openai, "https://h", "/v1/chat/completions?key=1"},
	{"vllm", "https://h/deployments/x/chat/completions?api-version=1", NULL, &protocol_openai, "https://h",
	 "/deployments/x/chat/completions?api-version=1"},
	{"vllm", "https://h/odd/path", NULL, &protocol_openai, "https://h", "/odd/path"},
	{"vllm", "https://h/api", NULL, &protocol_openai, "https://h", "/api"},
	{"vllm", "https://h", "ollama", &protocol_ollama, "https://h", "/api/chat"},
	{"vllm", "https://h", "soap", NULL, "configuration.protocol 'soap' is not spoken", NULL},
	{"custom", "http://h", NULL, &protocol_openai, "http://h", "/v1/chat/completions"},
	{"custom", NULL, NULL, NULL, "configuration.endpoint is missing", NULL},
	{"generate", "http://h", NULL, &protocol_generate, "http://h", "/generate"},
	{"sim", NULL, NULL, &protocol_openai, "", "/v1/chat/completions"},
	{"sim", "http://127.0.0.1:9", NULL, &protocol_openai, "http://127.0.0.1:9", "/v1/chat/completions"},
	{"mine", "http://h", NULL, &protocol_openai, "http://h", "/v1/chat/completions"},
	{"mine", "http://h/generate", NULL, &protocol_generate, "http://h", "/generate"},
	{"mine", NULL, NULL, NULL, "provider 'mine' is not known and configuration.endpoint is missing", NULL},
	{"olama", NULL, NULL, NULL, "did you mean 'ollama'?", NULL},
	{"vllm", "h:8000", NULL, NULL, "must begin with http:// or https://", NULL},
	{"vllm", "ftp://h", NULL, NULL, "must begin with", NULL},
	{"vllm", "http://", NULL, NULL, "names no host", NULL},
	{"vllm", "http:///v1", NULL, NULL, "names no host", NULL},
	{"vllm", "http://u:p@h/v1", NULL, NULL, "user or password", NULL},
	{"vllm", "http://h/a b", NULL, NULL, "a character that a URL cannot have", NULL},
	{"vllm", "http://h/a\r\nX: y", NULL, NULL, "a character that a URL cannot have", NULL},
	{"vllm", "http://h/#x", NULL, NULL, "a character that a URL cannot have", NULL},
	{"vllm", "http://h?x=1", NULL, NULL, "has a query but no path", NULL},
};

TEST(the_configuration_the_path_and_the_provider_decide_in_this_order)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct model_config config = {.endpoint = slice_from(cases[i].endpoint),
					      .protocol = slice_from(cases[i].protocol)};
		struct provider_target t;
		int rc = provider_resolve(slice_from(cases[i].provider), &config, &t, &b.err);

		CHECK_INT(rc, cases[i].want ? 0 : E_INVALID);
		if (rc < 0) {
			CHECK_HAS(b.err.text, cases[i].origin);
			continue;
		}
		CHECK(t.protocol == cases[i].want);
		CHECK_SLICE(&b, t.endpoint, cases[i].origin);
		CHECK_SLICE(&b, t.path, cases[i].path);
	}
	bench_done(&b);
}

TEST(a_path_at_its_limit_fits_and_one_past_it_does_not)
{
	char url[PROVIDER_PATH_MAX + 64];
	struct provider_target t;
	struct err err;

	for (int over = 0; over < 2; over++) {
		/* "/aaa" + "/v1" + "/chat/completions" + NUL */
		int n_a = PROVIDER_PATH_MAX - 1 - 1 - 3 - 17 + over;
		struct model_config config;

		memset(url, 'a', sizeof(url));
		memcpy(url, "http://h/", 9);
		memcpy(url + 9 + n_a, "/v1", 4);
		config = (struct model_config){.endpoint = slice_from(url)};
		CHECK_INT(provider_resolve(SLICE_LIT("vllm"), &config, &t, &err), over ? E_INVALID : 0);
	}
}

TEST(keys_are_sent_where_they_are_wanted)
{
	struct model_config config = {.endpoint = SLICE_LIT("http://h")};
	struct provider_target t;

	CHECK_INT(provider_resolve(SLICE_LIT("openai"), &config, &t, NULL), 0);
	CHECK_INT(t.auth, PROVIDER_AUTH_BEARER);
	CHECK_STR(t.api_key_env, "OPENAI_API_KEY");
	CHECK(!t.newer_limit); /* somebody else's server */
	CHECK_INT(provider_resolve(SLICE_LIT("openai"), &(struct model_config){.prefill = false}, &t, NULL), 0);
	CHECK(t.newer_limit);
	CHECK_INT(provider_resolve(SLICE_LIT("ollama"), &config, &t, NULL), 0);
	CHECK_INT(t.auth, PROVIDER_AUTH_NONE);
	CHECK(!t.api_key_env && !t.usage_unasked);
	config.api_key_env = SLICE_LIT("K");
	CHECK_INT(provider_resolve(SLICE_LIT("ollama"), &config, &t, NULL), 0);
	CHECK_INT(t.auth, PROVIDER_AUTH_OPTIONAL_BEARER);
	CHECK_INT(provider_resolve(SLICE_LIT("mine"), &config, &t, NULL), 0);
	CHECK_INT(t.auth, PROVIDER_AUTH_OPTIONAL_BEARER);
	CHECK(!t.provider);
	CHECK_INT(provider_resolve(SLICE_LIT("mistral"), &config, &t, NULL), 0);
	CHECK(t.usage_unasked);
}

TEST(the_table_is_sound)
{
	for (size_t i = 0; i < n_providers; i++) {
		const struct provider *p = providers[i];
		struct model_config config = {0};
		struct provider_target t;

		CHECK(provider_find(slice_from(p->name)) == p);
		CHECK(p->doc && p->protocol);
		CHECK_INT(provider_resolve(slice_from(p->name), &config, &t, NULL),
			  p->default_endpoint || p->simulated ? 0 : E_INVALID);
	}
	CHECK(!provider_find(SLICE_LIT("")) && !provider_find(SLICE_LIT("nobody")));
}
