/* SPDX-License-Identifier: Apache-2.0 */
/* The table of protocols.  A new one is a file beside this and a row here. */
#include "serving/protocol/protocol.h"

static const struct protocol *const protocols[] = {&protocol_openai,
						   &protocol_anthropic,
						   &protocol_gemini,
						   &protocol_ollama,
						   &protocol_generate,
						   &protocol_openai_completions,
						   &protocol_openai_embeddings,
						   &protocol_gemini_embed_batch,
						   &protocol_ollama_embed};

/* By the end of an endpoint's path, without its query. */
static const struct {
	const char *ending;
	const struct protocol *protocol;
} paths[] = {
	{"/chat/completions", &protocol_openai},
	{"/v1/messages", &protocol_anthropic},
	{":generateContent", &protocol_gemini},
	{":streamGenerateContent", &protocol_gemini},
	{"/api/chat", &protocol_ollama},
	{"/generate", &protocol_generate},
	{"/v1/completions", &protocol_openai_completions},
	{"/v1/embeddings", &protocol_openai_embeddings},
	{":embedContent", &protocol_gemini_embed_batch},
	{":batchEmbedContents", &protocol_gemini_embed_batch},
	{"/api/embed", &protocol_ollama_embed},
};

const struct protocol *protocol_find(struct slice name)
{
	for (size_t i = 0; i < COUNT_OF(protocols); i++) {
		if (slice_eq_str(name, protocols[i]->name))
			return protocols[i];
	}
	return NULL;
}

const struct protocol *protocol_for(const struct protocol *model, const struct protocol *front)
{
	if (front == model || front->of == model)
		return front;
	if (front->embeds)
		return model->embeds ? model : model->gives_vectors;
	return model->embeds ? NULL : model;
}

const struct protocol *protocol_of_path(struct slice path)
{
	ptrdiff_t query = slice_chr(path, '?');

	if (query >= 0)
		path.n = (size_t)query;
	while (path.n && path.p[path.n - 1] == '/')
		path.n--;
	for (size_t i = 0; i < COUNT_OF(paths); i++) {
		if (slice_ends(path, slice_from(paths[i].ending)))
			return paths[i].protocol;
	}
	return NULL;
}
