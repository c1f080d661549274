/* SPDX-License-Identifier: Apache-2.0 */
/* Libraries that come when they are needed: found, not found, and too old. */
#include "core/base/late.h"

#include <stdatomic.h>
#include <string.h>

#include "t.h"

#define N_THREADS 4

static struct late_library library(const char *const *names, struct late_function *functions, size_t n)
{
	return (struct late_library){.names = names,
				     .package = "a-package",
				     .functions = functions,
				     .n = n,
				     .lock = PTHREAD_MUTEX_INITIALIZER};
}

TEST(a_library_is_found_by_the_first_name_that_is_there)
{
	static const char *const names[] = {"libno-such-thing.so.9", "libm.so.6", NULL};
	struct late_function f[] = {{"cos", NULL}, {"sqrt", NULL}};
	struct late_library l = library(names, f, 2);
	double (*root)(double);

	CHECK_INT(late_load(&l, NULL), 0);
	CHECK_INT(late_load(&l, NULL), 0); /* again */
	root = (double (*)(double))late_function(&l, 1);
	CHECK(root(4) == 2);
}

TEST(a_library_that_is_not_there_is_an_error_that_names_the_package)
{
	static const char *const names[] = {"libno-such-thing.so.9", NULL};
	struct late_function f[] = {{"cos", NULL}};
	struct late_library l = library(names, f, 1);
	struct err err = {0};

	CHECK_INT(late_load(&l, &err), E_UNSUPPORTED);
	CHECK(strstr(err.text, "libno-such-thing.so.9") && strstr(err.text, "install the package a-package"));
	CHECK_INT(late_load(&l, NULL), E_UNSUPPORTED);
}

TEST(a_library_without_a_function_is_an_error_that_names_it)
{
	static const char *const names[] = {"libm.so.6", NULL};
	struct late_function f[] = {{"cos", NULL}, {"no_such_function", NULL}};
	struct late_library l = library(names, f, 2);
	struct err err = {0};

	CHECK_INT(late_load(&l, &err), E_UNSUPPORTED);
	CHECK(strstr(err.text, "no_such_function") && strstr(err.text, "a-package"));
	CHECK_INT(atomic_load(&l.state), 0);
}

static void *load(void *arg)
{
	struct late_library *l = arg;

	return late_load(l, NULL) || !late_function(l, 0) ? l : NULL;
}

TEST(threads_may_all_be_the_first)
{
	static const char *const names[] = {"libm.so.6", NULL};
	struct late_function f[] = {{"cos", NULL}};
	struct late_library l = library(names, f, 1);
	pthread_t thread[N_THREADS];

	for (size_t i = 0; i < N_THREADS; i++)
		CHECK_INT(pthread_create(&thread[i], NULL, load, &l), 0);
	for (size_t i = 0; i < N_THREADS; i++) {
		void *failed = NULL;

		pthread_join(thread[i], &failed);
		CHECK(!failed);
	}
}
