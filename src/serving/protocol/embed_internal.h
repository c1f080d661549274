/* SPDX-License-Identifier: Apache-2.0 */
/* What the codecs for embeddings share: embed.c. */
#pragma once
#include "serving/protocol/protocol_internal.h"

/* --- front --- */

/* f->r asks for vectors of n texts at most, which embed_add adds one by one. */
int embed_begin(struct front *f, size_t n);
void embed_add(struct front *f, struct slice text);
/* Numbers of tokens in place of a text. */
void embed_add_tokens(struct front *f, const struct json *tokens);
/* A string that is a whole input: judged, and added. */
int embed_add_string(struct front *f, const struct json *string);
int embed_dimensions(struct front *f, const struct json *v);
/* The request that has been read: what it is logged as, and what is judged. */
int embed_finish(struct front *f, struct chat_request *ret);
/* E_INVALID when a translation would ask for other vectors than these: of tokens, or of more than text. */
int embed_translatable(struct front *f);

/* --- back --- */

/* Where an answer has its vectors. */
struct vector_shape {
	const char *list, *one;	   /* members: an array of items, a single item; either may be NULL */
	const char *in_item;	   /* the member of an item that is its vector; NULL: the item is */
	const char *const *labels; /* members that hold no words, NULL at the end */
	/* Where the tokens are counted: a member, in another or (NULL) in the root. */
	const char *count_in, *count;
};

#define EMBED_REST_MAX 24

/* The members of an answer that are no vectors. */
struct embed_rest {
	struct {
		struct slice key;
		const struct json *value;
	} m[EMBED_REST_MAX];
	size_t n;
};

/* ret: vectors, judged and model. */
struct embed_source {
	struct arena *a;
	struct json_parser *jp;
	struct slice body;
};
int embed_decode(const struct embed_source *from, const struct vector_shape *shape, struct chat_answer *ret,
		 struct embed_rest *rest, struct err *err);
const struct json *embed_rest_get(const struct embed_rest *rest, const char *name); /* or NULL */
/* The same for an answer whose shape says where its tokens are counted. */
int embed_decode_counted(const struct embed_source *from, const struct vector_shape *shape, struct chat_answer *ret,
			 struct err *err);

/* The members of a request that say the model and the texts. */
void embed_write_texts(struct json_writer *w, const struct chat_embed *e, struct slice model);
/* A vector as a JSON array, or as a JSON string in base64.  E_INVALID: it cannot be written so. */
int embed_write_numbers(struct json_writer *w, const struct chat_vector *v);
int embed_write_base64(struct json_writer *w, const struct chat_vector *v);
