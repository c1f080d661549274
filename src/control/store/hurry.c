/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of the process is not to wait for a database that is silent: see db_hurry().  Two numbers of the process,
 * because connections are everywhere and end with it; written by whoever stops the daemon and by calls that waited in
 * vain, read by all calls.
 *
 * What would break it: patience that is shorter than a busy server takes for a commit.  The records would wait for the
 * next start.
 */
#include <stdatomic.h>

#include "control/store/store_internal.h"
#include "core/base/clock.h"

#define AWAY_MS 10000 /* longer than all that is still to be done */

static _Atomic int64_t since_ms, away_until_ms; /* 0: not */

void db_hurry(void)
{
	atomic_store(&since_ms, clock_mono_ms());
}

bool db_is_hurried(void)
{
	return atomic_load(&since_ms) != 0;
}

bool db_gave_up(void)
{
	return clock_mono_ms() < atomic_load(&away_until_ms);
}

int64_t db_patience(int64_t began_ms, int64_t until_ms)
{
	int64_t since = atomic_load(&since_ms), hurried;

	if (!since)
		return until_ms;
	if (db_gave_up())
		return began_ms;
	hurried = (began_ms > since ? began_ms : since) + DB_HURRY_MS;
	return hurried < until_ms ? hurried : until_ms;
}

void db_waited_in_vain(void)
{
	if (db_is_hurried())
		atomic_store(&away_until_ms, clock_mono_ms() + AWAY_MS);
}
