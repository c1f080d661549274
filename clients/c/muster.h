/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C client of Muster: generate text, chat, report log records, check texts against the guardrails, and change the
 * registry.  Needs libcurl and nothing else:
 *
 *     cc app.c muster.c muster_text.c -lcurl -lpthread
 *
 *     struct muster_error error;
 *     struct muster_answer answer;
 *     struct muster *m;
 *     char text[4096];
 *
 *     if (muster_open(NULL, &m, &error) < 0)
 *             return fprintf(stderr, "%s\n", error.text), 1;
 *     if (muster_generate(m, &(struct muster_prompt){.layer = "foundation", .prompt = "Hello"}, &answer, &error) == 0)
 * { muster_json_text(answer.body, answer.size, "text", text, sizeof(text)); puts(text); muster_answer_release(&answer);
 *     }
 *     muster_close(m);
 *
 * Errors.  Every call returns 0 or a negative MUSTER_E_*, and then fills *error (which may be NULL) with one sentence
 * for people.  0 means that the server did what was asked (a status of 2xx).  MUSTER_E_REFUSED means that it answered
 * something else: error->http_status, error->code and error->text say what, and the answer is filled too.
 *
 * Ownership.  A struct muster_answer that a call filled is yours: muster_answer_release() it, after a failure too (it
 * is always safe).  Everything passed in is only read during the call.
 *
 * Threads.  A struct muster is a connection: one thread at a time.  Several may be open at once.  libcurl is first
 * touched by the first muster_open().
 *
 * Limits.  An answer has at most max_answer_bytes, one event of a stream at most MUSTER_MAX_EVENT_BYTES.  Names in
 * paths (models, use cases) have at most 512 bytes; they are percent-encoded here.  All strings are UTF-8; a byte that
 * is not becomes U+FFFD in JSON.
 */
#ifndef MUSTER_CLIENT_H
#define MUSTER_CLIENT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MUSTER_DEFAULT_URL "http://127.0.0.1:8080"
#define MUSTER_MAX_EVENT_BYTES 1048576

enum muster_result {
	MUSTER_OK = 0,
	MUSTER_E_INVALID = -1,	   /* an argument is wrong: nothing was sent */
	MUSTER_E_UNREACHABLE = -2, /* no connection: nothing was sent */
	MUSTER_E_TIMEOUT = -3,	   /* connect_timeout_ms or timeout_ms passed */
	MUSTER_E_BROKEN = -4, /* the connection failed, or what came is not HTTP: it is not known whether it was done */
	MUSTER_E_TOO_BIG = -5,	 /* past a limit of this side */
	MUSTER_E_REFUSED = -6,	 /* an answer came, and it is an error */
	MUSTER_E_CANCELLED = -7, /* the callback of a stream asked to stop */
	MUSTER_E_NO_MEMORY = -8,
};

struct muster_error {
	int result;	 /* enum muster_result */
	int http_status; /* of the answer, or 0 when none came */
	char code[64];	 /* the server's word for it ("model_not_found"), or "" */
	char text[1024]; /* one sentence */
};

/* 0 and NULL everywhere mean the default. */
struct muster_options {
	const char *url;	 /* default: the environment's MUSTER_URL, else MUSTER_DEFAULT_URL */
	const char *api_key;	 /* default: the environment's MUSTER_API_KEY; "" for none */
	const char *actor;	 /* who changes things, for the registry's history */
	const char *ca_file;	 /* certificates to trust instead of the system's; default: MUSTER_CA_FILE, if set */
	long connect_timeout_ms; /* default 5,000 */
	long timeout_ms;	 /* of a whole call; default 600,000; -1: none */
	size_t max_answer_bytes; /* default 64 MiB */
};

struct muster_answer {
	int status;  /* HTTP status */
	char *body;  /* JSON, NUL-terminated; "" when there is none; NULL once released */
	size_t size; /* without the NUL */
	char request_id[132], log_id[64];
	char model[200]; /* name@version of what served */
	char model_id[132];
	char fallback[16];  /* "model", "endpoint", "content", or "" */
	char guardrail[16]; /* "allow", "flag", "mask", "fallback", "block", "skipped", or "" */
};

struct muster;

int muster_open(const struct muster_options *options, struct muster **ret, struct muster_error *error);
void muster_close(struct muster *m); /* NULL is fine */
const char *muster_url(const struct muster *m);
void muster_answer_release(struct muster_answer *answer);

