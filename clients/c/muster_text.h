/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the client: texts that grow up to a limit, and writing JSON into them. */
#ifndef MUSTER_CLIENT_TEXT_H
#define MUSTER_CLIENT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct muster_text { /* grows up to max; failed once it would have to be longer, or memory ran out */
	char *p;
	size_t n, cap, max;
	bool failed, no_memory;
};

/* Appends, and keeps p terminated. */
void muster_text_add(struct muster_text *t, const void *p, size_t n);
void muster_text_str(struct muster_text *t, const char *s);
void muster_text_release(struct muster_text *t);

void muster_json_string(struct muster_text *t, const char *s);
/* A member of the outermost object: its name and the colon. */
void muster_json_key(struct muster_text *t, const char *key);
/* The whole member; nothing when value is NULL. */
void muster_json_member(struct muster_text *t, const char *key, const char *value);

#endif
