/* SPDX-License-Identifier: Apache-2.0 */
/* The words for what a record says.  They are stored as text and filtered by: adding one is fine, changing one loses
 * history. */
#include "domain/record.h"

static const char *const status_names[RECORD_N_STATUSES] = {
	[RECORD_OK] = "ok",
	[RECORD_ERROR] = "error",
	[RECORD_BLOCKED] = "blocked",
	[RECORD_TRUNCATED] = "truncated",
	[RECORD_CLIENT_DISCONNECT] = "client_disconnect",
	[RECORD_TIMEOUT] = "timeout",
	[RECORD_SHUTDOWN] = "shutdown",
};

const char *record_status_name(enum record_status s)
{
	return (unsigned)s < RECORD_N_STATUSES ? status_names[s] : "unknown";
}

int record_status_parse(struct slice s, enum record_status *ret)
{
	for (unsigned i = 0; i < RECORD_N_STATUSES; i++) {
		if (slice_eq_str(s, status_names[i])) {
			*ret = (enum record_status)i;
			return 0;
		}
	}
	return E_INVALID;
}

const char *record_fallback_name(enum record_fallback f)
{
	switch (f) {
	case RECORD_FALLBACK_NONE:
		return "none";
	case RECORD_FALLBACK_MODEL:
		return "model";
	case RECORD_FALLBACK_ENDPOINT:
		return "endpoint";
	case RECORD_FALLBACK_CONTENT:
		return "content";
	}
	return "unknown";
}

const char *record_source_name(enum record_source s)
{
	switch (s) {
	case RECORD_GATEWAY:
		return "gateway";
	case RECORD_APPLICATION:
		return "application";
	}
	return "unknown";
}
