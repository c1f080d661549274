/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library that is loaded when it is first needed, because most daemons never need it.  Whoever uses one defines the
 * library's own functions as calls through a table of pointers, so that code and headers are those of a library that
 * is linked.
 */
#pragma once
#include <pthread.h>

#include "core/base/err.h"

struct late_function {
	const char *name;
	void *at; /* once the library is there */
};

struct late_library {
	const char *const *names; /* sonames, the best first, NULL at the end */
	const char *package;	  /* what brings it, for people */
	struct late_function *functions;
	size_t n;
	pthread_mutex_t lock;
	_Atomic int state; /* 0 until it is there, then 1: for good */
};

/* Any thread, any number of times.  E_UNSUPPORTED says which package is missing, and the next call tries again. */
int late_load(struct late_library *l, struct err *err) MUST_CHECK;
/* The function at i, loading the library for it.  For those who have not asked late_load(): ends the process when the
 * library is not there. */
void *late_function(struct late_library *l, size_t i);
