/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Gemini's upstreams answer.  Every event of a stream is a whole answer with the next piece of it, usage is told
 * in each and counts from the beginning, and nothing marks the end: the last one has a finishReason.  A prompt that was
 * blocked has no candidate.
 *
 * What would break it: taking thoughts for text, or the end of a connection for the end of an answer that has no
 * finishReason.
 */
#include "core/base/utf8.h"
#include "serving/protocol/gemini_internal.h"

#define CALLS_MAX (64 - CHAT_CHANNEL_CALL)
#define CANDIDATES_MAX 64
#define CHANNEL_CANDIDATE (1u << 19) /* texts of the candidates behind the first: two for each */
#define CHANNEL_STRINGS (1u << 21)
#define STRINGS_MAX 16 /* channels of strings that have no name: they are shared, which can only find more in them */

/* decode_state.tool_parts, while arguments come in pieces */
#define CALL_OPEN 1u
#define CALL_HAS_MEMBER 2u
#define CALL_IN_STRING 4u

struct walk {
	struct arena *a;
	const struct wire_doc *doc;
	struct chat_events *out;
	struct decode_state *s;
	const struct json *reason, *logprobs; /* of the first candidate */
	unsigned n_strings, n_candidates;
	bool broken; /* arguments in pieces that do not fit together */
};

bool gemini_is(struct slice key, const char *camel)
{
	size_t i = 0;

	for (; *camel; camel++) {
		if (*camel >= 'A' && *camel <= 'Z' && i < key.n && key.p[i] == '_') {
			if (++i >= key.n || key.p[i++] != *camel - 'A' + 'a')
				return false;
		} else if (i >= key.n || key.p[i++] != *camel) {
			return false;
		}
	}
	return i == key.n;
}

const struct json *gemini_get(const struct json *obj, const char *camel)
{
	if (!obj || obj->type != JSON_OBJECT)
		return NULL;
	for (const struct json *v = obj->first; v; v = v->next)
		if (gemini_is(v->key, camel))
			return v;
	return NULL;
}

struct slice gemini_text(const struct json *obj, const char *camel)
{
	const struct json *v = gemini_get(obj, camel);

	return wire_is_string(v) ? v->str : (struct slice){NULL, 0};
}

static bool is_true(const struct json *v)
{
	return v && v->type == JSON_BOOL && v->boolean;
}

/* --- texts --- */

static int add_text(struct walk *w, const struct json *v, enum chat_event_type type, unsigned channel)
{
	struct chat_event e = {.type = type, .channel = channel};

	if (!wire_has_text(v))
		return 0;
	e.text = v->str;
	e.text_raw = wire_raw(w->doc, v);
	if (w->logprobs && type == CHAT_EVENT_TEXT)
		e.logprobs_raw = wire_raw(w->doc, w->logprobs);
	return events_say(w->a, w->out, &e);
}

/* Strings that name things, and those that nobody but the provider can read. */
static bool is_label(const struct json *v)
{
	static const char *const labels[] = {
		"thoughtSignature", "mimeType",	  "data",	 "name",     "id",	     "fileUri",	   "role",
		"finishReason",	    "category",	  "probability", "severity", "modelVersion", "responseId", "language",
		"outcome",	    "createTime", "blockReason", "jsonPath"};

	for (size_t i = 0; i < COUNT_OF(labels); i++)
		if (slice_eq_str(v->key, labels[i]))
			return true;
	return false;
}

/* Every string in a value, each a text of its own. */
static int add_strings(struct walk *w, const struct json *v, bool labels)
{
	int rc = 0;

	if (labels || !is_label(v) || v->type != JSON_STRING)
		rc = add_text(w, v, CHAT_EVENT_OTHER, CHANNEL_STRINGS + w->n_strings % STRINGS_MAX);
	w->n_strings += wire_has_text(v);
	for (const struct json *item = v->first; item && rc == 0; item = item->next)
		rc = add_strings(w, item, labels);
	return rc;
}

