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

/* What messages and answers are made of. */
enum chat_part_kind {
	CHAT_PART_TEXT,
	CHAT_PART_REASONING,
	CHAT_PART_REFUSAL,
	CHAT_PART_TOOL_CALL,
	CHAT_PART_TOOL_RESULT,
	CHAT_PART_IMAGE,
	CHAT_PART_OTHER, /* something that only the caller's protocol knows: label says what */
};

struct chat_part {
	enum chat_part_kind kind;
	bool redacted;	       /* reasoning whose words are not shown: opaque holds them */
	bool is_error;	       /* a tool result that reports a failure */
	struct slice text;     /* words; of a tool call its arguments, the JSON that the model wrote ("" for none); of a
				  tool result all its words, one text a line */
	struct slice id, name; /* of a tool call; a result has the call's id, or where there is none its name */
	struct slice opaque;   /* reasoning, or a call that came of it: its signature, to be given back unchanged;
				  redacted: its data */
	struct slice url, media_type, data; /* image: either url, or data in base64 with its media type */
	struct slice label;	 /* literal: what the caller calls it, "messages[].image_url": for what is dropped */
	struct chat_part *parts; /* of a tool result that is more than text */
	size_t n_parts;
};

struct chat_message {
	enum chat_role role;
	struct slice text;	 /* all its text parts, joined by newlines; may be empty */
	bool has_other;		 /* parts that are not text (images, audio, tool calls) */
	const struct json *node; /* the message in the caller's body; NULL when made by us */
	struct chat_part *parts; /* with chat_request.details; NULL: text is all there is */
	size_t n_parts;
};

/* A text that stands in a body, where it stands, so that it can be judged and replaced. */
struct chat_text {
	struct slice text; /* decoded */
	struct slice raw;  /* its token, quotes included */
};

/* Parameters that more than one protocol has.  Which of them a codec carries is a set of bits. */
enum chat_param {
	CHAT_PARAM_MAX_TOKENS,
	CHAT_PARAM_TEMPERATURE,
	CHAT_PARAM_TOP_P,
	CHAT_PARAM_TOP_K,
	CHAT_PARAM_MIN_P,
	CHAT_PARAM_SEED,
	CHAT_PARAM_STOP,
	CHAT_PARAM_FREQUENCY_PENALTY,
	CHAT_PARAM_PRESENCE_PENALTY,
	CHAT_PARAM_CHOICES,
	CHAT_PARAM_TOOLS,
	CHAT_PARAM_TOOL_CHOICE,
	CHAT_PARAM_PARALLEL,
	CHAT_PARAM_FORMAT,
	CHAT_PARAM_REASONING,
	CHAT_PARAM_USER,
	CHAT_PARAM_LOGPROBS,
	CHAT_PARAM_TOP_LOGPROBS,
	CHAT_PARAM_LOGIT_BIAS,
	CHAT_PARAMS
};
#define CHAT_CARRIES(param) (1u << (param))

struct chat_said {
	struct slice name;	  /* what the caller calls it; absent: the caller says nothing of it */
	const struct json *value; /* as the caller gave it; of numbers every protocol takes the same */
};

struct chat_tool {
	struct slice name, description;
	struct slice schema; /* raw JSON object, or absent */
	bool has_strict, strict;
};

enum chat_tool_choice { CHAT_TOOLS_UNSAID, CHAT_TOOLS_AUTO, CHAT_TOOLS_NONE, CHAT_TOOLS_REQUIRED, CHAT_TOOLS_NAMED };
enum chat_format { CHAT_FORMAT_UNSAID, CHAT_FORMAT_TEXT, CHAT_FORMAT_JSON, CHAT_FORMAT_SCHEMA };
enum chat_effort {
	CHAT_EFFORT_UNSAID,
	CHAT_EFFORT_NONE, /* no reasoning */
	CHAT_EFFORT_MINIMAL,
	CHAT_EFFORT_LOW,
	CHAT_EFFORT_MEDIUM,
	CHAT_EFFORT_HIGH,
	CHAT_EFFORT_MAX
};

/* What a translation needs beyond struct chat_request: read from the body only then. */
struct chat_details {
	struct chat_said said[CHAT_PARAMS];
	struct slice *unknown; /* members of the body that no other protocol has */
	size_t n_unknown;
	struct chat_tool *tools;
	size_t n_tools;
	enum chat_tool_choice tool_choice;
	struct slice tool_name; /* CHAT_TOOLS_NAMED */
	bool parallel;		/* when CHAT_PARAM_PARALLEL is said: calls may come several at once */
	enum chat_format format;
	struct slice schema_name, schema; /* CHAT_FORMAT_SCHEMA; schema is raw JSON */
	bool schema_strict;
	enum chat_effort effort;
	int64_t reasoning_budget; /* tokens; 0: none given */
	struct slice user;
};

/* One of the texts that vectors are asked for. */
struct chat_input {
	struct slice text;	   /* absent when there are tokens */
	const struct json *tokens; /* an array of the numbers of tokens, in place of a text */
};

/* What an embeddings request asks beyond its model. */
struct chat_embed {
	struct chat_input *input;
	size_t n;
	bool has_other;	    /* parts that are not text: vectors of the text alone would be others */
	bool base64;	    /* vectors as little-endian 32-bit floats in base64 */
	int64_t dimensions; /* 0: not said */
	/* tokens in a body that name the model once more, as Gemini's do: for splicing */
	struct slice *models;
	size_t n_models;
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
	struct slice *stop; /* up to CHAT_MAX_STOP */
	size_t n_stop;
	struct chat_text *judged; /* every text that guardrails judge: all but system and developer messages */
	size_t n_judged;
	bool loads;		      /* asks for no answer: whether the model is there.  It has no messages */
	bool has_tokens;	      /* a part of it is tokens, which nobody here can read */
	bool tokens_only;	      /* numbers of tokens stand where its texts may: nobody can judge them */
	struct chat_embed *embed;     /* vectors are asked for; then there are no messages.  NULL: words are */
	int64_t n_choices;	      /* asked for; 1 unless the caller says */
	const struct json *root;      /* the whole body */
	struct slice body;	      /* its bytes */
	struct chat_details *details; /* NULL until protocol_complete() */
};

