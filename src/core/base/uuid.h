/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs (RFC 9562).  Muster makes version 7: ids sort by time of creation. */
#pragma once
#include "core/base/rand.h"
#include "core/base/slice.h"

struct uuid {
	uint8_t b[16];
};

#define UUID_STR_SIZE 37

/* Version 7 from the time and 74 random bits of r, strictly increasing within one generator. */
struct uuid_gen {
	struct rng rng;
	uint64_t last_ms;
	uint16_t seq; /* the 12 bits after the version: a counter within the millisecond, seeded at random */
};
void uuid_gen_init(struct uuid_gen *g); /* seeds from the kernel */
struct uuid uuid_v7(struct uuid_gen *g, int64_t wall_us);
struct uuid uuid_v7_now(void); /* any thread; for the control plane and the command line */
/* A name-based id (version 8, SHA-256 of base and n): the same for the same input. */
struct uuid uuid_derive(const struct uuid *base, uint32_t n);
/* The same from a moment, which it begins with, and some texts: ids of one moment sort together, and by moments. */
struct uuid uuid_named(int64_t wall_us, const struct slice *parts, size_t n);
/* Only the canonical 36-character form, either case.  0 or E_INVALID. */
int uuid_parse(const char *s, size_t n, struct uuid *ret);
char *uuid_format(const struct uuid *u, char buf[UUID_STR_SIZE]); /* lower case; returns buf */
bool uuid_is_nil(const struct uuid *u);
