/* SPDX-License-Identifier: Apache-2.0 */
/* One caller request and all the upstream attempts made for it.  Private to the gateway. */
#pragma once
#include "core/base/rand.h"
#include "core/base/slab.h"
#include "core/http/ndjson.h"
#include "core/http/sse.h"
#include "domain/record.h"
#include "serving/gateway/array.h"
#include "serving/gateway/calls.h"
#include "serving/gateway/gateway.h"
#include "serving/gateway/memory.h"
#include "serving/gateway/once.h"
#include "serving/gateway/seam.h"
#include "serving/gateway/settings.h"
#include "serving/guardrail/guard.h"
#include "serving/resilience/budget.h"

#define HOLDS_MAX ((size_t)2 * BUDGET_N_UNITS)	/* of the key, and of the use case */
#define CANDIDATES_MAX (SNAPSHOT_MAX_CHAIN + 2) /* a deployment's in front, an endpoint behind */
#define ATTEMPTS_JSON_MAX 4096
/* Texts that one stream may interleave: content, reasoning, arguments of tool calls, of several choices. */
#define CHANNELS_MAX 64
#define STREAM_EVENT_MAX ((size_t)1024 * 1024)
/* Of a text the log keeps the beginning, up to here: three such texts and what has to be there beside them fit a
 * record. Calls of tools have what the output leaves of its own, and that at least. */
#define LOG_TEXT_MAX ((size_t)4 * 1024 * 1024)
#define LOG_ROOM_MIN ((size_t)64 * 1024)
#define ERROR_BODY_MAX ((size_t)64 * 1024)

/* Hits of one text, or of all: hits.c. */
struct hit_list {
	enum guard_action action; /* the strongest of all, those that found no room among them */
	bool failed, overflow;	  /* as in struct guard_result */
	uint16_t n_hits, room;
	struct guard_hit *hit;
};

struct gateway {
	struct loop *loop;
	struct spool *spool;
	struct once_table *once, *cache;
	struct gateway_budgets *budgets;
	unsigned writer;
	struct http_client *client;
	struct snapshot *snapshot;
	struct gateway_settings *settings;
	struct guard_scratch *scratch;
	struct json_parser *json;
	struct slab streams, settled; /* of streamed answers, and of exchanges that have left their arenas */
	struct arena turn;	      /* scratch of one callback; empty between them */
	struct guard_result found;    /* the same: of the piece of a stream that is judged */
	struct buf unjudged;	      /* text of one channel of one stream, of events that came together */
	size_t unjudged_channel;      /* its place among the stream's */
	struct uuid_gen ids;
	struct rng rng; /* who is asked, and how long is waited */
	void (*control)(struct http_exchange *x, const struct gateway_caller *caller, void *arg);
	void *control_arg;
	struct gateway_stats stats;
};

/* Something that may serve this exchange, in the order of trying. */
struct candidate {
	const struct targets *targets;	  /* its endpoints */
	const struct target *target;	  /* the one that was chosen last; at first the first */
	uint32_t tried;			  /* endpoints, a bit each */
	struct slice full_name, name, id; /* id is empty for a hardcoded endpoint */
	struct slice provider;
	enum record_fallback kind;
	enum gateway_arm arm;
	/* How its last attempt ended: 0: there was none; WAIT_NONE: it failed; WAIT_UNSAID, or 1 + a time in ms: it
	 * asked to be left alone. */
	int64_t wait;
};
#define WAIT_NONE (-1)
#define WAIT_UNSAID INT64_MAX

enum exchange_step { /* exchange.c has the table */
		     STEP_AUTHENTICATE,
		     STEP_DECODE,
		     STEP_ROUTE,
		     STEP_LOADED,
		     STEP_ONCE,
		     STEP_SHED,
		     STEP_GUARD_INPUT,
		     STEP_BUDGET,
		     STEP_ATTEMPT,
		     STEP_ANSWER,
		     STEP_DONE,
};

