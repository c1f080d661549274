/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a log record: what decodes has to encode to the same bytes again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "serving/spool/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct log_record r;
	char *out;

	if (record_decode((struct slice){(const char *)data, size}, &r) < 0)
		return 0;
	if (record_size(&r) != size)
		abort();
	out = malloc(size);
	record_encode(&r, out);
	if (memcmp(out, data, size) != 0)
		abort();
	free(out);
	return 0;
}
