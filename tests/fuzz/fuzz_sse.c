/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a stream of events, whole and in pieces: what comes out must be the same. */
#include <stdint.h>
#include <stdlib.h>

#include "tests/pieces.h"

enum { MAX_CUTS = 64, SMALL_LIMIT = 24, LARGE_LIMIT = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* The raw bytes of all events follow each other; only blank lines (and a mark) may be left. */
static void must_cover(struct slice in)
{
	struct slice rest = in;
	struct sse s;
	struct sse_event ev;
	size_t at = 0;

	sse_init(&s, LARGE_LIMIT);
	while (sse_next(&s, &rest, &ev) > 0) {
		must(ev.raw.n > 0 && ev.raw.n <= in.n - at && !memcmp(in.p + at, ev.raw.p, ev.raw.n));
		at += ev.raw.n;
	}
	if (sse_finish(&s, &ev) > 0) {
		must(ev.raw.n == in.n - at && !memcmp(in.p + at, ev.raw.p, ev.raw.n));
		at = in.n;
	}
	for (; at < in.n; at++)
		must(strchr("\r\n\xef\xbb\xbf", in.p[at]));
	sse_release(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = {(const char *)data, size};

	must(same_in_pieces(transcribe_sse, in, SMALL_LIMIT, MAX_CUTS));
	must(same_in_pieces(transcribe_sse, in, LARGE_LIMIT, MAX_CUTS));
	must_cover(in);
	return 0;
}