enum outcome { /* of a call */
	       OUTCOME_GOOD,
	       OUTCOME_FAULT,	/* its endpoint failed: once more may help */
	       OUTCOME_BROKEN,	/* its endpoint failed, and will again: a key that is refused, a model that is not there
				 */
	       OUTCOME_SILENT,	/* its endpoint said nothing in its time */
	       OUTCOME_BUSY,	/* its endpoint asks to be left alone for a while */
	       OUTCOME_REFUSED, /* by no fault of its endpoint */
	       OUTCOME_DEADLINE, /* the caller's time was over */
};

enum next {
	NEXT,	  /* go on with the step that e->step says */
	WAIT,	  /* an upstream or a timer goes on */
	FINISHED, /* answered: the exchange may be gone */
};

struct channel {
	unsigned id; /* as the codec numbers it; the first is 0 */
	struct guard_stream *guard;
	struct hit_list hits;	  /* of this channel, that have not left yet */
	uint64_t base;		  /* where this guard began: a channel that was over may go on */
	uint64_t fed, safe, left; /* bytes: received, decided, sent */
};

struct stream {
	union { /* what cuts events out of what comes */
		struct sse sse;
		struct ndjson ndjson;
	};
	bool lines; /* it is the second */
	struct decode_state decode;
	struct event_repeat repeat;
	struct encode_state encode;
	struct slice id;    /* the upstream's for this answer; absent: it said none */
	struct slice model; /* the name that the answer began with; absent: the serving model's */
	int64_t created_s;  /* the same; 0: the exchange's */
	bool begun;	    /* head of the answer has been given to the server */
	bool same_protocol; /* events leave as they came */
	bool usage_injected;
	bool ended; /* the terminator was seen */
	bool finish_seen;
	bool has_answer;	 /* a word of it, or its finish */
	int64_t finish_ms;	 /* when; 0: not yet */
	int64_t fed_ms;		 /* when something came last */
	bool stopped;		 /* guardrails ended it */
	bool beyond_text;	 /* it said more than text: reasoning, a call, a refusal */
	bool text_over;		 /* its text has ended, the answer has not */
	bool says_something;	 /* more than roles and comments has left `held` */
	struct channel *channel; /* the first is the content's */
	size_t n_channels;
	struct buf held; /* events that wait, one entry after the other: hold.c */
	struct buf out;	 /* what leaves at the end of this turn */
	struct buf text; /* all text that has left, for the log */
	bool text_cut;
	struct calls calls; /* of tools, that have left */
	struct timer flush; /* splits an event whose end is still undecided */

	/* answer_mode resume: resume.c */
	bool given_up;	      /* nobody goes on with it */
	unsigned n_resumed;   /* times that the answer was to be gone on with */
	bool resume_asked;    /* somebody was asked to, the last time */
	size_t i_served;      /* the candidate that said something last, before it broke off */
	uint64_t seam_at;     /* bytes of text that are of attempts before */
	struct slice prefill; /* the text so far, as it is given to the next model */
	struct seam seam;
};

struct exchange {
	struct gateway *g;
	struct http_exchange *http;
	struct snapshot *snapshot;
	struct gateway_settings *settings;
	enum exchange_step step;
	const struct protocol *front;
	const struct protocol *back; /* of the model that is asked: what it is spoken to in */
	bool counts;		     /* only asked how long the request is: count.c */
	struct slice path_model;     /* where the path names the model, as it stands there */
	bool path_stream;
	struct array *array;	      /* a stream that leaves as one JSON array; NULL: as its protocol frames it */
	struct gateway_caller caller; /* what it borrows, snapshot and settings hold */

	struct once once;
	bool answered_well;				/* by the model it was for, and guardrails had nothing to say */
	bool cached;					/* an earlier answer serves */
	bool broke_off;					/* the answer, after part of it had left */
	_Atomic uint32_t *inside_daemon, *inside_route; /* where it is counted in: shed.c */

	struct uuid log_id;
	char log_id_text[UUID_STR_SIZE];
	struct slice request_id;
	int64_t start_ms, start_us;

