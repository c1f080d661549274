/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a log record: what decodes has to encode to the same bytes again; what an older muster wrote, to a
 * record of today that says the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "serving/spool/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *encode(const struct log_record *r, size_t *ret_n)
{
	char *out = malloc(record_size(r));

	if (!out)
		abort();
	*ret_n = record_size(r);
	record_encode(r, out);
	return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct log_record r, again;
	char *first, *second;
	size_t n, n_second;

	if (record_decode((struct slice){(const char *)data, size}, &r) < 0)
		return 0;
	first = encode(&r, &n);
	if (data[0] == RECORD_FORMAT_VERSION && (n != size || memcmp(first, data, size) != 0))
		abort();
	if (record_decode((struct slice){first, n}, &again) < 0)
		abort();
	second = encode(&again, &n_second);
	if (n_second != n || memcmp(first, second, n) != 0)
		abort();
	free(first);
	free(second);
	return 0;
}