/* --- calls --- */

static unsigned index_of_call(const struct walk *w)
{
	return (w->s->n_calls - 1) % CALLS_MAX;
}

static int say_of_call(struct walk *w, enum chat_event_type type, struct slice text)
{
	struct chat_event e = {
		.type = type, .channel = CHAT_CHANNEL_CALL + index_of_call(w), .index = index_of_call(w), .text = text};

	return events_say(w->a, w->out, &e);
}

static int end_call(struct walk *w)
{
	uint64_t state = w->s->tool_parts;
	struct slice rest = !(state & CALL_HAS_MEMBER) ? SLICE_LIT("")
			    : state & CALL_IN_STRING   ? SLICE_LIT("\"}")
						       : SLICE_LIT("}");
	int rc = rest.n ? say_of_call(w, CHAT_EVENT_TOOL_ARGS, rest) : 0;

	w->s->tool_parts = 0;
	return rc < 0 ? rc : say_of_call(w, CHAT_EVENT_PART_END, (struct slice){NULL, 0});
}

static int begin_call(struct walk *w, const struct json *call, struct slice signature)
{
	const struct json *args = json_get(call, "args");
	struct chat_event e = {.type = CHAT_EVENT_TOOL_START,
			       .id = gemini_text(call, "id"),
			       .name = gemini_text(call, "name"),
			       .opaque = signature};
	int rc = w->s->tool_parts & CALL_OPEN ? end_call(w) : 0;

	if (rc < 0)
		return rc;
	w->s->n_calls++;
	w->s->tool_parts = CALL_OPEN;
	e.index = index_of_call(w);
	e.channel = CHAT_CHANNEL_CALL + e.index;
	rc = events_say(w->a, w->out, &e);
	if (rc < 0 || !args || args->type != JSON_OBJECT || !args->first)
		return rc;
	e = (struct chat_event){.type = CHAT_EVENT_TOOL_ARGS,
				.channel = e.channel,
				.index = e.index,
				.text = args->raw,
				.args_raw = wire_raw(w->doc, args)};
	rc = events_say(w->a, w->out, &e);
	return rc < 0 ? rc : add_strings(w, args, true);
}

/* "$.city": a member of the arguments.  What lies deeper cannot be written piece by piece. */
static bool member_of_path(struct slice path, struct slice *ret)
{
	if (!slice_starts(path, SLICE_LIT("$.")) || path.n == 2)
		return false;
	*ret = slice_sub(path, 2, path.n);
	for (size_t i = 0; i < ret->n; i++)
		if (ret->p[i] == '.' || ret->p[i] == '[' || ret->p[i] == '"' || ret->p[i] == '\\')
			return false;
	return true;
}

static void write_piece(struct walk *w, const struct json *piece, struct buf *b)
{
	static const char *const values[] = {"numberValue", "boolValue", "nullValue"};
	const struct json *string = json_get(piece, "stringValue"), *v = NULL;
	struct slice member;

	if (!(w->s->tool_parts & CALL_IN_STRING)) {
		if (!member_of_path(gemini_text(piece, "jsonPath"), &member)) {
			w->broken = true;
			return;
		}
		buf_adds(b, w->s->tool_parts & CALL_HAS_MEMBER ? ",\"" : "{\"");
		json_escape(b, member);
		buf_adds(b, "\":");
		w->s->tool_parts |= CALL_HAS_MEMBER;
		for (size_t i = 0; i < COUNT_OF(values) && !v; i++)
			v = json_get(piece, values[i]);
		if (!string) {
			buf_add(b, v && (v->type == JSON_NUMBER || v->type == JSON_BOOL) ? v->raw : SLICE_LIT("null"));
			return;
		}
		buf_addc(b, '"');
		w->s->tool_parts |= CALL_IN_STRING;
	}
	if (wire_is_string(string))
		json_escape(b, string->str);
	if (is_true(json_get(piece, "willContinue")))
		return;
	buf_addc(b, '"');
	w->s->tool_parts &= ~(uint64_t)CALL_IN_STRING;
}