	struct json *root;
	struct chat_request request;
	const struct snapshot_use_case *use_case;
	struct slice use_case_name;
	const struct guard_policy *policy; /* NULL: nothing is checked */
	struct slice policy_digest;	   /* of its document */
	enum log_mode log;
	bool log_required;    /* what cannot be recorded is not answered */
	bool is_unlogged;     /* it could not: only an error may leave */
	bool pinned;	      /* the caller named a model, not a use case */
	enum gateway_arm arm; /* of the deployment that is under way */
	bool arm_failed;      /* its model did, and the next was asked */
	struct gateway_use_case_stats *stats;

	struct candidate *candidate;
	size_t n_candidates, max_candidates, i_candidate;
	unsigned n_attempts;
	struct buf attempts;	    /* JSON array, open */
	struct json_writer attempt; /* of the last object in it, while that is open */
	bool attempt_open;
	size_t attempt_at;		/* where it begins */
	struct dropped_params *dropped; /* NULL: nothing was, so far */

	struct http_call call;
	bool call_active;
	struct upstream_memory
		*upstream;	/* of the call that is not settled yet; NULL: none, or nothing is kept of it */
	enum breaker_pass pass; /* as what it was let through */
	bool judged;		/* how it ends is told to its breaker */
	bool counted_in;	/* among the calls that its endpoint has */
	unsigned n_repeats;	/* attempts at a model that had failed already */
	int64_t deadline_ms;	/* the caller's; loop clock; 0: it gave none */
	int64_t pause_ms;	/* before the next attempt */
	struct timer pause;	/* that, and of an answer that has begun: until it settles */
	struct timer given_up;	/* runs attempt.c's end of a call that we ended ourselves, outside of its callbacks */
	int given_up_rc;
	struct iovec *request_iov;
	int64_t attempt_ms;
	int upstream_status;
	struct slice upstream_said;	   /* of why it failed; the attempt at hand; absent: nothing for the log */
	struct slice upstream_retry_after; /* as it goes to the caller */
	int64_t retry_after_ms;		   /* what it says; -1: nothing */
	bool upstream_is_stream;
	bool usage_asked; /* by us: the caller did not, and does not get it */
	struct buf body;  /* of an answer that is held whole, or of an error */
	size_t body_max;

	struct budget_hold *hold; /* HOLDS_MAX: what is reserved for it: spend.c */
	size_t n_holds;		  /* 0: no budget bounds it */
	struct money wasted;	  /* by attempts whose answer the caller does not get */
	int64_t wasted_tokens;
	bool waste_is_new;  /* not reserved for yet */
	bool usage_is_kept; /* of the attempt that fails now: its text is in the answer */

	bool settled; /* the request is forgotten, but for what the end needs, and this is of g->settled: settle.c */
	int64_t prompt_tokens; /* then: the estimate */
	struct chat_answer answer;
	bool have_answer;
	struct chat_usage spent; /* by attempts whose text is in the answer, before the last: resume.c */
	struct money spent_cost;
	struct stream *stream; /* NULL: the answer is not streamed */
	int64_t first_token_ms;

	struct hit_list *input_hits, *output_hits;
	enum guard_action action; /* the strongest taken */
	struct slice judged_prompt;
	struct slice tool_calls; /* as JSON, when they are recorded; absent: none */
	const char *error_text;	 /* never NULL; why there is no good answer: for the log and the caller */
	int error_status;
	bool recorded;
};

/* exchange.c */
void exchange_run(struct exchange *e);
const struct protocol *gateway_front_of(struct slice path); /* NULL: no inference endpoint */
struct exchange *exchange_new(struct gateway *g, struct http_exchange *x, const struct protocol *front);
void exchange_say(struct exchange *e, const char *fmt, ...) PRINTF_LIKE(2, 3); /* e->error_text: up to 500 bytes */
struct dropped_params *exchange_dropped(struct exchange *e);		       /* to add to; NULL: no memory */
void exchange_release(struct exchange *e);
const struct candidate *exchange_served_by(const struct exchange *e); /* NULL: none has answered */

