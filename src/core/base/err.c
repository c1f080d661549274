/* SPDX-License-Identifier: Apache-2.0 */
/* Error sentences.  An argument may point into the text that is being replaced, so both functions build aside first. */
#include "core/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One sentence, no newline: whatever was quoted in it. */
static void store(struct err *err, const char *text, size_t n)
{
	if (n >= sizeof(err->text))
		n = sizeof(err->text) - 1;
	memcpy(err->text, text, n);
	err->text[n] = '\0';
	for (char *p = err->text; *p; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	char text[sizeof(err->text)];
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	store(err, text, strlen(text));
	err->code = code;
	return code;
}

int err_prefix(struct err *err, const char *fmt, ...)
{
	char text[2 * sizeof(err->text)];
	size_t n;
	va_list ap;

	if (!err)
		return 0;
	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(err->text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	n = strlen(text);
	snprintf(text + n, sizeof(text) - n, ": %s", err->text);
	store(err, text, strlen(text));
	return err->code;
}

const char *err_name(int code)
{
	static const char *const names[] = {
		[0] = "no error",
		[-E_INVALID] = "invalid",
		[-E_NOTFOUND] = "not found",
		[-E_EXISTS] = "exists already",
		[-E_TOOBIG] = "too big",
		[-E_IO] = "input or output failed",
		[-E_AGAIN] = "not yet",
		[-E_TIMEOUT] = "timed out",
		[-E_CLOSED] = "closed",
		[-E_DENIED] = "not allowed",
		[-E_BUSY] = "busy",
		[-E_CORRUPT] = "corrupt",
		[-E_UNAVAILABLE] = "unavailable",
		[-E_CONFLICT] = "in conflict with the present state",
		[-E_UNSUPPORTED] = "not supported",
	};

	if (code > 0 || code <= -(int)COUNT_OF(names))
		return "unknown error";
	return names[-code];
}
