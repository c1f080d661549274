/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event to stderr: logfmt, or JSON.  Only the top (gateway, admin,
 * daemon, cli, workers) logs; everything below returns an error.  Never a
 * prompt, an answer or a key at info and above.  A line is one write(2), at most
 * LOG_LINE_MAX bytes.  Any thread may log; a loop thread may not log per
 * request: log_limited() lets at most 10 lines a second of one site through.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "core/base/util.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };
#define LOG_LINE_MAX 2048

/* Who speaks: "gateway", "shipper", and an id in front of each line when there is one. */
struct log {
	const char *module;
	const char *id; /* exchange or deployment id, or NULL */
};

void log_setup(enum log_level level, bool json);	    /* once, before threads; may be called again on reload */
int log_level_parse(const char *name, enum log_level *ret); /* 0 or E_INVALID */
bool log_enabled(enum log_level level);
void log_write(const struct log *l, enum log_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_debug(l, ...) (log_enabled(LOG_DEBUG) ? log_write(l, LOG_DEBUG, __VA_ARGS__) : (void)0)
#define log_info(l, ...) log_write(l, LOG_INFO, __VA_ARGS__)
#define log_warn(l, ...) log_write(l, LOG_WARN, __VA_ARGS__)
#define log_error(l, ...) log_write(l, LOG_ERROR, __VA_ARGS__)

/*
 * True when the caller may log now: state is a static of the call site, now_ms any monotonic clock.
 * n_dropped grows with each line that was held back; whoever reports it sets it back.
 */
struct log_limit {
	int64_t window_start_ms;
	unsigned n, n_dropped;
};
bool log_limit_pass(struct log_limit *limit, int64_t now_ms);

#define log_limited(l, level, now_ms, ...)                \
	do {                                              \
		static struct log_limit limit_here;       \
		if (log_limit_pass(&limit_here, now_ms))  \
			log_write(l, level, __VA_ARGS__); \
	} while (0)
