/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled guardrail policies, shared by the snapshots that hold the same document: compiling takes longer than all
 * else that a publication does. */
#pragma once
#include <stdatomic.h>

#include "serving/guardrail/guard.h"

struct prepared_policy {
	_Atomic unsigned refs;
	char digest[65]; /* SHA-256 of the document */
	struct guard_policy *guard;
};

static inline const struct guard_policy *prepared_guard(const void *compiled)
{
	return compiled ? ((const struct prepared_policy *)compiled)->guard : NULL;
}