enum chat_finish {
	CHAT_FINISH_NONE,
	CHAT_FINISH_STOP,
	CHAT_FINISH_LENGTH,
	CHAT_FINISH_TOOL_CALLS,
	CHAT_FINISH_CONTENT_FILTER,
	CHAT_FINISH_STOP_SEQUENCE, /* one that the caller gave */
	CHAT_FINISH_REFUSAL,	   /* the model would not */
	CHAT_FINISH_PAUSE	   /* the model wants to go on in another turn */
};

struct chat_usage {
	bool known;
	bool estimated; /* counted by us: the upstream did not say */
	int64_t prompt_tokens, completion_tokens, total_tokens;
	int64_t cached_tokens, cache_write_tokens; /* of the prompt's */
	int64_t reasoning_tokens;		   /* of the completion's */
};

/* A vector as the model wrote it: its numbers are never rounded on their way. */
struct chat_vector {
	struct slice numbers; /* a JSON array; absent: */
	struct slice base64;  /* little-endian 32-bit floats */
	size_t n;	      /* dimensions */
};

struct chat_answer {
	struct slice id, model; /* what the upstream called itself */
	struct slice text;	/* of the first choice */
	struct slice text_raw;	/* the token in the body that holds it, quotes included, for splicing; absent if none */
	struct slice logprobs_raw; /* logprobs repeat the text: who replaces the text replaces this by null; absent if
				      none */
	struct slice *other_logprobs; /* those of the other choices; tokens that repeat the whole answer */
	size_t n_other_logprobs;
	struct chat_part *parts; /* of the first choice, in order; none: text is all there is */
	size_t n_parts;
	enum chat_finish finish;
	struct slice stop_sequence; /* CHAT_FINISH_STOP_SEQUENCE: which, when it is known */
	struct chat_usage usage;
	size_t n_choices;
	struct chat_vector *vectors; /* of an embeddings request, in the order of its inputs */
	size_t n_vectors;
	struct chat_text *judged; /* every text in it: content, refusal, reasoning and tool arguments of every choice */
	size_t n_judged;
};

enum chat_event_type {
	CHAT_EVENT_NONE,       /* says nothing (a ping, an empty delta) */
	CHAT_EVENT_START,      /* the answer begins: id, name (the model), created_s, when it says them */
	CHAT_EVENT_PART_START, /* a part begins: index, part.  Only some protocols say so */
	CHAT_EVENT_TEXT,       /* more text */
	CHAT_EVENT_REASONING,  /* more reasoning: text, or opaque (its signature; with redacted, its data) */
	CHAT_EVENT_REFUSAL,    /* more of the words of a refusal */
	CHAT_EVENT_TOOL_START, /* a tool is called: id, name, opaque */
	CHAT_EVENT_TOOL_ARGS,  /* more of its arguments: text is a piece of JSON */
	CHAT_EVENT_PART_END,   /* the part of this channel is over: what follows in it is another */
	CHAT_EVENT_OTHER,  /* what only the same protocol can carry (audio, other choices); with its text to judge */
	CHAT_EVENT_FINISH, /* finish, stop_sequence */
	CHAT_EVENT_USAGE,  /* usage so far, or of all */
	CHAT_EVENT_ERROR,  /* the upstream gave up: text holds its message */
	CHAT_EVENT_END,	   /* the protocol's terminator ([DONE], message_stop, done:true) */
};

/* Texts of one channel belong together, and what is split over its events is one text.  These are the first choice's;
 * calls of tools count on from CHAT_CHANNEL_CALL by their index, and a codec numbers what else it has above 63. */
#define CHAT_CHANNEL_TEXT 0
#define CHAT_CHANNEL_REASONING 1
#define CHAT_CHANNEL_REFUSAL 2
#define CHAT_CHANNEL_TRANSCRIPT 3
#define CHAT_CHANNEL_CALL 5

struct chat_event {
	enum chat_event_type type;
	unsigned channel;
	unsigned index; /* of the part, in protocols that number them; of a tool call among the calls */
	enum chat_part_kind part;
	bool redacted;
	enum chat_finish finish;
	struct slice text;
	struct slice text_raw;	   /* the token in the payload that holds it, for splicing; absent if none */
	struct slice args_raw;	   /* of arguments that are no string: where they stand in the payload; their strings
				      are events of their own, to be judged.  absent: nowhere in one piece */
	struct slice logprobs_raw; /* logprobs that repeat it; absent if none.  Of a finish: tokens that repeat the
				      whole answer, which do not leave where it is judged */
	struct slice id, name;	   /* of a tool call; of a start the answer's, and the model's */
	struct slice opaque;
	struct slice stop_sequence;
	int64_t created_s; /* of a start: 0: it does not say */
	struct chat_usage usage;
};

/* What one payload of a stream comes to, in order: nothing, one event or several. */
#define CHAT_EVENTS_MAX 1024
struct chat_events {
	struct chat_event *e;
	size_t n, cap;
};

/* "stop", "length", "tool_calls", "content_filter", "stop_sequence", "refusal", "pause"; "" for none */
const char *chat_finish_name(enum chat_finish f);
const char *chat_role_name(enum chat_role r); /* "system", "user", "assistant", "tool" */
