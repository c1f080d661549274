/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes.  hash64() ends up in traffic splits: its results may never change.
 */
#include "core/base/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdlib.h>

/* Both halves of the 128-bit product: the mixing step of wyhash (Wang Yi). */
static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load_le(const char *p, size_t n)
{
	uint64_t v = 0;

	memcpy(&v, p, n);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap64(v);
#endif
	return v;
}

#define HASH_A 0xa0761d6478bd642fU
#define HASH_B 0xe7037ed1a0b428dbU

uint64_t hash64(struct slice s, uint64_t seed)
{
	uint64_t h = mix(seed ^ HASH_A, (uint64_t)s.n ^ HASH_B), low = 0, high = 0;
	const char *p = s.p;
	size_t n = s.n;

	for (; n > 16; n -= 16, p += 16)
		h = mix(load_le(p, 8) ^ HASH_A, load_le(p + 8, 8) ^ h);
	if (n >= 8) {
		low = load_le(p, 8);
		high = load_le(p + n - 8, 8);
	} else if (n >= 4) {
		low = load_le(p, 4);
		high = load_le(p + n - 4, 4);
	} else if (n > 0) {
		low = (unsigned char)p[0] | (uint64_t)(unsigned char)p[n / 2] << 8 |
		      (uint64_t)(unsigned char)p[n - 1] << 16;
	}
	return mix(HASH_B ^ (uint64_t)s.n, mix(low ^ HASH_A, high ^ h));
}

static void write_hex(const unsigned char digest[SHA256_DIGEST_LENGTH], char ret_hex[65])
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < SHA256_DIGEST_LENGTH; i++) {
		ret_hex[2 * i] = hex[digest[i] >> 4];
		ret_hex[2 * i + 1] = hex[digest[i] & 15];
	}
	ret_hex[64] = '\0';
}

void sha256_hex(struct slice s, char ret_hex[65])
{
	unsigned char digest[SHA256_DIGEST_LENGTH];

	SHA256((const unsigned char *)(s.n ? s.p : ""), s.n, digest);
	write_hex(digest, ret_hex);
}

void hmac_sha256_hex(struct slice key, struct slice s, char ret_hex[65])
{
	unsigned char digest[SHA256_DIGEST_LENGTH];

	if (!HMAC(EVP_sha256(), key.n ? key.p : "", (int)key.n, (const unsigned char *)(s.n ? s.p : ""), s.n, digest,
		  NULL))
		abort(); /* out of memory */
	write_hex(digest, ret_hex);
}

bool equal_secret(const void *a, const void *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
}
