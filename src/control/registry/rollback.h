/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking a use case back.  To a model it happens in memory first, with nothing but a small file written before, so that
 * neither a slow database nor one that is away keeps a bad model serving; then it is recorded.  To a checkpoint it
 * needs the database, which has it.
 */
#pragma once
#include "control/registry/registry.h"

struct rollback {
	struct slice use_case;	       /* a layer's short name will do */
	struct slice to;	       /* id, unique beginning of one, name@version or name; absent: the model that was
					  current before, or during a deployment the one that is current */
	const struct uuid *checkpoint; /* instead of to; NULL: none */
};

/* Slices live in the arena given. */
struct rollback_result {
	struct slice use_case;
	struct slice from, to;	    /* name@version; absent: nothing was, or is, current */
	struct uuid from_id, to_id; /* nil likewise */
	struct uuid checkpoint_id;  /* how it was before */
	struct uuid deployment_id;  /* that ended; nil: none was under way */
	struct slice policy;	    /* made for the use case, since the one it had reads otherwise now; absent: none */
	int64_t applied_us;	    /* how long it took until every loop served it */
	bool recorded;		    /* false: the database is away, it will be recorded when that is back */
	char why_not[500];	    /* recorded */
};

/*
 * E_NOTFOUND: no such use case, model or checkpoint, or nothing to go back to; E_CONFLICT: it is so already, or `to`
 * names several; E_UNAVAILABLE and the like: a checkpoint while the database is away.
 */
int registry_rollback(struct registry *r, struct arena *a, const struct rollback *what, const struct registry_who *who,
		      struct rollback_result *ret, struct err *err);
