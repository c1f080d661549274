/* SPDX-License-Identifier: Apache-2.0 */
/* Rounded so that nothing is ever there that was not: up where it is missing, down where it is given. */
#include "serving/resilience/share.h"

int64_t share_blend(struct share_part a, struct share_part b)
{
	__int128 all = (__int128)a.amount + b.amount;
	__int128 owed = (__int128)a.amount * a.missing + (__int128)b.amount * b.missing;

	return all > 0 ? (int64_t)((owed + all - 1) / all) : a.missing;
}

/* What all get who want at least that: raised until nothing is left, in at most n turns. */
int64_t share_fair(int64_t limit, const int64_t *wanted, size_t n, size_t i)
{
	int64_t level = 0, left = limit;

	for (size_t turn = 0; turn <= n; turn++) {
		int64_t used = 0;
		size_t open = 0;

		for (size_t k = 0; k < n; k++) {
			open += wanted[k] > level;
			used += wanted[k] > level ? level : wanted[k];
		}
		left = limit - used;
		if (!open || left < (int64_t)open)
			break;
		level += left / (int64_t)open;
	}
	return wanted[i] < level ? wanted[i] : level;
}
