/* SPDX-License-Identifier: Apache-2.0 */
/* What the codecs of this directory share: walking a caller's members, reading an upstream's, and what a translation
 * drops. */
#pragma once
#include "serving/protocol/protocol.h"

#define KEY_IS(node, lit) ((node)->key.n == sizeof(lit) - 1 && !memcmp((node)->key.p, (lit), sizeof(lit) - 1))

/* Texts to judge, in the order of the body: whoever replaces some goes through it once. */
struct texts {
	struct chat_text *t;
	size_t n, cap;
};
int texts_add(struct arena *a, struct texts *list, struct slice text, struct slice raw); /* 0 or E_TOOBIG */
int texts_join(struct arena *a, const struct texts *list, struct slice *ret);		 /* one a line; 0 or E_TOOBIG */

/* --- front: a caller's body --- */

struct front {
	struct arena *a;
	struct chat_request *r;
	const char **ret_param;
	struct err *err;
	struct texts judged;
	bool has_max_completion_tokens;
};

/* Reads one member that is there and is not null.  Sets *f->ret_param when the member's own name does not say enough.
 */
struct front_member {
	const char *name;
	int (*read)(struct front *f, const struct json *v);
};
#define FRONT_MAX_MEMBERS 32

/*
 * Calls the reader of each member that stands in the table.  A member of the table that is given twice is refused: we
 * would judge one and the upstream might obey the other.  Members that are not in the table are nobody's business here.
 */
int front_walk(struct front *f, const struct json *root, const struct front_member *table, size_t n);
int front_model(struct front *f, const struct json *v);
int front_stream(struct front *f, const struct json *v);
int front_max_tokens(struct front *f, const struct json *v);
int front_temperature(struct front *f, const struct json *v);
int front_too_big(struct front *f); /* E_TOOBIG */
/* Adds a text of the caller's to what is judged; empty ones say nothing. */
int front_judge(struct front *f, const struct json *string);
/* E_INVALID "NAME must be WANTED, not a TYPE". */
int front_wrong_type(struct front *f, const struct json *v, const char *wanted);

/* --- messages --- */

/* Fills f->r->messages from an array of messages; *ret_param and the error name the message and its member. */
int messages_read(struct front *f, const struct json *v);
/* Sets prompt (the text of messages_prompt_index) and context (the messages before it). */
int messages_set_prompt(struct front *f);
/* [{"role","content"}...] of n messages. */
void messages_write(struct json_writer *w, const struct chat_message *messages, size_t n);
/* The last user message, or the last message when there is none.  There is at least one message. */
size_t messages_prompt_index(const struct chat_request *r);

/* --- back: an upstream's body --- */

/* A parsed copy of a text, and where the root began in the original. */
struct wire_doc {
	const struct json *root;
	const char *original;
};
/* E_INVALID, E_TOOBIG.  what: "answer", "event", for the error. */
int wire_parse(struct arena *a, struct json_parser *jp, struct slice text, struct wire_doc *ret, struct err *err);
/* The bytes of a node in the original. */
struct slice wire_raw(const struct wire_doc *d, const struct json *node);
/* Like "prompt_tokens": 0 when absent, negative or no number. */
int64_t wire_count(const struct json *v);
/* The message of an error body in any of the shapes that upstreams use, or absent. */
struct slice wire_error_message(const struct json *root);
struct slice wire_decode_error(struct arena *a, struct json_parser *jp, struct slice body);
/* {"prompt_tokens","completion_tokens","total_tokens"} -> ret, when v is an object that says so. */
void wire_read_usage(const struct json *v, struct chat_usage *ret);
void wire_write_usage(struct json_writer *w, const struct chat_usage *u);
/* 0, or E_INVALID when the reason means that the upstream failed ("error", "abort"). */
int wire_finish(struct slice reason, enum chat_finish *ret);

/* --- translation --- */

static inline bool wire_is_string(const struct json *v)
{
	return v && v->type == JSON_STRING;
}

static inline bool wire_has_text(const struct json *v)
{
	return v && v->type == JSON_STRING && v->str.n > 0;
}
/* Whether the request says it, so that the model's default does not apply.  Both names of max_tokens are one. */
bool request_names(const struct chat_request *r, struct slice parameter);
/* The request's own sampling parameters, under OpenAI's names or Ollama's. */
void request_write_parameters(struct json_writer *w, const struct chat_request *r, const char *max_tokens_name);
void dropped_add(struct dropped_params *d, struct slice name);
/* Every member of the caller's body that is not null and does not stand in carried[], and every part of a message that
 * is not text. */
void dropped_of_request(const struct chat_request *r, const char *const *carried, size_t n_carried,
			struct dropped_params *d);

/* --- openai, in two files --- */

int openai_decode_request(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			  const char **ret_param, struct err *err);
int openai_encode_answer(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m);
int openai_encode_event(struct buf *out, const struct chat_event *e, const struct answer_meta *m, bool first);
int openai_encode_error(struct buf *out, const struct api_error *e);
int openai_encode_stream_error(struct buf *out, const struct api_error *e);
