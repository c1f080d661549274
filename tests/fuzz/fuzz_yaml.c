/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration reader on any bytes: it ends, leaks nothing, and either takes the text or says why not, with a
 * line. */
#include <assert.h>

#include "app/daemon/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {0};
	struct config c;
	int rc;

	config_init(&c);
	rc = config_load_text(&c, "muster.yaml", (struct slice){(const char *)data, size}, &err);
	assert(rc == 0 || (err.code == rc && err.text[0] && !strchr(err.text, '\n')));
	if (rc == 0)
		(void)config_check(&c, &err); /* whatever it says: it must come back */
	config_release(&c);
	return 0;
}