static int add_pieces(struct walk *w, const struct json *pieces)
{
	struct buf b;
	int rc;

	buf_init_arena(&b, w->a, pieces->raw.n * 6 + 64);
	for (const struct json *v = pieces->first; v && !w->broken; v = v->next)
		write_piece(w, v, &b);
	if (buf_failed(&b))
		return E_TOOBIG;
	rc = b.n ? say_of_call(w, CHAT_EVENT_TOOL_ARGS, buf_slice(&b)) : 0;
	return rc < 0 ? rc : add_strings(w, pieces, false);
}

static int add_call(struct walk *w, const struct json *call, struct slice signature)
{
	const struct json *pieces = json_get(call, "partialArgs");
	int rc = 0;

	if (gemini_text(call, "name").n)
		rc = begin_call(w, call, signature);
	if (rc < 0 || !(w->s->tool_parts & CALL_OPEN))
		return rc;
	if (pieces)
		rc = add_pieces(w, pieces);
	if (rc == 0 && !is_true(json_get(call, "willContinue")))
		rc = end_call(w);
	return rc;
}

/* --- candidates --- */

static int add_signature(struct walk *w, struct slice signature)
{
	struct chat_event e = {.type = CHAT_EVENT_REASONING, .channel = CHAT_CHANNEL_REASONING, .opaque = signature};

	return signature.n ? events_say(w->a, w->out, &e) : 0;
}

static int add_part(struct walk *w, const struct json *part)
{
	bool thought = is_true(json_get(part, "thought")), call = json_get(part, "functionCall") != NULL;
	struct slice signature = gemini_text(part, "thoughtSignature");
	int rc = 0;

	for (const struct json *v = part->first; v && rc == 0; v = v->next) {
		if (KEY_IS(v, "text") && thought)
			rc = add_text(w, v, CHAT_EVENT_REASONING, CHAT_CHANNEL_REASONING);
		else if (KEY_IS(v, "text"))
			rc = add_text(w, v, CHAT_EVENT_TEXT, CHAT_CHANNEL_TEXT);
		else if (KEY_IS(v, "functionCall"))
			rc = add_call(w, v, signature);
		else
			rc = add_strings(w, v, false);
	}
	return rc < 0 || call ? rc : add_signature(w, signature);
}

static int add_content(struct walk *w, const struct json *content)
{
	int rc = 0;

	for (const struct json *v = content->first; v && rc == 0; v = v->next) {
		if (!KEY_IS(v, "parts")) {
			rc = add_strings(w, v, false);
			continue;
		}
		for (const struct json *part = v->first; part && rc == 0; part = part->next)
			rc = add_part(w, part);
	}
	return rc;
}

/* What only callers of the same protocol get. */
static int add_other_candidate(struct walk *w, const struct json *v, unsigned index)
{
	int rc = 0;

	if (KEY_IS(v, "text") && v->type == JSON_STRING)
		return add_text(w, v, CHAT_EVENT_OTHER, CHANNEL_CANDIDATE + index);
	if (v->type == JSON_STRING)
		return add_strings(w, v, false);
	for (const struct json *m = v->first; m && rc == 0; m = m->next)
		rc = KEY_IS(m, "args") ? add_strings(w, m, true) : add_other_candidate(w, m, index);
	return rc;
}

static int add_candidate(struct walk *w, const struct json *candidate)
{
	unsigned index = (unsigned)min_size((size_t)wire_count(json_get(candidate, "index")), CANDIDATES_MAX);
	int rc = 0;

	w->n_candidates++;
	if (index)
		return add_other_candidate(w, candidate, index);
	w->reason = json_get(candidate, "finishReason");
	w->logprobs = json_get(candidate, "logprobsResult");
	for (const struct json *v = candidate->first; v && rc == 0; v = v->next) {
		if (KEY_IS(v, "content"))
			rc = add_content(w, v);
		else if (v != w->logprobs)
			rc = add_strings(w, v, false);
	}
	return rc;
}