/* decode.c */
enum next exchange_decode(struct exchange *e);
/* e->request anew from e->root, which stands in body.  E_INVALID as decode_request. */
int exchange_read_request(struct exchange *e, struct slice body, const char **ret_param, struct err *err);
/* 400: the request is wrong (param: which member, or NULL). */
enum next exchange_refuse(struct exchange *e, const char *text, const char *param);
/* count.c */
void count_begin(struct exchange *e);
struct slice count_head(struct exchange *e, struct slice head);
enum next count_estimate(struct exchange *e);
enum next count_answer(struct exchange *e);
/* route.c */
enum next exchange_route(struct exchange *e);
/* vectors.c: what embeddings need that chats do not */
struct targets;
/* Whether vectors of these models may be mixed. */
bool vectors_same_space(const struct targets *a, const struct targets *b);
/* Leaves those candidates that can give what is asked: NEXT, or it has been refused because the first cannot. */
enum next vectors_route(struct exchange *e);
size_t vectors_prompt_bytes(const struct exchange *e);
/* Why the answer is not what was asked for; NULL: it is. */
const char *vectors_wrong(const struct exchange *e);
void vectors_describe(struct exchange *e); /* for the log: in words */
enum next vectors_withheld(struct exchange *e);
/* judge.c */
enum next exchange_guard_input(struct exchange *e);
void exchange_take_action(struct exchange *e, enum guard_action action);
/* Judges the whole answer e->answer. The strongest action of its hits. */
enum guard_action exchange_judge_answer(struct exchange *e);
/* Whether a text of an upstream that is no answer, an error, may reach the caller; and every text in a JSON value. */
bool exchange_may_tell(struct exchange *e, struct slice text);
bool exchange_may_tell_all(struct exchange *e, const struct json *v);
struct slice exchange_blocking_rule(const struct exchange *e, const struct hit_list *l);
/* hits.c.  False: it is full, or there is no memory. */
bool hits_add(struct arena *a, struct hit_list *l, struct guard_hit hit);
bool hits_set(struct arena *a, struct hit_list *l, const struct guard_hit *hit, size_t n);
/* attempt.c */
enum next exchange_attempt(struct exchange *e);
void attempt_note(struct exchange *e, enum call_end end, const char *result);
/* The last that was noted is told with what it cost, as far as its usage is known now. */
void attempt_close(struct exchange *e);
/* The call failed or its answer is no good: goes on as failover.c says. */
void attempt_failed(struct exchange *e, enum outcome outcome, const char *why);
/* The answer, of which nothing has left, is an error: e->body.  True: it says which, and was taken for an answer of
 * that status; the exchange may be gone. */
bool attempt_error_inside(struct exchange *e, const char *why, enum next *ret);
/* once.c: whether it is the first with its Idempotency-Key */
enum next exchange_once(struct exchange *e);
/* shed.c: whether there is room for one more; NEXT, or it has been refused */
enum next shed_enter(struct exchange *e);
void shed_leave(struct exchange *e);
/* failover.c: who is asked, and who is asked next */
/* Chooses an endpoint of the candidate whose turn it is, or passes it over.  NEXT: e->candidate[e->i_candidate].target
 * is to be called; FINISHED: nobody is left; WAIT: later. */
