/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the clocks (only at the top: below the gateway, time is a parameter), and writing times down. */
#pragma once
#include "core/base/slice.h"

int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
int64_t clock_wall_us(void); /* microseconds since 1970 UTC: how Muster stores every time */

#define CLOCK_ISO_SIZE 32
/* "2026-11-23T04:50:20.123456Z"; returns buf. */
char *clock_iso(int64_t wall_us, char buf[CLOCK_ISO_SIZE]);
/*
 * ISO 8601 (date, or date and time with 'T' or space, optional fraction, 'Z', +hh:mm or nothing = UTC), seconds since
 * 1970, or a duration back from now ("15m", "24h", "7d").  0 or E_INVALID.
 */
int clock_parse(struct slice s, int64_t now_wall_us, int64_t *ret_wall_us);
/* "250ms", "10s", "5m", "2h", "7d", or a bare number of milliseconds.  0 or E_INVALID. */
int clock_parse_duration_ms(struct slice s, int64_t *ret_ms);
/* "3 days", "4 min", "12 s": for people; returns buf. */
char *clock_ago(int64_t delta_us, char buf[CLOCK_ISO_SIZE]);
