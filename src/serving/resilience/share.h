/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sharing one rate out among several.  A part of a rate has its part of the bucket, and what is missing of it is said
 * as the time that it takes to come back: that time passes equally fast for every part, so parts can be cut off and put
 * together, and the sum is what one bucket alone would hold.  Pure.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct share_part {
	int64_t amount; /* of the rate */
	int64_t missing;
};

/* What is missing when both are one part; the unit of time is the caller's. */
int64_t share_blend(struct share_part a, struct share_part b);
/*
 * Of a limit, how much is the i-th one's: nobody gets more than it wants while another has less than it wants and less
 * than it has.  What is left over when all have what they want is nobody's.
 */
int64_t share_fair(int64_t limit, const int64_t *wanted, size_t n, size_t i);
