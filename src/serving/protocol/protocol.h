/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wire formats.  One codec per protocol, both directions: `decode_request`,
 * `encode_answer`, `encode_event` and `encode_error` face callers; `encode_request`,
 * `decode_answer` and `decode_event` face upstreams.  Bytes in, bytes out: a codec
 * opens no socket, reads no clock and keeps no state but what it is given.
 */
#pragma once
#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/json/writer.h"
#include "domain/chat.h"
#include "domain/model.h"

enum framing { FRAMING_SSE, FRAMING_NDJSON, FRAMING_NONE /* this protocol does not stream */ };

/* How an upstream that goes on from the beginning of an answer is told that it is one. */
enum prefill_style {
	PREFILL_LAST,	  /* the last message is the assistant's: that says it */
	PREFILL_CONTINUE, /* continue_final_message as well: vLLM, SGLang */
	PREFILL_PREFIX,	  /* a member `prefix` of the message; such models may say the beginning again */
};

/* What an upstream is to be sent beside the request. */
struct upstream_params {
	struct slice model;	       /* name upstream */
	bool stream;		       /* ask for a stream */
	const struct json *parameters; /* the model's defaults for what the caller left out, or NULL */
	bool leave_usage; /* a stream's usage is not asked for when the caller did not: this upstream refuses or needs
			     no asking */
	bool newer_limit; /* what limits an answer is called max_completion_tokens there */
	struct slice prefill; /* the answer's beginning, without white space at its end; absent: none.  It is the last
				 message: encode_request finds it among the request's */
	enum prefill_style prefill_style;
	int64_t max_tokens; /* in place of what the request says; 0: as it says */
};

/*
 * Names of request members that a translation could not carry: for x-muster-dropped-params.  Safe in a header: what is
 * no plain name stands as "other".  Each once; names past the maximum are left out.
 */
#define DROPPED_MAX 32
struct dropped_params {
	struct slice name[DROPPED_MAX];
	size_t n;
};

/* Adds a name of our own making. */
void protocol_dropped(struct dropped_params *d, struct slice name);

/* What an answer to a caller says beside the model's words. */
struct answer_meta {
	struct slice answer_id; /* "chatcmpl-..." when the upstream gave none */
	int64_t created_s;
	struct slice model; /* the model that served: name@version */
	struct slice model_id;
	struct slice model_name; /* without version */
	struct slice layer, use_case;
	struct slice log_id;
	int64_t latency_ms;
	bool fallback_used;
	bool include_usage;		    /* stream: the caller wants a usage event */
	int64_t prompt_tokens;		    /* an estimate, for protocols that tell it before the answer; 0: none */
	bool base64;			    /* vectors: the caller wants them so */
	const struct chat_request *request; /* for protocols that repeat it; NULL: nobody knows it */
};

/*
 * What a codec keeps of one stream between events: of the one that comes from the upstream, and of the one that goes to
 * the caller.  Zeroed at the start; encode_state_release() at the end.
 */
struct decode_state {
	bool begun;
	enum chat_event_type open; /* the kind of the part that the events before are about; CHAT_EVENT_NONE: of none */
	unsigned channel, index;   /* of that part */
	unsigned n_calls;	   /* begun so far */
	unsigned call_at, call_shift; /* of the last call with an id: its index; how far ours are from the upstream's */
	uint64_t call_id;	      /* a hash of that id */
	bool finished;		      /* a finish was seen */
	uint64_t tool_parts;	 /* protocols that number parts: a bit for each of the first 64 that calls a tool */
	struct chat_usage usage; /* protocols that tell it in two halves: what is known */
};

struct encode_state {
	bool begun; /* something has left */
	bool finish_sent;
	enum chat_event_type open;	/* the kind of the part that is open; CHAT_EVENT_NONE: of none */
	unsigned channel, index;	/* of the open part */
	unsigned n_parts, n_calls;	/* opened so far */
	uint64_t sequence;		/* protocols that number their events */
	enum chat_finish finish;	/* protocols that tell it with the usage */
	unsigned char part_of_call[64]; /* protocols that number all parts: the number + 1 of each call's */
	struct buf gathered; /* protocols that want a whole call, or the whole answer again at its end: what came so
				far; made by the codec, with its maximum */
	struct responses_items *items; /* the same, of an answer that is a list of items */
};
void encode_state_release(struct encode_state *s);

struct api_error {
	int status;		 /* HTTP */
	struct slice message;	 /* a sentence, and what to do */
	const char *type;	 /* "invalid_request_error", "not_found_error", "server_error", "upstream_error",
				    "guardrail_violation", ... */
	const char *param;	 /* member that is wrong, or NULL */
	const char *code;	 /* "model_not_found", ... or NULL */
	struct slice request_id; /* for protocols that repeat it in the body; may be absent */
};

