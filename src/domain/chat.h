/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chat exchange in no particular wire format: what callers ask, what models
 * answer, and the events of a streamed answer.  Codecs in serving/protocol turn
 * bytes into these and back.
 */
#pragma once
#include "core/base/slice.h"
#include "core/json/json.h"

enum chat_role { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT, CHAT_TOOL };

struct chat_message {
	enum chat_role role;
	struct slice text;	 /* all its text parts, joined by newlines; may be empty */
	bool has_other;		 /* parts that are not text (images, audio, tool calls) */
	const struct json *node; /* the message in the caller's body; NULL when made by us */
};

/* A text that stands in a body, where it stands, so that it can be judged and replaced. */
struct chat_text {
	struct slice text; /* decoded */
	struct slice raw;  /* its token, quotes included */
};

#define CHAT_MAX_STOP 16

struct chat_request {
	struct slice model;	/* as the caller wrote it; absent for layer/use_case requests */
	struct slice model_raw; /* the token in the body that says so, quotes included, for splicing; absent if none */
	struct slice use_case;	/* /api/v1/generate: use_case, or the one that layer names; absent otherwise */
	struct slice layer;	/* as the caller wrote it */
	struct chat_message *messages;
	size_t n_messages;
	struct slice prompt; /* text of the last user message; of the last one when none is a user's */
	struct slice
		context; /* raw JSON: the caller's context object, or the messages before the prompt; absent if none */
	bool stream;
	bool include_usage; /* the caller wants usage at the end of the stream */
	bool has_max_tokens, has_temperature, has_top_p, has_seed;
	int64_t max_tokens, seed;
	double temperature, top_p;
	struct slice stop[CHAT_MAX_STOP];
	size_t n_stop;
	struct chat_text *judged; /* every text that guardrails judge: all but system and developer messages */
	size_t n_judged;
	int64_t n_choices;	 /* asked for; 1 unless the caller says */
	const struct json *root; /* the whole body */
	struct slice body;	 /* its bytes */
};

enum chat_finish {
	CHAT_FINISH_NONE,
	CHAT_FINISH_STOP,
	CHAT_FINISH_LENGTH,
	CHAT_FINISH_TOOL_CALLS,
	CHAT_FINISH_CONTENT_FILTER
};

struct chat_usage {
	bool known;
	bool estimated; /* counted by us: the upstream did not say */
	int64_t prompt_tokens, completion_tokens, total_tokens;
};

struct chat_answer {
	struct slice id, model; /* what the upstream called itself */
	struct slice text;	/* of the first choice */
	struct slice text_raw;	/* the token in the body that holds it, quotes included, for splicing; absent if none */
	struct slice logprobs_raw; /* logprobs repeat the text: who replaces the text replaces this by null; absent if
				      none */
	struct slice *other_logprobs; /* those of the other choices */
	size_t n_other_logprobs;
	struct slice refusal;
	struct slice tool_calls; /* raw JSON, or absent */
	enum chat_finish finish;
	struct chat_usage usage;
	size_t n_choices;
	struct chat_text *judged; /* every text in it: content, refusal, reasoning and tool arguments of every choice */
	size_t n_judged;
};

enum chat_event_type {
	CHAT_EVENT_NONE,   /* nothing for a caller of another protocol (a role, a ping, an empty delta) */
	CHAT_EVENT_TEXT,   /* more text; may carry finish and usage too */
	CHAT_EVENT_OTHER,  /* something that only the same protocol can carry (tool calls, reasoning, audio) */
	CHAT_EVENT_FINISH, /* finish, perhaps with usage */
	CHAT_EVENT_USAGE,  /* usage alone */
	CHAT_EVENT_ERROR,  /* the upstream gave up: text holds its message */
	CHAT_EVENT_END,	   /* the protocol's terminator ([DONE], done:true) */
};

struct chat_event {
	enum chat_event_type type;
	struct slice text;
	struct slice text_raw; /* the token in the payload that holds it, for splicing; absent if none */
	/* Texts of one channel belong together: 0 is the content of the first choice; reasoning, tool arguments and
	 * other choices have channels of their own.  CHAT_EVENT_OTHER has a text too when there is one to judge. */
	unsigned channel;
	/* Set when the event holds several texts: all of them, in order.  Those beside the first choice's content are
	 * in no other field then; without such content `text` is all of them, one a line, to judge but not to replace
	 * (text_raw is absent). */
	struct chat_text *judged;
	size_t n_judged;
	struct slice logprobs_raw; /* as in chat_answer; of the choice whose text this is */
	enum chat_finish finish;
	struct chat_usage usage;
	bool end; /* this event also ends the stream (Ollama's done:true) */
};

const char *chat_finish_name(enum chat_finish f); /* "stop", "length", "tool_calls", "content_filter"; "" for none */
const char *chat_role_name(enum chat_role r);	  /* "system", "user", "assistant", "tool" */
