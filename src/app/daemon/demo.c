/* SPDX-License-Identifier: Apache-2.0 */
/* The demo's use cases, and the first lines that a person sees. */
#include "app/daemon/daemon.h"
#include "core/base/version.h"

static const struct demo_model {
	const char *use_case, *name, *sim;
} demo_models[] = {
	{"foundation_layer", "demo-foundation", "{\"sim\":{\"latency_ms\":20,\"tokens_per_s\":60,\"seed\":1}}"},
	{"customization_layer", "demo-customization", "{\"sim\":{\"latency_ms\":15,\"tokens_per_s\":80,\"seed\":2}}"},
	{"interaction_layer", "demo-interaction", "{\"sim\":{\"latency_ms\":10,\"tokens_per_s\":120,\"seed\":3}}"},
	{"coordination_layer", "demo-coordination", "{\"sim\":{\"latency_ms\":25,\"tokens_per_s\":60,\"seed\":4}}"},
};

static int seed_one(struct daemon *d, const struct demo_model *demo, struct err *err)
{
	static const struct registry_who who = {SLICE_LIT("muster serve --demo"),
						SLICE_LIT("a simulated model for the demo")};
	struct model m = {.name = slice_from(demo->name),
			  .version = SLICE_LIT("1.0"),
			  .use_case = slice_from(demo->use_case),
			  .model_type = SLICE_LIT("simulated"),
			  .provider = SLICE_LIT("sim"),
			  .configuration = slice_from(demo->sim),
			  .metrics = SLICE_LIT("{}"),
			  .status = MODEL_CURRENT};
	int rc = registry_register(d->registry, &m, &who, err);

	return rc == E_EXISTS ? 0 : rc;
}

/* A use case that has models already is left alone. */
int daemon_seed_demo(struct daemon *d, struct err *err)
{
	struct snapshot *s = registry_snapshot(d->registry);
	int rc = 0;

	for (size_t i = 0; !rc && i < COUNT_OF(demo_models); i++)
		if (!s || !snapshot_use_case(s, slice_from(demo_models[i].use_case)))
			rc = seed_one(d, &demo_models[i], err);
	if (s)
		snapshot_unref(s);
	return rc;
}

/* What a command line needs to find a daemon that does not listen where it looks first. */
static void print_where(const struct daemon *d)
{
	if (strcmp(d->address, "http://127.0.0.1:8080") != 0)
		printf("  first export MUSTER_URL=%s\n", d->address);
}

static void print_first_model(const struct daemon *d)
{
	printf("The registry is empty. Register your first model and make it current:\n\n");
	print_where(d);
	printf("  %s model register --name my-model --version 1.0 --use-case foundation_layer \\\n"
	       "      --provider ollama --endpoint http://127.0.0.1:11434 --upstream-model llama3.2\n"
	       "  %s model promote my-model@1.0 --use-case foundation_layer --why \"first model\"\n"
	       "  %s generate foundation \"Hello\"\n\n"
	       "or look around first: %s serve --demo\n",
	       d->program, d->program, d->program, d->program);
}

static void print_next(const struct daemon *d)
{
	printf("  try   curl %s/api/v1/generate -d '{\"layer\":\"foundation\",\"prompt\":\"Hello\"}'\n", d->address);
	print_where(d);
	printf("  see   %s model list\n"
	       "  ask   %s generate foundation \"Who guards the gate?\"\n"
	       "  next  %s model register --help      (your own model: Ollama, vLLM, OpenAI, ...)\n",
	       d->program, d->program, d->program);
}

void daemon_print_banner(const struct daemon *d, int64_t ready_ms)
{
	struct snapshot *s = registry_snapshot(d->registry);
	size_t n_use_cases = s ? s->n_use_cases : 0, n_models = s ? s->n_models : 0;

	if (s)
		snapshot_unref(s);
	printf("muster %s  %s   store %s   %zu use case%s, %zu model%s\n", MUSTER_VERSION, d->address,
	       store_description(d->store), n_use_cases, n_use_cases == 1 ? "" : "s", n_models,
	       n_models == 1 ? "" : "s");
	printf("ready in %lld ms\n\n", (long long)ready_ms);
	if (n_models)
		print_next(d);
	else
		print_first_model(d);
	fflush(stdout);
}