/* A header that calls to an upstream carry: the caller's when it speaks the same protocol, else the default. */
struct pass_header {
	const char *name;
	const char *value; /* or NULL: none */
};
#define PROTOCOL_MAX_PASS 4

/*
 * What a NULL function means: this side is not spoken.  generate has no decode_event: its upstreams do not stream.
 */
struct protocol {
	const char *name;	  /* "openai", "anthropic", "gemini", "ollama", "generate" */
	const char *default_path; /* of chat requests: "/v1/chat/completions" */
	/* Where the path names the model and whether it streams: what stands between default_path and the model, and
	 * behind the model.  Such a body has neither `model` nor `stream`.  NULL: the path is the same for all. */
	const char *model_path, *whole_call, *stream_call;
	/* A further call that the same models answer (text completions, embeddings): the protocol that those are
	 * registered with.  NULL: this is it, and gives_vectors is its own call for embeddings, or NULL. */
	const struct protocol *of, *gives_vectors;
	const char *call;	 /* how the path of its requests ends; NULL: whole_call */
	bool embeds;		 /* texts in, vectors out: see struct chat_embed */
	enum framing framing;	 /* how its upstream streams */
	const char *stream_type; /* Content-Type of its streams */
	bool streams_unasked;	 /* a request that does not say whether to stream asks for a stream */
	const char *default_tag; /* callers put it behind a model's name: ":latest" is no part of it; or NULL */
	bool completes_text;	 /* a prompt is continued, rather than a chat: what metrics call it */
	bool asks_usage;	 /* its streams tell usage when they are asked to (stream_options) */
	bool needs_model_splice; /* same protocol in and out: the body goes as it is, with `model` replaced. Not so
				  * where callers and upstreams see different shapes, as with generate. */
	bool ordered;	       /* its streams are a sequence: no event may overtake another, and parts end one by one */
	bool repeats;	       /* its streams end with the whole answer once more */
	bool joins_texts;      /* its callers get the texts of an answer as one, whatever stands between them: so they
				* are judged */
	bool names_calls;      /* its callers get an id with every call of a tool: one is made where there is none */
	unsigned answer_parts; /* a bit (1u << CHAT_PART_X) for each kind of part that its answers can carry */
	/* How it is asked how long a request is: the path, in place of whole_call or behind that of a request; and the
	 * member of the answer that says so.  NULL: it is not. */
	const char *count_call, *count_member;
	struct pass_header pass[PROTOCOL_MAX_PASS];
	const char *options; /* the object that a request's parameters stand in; NULL: the root */
	/* What a default parameter is called in there; absent: it stands in the root.  With options. */
	struct slice (*option_name)(struct slice parameter);

	/* Front.  ret->root, body and slices point into root's text and the arena.  E_INVALID: err->text says which
	 * member, and *ret_param names it (a literal, or NULL). */
	int (*decode_request)(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			      const char **ret_param, struct err *err);
	/* What only translations need: r->details, and the parts of r's messages.  Call protocol_complete(). */
	int (*decode_details)(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err);
	int (*encode_answer)(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m);
	/*
	 * Framed bytes of one event ("data: {...}\n\n"). Events that mean nothing in this protocol append nothing; the
	 * first that means something is preceded by whatever begins an answer.
	 * CHAT_EVENT_END, and nothing else, appends the terminator: once per stream, with the finish and usage of the
	 * whole answer, because some protocols tell them there; who wants usage gets it there.
	 * out NULL: the event has left as it came from an upstream of the same protocol; only *s learns of it (such an
	 * event has no slices).
	 */
	int (*encode_event)(struct encode_state *s, struct buf *out, const struct chat_event *e,
			    const struct answer_meta *m);
	int (*encode_error)(struct buf *out, const struct api_error *e);
	/* The same inside a stream, framed. */
	int (*encode_stream_error)(struct buf *out, const struct api_error *e);
	/* In place of that, where the end of an answer that failed is more than its error: of one that has begun. NULL:
	 * it is not. */
	int (*encode_failure)(struct encode_state *s, struct buf *out, const struct api_error *e,
			      const struct answer_meta *m);

	/*
	 * Back.  What comes from an upstream is copied into the arena first, so that ret's texts live as long as the
	 * arena; the *_raw slices point into the body or payload that was given.  E_INVALID: not this protocol, or a
	 * 200 that reports a failure. An arena for decode_event may be reset as soon as the events have been used.
	 */
	/* r is complete (protocol_complete) unless caller and upstream speak the same protocol. */
	int (*encode_request)(struct buf *out, const struct chat_request *r, const struct upstream_params *p,
			      struct dropped_params *dropped);
	int (*decode_answer)(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			     struct err *err);
	/* payload: the data of one SSE event, or one NDJSON line; JSON_PADDING readable bytes need not follow.  Appends
	 * to *ret.  Every text that a caller of the same protocol would get to see is in one event, with its channel;
	 * raws of one payload do not overlap and are in the order of the payload. */
	int (*decode_event)(struct decode_state *s, struct arena *a, struct json_parser *jp, struct slice payload,
			    struct chat_events *ret, struct err *err);
	/* The message of an upstream's error body, or absent. */
	struct slice (*decode_error)(struct arena *a, struct json_parser *jp, struct slice body);
	/* How long that body asks to wait, in ms; -1: it does not say.  May be NULL. */
	int64_t (*error_retry_ms)(struct arena *a, struct json_parser *jp, struct slice body);
};

