/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dlopen(), once.  What would break it: a table that is read before all of it was written; the state is stored last.
 */
#include "core/base/late.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static int find_all(struct late_library *l, void *library, const char *name, struct err *err)
{
	for (size_t i = 0; i < l->n; i++) {
		l->functions[i].at = dlsym(library, l->functions[i].name);
		if (!l->functions[i].at)
			return err_set(err, E_UNSUPPORTED, "%s has no %s: install a newer %s", name,
				       l->functions[i].name, l->package);
	}
	return 0;
}

static int load_locked(struct late_library *l, struct err *err)
{
	const char *why = NULL;

	for (const char *const *name = l->names; *name; name++) {
		void *library = dlopen(*name, RTLD_NOW | RTLD_LOCAL);
		int rc;

		if (!library) {
			why = why ? why : dlerror();
			continue;
		}
		rc = find_all(l, library, *name, err);
		if (rc)
			(void)dlclose(library); /* as it was */
		return rc;
	}
	return err_set(err, E_UNSUPPORTED, "%s cannot be loaded (%s): install the package %s", l->names[0],
		       why ? why : "no reason given", l->package);
}

int late_load(struct late_library *l, struct err *err)
{
	int rc = 0;

	if (atomic_load_explicit(&l->state, memory_order_acquire))
		return 0;
	pthread_mutex_lock(&l->lock);
	if (!atomic_load_explicit(&l->state, memory_order_relaxed)) {
		rc = load_locked(l, err);
		if (!rc)
			atomic_store_explicit(&l->state, 1, memory_order_release);
	}
	pthread_mutex_unlock(&l->lock);
	return rc;
}

void *late_function(struct late_library *l, size_t i)
{
	struct err err = {0};

	if (late_load(l, &err)) {
		(void)fprintf(stderr, "muster: %s\n", err.text);
		abort();
	}
	return l->functions[i].at;
}
