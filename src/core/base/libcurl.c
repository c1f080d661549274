/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of libcurl that we call, as calls through a table.  What would break it: a function used elsewhere that
 * is not in the list (the link fails), and a processor on which long and pointers are not passed alike (below).
 */
#include "core/base/libcurl.h"

#include <curl/curl.h>
#include <stdarg.h>

#include "core/base/late.h"

#define FUNCTIONS(X)                \
	X(curl_easy_cleanup)        \
	X(curl_easy_getinfo)        \
	X(curl_easy_init)           \
	X(curl_easy_perform)        \
	X(curl_easy_setopt)         \
	X(curl_easy_strerror)       \
	X(curl_global_init)         \
	X(curl_multi_add_handle)    \
	X(curl_multi_cleanup)       \
	X(curl_multi_info_read)     \
	X(curl_multi_init)          \
	X(curl_multi_perform)       \
	X(curl_multi_poll)          \
	X(curl_multi_remove_handle) \
	X(curl_multi_wakeup)        \
	X(curl_slist_append)        \
	X(curl_slist_free_all)

#define NUMBER(f) F_##f,
#define ENTRY(f) {#f, NULL},
enum { FUNCTIONS(NUMBER) N_FUNCTIONS };

static struct late_function functions[] = {FUNCTIONS(ENTRY)};
static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4", NULL};
static struct late_library library = {
	.names = names,
	.package = "libcurl4",
	.functions = functions,
	.n = N_FUNCTIONS,
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

int libcurl_load(struct err *err)
{
	return late_load(&library, err);
}

#define CALL(f) ((__typeof__(f) *)late_function(&library, F_##f))

/* curl.h makes macros of some: checks of types that would stand in the way here. */
#undef curl_easy_getinfo
#undef curl_easy_setopt

/* One argument follows, of a type that the option says: long, pointer or curl_off_t, which are passed alike. */
_Static_assert(sizeof(long) == sizeof(void *) && sizeof(curl_off_t) == sizeof(void *), "one register each");

CURLcode curl_easy_setopt(CURL *curl, CURLoption option, ...)
{
	va_list ap;
	void *value;

	va_start(ap, option);
	value = va_arg(ap, void *);
	va_end(ap);
	return CALL(curl_easy_setopt)(curl, option, value);
}

CURLcode curl_easy_getinfo(CURL *curl, CURLINFO info, ...)
{
	va_list ap;
	void *value;

	va_start(ap, info);
	value = va_arg(ap, void *);
	va_end(ap);
	return CALL(curl_easy_getinfo)(curl, info, value);
}

/* The caller hears of a library that is not there. */
CURLcode curl_global_init(long flags)
{
	return libcurl_load(NULL) ? CURLE_FAILED_INIT : CALL(curl_global_init)(flags);
}

CURL *curl_easy_init(void)
{
	return CALL(curl_easy_init)();
}

void curl_easy_cleanup(CURL *curl)
{
	CALL(curl_easy_cleanup)(curl);
}

CURLcode curl_easy_perform(CURL *curl)
{
	return CALL(curl_easy_perform)(curl);
}

const char *curl_easy_strerror(CURLcode code)
{
	return CALL(curl_easy_strerror)(code);
}

CURLM *curl_multi_init(void)
{
	return CALL(curl_multi_init)();
}

CURLMcode curl_multi_cleanup(CURLM *multi)
{
	return CALL(curl_multi_cleanup)(multi);
}

CURLMcode curl_multi_add_handle(CURLM *multi, CURL *curl)
{
	return CALL(curl_multi_add_handle)(multi, curl);
}

CURLMcode curl_multi_remove_handle(CURLM *multi, CURL *curl)
{
	return CALL(curl_multi_remove_handle)(multi, curl);
}

CURLMsg *curl_multi_info_read(CURLM *multi, int *ret_n)
{
	return CALL(curl_multi_info_read)(multi, ret_n);
}

CURLMcode curl_multi_perform(CURLM *multi, int *ret_n)
{
	return CALL(curl_multi_perform)(multi, ret_n);
}

CURLMcode curl_multi_poll(CURLM *multi, struct curl_waitfd extra[], unsigned n, int timeout_ms, int *ret_n)
{
	return CALL(curl_multi_poll)(multi, extra, n, timeout_ms, ret_n);
}

CURLMcode curl_multi_wakeup(CURLM *multi)
{
	return CALL(curl_multi_wakeup)(multi);
}

struct curl_slist *curl_slist_append(struct curl_slist *list, const char *text)
{
	return CALL(curl_slist_append)(list, text);
}

/* Of an empty list there may be nothing, without the library ever having been there. */
void curl_slist_free_all(struct curl_slist *list)
{
	if (list)
		CALL(curl_slist_free_all)(list);
}
