/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UUIDs.  Version 7: 48 bits of milliseconds, the version, a 12-bit counter that begins below 2048 at random each
 * millisecond, the variant, 62 random bits.  A counter that runs over, or a clock that goes back, borrows from the next
 * millisecond: within one generator ids only rise.
 */
#include "core/base/uuid.h"

#include <openssl/sha.h>

#include "core/base/clock.h"
#include "core/base/err.h"

#define SEQ_MAX 0xfff
#define SEQ_START_MASK 0x7ff

void uuid_gen_init(struct uuid_gen *g)
{
	*g = (struct uuid_gen){.last_ms = 0};
	rand_bytes(g->rng.s, sizeof(g->rng.s));
	g->rng.s[0] |= 1; /* all zero is the one state that xoshiro cannot leave */
}

static void put_be64(uint8_t *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, sizeof(v));
}

struct uuid uuid_v7(struct uuid_gen *g, int64_t wall_us)
{
	uint64_t ms = wall_us > 0 ? (uint64_t)wall_us / 1000 : 0, random = rng_u64(&g->rng);
	struct uuid u;

	if (ms > g->last_ms) {
		g->last_ms = ms;
		g->seq = (uint16_t)(rng_u64(&g->rng) & SEQ_START_MASK);
	} else if (g->seq >= SEQ_MAX) {
		g->last_ms++;
		g->seq = (uint16_t)(rng_u64(&g->rng) & SEQ_START_MASK);
	} else {
		g->seq++;
	}
	put_be64(u.b, g->last_ms << 16 | 0x7000U | g->seq);
	put_be64(u.b + 8, (random >> 2) | (UINT64_C(1) << 63));
	return u;
}

struct uuid uuid_v7_now(void)
{
	static _Thread_local struct uuid_gen g;
	static _Thread_local bool ready;

	if (!ready) {
		uuid_gen_init(&g);
		ready = true;
	}
	return uuid_v7(&g, clock_wall_us());
}

struct uuid uuid_derive(const struct uuid *base, uint32_t n)
{
	unsigned char in[20], digest[SHA256_DIGEST_LENGTH];
	struct uuid u;

	memcpy(in, base->b, 16);
	for (unsigned i = 0; i < 4; i++)
		in[16 + i] = (unsigned char)(n >> (24 - 8 * i));
	SHA256(in, sizeof(in), digest);
	memcpy(u.b, digest, 16);
	u.b[6] = (uint8_t)((u.b[6] & 0x0f) | 0x80);
	u.b[8] = (uint8_t)((u.b[8] & 0x3f) | 0x80);
	return u;
}

/* A digest of digests: where one text ends and the next begins cannot be confused. */
struct uuid uuid_named(int64_t wall_us, const struct slice *parts, size_t n)
{
	unsigned char state[SHA256_DIGEST_LENGTH + SHA256_DIGEST_LENGTH] = {0}, digest[SHA256_DIGEST_LENGTH];
	uint64_t ms = wall_us > 0 ? (uint64_t)wall_us / 1000 : 0;
	struct uuid u;

	put_be64(state, (uint64_t)wall_us);
	for (size_t i = 0; i < n; i++) {
		SHA256((const unsigned char *)parts[i].p, parts[i].n, state + SHA256_DIGEST_LENGTH);
		SHA256(state, sizeof(state), digest);
		memcpy(state, digest, sizeof(digest));
	}
	memcpy(u.b, state, 16);
	for (unsigned i = 0; i < 6; i++)
		u.b[i] = (uint8_t)(ms >> (40 - 8 * i));
	u.b[6] = (uint8_t)((u.b[6] & 0x0f) | 0x80);
	u.b[8] = (uint8_t)((u.b[8] & 0x3f) | 0x80);
	return u;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool dash_before(size_t byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

int uuid_parse(const char *s, size_t n, struct uuid *ret)
{
	struct uuid u;

	if (n != UUID_STR_SIZE - 1)
		return E_INVALID;
	for (size_t i = 0; i < sizeof(u.b); i++) {
		int high, low;

		if (dash_before(i) && *s++ != '-')
			return E_INVALID;
		high = hex_value(*s++);
		low = hex_value(*s++);
		if (high < 0 || low < 0)
			return E_INVALID;
		u.b[i] = (uint8_t)(high << 4 | low);
	}
	*ret = u;
	return 0;
}

char *uuid_format(const struct uuid *u, char buf[UUID_STR_SIZE])
{
	static const uint8_t place[16] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < sizeof(u->b); i++) {
		buf[place[i]] = hex[u->b[i] >> 4];
		buf[place[i] + 1] = hex[u->b[i] & 15];
	}
	buf[8] = buf[13] = buf[18] = buf[23] = '-';
	buf[36] = '\0';
	return buf;
}

bool uuid_is_nil(const struct uuid *u)
{
	static const struct uuid nil;

	return !memcmp(u->b, nil.b, sizeof(nil.b));
}
