/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a stream of lines, whole and in pieces: what comes out must be the same. */
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

/* The raw bytes of all lines follow each other; a line holds no line feed and is not blank. */
static void must_cover(struct slice in)
{
	struct slice rest = in, line, raw;
	struct ndjson s;
	size_t at = 0;

	ndjson_init(&s, LARGE_LIMIT);
	while (ndjson_next(&s, &rest, &line, &raw) > 0) {
		must(raw.n <= in.n - at && !memcmp(in.p + at, raw.p, raw.n) && slice_ends(raw, SLICE_LIT("\n")));
		must(slice_trim(line).n > 0 && slice_chr(line, 10) < 0);
		at += raw.n;
	}
	if (ndjson_finish(&s, &line) > 0)
		must(slice_ends(in, line) && slice_chr(line, 10) < 0);
	ndjson_release(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = {(const char *)data, size};

	must(same_in_pieces(transcribe_ndjson, in, SMALL_LIMIT, MAX_CUTS));
	must(same_in_pieces(transcribe_ndjson, in, LARGE_LIMIT, MAX_CUTS));
	must_cover(in);
	return 0;
}