/* --- how it ended, what it took --- */

static int finish_of(struct slice reason, enum chat_finish *ret)
{
	static const struct {
		const char *name;
		int finish; /* or E_INVALID */
	} table[] = {
		{"STOP", CHAT_FINISH_STOP},
		{"MAX_TOKENS", CHAT_FINISH_LENGTH},
		{"SAFETY", CHAT_FINISH_CONTENT_FILTER},
		{"RECITATION", CHAT_FINISH_CONTENT_FILTER},
		{"LANGUAGE", CHAT_FINISH_CONTENT_FILTER},
		{"BLOCKLIST", CHAT_FINISH_CONTENT_FILTER},
		{"PROHIBITED_CONTENT", CHAT_FINISH_CONTENT_FILTER},
		{"SPII", CHAT_FINISH_CONTENT_FILTER},
		{"IMAGE_SAFETY", CHAT_FINISH_CONTENT_FILTER},
		{"IMAGE_PROHIBITED_CONTENT", CHAT_FINISH_CONTENT_FILTER},
		{"IMAGE_RECITATION", CHAT_FINISH_CONTENT_FILTER},
		{"MODEL_ARMOR", CHAT_FINISH_CONTENT_FILTER},
		{"MALFORMED_FUNCTION_CALL", E_INVALID},
		{"UNEXPECTED_TOOL_CALL", E_INVALID},
		{"TOO_MANY_TOOL_CALLS", E_INVALID},
		{"MALFORMED_RESPONSE", E_INVALID},
		{"MISSING_THOUGHT_SIGNATURE", E_INVALID},
	};

	for (size_t i = 0; i < COUNT_OF(table); i++) {
		if (!slice_eq_str(reason, table[i].name))
			continue;
		if (table[i].finish < 0)
			return table[i].finish;
		*ret = (enum chat_finish)table[i].finish;
		return 0;
	}
	*ret = CHAT_FINISH_STOP; /* "OTHER": it ended by itself */
	return 0;
}

static int64_t add_counts(int64_t a, int64_t b)
{
	return a > INT64_MAX - b ? INT64_MAX : a + b;
}

/* Counts from the beginning; an event that tells no tokens (its traffic type alone) says nothing of them. */
static void read_usage(const struct json *v, struct chat_usage *u)
{
	const struct json *prompt = json_get(v, "promptTokenCount"), *total = json_get(v, "totalTokenCount");

	if (!prompt && !total)
		return;
	*u = (struct chat_usage){.known = true, .reasoning_tokens = wire_count(json_get(v, "thoughtsTokenCount"))};
	u->prompt_tokens = add_counts(wire_count(prompt), wire_count(json_get(v, "toolUsePromptTokenCount")));
	u->completion_tokens = add_counts(wire_count(json_get(v, "candidatesTokenCount")), u->reasoning_tokens);
	u->cached_tokens = wire_count(json_get(v, "cachedContentTokenCount"));
	u->total_tokens = add_counts(u->prompt_tokens, u->completion_tokens);
}

/* A prompt that is not answered: the reason in words, or else by its name. */
static int add_block_reason(struct walk *w, const struct json *feedback, bool *ret_blocked)
{
	struct slice reason = gemini_text(feedback, "blockReason");
	const struct json *message = json_get(feedback, "blockReasonMessage");
	struct chat_event e = {.type = CHAT_EVENT_REFUSAL, .channel = CHAT_CHANNEL_REFUSAL};

	*ret_blocked |= reason.n > 0;
	if (!reason.n || wire_has_text(message))
		return add_text(w, message, CHAT_EVENT_REFUSAL, CHAT_CHANNEL_REFUSAL);
	e.text = slice_from(arena_printf(w->a, "The prompt was blocked by the model's provider: " SLICE_FMT ".",
					 SLICE_ARG(slice_sub(reason, 0, 64))));
	return events_say(w->a, w->out, &e);
}