/* --- inference --- */

struct muster_prompt {
	const char *layer, *use_case, *model; /* one of them at least: what is to answer */
	const char *prompt;
	const char *context;	   /* a JSON object, or NULL */
	long max_tokens;	   /* 0: the model's default */
	const double *temperature; /* NULL: the model's default */
};

/* answer->body: {"success", "text", "tokens_used", "model_name", "latency_ms", "log_id", "fallback_used", ...} */
int muster_generate(struct muster *m, const struct muster_prompt *prompt, struct muster_answer *answer,
		    struct muster_error *error);

/* One event of a stream: JSON, terminated.  Anything but 0 ends the call with MUSTER_E_CANCELLED. */
typedef int (*muster_event_fn)(void *context, const char *json, size_t size);

/*
 * The same as a stream: events are {"text": "piece"}, and at the end {"done": true, "tokens_used", ...}.  An answer
 * that breaks off is MUSTER_E_BROKEN; an error inside the stream is MUSTER_E_REFUSED.  answer->body is empty.
 */
int muster_generate_stream(struct muster *m, const struct muster_prompt *prompt, muster_event_fn on_event,
			   void *context, struct muster_answer *answer, struct muster_error *error);

/* A body of OpenAI's /v1/chat/completions in, its answer out.  on_event may be NULL; with it, "stream" must be true in
 * json. */
int muster_chat(struct muster *m, const char *json, muster_event_fn on_event, void *context,
		struct muster_answer *answer, struct muster_error *error);

/* --- guardrails and log --- */

struct muster_check {
	const char *policy, *use_case, *model_id; /* any may be NULL */
	const char *side;			  /* "output" (default) or "input" */
	const char *const *texts;
	size_t n_texts;
};

/* answer->body: {"compliant", "action", "policy", "violations": [...], "outputs": [...]} */
int muster_guardrails_check(struct muster *m, const struct muster_check *check, struct muster_answer *answer,
			    struct muster_error *error);
/* json: {"model_id", "use_case", "prompt", "context", "output", ...}; answer->body: {"log_id"} */
/* With a member "id" (a UUIDv7, or any UUID and "created_at") the same record may be sent again without harm. */
int muster_log(struct muster *m, const char *json, struct muster_answer *answer, struct muster_error *error);

/* --- registry; a model is an id, a unique prefix of one, name@version or name --- */

/* json: {"model_name", "version", "use_case", "provider", "configuration": {...}, ...} */
int muster_model_register(struct muster *m, const char *json, struct muster_answer *answer, struct muster_error *error);
/* use_case and status may be NULL: all. */
int muster_model_list(struct muster *m, const char *use_case, const char *status, struct muster_answer *answer,
		      struct muster_error *error);
int muster_model_show(struct muster *m, const char *model, struct muster_answer *answer, struct muster_error *error);
/* use_case may be NULL when the model is unambiguous. */
int muster_model_promote(struct muster *m, const char *model, const char *use_case, const char *reason,
			 struct muster_answer *answer, struct muster_error *error);
int muster_model_set_status(struct muster *m, const char *model, const char *status, const char *reason,
			    struct muster_answer *answer, struct muster_error *error);
/* The current model of a use case. */
int muster_current(struct muster *m, const char *use_case, struct muster_answer *answer, struct muster_error *error);

/* --- anything else --- */

struct muster_request {
	const char *method;
	const char *path; /* begins with '/', query included, encoded as it is to be sent; at most 4,096 bytes */
	const char *json; /* body, or NULL */
	muster_event_fn on_event; /* not NULL: takes the events when the answer is a stream */
	void *context;
};
int muster_send(struct muster *m, const struct muster_request *request, struct muster_answer *answer,
		struct muster_error *error);
/* Percent-encodes one segment of a path or one value of a query.  The length, or -1 when it does not fit. */
long muster_encode(const char *text, char *ret, size_t size);
/*
 * The value at a path of member names ("error.message") in a JSON object: the decoded text of a string, the JSON of
 * anything else.  Terminated, and cut to size at a character.  Its length, or -1 when it is not there.
 */
long muster_json_text(const char *json, size_t json_size, const char *path, char *ret, size_t size);

#ifdef __cplusplus
}
#endif

#endif
