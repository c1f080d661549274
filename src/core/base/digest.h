/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums and hashes. */
#pragma once
#include "core/base/slice.h"

/* CRC-32C (Castagnoli), by instructions made for it where the processor has them; crc of an earlier part, 0 to begin.
 */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
/* The same by a table. */
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);
/* Fast 64-bit hash for tables and traffic splits: stable across runs and machines; not for secrets. */
uint64_t hash64(struct slice s, uint64_t seed);
/* Lower-case hexadecimal SHA-256, terminated. */
void sha256_hex(struct slice s, char ret_hex[65]);
/* The same of an HMAC with that key. */
void hmac_sha256_hex(struct slice key, struct slice s, char ret_hex[65]);
/* Compares in time that depends on n only. */
bool equal_secret(const void *a, const void *b, size_t n);
