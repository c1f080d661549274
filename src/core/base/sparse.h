/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is mostly zeros, in less memory: the 8-byte words that are not zero, behind a bit for each word.  For structs of
 * which there are thousands and that nobody touches for a while.
 */
#pragma once
#include <stddef.h>

/* n: a multiple of 8; p aligned to 8, and so is where it is packed to. */
size_t sparse_bytes(const void *p, size_t n); /* that it takes when packed: a multiple of 8 */
size_t sparse_pack(void *to, const void *p, size_t n);
size_t sparse_unpack(void *p, size_t n, const void *from); /* both return what the packed form takes */