enum next failover_choose(struct exchange *e);
/* How the call ended, for those who choose its endpoint; a second time has no effect. */
void failover_settle(struct exchange *e, enum outcome outcome);
/* After a failure: the same model once more, or the next. */
void failover_go_on(struct exchange *e, enum outcome outcome);
/* Moves on to a model that takes longer requests; false: the chain has none. */
bool failover_to_larger(struct exchange *e);
bool failover_deadline_passed(const struct exchange *e);
/* In seconds, when another try makes sense: when the last that was asked said so, and of all when all did. */
struct slice failover_retry_after(struct exchange *e);
/* answer.c: a whole answer */
int64_t exchange_estimate_prompt(const struct exchange *e);
void exchange_complete_usage(struct exchange *e, size_t answer_bytes); /* estimates what the upstream did not say */
enum next exchange_answer(struct exchange *e);
/* The body leaves as it came, but for what is masked in it. */
bool answer_passes(const struct exchange *e);
struct slice answer_fallback_text(const struct exchange *e); /* the use case's, or the configuration file's */
enum next answer_fallback_content(struct exchange *e, const char *why);
/* stream.c */
int stream_begin(struct exchange *e);
int stream_feed(struct exchange *e, struct slice piece);
/* rc: of the call */
void stream_finish(struct exchange *e, int rc);
void stream_release(struct exchange *e);
/* What comes next is of another upstream, for the same answer. */
void stream_rewind(struct exchange *e);
/* Nobody goes on with an answer that broke off: the caller is told. */
enum next stream_give_up(struct exchange *e);
/* A whole answer of a model that goes on with a stream. */
enum next stream_join(struct exchange *e, const struct chat_answer *answer);
/* What we add to a stream belongs to it. */
void stream_meta(const struct exchange *e, struct answer_meta *m);
/* Appends an event in the caller's protocol to what leaves. */
void stream_encode(struct exchange *e, const struct chat_event *event);
/* settle.c: an answer has begun to leave.  Should it go on for long, the exchange moves to another place in memory,
 * from the loop: nothing may keep a pointer to it, or to its stream, that does not know. */
void settle_later(struct exchange *e);
/* rest.c: nothing has come for a while: a settled exchange is packed, and e is gone. */
#define REST_MS (ADDRESS_SANITIZED ? 0 : 1000)
bool rest_is_due(const struct exchange *e);
void rest_begin(struct exchange *e);
/* take.c: events that come */
int take_events(struct exchange *e, const struct chat_events *events, struct slice raw);
int take_event(struct exchange *e, const struct chat_event *event); /* translated */
void take_end(struct exchange *e);				    /* of all channels: everything is decided */
/* Text of events that come together is judged together: what was taken may wait for take_judge(), at the latest before
 * the callback returns. */
bool take_waits(const struct exchange *e);
bool take_goes_on(const struct exchange *e, const struct chat_events *events); /* more of the text that waits, alone */
void take_judge(struct exchange *e);
bool take_is_carried(const struct exchange *e, const struct chat_event *event); /* to a caller of another protocol */
struct channel *take_add_channel(struct stream *s, unsigned id);		/* NULL: there are too many */
/* hold.c: events that wait until they are decided */
struct hold_place {
	const struct chat_event *event; /* that has the text */
	unsigned channel;		/* index into the stream's */
	uint64_t start;			/* of its text there */
};
/* A payload that leaves as it came, and the texts in it. */
int hold_payload(struct exchange *e, const struct chat_events *events, struct slice raw, const struct hold_place *at,
		 size_t n);
/* The same at once, past `held`: nothing is in it, and no guardrail judges the answer. */
void hold_pass(struct exchange *e, const struct chat_events *events, struct slice raw, const struct hold_place *at,
	       size_t n);