/* Members in the order of the body, so that texts are found in the order of their places. */
static int read_reply(struct walk *w, const struct json *root, bool *ret_blocked)
{
	int rc = 0;

	for (const struct json *v = root->first; v && rc == 0; v = v->next) {
		if (KEY_IS(v, "candidates"))
			for (const struct json *c = v->first; c && rc == 0; c = c->next)
				rc = add_candidate(w, c);
		else if (KEY_IS(v, "promptFeedback"))
			rc = add_block_reason(w, v, ret_blocked);
		else if (!KEY_IS(v, "usageMetadata"))
			rc = add_strings(w, v, false);
	}
	return rc;
}

static int end_of(const struct walk *w, bool blocked, enum chat_finish *ret)
{
	int rc = 0;

	if (wire_is_string(w->reason))
		rc = finish_of(w->reason->str, ret);
	else if (blocked && !w->n_candidates)
		*ret = CHAT_FINISH_CONTENT_FILTER;
	if (*ret == CHAT_FINISH_STOP && w->s->n_calls)
		*ret = CHAT_FINISH_TOOL_CALLS;
	return rc;
}

static struct slice error_message(const struct json *root)
{
	struct slice message = wire_error_message(root);

	return message.n ? message : SLICE_LIT("an error without words");
}

static int decode_answer(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			 struct err *err)
{
	struct chat_answer answer = {.n_choices = 1};
	struct decode_state s = {0};
	struct chat_events events = {0};
	struct wire_doc doc;
	struct walk w = {.a = a, .doc = &doc, .out = &events, .s = &s};
	bool blocked = false;
	size_t n_said;
	int rc = wire_parse(a, jp, body, &doc, err);

	if (rc < 0)
		return rc;
	if (json_get(doc.root, "error"))
		return err_set(err, E_INVALID, "the upstream reports: " SLICE_FMT,
			       SLICE_ARG(utf8_truncate(error_message(doc.root), 300)));
	rc = read_reply(&w, doc.root, &blocked);
	n_said = events.n;
	if (rc < 0 || events_cover(a, &doc, &events) < 0 || answer_of_events(a, &events, &answer) < 0)
		return err_set(err, E_TOOBIG, "the upstream's answer is more than an exchange may hold");
	if (!w.n_candidates && !blocked)
		return err_set(err, E_INVALID, "the upstream's answer is no Gemini answer: it has no candidates");
	if (!n_said && !w.reason && !blocked)
		return err_set(err, E_INVALID, "the upstream's answer has nothing in it, not even a finishReason");
	if (end_of(&w, blocked, &answer.finish) < 0)
		return err_set(err, E_INVALID, "the upstream broke its answer off (finishReason '" SLICE_FMT "')",
			       SLICE_ARG(w.reason->str));
	if (w.n_candidates > 1)
		answer.n_choices = w.n_candidates;
	if (w.logprobs)
		answer.logprobs_raw = wire_raw(&doc, w.logprobs);
	answer.id = gemini_text(doc.root, "responseId");
	answer.model = gemini_text(doc.root, "modelVersion");
	read_usage(json_get(doc.root, "usageMetadata"), &answer.usage);
	*ret = answer;
	return 0;
}

/* --- streamed --- */

static int say_start(struct walk *w, const struct json *root)
{
	struct chat_event e = {.type = CHAT_EVENT_START,
			       .id = gemini_text(root, "responseId"),
			       .name = gemini_text(root, "modelVersion")};

	if (w->s->begun || !e.id.n)
		return 0;
	w->s->begun = true;
	return events_say(w->a, w->out, &e);
}

