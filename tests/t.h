/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole test harness.  A test file is TEST(name) { CHECK(...); } blocks; the
 * program prints TAP and exits non-zero if any CHECK failed.
 *
 *   ./test_uuid            run all
 *   ./test_uuid parse      run the tests whose name contains "parse"
 */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct t_case {
	const char *name;
	void (*run)(void);
	struct t_case *next;
};

static struct t_case *t_first, **t_tail = &t_first;
static int t_failed;

#define TEST(id)                                                  \
	static void t_run_##id(void);                             \
	__attribute__((constructor)) static void t_add_##id(void) \
	{                                                         \
		static struct t_case c = {#id, t_run_##id, NULL}; \
		*t_tail = &c;                                     \
		t_tail = &c.next;                                 \
	}                                                         \
	static void t_run_##id(void)

#define CHECK(cond)                                                         \
	do {                                                                \
		if (!(cond)) {                                              \
			t_failed = 1;                                       \
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond); \
		}                                                           \
	} while (0)

#define CHECK_INT(got, want)                                                                          \
	do {                                                                                          \
		long long g_ = (got), w_ = (want);                                                    \
		if (g_ != w_) {                                                                       \
			t_failed = 1;                                                                 \
			printf("# %s:%d: %s is %lld, want %lld\n", __FILE__, __LINE__, #got, g_, w_); \
		}                                                                                     \
	} while (0)

#define CHECK_STR(got, want)                                                                                       \
	do {                                                                                                       \
		const char *g_ = (got), *w_ = (want);                                                              \
		if (g_ && w_ ? strcmp(g_, w_) : g_ != w_) {                                                        \
			t_failed = 1;                                                                              \
			printf("# %s:%d: %s is \"%s\", want \"%s\"\n", __FILE__, __LINE__, #got, g_ ? g_ : "NULL", \
			       w_ ? w_ : "NULL");                                                                  \
		}                                                                                                  \
	} while (0)

int main(int argc, char **argv)
{
	int n = 0, bad = 0;

	for (struct t_case *c = t_first; c; c = c->next) {
		if (argc > 1 && !strstr(c->name, argv[1]))
			continue;
		t_failed = 0;
		c->run();
		bad += t_failed;
		printf("%s %d - %s\n", t_failed ? "not ok" : "ok", ++n, c->name);
	}
	printf("1..%d\n", n);
	return bad || n == 0;
}