extern const struct protocol protocol_openai, protocol_anthropic, protocol_gemini, protocol_ollama, protocol_generate,
	protocol_ollama_generate; /* Ollama's /api/generate: of callers, and beside protocol_ollama of upstreams */
extern const struct protocol protocol_openai_completions; /* of texts, beside protocol_openai */
/* Their calls for embeddings: those that callers may make, and of each provider's the one that models are asked in. */
extern const struct protocol protocol_openai_embeddings, protocol_gemini_embed, protocol_gemini_embed_batch,
	protocol_ollama_embed, protocol_ollama_embeddings;
/* OpenAI's responses: callers speak it, no upstream is asked in it. */
extern const struct protocol protocol_responses;

/* The last event of a stream, when it was a text alone: the next is often the same around another text.  Zeroed at the
 * start of a stream. */
struct event_repeat {
	char *bytes;		    /* what stands before the text, and what after; NULL until there is one */
	uint16_t n_before, n_after; /* n_before 0: none */
	uint16_t room;		    /* bytes there are */
	enum chat_event_type type;
	unsigned channel, index;
	enum chat_part_kind part;
};

struct event_source {
	struct slice payload;
	struct arena *turn; /* may be reset as soon as the events have been used */
	struct arena *keep; /* lives as long as the stream, which takes less than 2 KiB of it, mostly a tenth */
	struct json_parser *json;
};

/* decode_event of p, without parsing what repeats the event before; ret is empty. */
int protocol_decode_event(const struct protocol *p, struct decode_state *s, struct event_repeat *r,
			  const struct event_source *from, struct chat_events *ret, struct err *err);

/* The id that is made for a call of a tool that has none; number: how many began before it. */
#define PROTOCOL_CALL_ID_SIZE 96
struct slice protocol_call_id(const struct answer_meta *m, unsigned number, char made[PROTOCOL_CALL_ID_SIZE]);

/* Fills in r->details and the parts of its messages, once.  E_INVALID as decode_request. */
int protocol_complete(const struct protocol *front, struct arena *a, struct chat_request *r, const char **ret_param,
		      struct err *err);
/* The answer as events in order: its parts, finish, usage, END. */
int protocol_answer_events(struct arena *a, const struct chat_answer *answer, struct chat_events *ret);

const struct protocol *protocol_find(struct slice name); /* or NULL */
/* What a model of that protocol is spoken to in, for a caller of front: the caller's own when it is a call of the same
 * models.  NULL: it cannot give what is asked (vectors, or words). */
const struct protocol *protocol_for(const struct protocol *model, const struct protocol *front);
/* By the path of an endpoint: "/generate" -> generate, "/api/chat" -> ollama, ".../chat/completions" -> openai,
 * ".../messages" -> anthropic, ".../models/x:generateContent" -> gemini; else NULL. */
const struct protocol *protocol_of_path(struct slice path);

/*
 * Same protocol in and out: the caller's body with the model name, the stream flag and missing defaults put in, as
 * pieces that point into the body and the arena.  Returns the number of pieces (at most max; PROTOCOL_SPLICE_PIECES are
 * always enough), or a negative E_*. Every other byte is the caller's, but for stream_options: see protocol_adds_usage.
 */
struct iovec;
#define PROTOCOL_SPLICE_PIECES 22
int protocol_splice_request(struct arena *a, const struct chat_request *r, const struct upstream_params *p,
			    const struct protocol *proto, struct iovec *pieces, int max);
/*
 * Usage has to be known, so a streaming upstream is asked for it even when the caller did not ask.  True when
 * protocol_splice_request does so: then the caller must not see an event that is usage alone.
 */
bool protocol_adds_usage(const struct chat_request *r, const struct upstream_params *p, const struct protocol *proto);

/* A value in a payload (raw: a part of it) and the JSON that takes its place. */
struct splice {
	struct slice raw;
	struct slice json;
};
#define PROTOCOL_MAX_SPLICES 32
/* The payload with n values replaced; absent raws are skipped.  E_INVALID: one lies outside, or two overlap; E_TOOBIG:
 * they are more than PROTOCOL_MAX_SPLICES, and not in the order of the payload. */
int protocol_splice(struct buf *out, struct slice payload, const struct splice *splices, size_t n);
/* The same event or answer with its text replaced (masked): payload with text_raw replaced by the JSON string of text.
 */
int protocol_splice_text(struct buf *out, struct slice payload, struct slice text_raw, struct slice text);
