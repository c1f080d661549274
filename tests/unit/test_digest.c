/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums and hashes: published vectors, and numbers that may never change. */
#include "core/base/digest.h"

#include "core/base/rand.h"
#include "t.h"

TEST(crc32c_gives_the_published_numbers)
{
	unsigned char zeros[32] = {0}, ones[32];

	memset(ones, 0xff, sizeof(ones));
	CHECK_INT(crc32c(0, "", 0), 0);
	CHECK_INT(crc32c(0, "123456789", 9), 0xe3069283U);
	CHECK_INT(crc32c(0, zeros, 32), 0x8a9136aaU); /* RFC 3720 B.4 */
	CHECK_INT(crc32c(0, ones, 32), 0x62a8ab43U);
}

TEST(crc32c_may_be_fed_in_parts_and_the_table_agrees)
{
	unsigned char data[2100];

	rand_bytes(data, sizeof(data));
	for (size_t n = 0; n <= sizeof(data); n++) {
		uint32_t whole = crc32c(0, data, n);

		CHECK_INT(crc32c(crc32c(0, data, n / 3), data + n / 3, n - n / 3), whole);
		CHECK_INT(crc32c_portable(0, data, n), whole);
	}
}

TEST(hash64_is_stable_and_sees_every_byte_the_length_and_the_seed)
{
	char data[100];

	CHECK(hash64(SLICE_LIT(""), 0) == 0x35a326f59cbd265cU);
	CHECK(hash64(SLICE_LIT("foundation_layer"), 1) == 0x31309a80afada579U);
	CHECK(hash64(SLICE_LIT("a text that is longer than one block"), 2) == 0xf3bf2cdb731fb92fU);
	memset(data, 0, sizeof(data));
	for (size_t n = 0; n <= sizeof(data); n++) {
		struct slice s = {data, n};
		uint64_t h = hash64(s, 7);

		CHECK(h != hash64(s, 8));
		CHECK(n == 0 || h != hash64((struct slice){data, n - 1}, 7));
		for (size_t i = 0; i < n; i++) {
			data[i] ^= 1;
			CHECK(hash64(s, 7) != h);
			data[i] ^= 1;
		}
	}
}

TEST(hash64_spreads_keys_evenly)
{
	unsigned count[16] = {0};

	for (uint32_t i = 0; i < 16000; i++)
		count[hash64((struct slice){(const char *)&i, sizeof(i)}, 0) % 16]++;
	for (int i = 0; i < 16; i++)
		CHECK(count[i] > 850 && count[i] < 1150);
}

TEST(sha256_gives_the_published_digest)
{
	char hex[65];

	sha256_hex(SLICE_LIT("abc"), hex);
	CHECK_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	sha256_hex((struct slice){NULL, 0}, hex);
	CHECK_STR(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(hmac_gives_the_published_digest)
{
	char hex[65];

	hmac_sha256_hex(SLICE_LIT("Jefe"), SLICE_LIT("what do ya want for nothing?"), hex);
	CHECK_STR(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	hmac_sha256_hex((struct slice){NULL, 0}, (struct slice){NULL, 0}, hex);
	CHECK_STR(hex, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(secrets_are_compared_whole)
{
	CHECK(equal_secret("abcd", "abcd", 4));
	CHECK(!equal_secret("abcd", "abce", 4));
	CHECK(equal_secret("abcd", "abce", 3));
	CHECK(equal_secret("", "x", 0));
}
