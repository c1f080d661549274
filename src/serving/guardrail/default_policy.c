/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in policy. */
#include "serving/guardrail/guard_internal.h"

int guard_default_policy(struct arena *a, struct policy *ret, struct err *err)
{
	(void)a;
	(void)ret;
	return err_set(err, E_NOTFOUND, "none");
}
