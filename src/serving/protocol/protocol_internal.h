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
int front_top_p(struct front *f, const struct json *v);
int front_seed(struct front *f, const struct json *v);
/* Whether a number is a whole one, also as 10.0 or 1e1: which, in *ret. */
bool front_whole(const struct json *v, int64_t *ret);
int front_make_stop(struct front *f, size_t n); /* room for n stop sequences; 0 or E_TOOBIG */
int front_stop(struct front *f, const struct json *v);
int front_too_big(struct front *f);		  /* E_TOOBIG */
int front_bad(struct front *f, const char *what); /* E_INVALID "NAME what" */
/* Adds a text of the caller's to what is judged; empty ones say nothing. */
int front_judge(struct front *f, const struct json *string);
int front_judge_all(struct front *f, const struct json *v); /* every string in it; the parser bounds the depth */
/* E_INVALID "NAME must be WANTED, not a TYPE". */
int front_wrong_type(struct front *f, const struct json *v, const char *wanted);

/* --- messages --- */

/* Fills f->r->messages from an array of messages; *ret_param and the error name the message and its member. */
int messages_read(struct front *f, const struct json *v);
/* Sets prompt (the text of messages_prompt_index) and context (the messages before it). */
int messages_set_prompt(struct front *f);
/* The same where the system prompt (or NULL) stands beside the messages: it is the first of them in context. */
int messages_set_prompt_beside(struct front *f, const struct json *system);
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
/* The id of a tool call; one that is made when the upstream gave none: n is its number. */
void wire_write_call_id(struct json_writer *w, const char *key, struct slice id, const struct answer_meta *m,
			unsigned n);
/* Whether a text is one JSON object, which may be nested as deeply as a writer can write. */
bool wire_is_object(struct slice text);
/* Arguments of a tool, which a model wrote as text, as a JSON object.  What is none stands in its member "arguments".
 */
void wire_write_object(struct json_writer *w, struct slice text);
/* The same in one line, as an event is. */
void wire_write_object_line(struct buf *out, struct slice text);
/* A call in one line: head is all of it before its arguments, which are called key and end its second level. */
void wire_write_call(struct json_writer *w, struct slice head, const char *key, struct slice arguments);
/*
 * JSON text that is walked one level at a time, without a tree.  Values may be nested 64 deep; strings are looked at no
 * closer than their end.
 */
struct scan {
	const char *p, *end;
	bool fresh;   /* nothing of the open level has been read */
	char closing; /* its bracket */
};
bool scan_enter(struct scan *s, char bracket); /* '{' or '[' */
/* The next item, or member (its name without quotes, as it stands): 1; 0: that was all; E_INVALID. */
int scan_item(struct scan *s, struct slice *ret);
int scan_member(struct scan *s, struct slice *ret_key, struct slice *ret);
bool scan_is_over(struct scan *s); /* nothing but space follows */
/* 0, or E_INVALID when the reason means that the upstream failed ("error", "abort"). */
int wire_finish(struct slice reason, enum chat_finish *ret);
/* The same, as callers understand it: who is to call tools waits for calls, whatever the upstream calls its end. */
enum chat_finish wire_finish_of(enum chat_finish said, bool calls);

/* --- translation --- */

static inline bool wire_is_string(const struct json *v)
{
	return v && v->type == JSON_STRING;
}

/* A member that is a string, or absent. */
struct slice wire_text_in(const struct json *obj, const char *name);

static inline bool wire_has_text(const struct json *v)
{
	return v && v->type == JSON_STRING && v->str.n > 0;
}
/* Whether the request says it, so that the model's default does not apply.  Both names of max_tokens are one. */
bool request_names(const struct chat_request *r, struct slice parameter);
/* Its details; empty ones when there are none. */
const struct chat_details *request_details(const struct chat_request *r);
/* Whose the i-th message is where a system prompt stands beside the messages: the last of nothing but system prompts is
 * the user's, for a conversation has to begin with something. */
enum chat_role request_role(const struct chat_request *r, size_t i);
bool request_says(const struct chat_request *r, enum chat_param param);
/* The function of a call that a result may name by the call's id alone. */
struct slice request_name_of_call(const struct chat_request *r, const struct chat_part *result);
/* The request's own sampling parameters, under OpenAI's names or Ollama's. */
void request_write_parameters(struct json_writer *w, const struct chat_request *r, const char *max_tokens_name);
/* "name": the value as the caller wrote it, when the caller says it.  For what has one form everywhere. */
void request_write_said(struct json_writer *w, const struct chat_request *r, enum chat_param param, const char *name);
/* The model's defaults for what the request does not say; members in ours (NULL at its end) are never taken. */
void request_write_defaults(struct json_writer *w, const struct chat_request *r, const struct json *parameters,
			    const char *const *ours);
