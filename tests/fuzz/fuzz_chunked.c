/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a chunked body, whole and in pieces: what comes out must be the same. */
#include <stdint.h>
#include <stdlib.h>

#include "tests/pieces.h"

enum { MAX_CUTS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = {(const char *)data, size};

	must(same_in_pieces(transcribe_chunked, in, 0, MAX_CUTS));
	return 0;
}