/* An event for a caller of another protocol; at NULL: it has no text. */
int hold_event(struct exchange *e, const struct chat_event *event, const struct hold_place *at);
/* Everything that is decided goes to `out`; split: the decided part of an event too. */
void hold_release(struct exchange *e, bool split);
/* Appends all content that waits, as it may leave so far. How many bytes of its channel that is. */
uint64_t hold_waiting(struct exchange *e, struct buf *out);
/* A whole text as a stream of the caller's protocol. */
enum next stream_whole(struct exchange *e, const struct chat_answer *answer);
/* respond.c */
#define RESPOND_MAX_HEADERS 20
size_t respond_headers(struct exchange *e, struct http_header *h, struct slice content_type);
struct slice respond_dropped(struct exchange *e); /* names, with commas; absent if none */
void respond_meta(const struct exchange *e, struct answer_meta *m);
enum next respond_error(struct exchange *e, const struct api_error *error);
/* A whole answer leaves: the exchange is finished. */
void respond_send(struct exchange *e, int status, const struct http_header *h, size_t n, struct slice body);
/* The same in pieces. */
void respond_begin(struct exchange *e, struct slice content_type);
void respond_write(struct exchange *e, struct slice piece);
void respond_end(struct exchange *e, struct slice piece);
enum next respond_whole(struct exchange *e, struct slice body);
/* Instead of an answer that the log, which is required, cannot take. */
enum next respond_unlogged(struct exchange *e);
struct api_error respond_unlogged_error(void);
/* The caller's, or absent when it sent none that is fit. */
struct slice respond_callers_request_id(const struct http_head *head);
/* The same outside of an exchange, where one is made when there is none. */
struct slice respond_request_id(struct http_exchange *x);
/* An error outside of an exchange, in the shape that the path asks for. */
void respond_plain_error(struct http_exchange *x, const struct api_error *error);
void respond_method_refused(struct http_exchange *x, unsigned allowed); /* 405; a bit per enum http_method */
/* The same with more headers: at most RESPOND_MAX_HEADERS - 4. */
void respond_plain_error_with(struct http_exchange *x, const struct api_error *error, const struct http_header *more,
			      size_t n_more);
/* measure.c: counters */
void measure_call(struct exchange *e, enum call_end end);
void measure_exchange(struct exchange *e, const struct log_record *r);
void measure_text(struct gateway_use_case_stats *s, const struct guard_policy *policy, enum guard_side side,
		  const struct guard_result *r);
void measure_hits(struct gateway_use_case_stats *s, const struct guard_policy *policy, enum guard_side side,
		  const struct hit_list *l);
struct gateway_use_case_stats *measure_use_case(struct gateway *g,
						const struct snapshot_use_case *u); /* NULL: others */
/* spend.c */
enum next spend_reserve(struct exchange *e);
/* Before it is forgotten: what the model has produced, and what that cost. */
void spend_note_waste(struct exchange *e);
void spend_add_waste(const struct exchange *e, struct money *cost);
bool spend_covers_more(struct exchange *e);
void spend_settle(struct exchange *e, const struct log_record *r);
void spend_release(struct exchange *e);
/* record.c */
void record_exchange(struct exchange *e, enum record_status status, int http_status);
/* direct.c: what is answered from the snapshot alone. True when the path is one of these. */
bool direct_handle(struct gateway *g, struct http_exchange *x, const struct gateway_caller *caller);
/* What does not fit is an error, not half of a JSON text. */
void direct_reply(struct http_exchange *x, int status, const struct buf *body);
void direct_refuse(struct http_exchange *x, int status, const char *param, const char *code, const char *text);
/* The body, an object; NULL after having refused. */
const struct json *direct_body(struct gateway *g, struct http_exchange *x);
/* False after having refused: a key for some use cases asks for another one. */
bool direct_allowed(struct gateway *g, struct http_exchange *x, const struct gateway_caller *caller,
		    struct slice use_case);
/* models.c: which there are, and one of them, in the shape that the caller's protocol has */
struct route_match;
void models_list(struct gateway *g, struct http_exchange *x, const struct route_match *m,
		 const struct gateway_caller *caller);
void models_show(struct gateway *g, struct http_exchange *x, const struct route_match *m,
		 const struct gateway_caller *caller);
/* ollama.c: the calls of Ollama's that no model answers. True when the path is one of them, or of those there are not.
 */
bool ollama_handle(struct gateway *g, struct http_exchange *x, const struct gateway_caller *caller);
/* A request that has no words: its model is there. */
enum next ollama_loaded(struct exchange *e);
/* Below /api/, but not Muster's own. */
bool ollama_is_path(struct slice path);
/* admit.c: whether the request may go on; otherwise it has been answered. */
bool admit(struct gateway *g, struct http_exchange *x, struct gateway_caller *ret);
/* The caller may not call this use case: what it is told. */
const char *admit_use_case_text(struct arena *a, const struct gateway_caller *caller, struct slice use_case);