void dropped_add(struct dropped_params *d, struct slice name);
void dropped_param(struct dropped_params *d, const struct chat_request *r, enum chat_param param);
void dropped_part(struct dropped_params *d, const struct chat_part *p);
/*
 * All that a back cannot carry: members that nobody else knows, parameters outside of carries (CHAT_CARRIES), and parts
 * of messages whose kind (1u << CHAT_PART_X) is not in parts.
 */
void dropped_of_request(const struct chat_request *r, unsigned carries, unsigned parts, struct dropped_params *d);

/* --- details of a request --- */

/*
 * A member of the caller's body, and what becomes of it.  param: what it says (CHAT_PARAMS: nothing that a back could
 * drop).  read may be NULL: decode_request has read it, or its value is taken as it stands.
 */
struct detail_member {
	const char *name;
	enum chat_param param;
	int (*read)(struct front *f, const struct json *v);
};
/* Makes f->r->details; members that are not in the table are named there as unknown. */
int details_walk(struct front *f, const struct detail_member *table, size_t n);
int details_unknown(struct front *f, struct slice name);
void details_unsay(struct front *f, enum chat_param param);
/* Name, description and strict of a tool; nameless: the error when it has no name. */
int details_tool(struct front *f, const struct json *v, struct chat_tool *t, const char *nameless);

struct parts {
	struct chat_part *p;
	size_t n, cap;
};
struct chat_part *parts_add(struct arena *a, struct parts *list, enum chat_part_kind kind); /* NULL: too big */
int parts_put(struct front *f, struct parts *list, enum chat_part_kind kind, struct chat_part part);
/* A model thinks before it speaks, whatever the order of the members. */
void parts_reasoning_first(struct chat_part *parts, size_t n);
/* "data:image/png;base64,..." into media_type and data. */
bool part_data_url(struct slice url, struct chat_part *p);

/*
 * Where calls of tools need no ids and results go by the function's name: elsewhere both need an id.  Calls without one
 * are numbered; a result belongs to the first call of its name, or when it has none to the first, that has no result.
 */
#define CALL_IDS_MAX 64
struct call_ids {
	struct slice id[CALL_IDS_MAX], name[CALL_IDS_MAX]; /* of the calls of one message; id is absent once answered */
	size_t n;
	unsigned n_calls;
};
struct slice call_ids_add(struct arena *a, struct call_ids *c, struct slice id, struct slice name); /* its id */
struct slice call_ids_of_result(struct call_ids *c, struct slice name); /* the name when there is no such call */

/* --- events --- */

struct chat_event *events_add(struct arena *a, struct chat_events *list, enum chat_event_type type); /* NULL: too big */
int events_say(struct arena *a, struct chat_events *list, const struct chat_event *event);	     /* 0 or E_TOOBIG */
/* Of a payload: adds an event for each string that is in none of its events and is no label.  0 or E_TOOBIG. */
int events_cover(struct arena *a, const struct wire_doc *doc, struct chat_events *list);
bool answer_calls(const struct chat_answer *answer); /* a tool */
/* Text, parts and judged of an answer from the events of its message. */
int answer_of_events(struct arena *a, const struct chat_events *list, struct chat_answer *ret); /* 0 or E_TOOBIG */

struct responses_items;
void responses_items_free(struct responses_items *items); /* NULL is fine */

/* --- openai, in several files --- */

int openai_decode_request(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			  const char **ret_param, struct err *err);
int openai_encode_answer(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m);
int openai_encode_event(struct encode_state *s, struct buf *out, const struct chat_event *e,
			const struct answer_meta *m);
int openai_encode_error(struct buf *out, const struct api_error *e);
int openai_encode_stream_error(struct buf *out, const struct api_error *e);
int openai_decode_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err);
int openai_read_tool_choice(struct front *f, const struct json *v);
int openai_read_effort(struct front *f, const struct json *v);
/* The parts of messages that have a node in OpenAI's form. */
int openai_message_parts(struct front *f, struct chat_message *messages, size_t n);
/* Definitions of tools, which Ollama has in the same form. */
int openai_read_tools(struct front *f, const struct json *v);
void openai_write_tools(struct json_writer *w, const struct chat_details *d);
int openai_encode_request(struct buf *out, const struct chat_request *r, const struct upstream_params *p,
			  struct dropped_params *dropped);
int openai_decode_answer(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			 struct err *err);
int openai_decode_event(struct decode_state *s, struct arena *a, struct json_parser *jp, struct slice payload,
			struct chat_events *ret, struct err *err);
/* The same of completions: a choice has its text itself, in answers and in events. */
int openai_decode_completion(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			     struct err *err);
int openai_decode_completion_event(struct decode_state *s, struct arena *a, struct json_parser *jp,
				   struct slice payload, struct chat_events *ret, struct err *err);
int openai_choices(struct front *f, const struct json *v);	  /* "n" */
int openai_stream_options(struct front *f, const struct json *v); /* "stream_options" */
void openai_write_stream(struct json_writer *w, const struct upstream_params *p);
