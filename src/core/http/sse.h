/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting a stream into server-sent events (WHATWG HTML, "Server-sent events").
 * LF, CRLF and CR end lines; comments, ids and retry times are skipped; several data lines are joined by LF.
 * The result does not depend on how the stream was cut into pieces.
 */
#pragma once
#include "core/base/buf.h"

struct sse_event {
	struct slice name; /* of the last event: line, or absent */
	struct slice data; /* absent when the block had no data line (a comment) */
	struct slice raw;  /* every byte since the event before: what a passthrough forwards */
};

struct sse {
	struct buf pending; /* bytes of a block that is not whole yet */
	struct buf joined;  /* data of an event with several data lines */
	size_t scanned;	    /* bytes known to hold no end of block */
	bool in_block;	    /* a line that is not blank has begun before there */
	size_t used;	    /* bytes of pending that the event handed out before takes */
	size_t max_event_bytes;
	bool failed;  /* an event was too big */
	bool started; /* past the first event: a byte order mark is no longer one */
};

/* max_event_bytes: of one block, blank line included. */
void sse_init(struct sse *s, size_t max_event_bytes);
void sse_release(struct sse *s);
/*
 * Takes from *in and sets *ret_event to the next whole event; its slices live until the next call (and as long as the
 * bytes of *in: an event that came whole is not copied). 1: an event is there, call again.  0: all of *in was taken,
 * nothing whole.  E_TOOBIG: an event past the maximum; nothing of it is handed out, and every further call says the
 * same. Blank lines between events are no events; they begin the raw of the next one.  A CR that could be half of a
 * CRLF is waited for.
 */
int sse_next(struct sse *s, struct slice *in, struct sse_event *ret_event);
/* At the end of the stream: an event whose blank line never came (1), or nothing (0). */
int sse_finish(struct sse *s, struct sse_event *ret_event);
