/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI's responses, in several files. */
#pragma once
#include "serving/protocol/protocol_internal.h"

/* Before the data of a thought that the model keeps to itself: where `encrypted_content` comes back, it is told from
 * the signature of one without words. */
#define RESPONSES_REDACTED "redacted:"

/* One of an answer's items.  `open`: as it begins, without what it says. */
struct responses_item {
	enum chat_part_kind kind;
	unsigned number;	    /* among the items */
	struct slice text, opaque;  /* as a part has them */
	struct slice call_id, name; /* of a call */
	unsigned call;		    /* its number among the calls */
	bool redacted, open;
	const char *status; /* "in_progress", "completed", "incomplete" */
};
void responses_write_item(struct json_writer *w, const struct responses_item *item, const struct answer_meta *m);
/* "msg_...", "rs_...", "fc_...": the item's, as a member of that name. */
void responses_write_item_id(struct json_writer *w, const char *key, const struct responses_item *item,
			     const struct answer_meta *m);
/* The content of a message. */
void responses_write_part(struct json_writer *w, enum chat_part_kind kind, struct slice text);

/* Where an answer stands. */
struct responses_state {
	bool ended; /* else it is in progress */
	enum chat_finish finish;
	const struct chat_usage *usage; /* or NULL */
	const struct api_error *error;	/* or NULL: why it failed */
};
/* The whole object but for its output, which comes between the two. */
void responses_begin(struct json_writer *w, const struct responses_state *s, const struct answer_meta *m);
void responses_end(struct json_writer *w, const struct responses_state *s);
bool responses_broke_off(enum chat_finish finish); /* an answer that ends so is incomplete */

int responses_decode_request(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			     const char **ret_param, struct err *err);
int responses_decode_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err);
int responses_encode_answer(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m);
int responses_encode_event(struct encode_state *s, struct buf *out, const struct chat_event *e,
			   const struct answer_meta *m);
int responses_encode_stream_error(struct buf *out, const struct api_error *e);
int responses_encode_failure(struct encode_state *s, struct buf *out, const struct api_error *e,
			     const struct answer_meta *m);

/* An item of the caller's that is known, and what reads it. */
bool responses_knows_item(const struct json *item);