static int say_end(struct walk *w, const struct json *root, bool blocked)
{
	struct chat_event e = {.type = CHAT_EVENT_FINISH};
	int rc = end_of(w, blocked, &e.finish);

	if (rc < 0 || w->broken) {
		e = (struct chat_event){.type = CHAT_EVENT_ERROR,
					.text = rc < 0 ? SLICE_LIT("the upstream broke its answer off")
						       : SLICE_LIT("the upstream's arguments of a call are in pieces "
								   "that cannot be joined")};
		return events_say(w->a, w->out, &e);
	}
	if (e.finish != CHAT_FINISH_NONE) {
		w->s->finished = true;
		rc = w->s->tool_parts & CALL_OPEN ? end_call(w) : 0;
		if (rc == 0)
			rc = events_say(w->a, w->out, &e);
	}
	e = (struct chat_event){.type = CHAT_EVENT_USAGE};
	read_usage(json_get(root, "usageMetadata"), &e.usage);
	return rc < 0 || !e.usage.known ? rc : events_say(w->a, w->out, &e);
}

static int decode_event(struct decode_state *s, struct arena *a, struct json_parser *jp, struct slice payload,
			struct chat_events *ret, struct err *err)
{
	struct wire_doc doc;
	struct walk w = {.a = a, .doc = &doc, .out = ret, .s = s};
	bool blocked = false;
	int rc = wire_parse(a, jp, payload, &doc, err);

	if (rc < 0)
		return rc;
	if (doc.root->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "the upstream's event is a %s, not an object",
			       json_type_name(doc.root->type));
	if (json_get(doc.root, "error"))
		rc = events_say(a, ret,
				&(struct chat_event){.type = CHAT_EVENT_ERROR, .text = error_message(doc.root)});
	else if ((rc = say_start(&w, doc.root)) == 0)
		rc = read_reply(&w, doc.root, &blocked);
	if (rc == 0 && !json_get(doc.root, "error"))
		rc = say_end(&w, doc.root, blocked);
	if (rc == 0)
		rc = events_cover(a, &doc, ret);
	return rc < 0 ? err_set(err, rc, "the upstream's event is more than an exchange may hold") : 0;
}

/* --- errors --- */

/* "34.4s" of google.rpc.RetryInfo. */
static int64_t error_retry_ms(struct arena *a, struct json_parser *jp, struct slice body)
{
	const struct json *details;
	struct wire_doc doc;
	double seconds;

	if (wire_parse(a, jp, body, &doc, NULL) < 0)
		return -1;
	details = json_get(json_get(doc.root, "error"), "details");
	for (const struct json *v = details ? details->first : NULL; v; v = v->next) {
		struct slice delay = gemini_text(v, "retryDelay");

		if (delay.n > 1 && delay.p[delay.n - 1] == 's' &&
		    !slice_to_double(slice_sub(delay, 0, delay.n - 1), &seconds) && seconds >= 0 && seconds < 1e9)
			return (int64_t)(seconds * 1000);
	}
	return -1;
}

const struct protocol protocol_gemini = {
	.name = "gemini",
	.default_path = "/v1beta",
	.gives_vectors = &protocol_gemini_embed_batch,
	.model_path = "/models/",
	.whole_call = ":generateContent",
	.stream_call = ":streamGenerateContent?alt=sse",
	.framing = FRAMING_SSE,
	.stream_type = "text/event-stream",
	.needs_model_splice = true,
	.count_call = ":countTokens",
	.count_member = "totalTokens",
	.ordered = true,
	.options = "generationConfig",
	.option_name = gemini_option_name,
	.answer_parts =
		1u << CHAT_PART_TEXT | 1u << CHAT_PART_REASONING | 1u << CHAT_PART_REFUSAL | 1u << CHAT_PART_TOOL_CALL,
	.decode_request = gemini_decode_request,
	.decode_details = gemini_decode_details,
	.encode_answer = gemini_encode_answer,
	.encode_event = gemini_encode_event,
	.encode_error = gemini_encode_error,
	.encode_stream_error = gemini_encode_stream_error,
	.encode_request = gemini_encode_request,
	.decode_answer = decode_answer,
	.decode_event = decode_event,
	.decode_error = wire_decode_error,
	.error_retry_ms = error_retry_ms,
};
