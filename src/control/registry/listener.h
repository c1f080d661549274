/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that follows what other daemons do to the registry: it waits for their notifications, and asks by itself
 * every few seconds, or more often where notifications do not come through.
 */
#pragma once
#include "control/registry/registry.h"

struct listener;

/* E_IO: no thread. */
int listener_start(struct registry *r, struct store *store, struct listener **ret, struct err *err);
void listener_stop(struct listener *l); /* NULL is fine; waits for what it is doing */
/* What keeps it from following, or "": copies into buf. */
void listener_problem(struct listener *l, char *buf, size_t size);
